"""What a dataset consists of, in exact counts: classes by pixels, images and objects, sizes, channel values.

Everything is a sum of integers over samples, so memory does not grow with their number, no order of adding
changes a digit, and sums of parts can be added up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core import bands
from maskwright.core.bands import RGB, Bands
from maskwright.core.class_weights import effective_number, inverse_frequency, median_frequency
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.masks import Mask
from maskwright.core.palette import to_hex
from maskwright.data.auditing.objects import FLAWS, Measured

Counts = npt.NDArray[np.int64]
Size = tuple[int, int]
# The splits that training and scoring know, in the order in which they are shown.
SPLITS = ("train", "val", "test")
# Object sizes are counted in quarter octaves: a median from them is right to a tenth.
_BINS_PER_OCTAVE, _BINS = 4, 4 * 27
_NEVER = 1 << 40
_LOW = (1 << 32) - 1
# Cells of a heat map in each direction, and the most points of a mask that are looked at in each.
GRID, _POINTS = 32, 4


@dataclass
class ObjectCounts:
    """Objects of each class (K,): `sizes` (K, bins) by their pixels, `least` and `most` pixels, `pixels` in all,
    and `flaws` (K, 3) in the order of `FLAWS`; pinholes are counted for the class that they are of."""

    sizes: Counts
    least: Counts
    most: Counts
    flaws: Counts

    @classmethod
    def none(cls, classes: int) -> ObjectCounts:
        """No objects yet."""
        return cls(
            np.zeros((classes, _BINS), np.int64),
            np.full(classes, _NEVER),
            np.zeros(classes, np.int64),
            np.zeros((classes, len(FLAWS)), np.int64),
        )

    def add(self, index: Counts, area: Counts, flaw: Counts) -> None:
        """Counts objects: their classes, pixels and flaws (M,)."""
        places = index * _BINS + (np.log2(area) * _BINS_PER_OCTAVE).astype(np.int64)
        self.sizes += np.bincount(places, minlength=self.sizes.size).reshape(self.sizes.shape)
        np.minimum.at(self.least, index, area)
        np.maximum.at(self.most, index, area)
        flawed = flaw >= 0
        np.add.at(self.flaws, (index[flawed], flaw[flawed]), 1)

    def merge(self, other: ObjectCounts) -> None:
        """Adds the counts of others."""
        self.sizes += other.sizes
        self.flaws += other.flaws
        np.minimum(self.least, other.least, out=self.least)
        np.maximum(self.most, other.most, out=self.most)

    @property
    def counts(self) -> Counts:
        """(K,) objects of each class."""
        return np.asarray(self.sizes.sum(1))

    def median(self, index: int) -> float | None:
        """Pixels of the object in the middle by size, right to a tenth; None without objects."""
        upto = self.sizes[index].cumsum()
        if not upto[-1]:
            return None
        low = int(np.searchsorted(upto, (upto[-1] + 1) // 2))
        middle = float(2 ** ((low + 0.5) / _BINS_PER_OCTAVE))
        return min(max(round(middle), int(self.least[index])), int(self.most[index]))

    def to_dict(self, classes: ClassTree) -> list[dict[str, Any]]:
        """For JSON: one row a class."""
        return [
            {
                "id": leaf.id,
                "name": leaf.name,
                "objects": int(count),
                "pixels": {"min": int(self.least[i]), "median": self.median(i), "max": int(self.most[i])}
                if count
                else {},
                **dict(zip(FLAWS, self.flaws[i].tolist(), strict=True)),
            }
            for i, (leaf, count) in enumerate(zip(classes.leaves, self.counts.tolist(), strict=True))
        ]


@dataclass
class SplitStatistics:
    """Counts over the samples of a split, or of all.

    `images` could be read; `labelled` of them have a usable mask. Of those masks: `class_pixels` (K,) and
    `class_images` (K,) by class index, `image_pixels` (K,) the counted pixels of all images that have the class,
    `ignored_pixels`, and `objects`. `sizes` counts (height, width); `channels` (3, C) holds the sums of
    `channel_sums` over `pixels` pixels, the squares as their lower 32 bits and the rest, so that they do not overflow;
    `range` are the values of black and white.
    """

    class_pixels: Counts
    class_images: Counts
    image_pixels: Counts
    objects: ObjectCounts
    images: int = 0
    labelled: int = 0
    ignored_pixels: int = 0
    sizes: Counter[Size] = field(default_factory=Counter)
    channels: Counts = field(default_factory=lambda: np.zeros((3, 3), np.int64))
    pixels: int = 0
    range: tuple[int, int] = RGB.range

    @classmethod
    def none(cls, classes: int, held: Bands = RGB) -> SplitStatistics:
        """Nothing counted yet, of images that hold such bands."""
        pixels, images, image_pixels = np.zeros((3, classes), np.int64)
        channels = np.zeros((3, held.channels), np.int64)
        return cls(pixels, images, image_pixels, ObjectCounts.none(classes), channels=channels, range=held.range)

    def add_image(self, size: Size, channels: Counts | None) -> None:
        """Counts an image of (height, width) with the sums of its channels, unless it was not decoded."""
        self.images += 1
        self.sizes[size] += 1
        if channels is not None:
            self.channels += [channels[0], channels[1] & _LOW, channels[1] >> 32]
            self.pixels += size[0] * size[1]

    def add_masks(self, pixels: Counts) -> None:
        """Counts usable masks by their class pixels (n, K + 1), the ignored ones last."""
        here = pixels[:, :-1] > 0
        self.labelled += len(pixels)
        self.class_pixels += pixels[:, :-1].sum(0)
        self.class_images += here.sum(0)
        self.image_pixels += (here * pixels[:, :-1].sum(1, keepdims=True)).sum(0)
        self.ignored_pixels += int(pixels[:, -1].sum())

    def merge(self, other: SplitStatistics) -> None:
        """Adds the counts of other samples."""
        for name in (
            "class_pixels",
            "class_images",
            "image_pixels",
            "images",
            "labelled",
            "ignored_pixels",
            "channels",
            "pixels",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.sizes.update(other.sizes)
        self.objects.merge(other.objects)

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """(K,) share of each class in the counted pixels, 0..1; NaN when there are none."""
        total = self.class_pixels.sum()
        return self.class_pixels / total if total else np.full(len(self.class_pixels), np.nan)

    @property
    def ignored_share(self) -> float:
        """Share of ignored pixels in all mask pixels, 0..1; NaN when there are none."""
        total = int(self.class_pixels.sum()) + self.ignored_pixels
        return self.ignored_pixels / total if total else math.nan

    @property
    def mean_std(self) -> tuple[list[float], list[float]]:
        """Channel means and standard deviations (0..1 of the range) over all pixels of all images; NaN without any."""
        sums, low, high = self.channels.tolist()
        squares = [more * (1 << 32) + rest for rest, more in zip(low, high, strict=True)]
        return bands.mean_std(sums, squares, self.pixels, (int(self.range[0]), int(self.range[1])))

    def extent(self, axis: int) -> dict[str, float]:
        """Least, median and largest height (axis 0) or width (axis 1) in pixels; empty without images."""
        if not self.sizes:
            return {}
        values = np.repeat([size[axis] for size in self.sizes], list(self.sizes.values()))
        return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}

    def levels(self, classes: ClassTree) -> list[dict[str, Any]]:
        """For JSON: the balance at the levels of a class tree above the leaves, top first; empty for a flat list."""
        return [
            {
                "level": level.number,
                "classes": [
                    {"id": node.id, "name": node.name, "colour": to_hex(node.colour), "pixels": pixels, "share": share}
                    for node, pixels, share in zip(
                        level.classes.leaves,
                        level.sums(self.class_pixels).tolist(),
                        level.sums(self.shares).tolist(),
                        strict=True,
                    )
                ],
            }
            for level in classes.levels[:-1]
        ]

    def to_dict(self, classes: ClassTree) -> dict[str, Any]:
        """For JSON. `levels` is there for class trees only."""
        mean, std = self.mean_std
        levels = self.levels(classes)
        return {
            "images": self.images,
            "labelled": self.labelled,
            "ignored_pixels": self.ignored_pixels,
            "ignored_share": self.ignored_share,
            "classes": [
                {
                    "id": leaf.id,
                    "name": leaf.name,
                    "pixels": int(self.class_pixels[i]),
                    "share": float(self.shares[i]),
                    "images": int(self.class_images[i]),
                }
                for i, leaf in enumerate(classes.leaves)
            ],
            **({"levels": levels} if levels else {}),
            "objects": self.objects.to_dict(classes),
            "sizes": {
                "height": self.extent(0),
                "width": self.extent(1),
                "counts": [
                    {"height": h, "width": w, "images": n}
                    for (h, w), n in sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))
                ],
            },
            "channels": {"mean": mean, "std": std},
        }


@cache
def _cells(down: int, across: int) -> npt.NDArray[np.int32]:
    """The cell of the grid that each of (GRID * down, GRID * across) points is in."""
    rows, columns = np.indices((GRID * down, GRID * across), np.int32)
    return np.asarray(rows // down * GRID + columns // across, np.int32)


def where_classes_lie(masks: Sequence[Mask], classes: int) -> Counts:
    """(K + 1, GRID, GRID) int64: points of each class, then of ignored pixels, in the cells of a grid over masks
    (H, W) of equal size. Every mask has 16 points in each cell, or as many copies of fewer where it is small."""
    height, width = masks[0].shape
    down, across = (1 if side < 2 * GRID else 2 if side < 4 * GRID else _POINTS for side in (height, width))
    counts = np.zeros((classes + 1) * GRID * GRID, np.int64)
    for mask in masks:
        points = cv2.resize(mask, (GRID * across, GRID * down), interpolation=cv2.INTER_NEAREST_EXACT)
        places = np.minimum(points, classes).astype(np.int32) * (GRID * GRID) + _cells(down, across)
        counts += np.bincount(places.reshape(-1), minlength=counts.size)
    return counts.reshape(classes + 1, GRID, GRID) * (_POINTS * _POINTS // (down * across))


class Statistics:
    """Counts of each split, in the order given ("" for samples without one), and of all samples.

    `heat` (K + 1, GRID, GRID) is the sum of `where_classes_lie` over the usable masks that `add_objects` saw.
    """

    def __init__(self, classes: ClassTree, splits: Iterable[str], held: Bands = RGB) -> None:
        self.classes, self.bands = classes, held
        self.splits = {name: SplitStatistics.none(len(classes), held) for name in splits}
        self.heat = np.zeros((len(classes) + 1, GRID, GRID), np.int64)

    @property
    def total(self) -> SplitStatistics:
        """The counts of all splits together."""
        total = SplitStatistics.none(len(self.classes), self.bands)
        for part in self.splits.values():
            total.merge(part)
        return total

    def add(self, split: str, size: Size, channels: Counts | None, pixels: Counts | None) -> None:
        """Counts one sample by its image size, its channel sums unless it was not decoded, and its mask's class
        pixels (K + 1,) unless it has none that is usable or comes later by `add_masks`."""
        self.splits[split].add_image(size, channels)
        if pixels is not None:
            self.splits[split].add_masks(pixels[None])

    def add_masks(self, split: str, masks: Sequence[Mask], measured: Measured) -> None:
        """Counts usable masks (H, W) of equal size, as `measure` found them."""
        part, classes = self.splits[split], len(self.classes)
        part.add_masks(np.concatenate([measured.pixels[:, :classes], measured.pixels[:, IGNORE:]], axis=1))
        part.objects.add(measured.index, measured.area, measured.flaw)
        self.heat += where_classes_lie(masks, classes)

    def merge(self, splits: Mapping[str, SplitStatistics], heat: Counts) -> None:
        """Adds the counts by split of other samples, and their heat."""
        for name, part in splits.items():
            self.splits[name].merge(part)
        self.heat += heat

    @property
    def training(self) -> SplitStatistics:
        """The counts that training sees: those of `train`, else of the samples without a split, else of all."""
        parts = [self.splits[name] for name in ("train", "") if name in self.splits]
        return next((part for part in parts if part.labelled), self.total)

    @property
    def class_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """(K,) suggested weights of each kind, from the training pixels."""
        part = self.training
        return {
            "inverse_frequency": inverse_frequency(part.class_pixels),
            "median_frequency": median_frequency(part.class_pixels, part.image_pixels),
            "effective_number": effective_number(part.class_pixels),
        }

    @property
    def heat_maps(self) -> npt.NDArray[np.float64]:
        """(K, GRID, GRID) share of each class among the counted pixels there, 0..1, every image with the same
        weight; NaN where none is counted."""
        total = self.heat[:-1].sum(0)
        return np.where(total > 0, self.heat[:-1] / np.maximum(total, 1), np.nan)

    def to_dict(self) -> dict[str, Any]:
        """For JSON. `heat_maps` is left out where no objects were measured."""
        maps = (
            {
                "grid": [GRID, GRID],
                "classes": [
                    {"id": leaf.id, "name": leaf.name, "share": np.round(share, 4).tolist()}
                    for leaf, share in zip(self.classes.leaves, self.heat_maps, strict=True)
                ],
            }
            if self.heat.any()
            else None
        )
        return {
            "splits": {name: part.to_dict(self.classes) for name, part in self.splits.items()},
            "total": self.total.to_dict(self.classes),
            "class_weights": {name: weights.tolist() for name, weights in self.class_weights.items()},
        } | ({"heat_maps": maps} if maps else {})
