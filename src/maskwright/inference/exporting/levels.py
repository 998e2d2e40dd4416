"""What `modeling.models.selectors` does with tensors, with arrays: from probabilities of leaves to one class a pixel.

Both enlarge between pixels linearly, with the centres of pixels aligned, so that the labels are the same but where two
classes are equally probable up to the last bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import Level, Selector

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.uint8]


def resized(values: Floats, size: tuple[int, ...]) -> Floats:
    """(h, w) to (H, W), between pixels linearly."""
    if values.shape == size:
        return values
    return np.asarray(cv2.resize(np.ascontiguousarray(values), size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def select(probabilities: Floats, size: tuple[int, int], levels: Sequence[Level], selector: Selector) -> list[Indices]:
    """The probabilities (K, h, w) of leaves to the indices (H, W) uint8 of each level at another size, top first; the
    last are leaves. No more than a few of them are held at that size."""
    if selector == "levels":
        return [_largest(_sum(probabilities, members, size) for members in level.members) for level in levels]
    if selector == "top_down":
        leaves = _top_down(probabilities, size, levels)
    else:
        leaves = _largest(resized(leaf, size) for leaf in probabilities)
    return [*(level.mask(leaves) for level in levels[:-1]), leaves]


def _sum(probabilities: Floats, members: Sequence[int], size: tuple[int, int]) -> Floats:
    """The probabilities of a group; linear, so that it does not matter what is done first."""
    return resized(probabilities[members[0]] if len(members) == 1 else probabilities[list(members)].sum(0), size)


def _top_down(probabilities: Floats, size: tuple[int, int], levels: Sequence[Level]) -> Indices:
    """Leaf indices (H, W): at each level the most probable child of the class that was chosen above."""
    chosen = _largest(_sum(probabilities, members, size) for members in levels[0].members)
    for level in levels[1:]:
        children = zip(level.members, level.parent_of, strict=True)
        chosen = _largest(
            np.where(chosen == parent, _sum(probabilities, members, size), np.float32(-1))
            for members, parent in children
        )
    return chosen


def _largest(maps: Iterable[Floats]) -> Indices:
    """The number (H, W) of the map that is the largest at each pixel, of equal ones the first."""
    maps = iter(maps)
    best = next(maps).copy()
    index = np.zeros(best.shape, np.uint8)
    for number, values in enumerate(maps, 1):
        index[values > best] = number
        np.maximum(best, values, out=best)
    return index
