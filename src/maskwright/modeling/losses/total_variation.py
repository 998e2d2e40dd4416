"""Total variation: a penalty on probabilities that change from pixel to pixel."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.shared import weighted_mean, widened


class TotalVariation(nn.Module):
    """Mean over pairs of neighbours of the distance sum(|p - q|) / 2 between their softmax distributions p and q:
    0 where all pixels say the same, 1 where each contradicts the next (anisotropic, after Rudin et al., 1992).

    Neighbours are beside or below each other in one image; a pair with an ignored pixel does not count. It does not
    look at the classes of the truth, so there are no class weights and an absent class is nothing special, and it is
    smallest for one class everywhere: a small term beside another loss.
    """

    def __init__(self) -> None:  # so that its signature says that there are no arguments
        super().__init__()

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        probabilities = widened(logits).softmax(1)
        counted = (targets != IGNORE).to(probabilities.dtype)
        changes, pairs = [], []
        for axis in (-1, -2):
            size = counted.shape[axis] - 1
            here, there = probabilities.narrow(axis, 0, size), probabilities.narrow(axis, 1, size)
            changes.append((here - there).abs().sum(1).flatten() / 2)
            pairs.append((counted.narrow(axis, 0, size) * counted.narrow(axis, 1, size)).flatten())
        return weighted_mean(torch.cat(changes), torch.cat(pairs))
