"""Whether mirrored images could be images of the same data: whether classes know left from right, or top from bottom.

Few masks never lie symmetrically, so the difference between where a class lies and the mirror image of that is
compared with what chance makes of it: were the data symmetric, each image could as well have been the other way
round, and mirroring a random half of the images would change nothing (a sign-flip randomisation test over images;
Fisher 1935, Lehmann and Romano 2005, chapter 15.2). Two things count, each only when it is both more than chance and
large: where a class lies in the image, and on which side of another class it lies, as of left and right organs.
Frames of one scene are not independent: of these, chance is underestimated, and the size of the difference decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from maskwright.base.texts import counted, plural
from maskwright.core.masks import Mask, class_pixels

Floats = npt.NDArray[np.float64]
_BINS = 64
# The share of symmetric data that may be called asymmetric, for all classes of an axis together.
_ALPHA = 0.01
# What is large: of the total variation between positions and their mirror image (0 the same, 1 disjoint); of the
# images of a pair of classes, those in which they lie in one order, and their mean distance as a share of the side.
_FAR, _ORDERED, _APART = 0.3, 0.9, 0.1
_DRAWS, _EXACT = 1999, 10
# With fewer images even perfect order happens by chance more often than _ALPHA.
FEWEST = 8


@dataclass(frozen=True)
class Mirror:
    """Whether images may be mirrored along an axis, and why, in words."""

    natural: bool
    reason: str


class Positions:
    """Where the classes of some masks lie, by image."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._odd: list[npt.NDArray[np.float32]] = []
        self._centres: list[Floats] = []
        self._totals = np.zeros(len(self.names))

    def add(self, mask: Mask) -> None:
        """Takes a mask (H, W) of class indices; ignored pixels do not count."""
        classes = len(self.names)
        odd = np.zeros((2, classes, _BINS // 2), np.float32)
        centres = np.full((2, classes), np.nan)
        for index in np.flatnonzero(class_pixels(mask, classes)[:classes]).tolist():
            here = mask == index
            self._totals[index] += here.mean() * _BINS
            for axis in range(2):
                along = here.mean(axis=axis)
                places = (np.arange(_BINS) + 0.5) * len(along) / _BINS - 0.5
                profile = np.interp(places, np.arange(len(along)), along)
                odd[axis, index] = (profile - profile[::-1])[: _BINS // 2]
                centres[axis, index] = (along @ (np.arange(len(along)) + 0.5)) / along.sum() / len(along)
        self._odd.append(odd)
        self._centres.append(centres)

    def mirrors(self) -> tuple[Mirror, Mirror]:
        """Whether left and right, and top and bottom, may be exchanged."""
        return self._mirror(0, "left/right", "to the left of"), self._mirror(1, "top/bottom", "above")

    def _mirror(self, axis: int, sides: str, before: str) -> Mirror:
        images = len(self._odd)
        distances, chances = _distances(np.array([odd[axis] for odd in self._odd], np.float64), self._totals)
        known = np.where((distances > _FAR) & (chances <= _ALPHA), distances, 0.0)
        if ordered := _order(np.array([centres[axis] for centres in self._centres])):
            one, other, times, together = ordered
            return Mirror(
                False,
                f"class positions are not {sides} symmetric: {self.names[one]!r} lies {before} "
                f"{self.names[other]!r} in {times} of {together} images",
            )
        if known.any():
            worst = int(known.argmax())
            return Mirror(
                False,
                f"class positions are not {sides} symmetric: those of {self.names[worst]!r} and of "
                f"its mirror image differ by {known[worst]:.2f} of 1, more than chance (p = "
                f"{chances[worst]:.2g}, {images} images)",
            )
        most = float(distances.max(initial=0))
        if most <= _FAR:
            return Mirror(True, f"class positions are {sides} symmetric (difference {most:.2f} of 1)")
        if images < FEWEST:
            # Most photographs may be mirrored, and few of them turned upside down.
            return Mirror(
                axis == 0,
                f"class positions differ by {most:.2f} of 1 {sides}, and "
                + counted(images, "image{ is|s are} too few to tell that from chance"),
            )
        return Mirror(
            True,
            f"class positions are {sides} symmetric as far as {plural(images, 'image')} can show (a difference of "
            f"{most:.2f} of 1 is no more than chance)",
        )


def _distances(odd: Floats, totals: Floats) -> tuple[Floats, Floats]:
    """For each class (K,) the total variation between its positions and their mirror image, and the probability that
    chance makes any class as striking, of the differences `odd` (N, K, B / 2) between the sides of each image and the
    sums `totals` (K,) of positions."""
    images = len(odd)
    if images <= _EXACT:
        signs = 1.0 - 2.0 * (np.arange(1 << images)[:, None] >> np.arange(images) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (_DRAWS, images))
        signs = np.concatenate([np.ones((1, images)), signs])
    found = np.stack([np.abs(signs @ odd[:, k]).sum(1) / max(totals[k], 1e-12) for k in range(odd.shape[1])], 1)
    found = found.round(9)  # equal but for the order of sums
    # The share of draws that are as far, by class; the smallest of a draw is compared (Westfall and Young 1993).
    share = np.stack([1 - np.searchsorted(np.sort(column), column) / len(column) for column in found.T], 1)
    smallest = np.sort(share.min(1))
    return found[0], np.searchsorted(smallest, share[0], "right") / len(smallest)


def _order(centres: Floats) -> tuple[int, int, int, int] | None:
    """The pair of classes (first, second, in how many images, of how many) whose order along an axis is the most
    certain, of `centres` (N, K), NaN where a class is not; None when no order is more than chance and large."""
    enough = np.flatnonzero((~np.isnan(centres)).sum(0) >= FEWEST).tolist()
    pairs = list(combinations(enough, 2))
    best: tuple[tuple[float, float], tuple[int, int, int, int]] | None = None
    for one, other in pairs:
        apart = centres[:, other] - centres[:, one]
        apart = apart[~np.isnan(apart) & (apart != 0)]
        if len(apart) < FEWEST:
            continue
        times = int((apart > 0).sum())
        most = max(times, len(apart) - times)
        chance = min(1.0, 2 * sum(math.comb(len(apart), k) for k in range(most, len(apart) + 1)) / 2 ** len(apart))
        wide = float(abs(apart.mean()))
        if (
            most >= _ORDERED * len(apart)
            and wide > _APART
            and chance * len(pairs) <= _ALPHA
            and (best is None or (chance, -wide) < best[0])
        ):
            first, second = (one, other) if times == most else (other, one)
            best = (chance, -wide), (first, second, most, len(apart))
    return best[1] if best else None
