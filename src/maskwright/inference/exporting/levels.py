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
from maskwright.core.tiles import Maps, whole

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.uint8]


def resized(values: Floats, size: tuple[int, ...]) -> Floats:
    """(h, w) to (H, W), between pixels linearly."""
    if values.shape == size:
        return values
    return np.asarray(cv2.resize(np.ascontiguousarray(values), size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def enlarged(probabilities: Floats, size: tuple[int, int]) -> Maps:
    """The maps of (K, h, w) probabilities at another size (H, W), made one by one. Groups are added before, which for
    what is linear does not matter."""
    maps = whole(probabilities)
    return lambda members: resized(maps(members), size)


def select(maps: Maps, levels: Sequence[Level], selector: Selector) -> list[Indices]:
    """The maps of leaves to the indices (H, W) uint8 of each level, top first; the last are leaves. No more than a few
    maps are held."""
    if selector == "levels":
        return [_largest(map(maps, level.members)) for level in levels]
    leaves = _top_down(maps, levels) if selector == "top_down" else _largest(map(maps, levels[-1].members))
    return [*(level.mask(leaves) for level in levels[:-1]), leaves]


def _top_down(maps: Maps, levels: Sequence[Level]) -> Indices:
    """Leaf indices (H, W): at each level the most probable child of the class that was chosen above."""
    chosen = _largest(map(maps, levels[0].members))
    for level in levels[1:]:
        children = zip(level.members, level.parent_of, strict=True)
        chosen = _largest(np.where(chosen == parent, maps(members), np.float32(-1)) for members, parent in children)
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
