"""Class colours that people with any kind of colour vision can tell apart.

The first eight are those of Okabe and Ito (Color Universal Design, 2008), with black first, since
class 0 is nearly always the background. Later ones are generated: hues a golden angle apart with
lightness in three steps, so that neighbours differ in lightness too.
"""

from __future__ import annotations

import colorsys
import re

Colour = tuple[int, int, int]

OKABE_ITO: tuple[Colour, ...] = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115),
    (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)

_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


def colour_of(index: int) -> Colour:
    """The colour (R, G, B), 0..255, of the class at position `index` >= 0."""
    if index < len(OKABE_ITO):
        return OKABE_ITO[index]
    step = index - len(OKABE_ITO)
    pure = colorsys.hls_to_rgb((0.08 + step * 0.381966) % 1.0, 0.5, 0.65)
    luma, wanted = sum(w * part for w, part in zip(_LUMA, pure, strict=True)), (0.3, 0.5, 0.7)[step % 3]
    # Darkened towards black or lightened towards white.
    red, green, blue = (part * wanted / luma if luma > wanted else 1 - (1 - part) * (1 - wanted) / (1 - luma)
                        for part in pure)
    return round(red * 255), round(green * 255), round(blue * 255)


def to_hex(colour: Colour) -> str:
    """`(230, 159, 0)` as `#E69F00`."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def from_hex(text: str) -> Colour:
    """`#E69F00` as `(230, 159, 0)`; ValueError for anything else."""
    if not re.fullmatch("#?[0-9A-Fa-f]{6}", text):
        raise ValueError(f"{text!r} is not a colour like #E69F00")
    value = int(text.removeprefix("#"), 16)
    return value >> 16, value >> 8 & 255, value & 255
