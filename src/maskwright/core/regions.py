"""Regions: labelled shapes on an image, and how they become a mask.

Annotation tools store polygons, boxes, ellipses, run lengths and pictures. Here each is one of three shapes, and a
`Drawing` holds those of one image. It is rendered when its mask is asked for, so a dataset of a million
polygons is listed without a single pixel in memory.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from maskwright.base import strictyaml
from maskwright.core.polygons import Ring, rasterise
from maskwright.core.rle import decode_box, decode_counts
from maskwright.core.spans import TOGETHER, places_inside

# Pixels (h, w) bool of a part of an image, and the row and column where it begins.
Window = tuple[npt.NDArray[np.bool_], int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """Rings of points (P, 2) as (x, y) in continuous pixel coordinates, where pixel (row r, column c) covers
    [c, c + 1) x [r, r + 1). A pixel is inside when its centre is, by the even-odd rule over all rings."""

    rings: tuple[Ring, ...]

    # Arrays have no equality of their own.
    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Polygon)
            and len(self.rings) == len(other.rings)
            and all(map(np.array_equal, self.rings, other.rings))
        )

    def window(self, height: int, width: int) -> Window:
        """The part of an image (H, W) that holds it."""
        points = np.concatenate([*self.rings, np.zeros((0, 2))])
        if not len(points) or not np.isfinite(points).all():
            return rasterise(self.rings, height, width), 0, 0
        left, top = (int(side) for side in np.clip(np.floor(points.min(0)), 0, (width, height)))
        right, bottom = (int(side) for side in np.clip(np.ceil(points.max(0)), (left, top), (width, height)))
        return rasterise([ring - (left, top) for ring in self.rings], bottom - top, right - left), top, left


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Run lengths, starting with a run outside: column by column over the image as in COCO (`box` None, `size` the
    image's height and width), or row by row inside a box as in CVAT (`box` = left, top, width, height)."""

    counts: npt.NDArray[np.uint32]
    size: tuple[int, int] | None = None
    box: tuple[int, int, int, int] | None = None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Runs)
            and (self.size, self.box) == (other.size, other.box)
            and np.array_equal(self.counts, other.counts)
        )

    def window(self, height: int, width: int) -> Window:
        """The part of an image (H, W) that holds it; what lies outside the image is cut off. ValueError when the runs
        do not fit their box."""
        if self.box is not None:
            left, top = max(0, min(self.box[0], width)), max(0, min(self.box[1], height))
            right, bottom = (
                max(low, min(start + size, limit))
                for low, start, size, limit in (
                    (left, self.box[0], self.box[2], width),
                    (top, self.box[1], self.box[3], height),
                )
            )
            return (
                decode_box(
                    self.counts.tolist(),
                    self.box[0] - left,
                    self.box[1] - top,
                    *self.box[2:],
                    bottom - top,
                    right - left,
                ),
                top,
                left,
            )
        rows, columns = self.size or (height, width)
        counts = self.counts.astype(np.int64)
        if rows < 1 or not len(counts) or counts.sum() != rows * columns:
            raise ValueError(f"run lengths cover {counts.sum()} pixels of an image of {columns}x{rows}")
        # Columns without a pixel, on both sides, are left out before they take memory.
        first = int(counts[0]) // rows
        behind = int(counts[-1]) // rows if len(counts) % 2 and len(counts) > 1 else 0
        counts[0] -= first * rows
        counts[-1] -= behind * rows
        part = decode_counts(counts.tolist(), rows, max(0, columns - first - behind))
        return part[:height, : max(0, width - first)], 0, min(first, width)


class Deferred(ABC):
    """A shape that only its format knows how to read: its pixels lie in another file, or need the size of the image."""

    __slots__ = ()

    @abstractmethod
    def window(self, height: int, width: int) -> Window:
        """The part of an image (H, W) that holds it. ValueError when it does not fit, DataError for what cannot be
        read."""

    @abstractmethod
    def content(self) -> str:
        """All that decides about its pixels, for `Drawing.digest`. DataError for what cannot be read."""


Shape = Polygon | Runs | Deferred


@dataclass(frozen=True, slots=True)
class Region:
    """A shape with its class id. Regions of a higher `order` lie on top; `weak` ones are boxes around an object,
    not its outline."""

    id: int
    shape: Shape
    order: int = 0
    weak: bool = False


class BoxRule(strictyaml.StrictModel):
    """How boxes become masks: which of two overlapping ones is on top, the share by which each side is pulled in
    towards the centre (0 to below 1), and what pixels outside every box are in a sample that has only boxes."""

    overlap: Literal["smaller_on_top", "larger_on_top", "file_order"] = "smaller_on_top"
    shrink: float = Field(default=0.0, ge=0, lt=1)
    outside: Literal["background", "ignore"] = "background"


PLAIN_BOXES = BoxRule()


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn on one image. `fill` is the id of pixels without a region, `size` (height, width) is what the
    annotation says, None when it does not; `source` is the annotation file."""

    regions: tuple[Region, ...]
    fill: int
    source: Path
    size: tuple[int, int] | None = None
    rule: BoxRule = PLAIN_BOXES

    def render(self, height: int, width: int) -> tuple[npt.NDArray[np.uint16], int]:
        """Ids (H, W) uint16, and how many pixels of a region another class hides.

        Later regions lie on top of earlier ones of the same `order`; boxes lie below outlines and among
        themselves as the rule says. Raises ValueError for run lengths that do not fit.
        """
        canvas = np.full((height, width), self.fill, np.uint16)
        drawn = np.zeros((height, width), np.bool_)
        flat, flat_drawn = canvas.reshape(-1), drawn.reshape(-1)
        hidden = 0
        ordered = sorted(self.regions, key=self._rank)
        for begin in range(0, len(ordered), TOGETHER):
            part = ordered[begin : begin + TOGETHER]
            shapes = [_shrunk(region.shape, self.rule.shrink if region.weak else 0.0) for region in part]
            rings = [shape.rings if isinstance(shape, Polygon) else () for shape in shapes]
            for region, shape, places in zip(part, shapes, places_inside(rings, height, width), strict=True):
                if places is not None:
                    there = flat_drawn[places]
                    if there.any():
                        hidden += int(np.count_nonzero(there & (flat[places] != region.id)))
                    flat[places] = region.id
                    flat_drawn[places] = True
                    continue
                inside, top, left = shape.window(height, width)
                place = slice(top, top + inside.shape[0]), slice(left, left + inside.shape[1])
                hidden += int(np.count_nonzero(inside & drawn[place] & (canvas[place] != region.id)))
                canvas[place][inside] = region.id
                drawn[place] |= inside
        return canvas, hidden

    def _rank(self, region: Region) -> tuple[int, int, float]:
        # `sorted` is stable, which keeps the order of the file within a rank.
        size = 0.0
        if region.weak and isinstance(region.shape, Polygon):
            sign = {"smaller_on_top": -1, "larger_on_top": 1, "file_order": 0}[self.rule.overlap]
            size = sign * sum(_area(ring) for ring in region.shape.rings)
        return region.order, not region.weak, size

    def digest(self) -> str:
        """Hex of a BLAKE2b over all that decides about the mask."""
        found = hashlib.blake2b(digest_size=16)
        found.update(repr((self.fill, self.size, self.rule)).encode())
        for region in self.regions:
            if isinstance(region.shape, Deferred):
                found.update(repr((region.id, region.order, region.weak, region.shape.content())).encode())
                continue
            arrays: Sequence[npt.NDArray[Any]] = (
                region.shape.rings if isinstance(region.shape, Polygon) else (region.shape.counts,)
            )
            extra = (region.shape.size, region.shape.box) if isinstance(region.shape, Runs) else ()
            found.update(repr((region.id, region.order, region.weak, extra, [a.shape for a in arrays])).encode())
            for array in arrays:
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def _area(ring: Ring) -> float:
    """Of a simple polygon (the shoelace formula)."""
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _shrunk(shape: Shape, share: float) -> Shape:
    if share == 0 or not isinstance(shape, Polygon):
        return shape
    return Polygon(tuple(ring + (ring.mean(0) - ring) * share for ring in shape.rings))
