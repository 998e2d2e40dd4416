"""What the images of a dataset hold: how many bands, of how many bits, in which range, and which of them are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError

# Pixels (H, W, C) as a model is given them.
Stored = npt.NDArray[np.uint8 | np.uint16]
Bits = Literal[8, 16]


@dataclass(frozen=True, slots=True)
class Bands:
    """`channels` bands of `bits` bits. `range` are the values that mean black and white, 0 and 255 for 8 bits. `show`
    are the bands of pictures, counted from 1 as GDAL does: one for grey, or three as red, green and blue."""

    channels: int = 3
    bits: Bits = 8
    range: tuple[int, int] = (0, 255)
    show: tuple[int, ...] = (1, 2, 3)

    @classmethod
    def of(
        cls, channels: int, bits: Bits = 8, range: tuple[int, int] | None = None, show: tuple[int, ...] = ()
    ) -> Bands:
        """With what follows where it is left out: the whole range of the bits; the first three bands shown, or the
        first of one or two."""
        return cls(channels, bits, range or (0, (1 << bits) - 1), show or ((1, 2, 3) if channels >= 3 else (1,)))

    def __str__(self) -> str:
        return "RGB" if self.plain else said(self.channels, self.bits)

    @property
    def plain(self) -> bool:
        """Whether images are 8-bit RGB, to which every file is converted; of others nothing is converted."""
        return self.channels == 3 and self.bits == 8

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """That of their pixels."""
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype(np.uint16)

    def picture(self, pixels: Stored) -> npt.NDArray[np.uint8]:
        """(H, W, C) to (H, W, 3) uint8 RGB for looking at: the shown bands, their range stretched to 0..255."""
        if self == RGB:
            return pixels  # type: ignore[return-value]
        chosen = pixels[..., [band - 1 for band in self.show]]
        if self.bits == 16:
            low, high = self.range
            table = np.rint((np.arange(1 << 16).clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
            chosen = table[chosen]
        return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:2], 3)), np.uint8)

    def require(self, channels: int, bits: int, alpha: bool, what: str) -> None:
        """DataError unless `what`, which holds so many bands, fits; a last one that is `alpha` may be more."""
        if bits != self.bits or channels not in (self.channels, self.channels + alpha):
            raise DataError(
                f"{what}: holds {said(channels, bits)}, where {said(self.channels, self.bits)} are expected "
                "(`images` in dataset.yaml); save it so, or remove it"
            )

    def reading(self) -> list[Any]:
        """What decides about pixels, for JSON."""
        return [self.channels, self.bits, list(self.range)]

    def to_dict(self) -> dict[str, Any]:
        """For model files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Bands:
        """What `to_dict` gave."""
        return cls(stored["channels"], stored["bits"], tuple(stored["range"]), tuple(stored["show"]))


def channel_sums(pixels: Stored) -> npt.NDArray[np.int64]:
    """(2, C): the exact sums of the values of each band of (H, W, C), and of their squares."""
    if pixels.dtype == np.uint8:
        # OpenCV squares the root of a sum of squares; below 2**33 pixels rounding gives the sum back exactly.
        planes = cv2.split(pixels)
        squares = [round(cv2.norm(plane, cv2.NORM_L2SQR)) for plane in planes]
        return np.array([[int(cv2.sumElems(plane)[0]) for plane in planes], squares])
    bands = pixels.reshape(-1, pixels.shape[2]).T.astype(np.int64)
    return np.array([bands.sum(1), [band @ band for band in bands]])


def mean_std(
    sums: Sequence[int], squares: Sequence[int], pixels: int, range: tuple[int, int]
) -> tuple[list[float], list[float]]:
    """The means and standard deviations of bands from exact sums over so many pixels, 0..1 of the range; NaN without
    any pixel."""
    low, high = range
    if not pixels:
        return [math.nan] * len(sums), [math.nan] * len(sums)
    # Python's integers do not overflow, and one division at the end loses nothing.
    means = [(first - low * pixels) / ((high - low) * pixels) for first in sums]
    spreads = zip(sums, squares, strict=True)
    return means, [math.sqrt((pixels * second - first * first) / pixels**2) / (high - low) for first, second in spreads]


def said(channels: int, bits: int) -> str:
    """`4 bands of 8 bits`."""
    return f"{channels} band{'s' * (channels != 1)} of {bits} bits"


RGB = Bands()
