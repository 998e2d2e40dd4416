"""Objects in index masks: 8-connected groups of pixels of one class, measured in many masks at a time.

Masks of one size stand below each other in a strip, a line of "no class" between them, so that a small mask
costs no more per pixel than a large one. The strip is cut into runs, stretches of one class in a row, of which there
are far fewer than pixels: objects are runs that touch, areas, boxes and class counts are sums over runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
THICK = 3  # pixels of a square; an object without one is thin


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

    index, mask, area, flaw, label, own = _objects(strip, runs, height)
    return Measured(pixels, index, mask, area, flaw, _tell(own, label, index, mask, area, flaw, len(masks), height))


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

    @property
    def end(self) -> Ints:
        """Where each ends."""
        return self.start + self.length

    def below(self, value: int) -> _Runs:
        """Those of smaller values."""
        here = np.flatnonzero(self.value < value)
        return _Runs(self.start[here], self.length[here], self.value[here], self.row[here], self.width)

    def first(self) -> Ints:
        """(R,) for each run the position of the first run of its object, the 8-connected pixels of its value."""
        one, other, *_ = _meetings(self.start + self.width, self.end + self.width, self.start, self.end, 0)
        same = self.value[one] == self.value[other]
        one, other = one[same], other[same]
        # Of two groups that touch the later one joins the earlier, in all pairs at once, until none is left.
        first = np.arange(len(self.start))
        while one.size:
            np.minimum.at(first, np.maximum(one, other), np.minimum(one, other))
            while not np.array_equal(first, shorter := first[first]):
                first = shorter
            one, other = first[one], first[other]
            apart = one != other
            one, other = one[apart], other[apart]
        return first

    def thick(self, chosen: npt.NDArray[np.bool_]) -> Ints:
        """Positions of those of the `chosen` (R,) runs that hold the middle of a square of THICK pixels."""
        here = np.flatnonzero(chosen & (self.length >= THICK))
        begin, value = self.start[here], self.value[here]
        end = begin + self.length[here]
        # Where a run and one of its value in the next row have so much in common, in places of that next row.
        upper, lower, left, right = _meetings(begin + self.width, end + self.width, begin, end, THICK)
        same = value[upper] == value[lower]
        lower, left, right = lower[same], left[same], right[same]
        # The next row is the middle where it has as much of that in common with the row below it.
        middle, *_ = _meetings(left, right, left - self.width, right - self.width, THICK)
        return np.asarray(here[lower[middle]])

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


def _meetings(begin: Ints, end: Ints, other_begin: Ints, other_end: Ints, least: int) -> tuple[Ints, Ints, Ints, Ints]:
    """The pairs of intervals from one list and from another that have at least so many places in common: positions in
    either list, and from where to where. Each list is in order, and its intervals do not overlap."""
    low = np.searchsorted(other_end, begin)
    many = np.searchsorted(other_begin, end, side="right") - low
    one = np.repeat(np.arange(len(begin)), many)
    other = np.arange(len(one)) + np.repeat(low - np.cumsum(many) + many, many)
    left, right = np.maximum(begin[one], other_begin[other]), np.minimum(end[one], other_end[other])
    wide = right - left >= least
    return one[wide], other[wide], left[wide], right[wide]


def _objects(strip: Mask, runs: _Runs, height: int) -> tuple[Ints, Ints, Ints, Ints, Ints, _Runs]:
    """Of the objects of a strip: class, mask, pixels and flaw (M,), and the object of each run (R,) with these runs."""
    own = runs.below(NONE)
    of = own.first()
    begins = of == np.arange(len(of))
    first, label = np.flatnonzero(begins), (np.cumsum(begins) - 1)[of]
    area = np.bincount(label, weights=own.length, minlength=len(first)).astype(np.int64)
    index, row = own.value[first].astype(np.int64), own.row[first]
    flaw = np.full(len(first), -1)
    flaw[_pinholes(strip, own, label, (area <= PINHOLE) & (index == 0))] = FLAWS.index("pinholes")
    flaw[_slivers(own, label, (area > SLIVER) & (index > 0))] = FLAWS.index("slivers")
    flaw[(area <= speck_limit(height * (strip.shape[1] - 1))) & (index > 0)] = FLAWS.index("specks")
    return index, (row - 1) // (height + 1), area, flaw, label, own


def _tell(
    runs: _Runs, label: Ints, index: Ints, mask: Ints, area: Ints, flaw: Ints, masks: int, height: int
) -> list[tuple[Flaw, ...]]:
    """The flaws of each mask, whose rows begin at multiples of height + 1."""
    found: list[list[Flaw]] = [[] for _ in range(masks)]
    flawed = np.flatnonzero(flaw >= 0)
    if flawed.size:
        # The smallest speck, the largest sliver and the largest pinhole of each mask come first.
        badness = np.where(flaw[flawed] == 0, area[flawed], -area[flawed])
        flawed = flawed[np.lexsort((badness, flaw[flawed], mask[flawed]))]
        _, first, count = np.unique(mask[flawed] * len(FLAWS) + flaw[flawed], return_index=True, return_counts=True)
        worst = flawed[first]
        boxes = runs.boxes(label, worst)
        boxes[:, 1] = (boxes[:, 1] - 1) % (height + 1)
        for at, times, (x, y, wide, high) in zip(worst.tolist(), count.tolist(), boxes.tolist(), strict=True):
            found[mask[at]].append(Flaw(FLAWS[flaw[at]], times, int(index[at]), (x, y, wide, high)))
    return [tuple(flaws) for flaws in found]


def _slivers(runs: _Runs, label: Ints, thin: npt.NDArray[np.bool_]) -> Ints:
    """Those of the objects that may be `thin` (M,) that are."""
    if not thin.any():
        return np.flatnonzero(thin)
    thin[label[runs.thick(thin[label])]] = False
    candidates = np.flatnonzero(thin)
    if not candidates.size:
        return candidates
    return np.asarray(candidates[runs.boxes(label, candidates)[:, 2:].max(1) > SLIVER])


def _pinholes(strip: Mask, runs: _Runs, label: Ints, small: npt.NDArray[np.bool_]) -> Ints:
    """Those of the `small` objects (M,) that lie inside one other class."""
    if not small.any():
        return np.flatnonzero(small)
    pixel, of = runs.pixels(label, small)
    around = np.array([row * runs.width + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    values = strip.reshape(-1)[pixel[:, None] + around].astype(np.int64)
    least, most = np.full(len(small), IGNORE), np.zeros(len(small), np.int64)
    np.minimum.at(least, of, np.where(values == 0, IGNORE, values).min(1))
    np.maximum.at(most, of, values.max(1))
    return np.flatnonzero(small & (least == most) & (most < NONE))
