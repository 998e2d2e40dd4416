"""From probabilities of leaves to one class a pixel at each level of a class tree; see `SELECTORS`.

The probabilities at an image's own size are never needed all at once, which for a photograph and a hundred classes
would be gigabytes: classes are compared one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from maskwright.core.classes import Level, Selector
from maskwright.core.tiles import Maps, whole

# Numbers that are held at once. Three classes are never taken apart: torch has an arithmetic of its own for them.
WHOLE, _ALWAYS = 1 << 24, 3


def enlarged(probabilities: torch.Tensor, size: tuple[int, ...]) -> Maps:
    """The maps of (K, h, w) probabilities at another size (H, W): made one by one where all would be large."""
    count = len(probabilities)
    if count <= _ALWAYS or count * size[0] * size[1] <= WHOLE:
        return whole(resized(probabilities, size))

    def summed(members: Sequence[int]) -> torch.Tensor:
        total = resized(probabilities[members[0]][None], size)[0]
        for member in members[1:]:
            total += resized(probabilities[member][None], size)[0]
        return total

    return summed


def resized(probabilities: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """(K, h, w) to (K, H, W), between pixels linearly."""
    return functional.interpolate(probabilities[None], size, mode="bilinear")[0]


def select(maps: Maps, levels: Sequence[Level], selector: Selector) -> list[npt.NDArray[np.uint8]]:
    """The maps of leaves to the indices (H, W) uint8 of each level, top first; the last are leaves."""
    if selector == "levels":
        return [_numpy(_largest(map(maps, level.members))) for level in levels]
    leaves = _numpy(top_down(maps, levels) if selector == "top_down" else _largest(map(maps, levels[-1].members)))
    return [*(level.mask(leaves) for level in levels[:-1]), leaves]


def top_down(maps: Maps, levels: Sequence[Level]) -> torch.Tensor:
    """The maps of leaves to leaf indices (H, W) uint8: at each level the most probable child of the class that was
    chosen above."""
    chosen = _largest(map(maps, levels[0].members))
    for level in levels[1:]:
        children = zip(level.members, level.parent_of, strict=True)
        chosen = _largest(maps(members).masked_fill(chosen != parent, -1.0) for members, parent in children)
    return chosen


def _largest(maps: Iterable[torch.Tensor]) -> torch.Tensor:
    """The number (H, W) uint8 of the map that is the largest at each pixel, of equal ones the first."""
    best = index = None
    for number, values in enumerate(maps):
        if best is None or index is None:
            best, index = values, torch.zeros_like(values, dtype=torch.uint8)
        else:
            index.masked_fill_(values > best, number)
            best = torch.maximum(best, values)
    assert index is not None  # a level has classes
    return index


def _numpy(indices: torch.Tensor) -> npt.NDArray[np.uint8]:
    return indices.cpu().numpy()
