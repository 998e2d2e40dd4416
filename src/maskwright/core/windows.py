"""Images that are too large to be held: used as an array by its slices of rows and columns, each of which is read when
it is asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from maskwright.core.bands import Stored
from maskwright.core.geometry import RESAMPLING, Geometry, Size, resize_image

# How many pixels each method looks at from the middle of one, of the smaller of the two sizes.
_REACH = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0, "area": 0.5}
assert _REACH.keys() == RESAMPLING.keys()


class Windows(ABC):
    """An image (H, W, C) of the `dtype`. `image[top:bottom, left:right]` is an array (h, w, C); windows that are asked
    for row by row from the top, and from the left, are read once or little more."""

    ndim: ClassVar[int] = 3
    rows_together = 256  # that are read at once where all are wanted
    shape: tuple[int, int, int]
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]

    @abstractmethod
    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Stored:
        """(h, w, C): from the first of two rows or columns on, up to the second; they lie in the image."""

    def __getitem__(self, place: tuple[slice, slice]) -> Stored:
        (top, bottom, _), (left, right, _) = (
            one.indices(length) for one, length in zip(place, self.shape[:2], strict=True)
        )
        return self.read((top, bottom), (left, right))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All of it in memory, for numpy."""
        together = self.rows_together
        strips = [self[top : top + together, :] for top in range(0, self.shape[0], together)]
        return np.concatenate(strips).astype(dtype or self.dtype, copy=False)

    def resized(self, size: Size, resample: str) -> Windows:
        """As `resize_image`, to rounding; nothing is read yet."""
        return self if size == self.shape[:2] else _Resized(self, size, resample)


def scaled(image: Stored | Windows, geometry: Geometry) -> Stored | Windows:
    """An image (H, W, C) at the size that a model of this `geometry` works at, without padding."""
    size = geometry.inner((image.shape[0], image.shape[1]))
    if isinstance(image, Windows):
        return image.resized(size, geometry.resample)
    return resize_image(image, size, geometry.resample)


class _Resized(Windows):
    def __init__(self, image: Windows, size: Size, resample: str) -> None:
        self._image, self._resample = image, resample
        self.shape, self.dtype = (*size, image.shape[2]), image.dtype
        self.rows_together = max(1, image.rows_together * size[0] // image.shape[0])

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Stored:
        """As `Windows.read`: of a part of the image that holds all that these pixels are made of."""
        (top, bottom), (first, last) = self._around(0, rows)
        (left, right), (start, stop) = self._around(1, columns)
        part = self._image[top:bottom, left:right]
        size = (rows[1] - rows[0], columns[1] - columns[0])
        return resize_image(part, size, self._resample, (start, first, stop, last))

    def _around(self, axis: int, wanted: tuple[int, int]) -> tuple[tuple[int, int], tuple[float, float]]:
        """Which pixels of the image are needed along one axis, and where those that are wanted begin and end there."""
        length = self._image.shape[axis]
        scale = length / self.shape[axis]
        begin, end = wanted[0] * scale, wanted[1] * scale
        reach = math.ceil(_REACH[self._resample] * max(1.0, scale)) + 1
        low, high = max(0, math.floor(begin) - reach), min(length, math.ceil(end) + reach)
        return (low, high), (begin - low, min(end, high) - low)
