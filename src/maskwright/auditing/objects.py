"""Objects in index masks: 8-connected groups of pixels of one class, measured in many masks at a time.

Masks of one size stand below each other in a strip, a line of "no class" between them, so that a small mask
costs no more per pixel than a large one. The strip is cut into runs, stretches of one class in a row: areas,
boxes and class counts are sums over runs, of which there are far fewer than pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, MAX_CLASSES
from maskwright.core.masks import Mask

Ints = npt.NDArray[np.int64]
Region = tuple[int, int, int, int]

# What lies between masks, and what ids become that are no class: an index that no class can have.
NONE = MAX_CLASSES
FLAWS = ("specks", "slivers", "pinholes")
PINHOLE = 4  # pixels at most
SLIVER = 10  # pixels that it is longer than
_CORE = np.ones((3, 3), np.uint8)


class Flaw(NamedTuple):
    """How many `times` a mask has a flaw of a kind; class index and box (x, y, width, height) of the worst."""

    kind: str
    times: int
    leaf: int
    region: Region


@dataclass(frozen=True)
class Measured:
    """What n masks of one size consist of.

    `pixels` (n, 256) counts each index, `IGNORE` and `NONE` included as far as they lie in the masks. Of each of
    M objects: `index` (M,) its class, `mask` (M,) the mask it is in, `area` (M,) its pixels, `flaw` (M,) the
    position of its kind in `FLAWS`, or -1. `flaws` are those of each mask.
    """

    pixels: Ints
    index: Ints
    mask: Ints
    area: Ints
    flaw: Ints
    flaws: list[tuple[Flaw, ...]]


def speck_limit(pixels: int) -> int:
    """Largest area of a speck in a mask of `pixels`: 1/20,000 of it, but 4 at least and 16 at most."""
    return min(max(4, pixels // 20_000), 16)


def measure(masks: Sequence[Mask]) -> Measured:
    """Measures masks (H, W) uint8 of equal size. `IGNORE` and `NONE` are in no object.

    A flaw is an object that nobody is likely to have meant. *Specks*: objects of up to `speck_limit` pixels.
    *Slivers*: longer than `SLIVER` pixels, but nowhere 3 x 3 pixels thick. Neither is looked for in class
    index 0. *Pinholes*: objects of class index 0 of up to `PINHOLE` pixels that lie inside one other class.
    """
    height, width = masks[0].shape
    strip = np.full((1 + len(masks) * (height + 1), width + 1), NONE, np.uint8)
    strip[1:].reshape(len(masks), height + 1, width + 1)[:, :height, :width] = masks
    runs = _Runs.of(strip)
    # Of the lines between the masks each holds one run, whose pixels are not of the masks.
    owner = np.minimum((runs.row - 1) // (height + 1), len(masks) - 1)
    counts = np.bincount(owner * 256 + runs.value, weights=runs.length, minlength=len(masks) * 256)
    pixels = counts.astype(np.int64).reshape(len(masks), 256)
    pixels[:, NONE] = height * width - np.delete(pixels, NONE, axis=1).sum(1)

    parts = [_objects(strip, runs, int(index), height) for index in np.flatnonzero(pixels[:, :NONE].any(0))]
    found: list[dict[str, Flaw]] = [{} for _ in masks]
    for part in parts:
        part.tell(found, height)

    def joined(arrays: list[Ints]) -> Ints:
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    return Measured(pixels, joined([np.full(len(part.area), part.index) for part in parts]),
                    joined([part.mask for part in parts]), joined([part.area for part in parts]),
                    joined([part.flaw for part in parts]), [tuple(flaws.values()) for flaws in found])


@dataclass(frozen=True)
class _Runs:
    """Stretches of one value in a row, from left to right and top to bottom: (R,) each."""

    start: Ints
    length: Ints
    value: npt.NDArray[np.uint8]
    row: Ints
    width: int

    @classmethod
    def of(cls, strip: Mask) -> _Runs:
        """The runs of a strip, whose last column keeps them from going on in the next row."""
        flat = strip.reshape(-1)
        start = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        return cls(start, np.diff(start, append=flat.size), flat[start], start // strip.shape[1], strip.shape[1])

    def only(self, value: int) -> _Runs:
        """Those of one value."""
        here = np.flatnonzero(self.value == value)
        return _Runs(self.start[here], self.length[here], self.value[here], self.row[here], self.width)

    def pixels(self, label: Ints, chosen: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """(P,) places in the strip of the pixels of the objects that are chosen of those that `label` (R,) names,
        and (P,) their objects."""
        here = np.flatnonzero(chosen[label])
        length = self.length[here]
        before = np.cumsum(length) - length
        return np.repeat(self.start[here] - before, length) + np.arange(length.sum()), np.repeat(label[here], length)

    def boxes(self, label: Ints, chosen: Ints) -> Ints:
        """(len(chosen), 4) x, y, width, height of the chosen ones of the objects that `label` (R,) names."""
        place = np.full(int(label.max()) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        of = place[label]
        here = of >= 0
        of, row = of[here], self.row[here]
        left = self.start[here] - row * self.width
        box = np.tile(np.array([1 << 40, 1 << 40, 0, 0]), (len(chosen), 1))
        for column, least in enumerate((left, row)):
            np.minimum.at(box[:, column], of, least)
        for column, most in enumerate((left + self.length[here], row + 1)):
            np.maximum.at(box[:, 2 + column], of, most)
        box[:, 2:] -= box[:, :2]
        return box


@dataclass(frozen=True)
class _Objects:
    """The objects of one class, with the runs that they consist of."""

    index: int
    runs: _Runs
    label: Ints
    area: Ints
    mask: Ints
    flaw: Ints

    def tell(self, found: list[dict[str, Flaw]], height: int) -> None:
        """Adds the flaws to those of each mask, whose rows begin at multiples of height + 1."""
        flawed = np.flatnonzero(self.flaw >= 0)
        if not flawed.size:
            return
        # The smallest speck, the largest sliver and the largest pinhole of each mask come first.
        badness = np.where(self.flaw[flawed] == 0, self.area[flawed], -self.area[flawed])
        flawed = flawed[np.lexsort((badness, self.flaw[flawed], self.mask[flawed]))]
        _, first, count = np.unique(self.mask[flawed] * len(FLAWS) + self.flaw[flawed], return_index=True,
                                    return_counts=True)
        boxes = self.runs.boxes(self.label, flawed[first])
        boxes[:, 1] = (boxes[:, 1] - 1) % (height + 1)
        for at, times, (x, y, wide, high) in zip(flawed[first].tolist(), count.tolist(), boxes.tolist(), strict=True):
            flaws, kind = found[self.mask[at]], FLAWS[self.flaw[at]]
            other = flaws.get(kind)
            if other is None:
                flaws[kind] = Flaw(kind, times, self.index, (x, y, wide, high))
            else:
                flaws[kind] = other._replace(times=other.times + times)


def _objects(strip: Mask, runs: _Runs, index: int, height: int) -> _Objects:
    own = runs.only(index)
    inside = cv2.compare(strip, float(index), cv2.CMP_EQ)
    number, labels = cv2.connectedComponents(inside, connectivity=8, ltype=cv2.CV_32S)
    label = labels.reshape(-1)[own.start].astype(np.int64) - 1
    area = np.bincount(label, weights=own.length).astype(np.int64)
    first = np.zeros(number - 1, np.int64)
    first[label[::-1]] = own.row[::-1]
    flaw = np.full(number - 1, -1)
    if index == 0:
        flaw[_pinholes(strip, own, label, area)] = FLAWS.index("pinholes")
    else:
        flaw[_slivers(inside, labels, own, label, area)] = FLAWS.index("slivers")
        flaw[area <= speck_limit(height * (strip.shape[1] - 1))] = FLAWS.index("specks")
    return _Objects(index, own, label, area, (first - 1) // (height + 1), flaw)


def _slivers(inside: Mask, labels: npt.NDArray[np.int32], runs: _Runs, label: Ints, area: Ints) -> Ints:
    thin = area > SLIVER
    if not thin.any():
        return np.flatnonzero(thin)
    cores = cv2.erode(inside, _CORE, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    # Every ninth pixel shows nearly all thick objects to be thick; the few others are looked at in full.
    thin[labels[::3, ::3][cores[::3, ::3] > 0] - 1] = False
    pixel, of = runs.pixels(label, thin)
    thin[of[cores.reshape(-1)[pixel] > 0]] = False
    candidates = np.flatnonzero(thin)
    if not candidates.size:
        return candidates
    return np.asarray(candidates[runs.boxes(label, candidates)[:, 2:].max(1) > SLIVER])


def _pinholes(strip: Mask, runs: _Runs, label: Ints, area: Ints) -> Ints:
    small = area <= PINHOLE
    if not small.any():
        return np.flatnonzero(small)
    pixel, of = runs.pixels(label, small)
    around = np.array([row * runs.width + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    values = strip.reshape(-1)[pixel[:, None] + around].astype(np.int64)
    least, most = np.full(len(area), IGNORE), np.zeros(len(area), np.int64)
    np.minimum.at(least, of, np.where(values == 0, IGNORE, values).min(1))
    np.maximum.at(most, of, values.max(1))
    return np.flatnonzero(small & (least == most) & (most < NONE))
