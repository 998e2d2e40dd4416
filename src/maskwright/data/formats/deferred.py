"""Shapes of formats that are read when their mask is made: pixels in picture files, and run lengths without a size."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.core.hashes import file_hash
from maskwright.core.regions import Deferred, Runs, Window
from maskwright.core.sample import is_lossy, open_image
from maskwright.errors import DataError

Pixels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Segments(Deferred):
    """Pixels of a PNG whose number, R + 256 G + 256^2 B, is one of `ids`. With `known`, a pixel whose number is not
    among these is an error."""

    path: Path
    ids: tuple[int, ...]
    known: frozenset[int] | None = field(default=None, repr=False)

    def window(self, height: int, width: int) -> Window:
        """The whole image."""
        numbers = _numbers(self.path, self.path.stat().st_mtime_ns if self.path.is_file() else 0)
        _require_size(numbers, height, width, self.path)
        if self.known is not None:
            present, counts = np.unique(numbers, return_counts=True)
            strange = ~np.isin(present, list(self.known))
            if strange.any():
                number, first = int(counts[strange].sum()), int(present[strange][0])
                raise ValueError(f"{self.path.name} holds {number} pixels of segments that are not listed ({first}, …)")
        return np.isin(numbers, self.ids), 0, 0

    def content(self) -> str:
        """The hash of the file, and the ids."""
        return f"{file_hash(self.path)} {self.ids}"


@dataclass(frozen=True, slots=True)
class Picture(Deferred):
    """Pixels of a mask file that are not black."""

    path: Path

    def window(self, height: int, width: int) -> Window:
        """The whole image."""
        with open_image(self.path) as image:
            pixels: npt.NDArray[np.bool_] = np.asarray(image.convert("RGB")).max(2) > 0
        _require_size(pixels, height, width, self.path)
        return pixels, 0, 0

    def content(self) -> str:
        """The hash of the file."""
        return file_hash(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class Spans(Deferred):
    """`pairs` (N, 2) uint32 of first pixel, from 1 down the columns of an image of any size (or along its `rows`), and
    length, in ascending order; `place` says where they stand."""

    pairs: npt.NDArray[np.uint32]
    place: str
    rows: bool = False

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Spans)
            and (self.place, self.rows) == (other.place, other.rows)
            and np.array_equal(self.pairs, other.pairs)
        )

    def window(self, height: int, width: int) -> Window:
        """The columns that hold it."""
        pairs, size = self.pairs.astype(np.int64), height * width
        ends = pairs.sum(1) - 1
        if ends[-1] > size:
            raise ValueError(
                f"{self.place}: run lengths reach pixel {ends[-1]}, but the image of {width}x{height} has {size}"
            )
        counts = np.empty(2 * len(pairs) + 1, np.int64)
        counts[0:-1:2] = pairs[:, 0] - 1 - np.append(0, ends[:-1])
        counts[1:-1:2] = pairs[:, 1]
        counts[-1] = size - ends[-1]
        box = (0, 0, width, height) if self.rows else None
        return Runs(counts.astype(np.uint32), (height, width), box).window(height, width)

    def content(self) -> str:
        """The numbers."""
        return f"{self.rows} {self.pairs.tobytes().hex()}"


# The regions of one image are read from one file, one after the other.
@lru_cache(1)
def _numbers(path: Path, modified: int) -> npt.NDArray[np.int32]:
    """(H, W) of R + 256 G + 256^2 B; DataError for files that cannot be read."""
    with open_image(path) as image:
        if image.mode not in ("RGB", "RGBA", "P") or is_lossy(image):
            raise DataError(
                f"{path}: {image.format} of kind {image.mode} where ids of segments in an RGB PNG are expected; "
                "export it again"
            )
        channels = np.asarray(image.convert("RGB"))
    numbers: npt.NDArray[np.int32] = channels[..., 2].astype(np.int32)
    for channel in (1, 0):
        numbers <<= 8
        numbers |= channels[..., channel]
    return numbers


def _require_size(pixels: Pixels, height: int, width: int, path: Path) -> None:
    if pixels.shape != (height, width):
        raise ValueError(f"{path.name} is {pixels.shape[1]}x{pixels.shape[0]} where {width}x{height} is expected")
