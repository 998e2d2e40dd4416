"""Slices: the same evaluation looked at in parts, to see where it is worse than elsewhere.

Of each image a few counts are kept (see `SliceFacts`), so images are looked at one by one. Slices of one axis divide
the same pixels, objects, images or classes; those of different axes overlap (small objects may be those of one class),
so one cause can show in several of them.

Each slice is compared with the rest of its axis. That it is worse is said only where that is significant, after a
correction for the number of slices compared (Holm), and where there are enough images and objects to tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask, Pixels
from maskwright.evaluation.explaining.against_rest import Counts, compare_with_rest
from maskwright.evaluation.explaining.anatomy import Anatomy
from maskwright.evaluation.metrics import Interval, Marginals, confusion_matrix, holm
from maskwright.evaluation.metrics.marginals import Score

SIZES = {"below 0.1 %": 0.0, "0.1 to 1 %": 0.001, "1 to 10 %": 0.01, "10 % and more": 0.1}  # from which share on
ZONES = {"centre": 0.0, "between": 0.5, "edge": 0.8}  # from which distance on, see `zone_map`
FEW_IMAGES, FEW_OBJECTS = 10, 20
CHANCE = 0.05


@dataclass(frozen=True)
class SliceFacts:
    """What is kept of an image of K classes. `counts` (3, K): hit, true and predicted pixels; `zones` (Z, 3, K): the
    same in each zone; `sizes` (S, 4): of the objects of each size hit pixels, true pixels, their number and how many
    were found; `brightness` and `contrast`: mean and standard deviation of lightness, 0..1."""

    counts: npt.NDArray[np.int32]
    zones: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int32]
    brightness: float
    contrast: float


def facts_of(
    image: Pixels, truth: Mask, prediction: Mask, anatomy: Anatomy, classes: int, background: int | None
) -> SliceFacts:
    """image: (H, W, 3) uint8 RGB; truth, prediction: (H, W) class indices."""
    zones = zone_map(truth.shape[0], truth.shape[1])
    within = [
        condensed(confusion_matrix(np.where(zones == zone, truth, np.uint8(IGNORE)), prediction, classes, IGNORE))
        for zone in range(len(ZONES))
    ]
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(light)
    return SliceFacts(
        np.sum(within, axis=0, dtype=np.int32),
        np.stack(within),
        _sizes(truth, prediction, anatomy, background),
        float(mean[0, 0]) / 255,
        float(deviation[0, 0]) / 255,
    )


def condensed(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """(K, K) -> (3, K): hit, true and predicted pixels, all that scores by class are made of."""
    return np.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)]).astype(np.int32)


def zone_map(height: int, width: int) -> npt.NDArray[np.uint8]:
    """(H, W) the place in `ZONES` of each pixel, by its distance from the centre as a share of the way to the border: a
    distance below 0.5 is the quarter of the image around its centre, one from 0.8 on the frame with 36 % of its
    area."""
    rows, columns = (np.abs((np.arange(side) + 0.5) * 2 / side - 1) for side in (height, width))
    distance = np.maximum(rows[:, None], columns[None])
    return (np.searchsorted([*ZONES.values()], distance, "right") - 1).astype(np.uint8)


def _sizes(truth: Mask, prediction: Mask, anatomy: Anatomy, background: int | None) -> npt.NDArray[np.int32]:
    objects = anatomy.objects
    hit = np.bincount(objects.label[truth == prediction], minlength=len(objects.area))
    bins = np.searchsorted([*SIZES.values()], objects.area / truth.size, "right") - 1
    table = np.zeros((len(SIZES), 4), np.int32)
    counted = objects.area > 0
    counted[0] = False
    if background is not None:
        counted &= objects.index != background
    for row in range(len(SIZES)):
        here = counted & (bins == row)
        table[row] = hit[here].sum(), objects.area[here].sum(), here.sum(), anatomy.found[here].sum()
    return table


class Parts(NamedTuple):
    """The slices of an axis: names and counts (N, P, 3, C), how these are compared, and by slice the number of objects
    and of found ones, where they are objects."""

    names: list[str]
    table: Counts
    score: Score
    pooled: bool = True
    objects: list[int] | None = None
    found: list[int] | None = None


# From the facts of all images, and the names by index of the classes that are objects.
Make = Callable[[Sequence[SliceFacts], Mapping[int, str]], Parts]


class Axis(NamedTuple):
    """What the slices of an axis divide, and the score by which they are compared."""

    meaning: str
    measure: str
    make: Make


@dataclass(frozen=True)
class Slice:
    """One slice. `score` is of what `AXES` says for its axis, `difference` is to the rest; `p` is the probability,
    corrected for all slices, of being so far below it by chance. `few`: there is too little to tell; `worse`:
    significantly."""

    axis: str
    name: str
    measure: str
    images: int
    objects: int | None
    found: int | None
    score: Interval
    difference: Interval
    p: float
    few: bool
    worse: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"score": self.score.to_dict(), "difference": self.difference.to_dict()}


def slices(facts: Sequence[SliceFacts], classes: Sequence[str], background: int | None = 0) -> list[Slice]:
    """The slices of all axes of at least one image, empty ones left out; an axis needs two of them. The background is
    no slice of the classes: that it is easier than they are goes without saying."""
    solid = {index: name for index, name in enumerate(classes) if index != background}
    found: list[Slice] = []
    for name, axis in AXES.items():
        found += _axis(name, axis, axis.make(facts, solid))
    corrected = holm([math.nan if one.few else one.p for one in found])
    return [
        Slice(**vars(one) | {"p": p, "worse": not math.isnan(p) and p < CHANCE})
        for one, p in zip(found, corrected, strict=True)
    ]


def _axis(name: str, axis: Axis, parts: Parts) -> Iterator[Slice]:
    images = (parts.table[:, :, 1].sum(-1) > 0).sum(0).tolist()
    kept = [place for place, number in enumerate(images) if number]
    if len(kept) < 2:
        return
    comparisons = compare_with_rest(parts.table, parts.score, pooled=parts.pooled)
    for place in kept:
        objects = parts.objects[place] if parts.objects else None
        told = comparisons[place]
        few = images[place] < FEW_IMAGES or (objects is not None and objects < FEW_OBJECTS) or math.isnan(told.p)
        yield Slice(
            name,
            parts.names[place],
            axis.measure,
            images[place],
            objects,
            parts.found[place] if parts.found else None,
            told.score,
            told.difference,
            told.p,
            few,
            False,
        )


def _by_size(facts: Sequence[SliceFacts], _: Mapping[int, str]) -> Parts:
    table = np.stack([one.sizes for one in facts])
    counts = np.zeros((*table.shape[:2], 3, 1), np.int32)
    counts[:, :, :2, 0] = table[:, :, :2]
    number, found = table[:, :, 2].sum(0).tolist(), table[:, :, 3].sum(0).tolist()
    return Parts([*SIZES], counts, Marginals.mAcc, objects=number, found=found)


def _by_position(facts: Sequence[SliceFacts], _: Mapping[int, str]) -> Parts:
    return Parts([*ZONES], np.stack([one.zones for one in facts]), Marginals.mIoU)


def _by_class(facts: Sequence[SliceFacts], classes: Mapping[int, str]) -> Parts:
    counts = np.stack([one.counts for one in facts])[:, :, [*classes]]
    return Parts([*classes.values()], counts.transpose(0, 2, 1)[..., None], Marginals.mIoU, pooled=False)


def _by_light(names: Sequence[str], value: Callable[[SliceFacts], float]) -> Make:
    def make(facts: Sequence[SliceFacts], _: Mapping[int, str]) -> Parts:
        values = np.array([value(one) for one in facts])
        # By value and not by rank: equal images stay together.
        third = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)
        counts = np.stack([one.counts for one in facts])
        return Parts(
            [*names], np.stack([counts * (third == part)[:, None, None] for part in range(3)], 1), Marginals.mIoU
        )

    return make


AXES = {
    "size": Axis("objects by their share of the image: how much of their pixels was found", "recall", _by_size),
    "position": Axis(
        "pixels by their distance from the centre, as a share of the way to the border: below 0.5, from "
        "0.8 on, and in between",
        "mIoU",
        _by_position,
    ),
    "brightness": Axis(
        "images by their mean lightness, a third each",
        "mIoU",
        _by_light(["dark", "medium", "bright"], lambda one: one.brightness),
    ),
    "contrast": Axis(
        "images by the standard deviation of their lightness, a third each",
        "mIoU",
        _by_light(["low", "medium", "high"], lambda one: one.contrast),
    ),
    "class": Axis("classes but the background; the rest is the mean of the other ones", "IoU", _by_class),
}
