"""Class colours that people with any kind of colour vision can tell apart.

The first eight are those of Okabe and Ito (Color Universal Design, 2008), with black first, since
class 0 is nearly always the background. Later ones come from a table: each is the colour furthest from
all before it, and from white, for the eyes that tell it apart worst.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]

OKABE_ITO: tuple[Colour, ...] = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

# Red, green, blue of the classes from the ninth on, chosen one by one among the colours whose parts are multiples
# of 15 and whose CIELAB chroma is at least 30 (a tint of grey would not show on a grey picture).
_LATER = bytes.fromhex(
    "8700F0 5A2D00 001E87 B4FFA5 87005A 9678FF E1004B 96C369 00F0B4 2D004B 5A4BC3 3C693C 872D87 874B00 FFC3F0 "
    "C3D25A FF4B78 3C002D 69001E B43C87 5A00B4 7896F0 874BF0 D2FF87 B4963C F0A5C3 F0FF1E A51E5A A587C3 A5002D "
    "00D21E 87E196 B43CB4 4B1E78 69B496 691E3C B45A2D A55A78 87A55A A5E178 00005A 0000C3 3C874B FF8796 781EA5 "
    "0000FF 5A1E69 4B001E 7887D2 D2C3FF 69D2D2 A569A5 6969D2 692DD2 87F0D2 5A9600 785AE1 005A1E 0F3C96 E196F0 "
    "5A004B A5FFD2 2D5A96 B42D2D 693C69 D2F069 002D00 3C4BFF A5B478 FFB43C C36969 C3B44B 78F0FF E178FF FFC396 "
    "A50F78 874B69 C3FF96 4B69FF B4785A A55A0F 2D003C FF785A C35AC3 000078 872D00 78B487 E187C3 001E5A B4E14B "
    "B46996 4B1EA5 4B0F2D F02D4B 69C3B4 961EC3 781E2D 874BA5 F05A2D B43C5A B40096 4B87E1 A5B4FF F0F05A 2D0096 "
    "E1D200 004B2D 962D4B 003CE1 96872D 3C00E1 5A003C A5F078 5A0000 3C0F78 C3960F 870F1E 1E002D 5AE1D2 E15AB4 "
    "5A2D87 5AFF3C FFFFB4 B43C3C F078D2 962D1E 78FFB4 FFA569 782D4B 00003C 9669FF 4BB44B 780F4B B496D2 5AD287 "
    "6900D2 C36987 96FFFF 4B4B00 78D2A5 C30F69 78C3A5 875A87 C33CD2 2D783C 4B1E87 4B4BB4 C34B69 D27887 783CA5 "
    "A5D278 FF4BE1 690F5A 1EA5B4 871E3C D2E1A5 E1FF4B 4BC32D 7869E1 965A1E 4BA5E1 2D0069 692D69 3C0F69 96A569 "
    "965A96 3C000F 694B78 B4F087 3C005A 5A001E E1A5E1 FF872D D24BA5 00692D 781E78 C30FD2 781EC3 E14B96 E1B487 "
    "960FB4 963C87 E196C3 E1FFC3 C37878 783CE1 D22D78 780F96 FFA5A5 B45A87 1EFFC3 F0D269 B4695A E1E196 000FA5 "
    "875AB4 5A0FC3 A5694B 96FFE1 D2003C 874BC3 4BC396 78E1C3 96B45A 4B3CA5 78964B 8778C3 2D0F3C 2DB43C 690096 "
    "F09678 D25AD2 2D0F4B 784BE1 D287A5 D2C34B 87D2B4 785A0F 5A96E1 1E4B78 F0B4E1 78A5FF 690FE1 691EB4 B40F3C "
    "0087A5 3C1E69 96F01E FF6969 873C5A 87FFF0 69003C 69004B 692D5A 96D269 B4780F 1E5AD2 96FF78 D2B4F0 E1002D "
    "8796FF 96F0E1 873C96 00873C 1EB4C3 C33C96 "
)

# How linear sRGB is seen with each kind of cone missing (Machado, Oliveira and Fernandes, "A physiologically-based
# model for simulation of color vision deficiency", 2009, severity 1).
VISIONS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # of linear sRGB, white D65


def colour_of(index: int) -> Colour:
    """The colour (R, G, B), 0..255, of the class at position `index` >= 0; beyond 254 classes they come again."""
    if index < len(OKABE_ITO):
        return OKABE_ITO[index]
    start = (index - len(OKABE_ITO)) * 3 % len(_LATER)
    return _LATER[start], _LATER[start + 1], _LATER[start + 2]


def seen(colours: Sequence[Colour] | npt.NDArray[np.uint8], vision: str = "normal") -> npt.NDArray[np.float64]:
    """(K, 3) sRGB 0..255 -> (K, 3) CIELAB (D65) as it appears to one of `VISIONS`.

    Distances between rows are the CIE 1976 differences: about 2.3 is just noticeable side by side.
    """
    parts = np.asarray(colours, np.float64).reshape(-1, 3) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    ratios = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1) @ _XYZ.T / _XYZ.sum(1)
    edge = 6 / 29
    curve = np.where(ratios > edge**3, np.cbrt(ratios), ratios / (3 * edge**2) + 4 / 29)
    x, y, z = curve.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def separation(colours: Sequence[Colour] | npt.NDArray[np.uint8]) -> float:
    """The smallest CIELAB distance of any two of (K, 3) colours, to the eyes of `VISIONS` that see it smallest.

    Infinite for fewer than two colours.
    """
    pairs = np.triu_indices(len(colours), 1)
    labs = (seen(colours, vision) for vision in VISIONS)
    return min(float(np.linalg.norm(lab[pairs[0]] - lab[pairs[1]], axis=1).min(initial=np.inf)) for lab in labs)


def to_hex(colour: Colour) -> str:
    """`(230, 159, 0)` as `#E69F00`."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def from_hex(text: str) -> Colour:
    """`#E69F00` as `(230, 159, 0)`; ValueError for anything else."""
    if not re.fullmatch("#?[0-9A-Fa-f]{6}", text):
        raise ValueError(f"{text!r} is not a colour like #E69F00")
    value = int(text.removeprefix("#"), 16)
    return value >> 16, value >> 8 & 255, value & 255
