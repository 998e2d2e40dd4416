"""From probabilities of leaves to one class a pixel at each level of a class tree; see `SELECTORS`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from maskwright.core.classes import Level, Selector


def select(probabilities: torch.Tensor, levels: Sequence[Level], selector: Selector) -> list[npt.NDArray[np.uint8]]:
    """(K, H, W) probabilities of leaves to the indices (H, W) uint8 of each level, top first; the last are leaves."""
    if selector == "levels":
        return [_indices(level_sums(probabilities, level).argmax(0)) for level in levels]
    leaves = _indices(top_down(probabilities, levels) if selector == "top_down" else probabilities.argmax(0))
    return [*(level.mask(leaves) for level in levels[:-1]), leaves]


def level_sums(probabilities: torch.Tensor, level: Level) -> torch.Tensor:
    """(K, H, W) probabilities of leaves to those of a level (M, H, W): sums over the leaves of each class."""
    if len(level) == len(probabilities):
        return probabilities
    return torch.stack([probabilities[list(members)].sum(0) for members in level.members])


def top_down(probabilities: torch.Tensor, levels: Sequence[Level]) -> torch.Tensor:
    """(K, H, W) probabilities of leaves to leaf indices (H, W) int64: at each level the most probable child of the
    class that was chosen above."""
    chosen = level_sums(probabilities, levels[0]).argmax(0)
    for level in levels[1:]:
        parents = torch.tensor(level.parent_of, device=chosen.device)[:, None, None]
        chosen = level_sums(probabilities, level).masked_fill(parents != chosen, -1.0).argmax(0)
    return chosen


def _indices(chosen: torch.Tensor) -> npt.NDArray[np.uint8]:
    return chosen.to(torch.uint8).cpu().numpy()
