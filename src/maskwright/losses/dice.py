"""Soft Dice loss."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from maskwright.core.classes import IGNORE


class Dice(nn.Module):
    """1 minus the mean soft Dice coefficient (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth).

    Sums run over all counted pixels of the batch (Milletari et al., 2016, without squares); the mean is
    over the classes that occur in the batch's targets, weighted by `class_weights` (K,) if given, so that
    an absent class neither rewards nor punishes.
    """

    def __init__(self, class_weights: torch.Tensor | None = None, *, smooth: float = 0.0) -> None:
        super().__init__()
        if not 0 <= smooth < float("inf"):
            raise ValueError(f"smooth must be at least 0 (given {smooth})")
        self.smooth = smooth
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # sums overflow in half precision
        classes = logits.shape[1]
        counted = (targets != IGNORE)[:, None]
        probabilities = logits.softmax(1) * counted
        # One-hot with a class for ignored pixels, which is then cut off.
        hot = functional.one_hot(targets.where(counted[:, 0], classes), classes + 1)[..., :classes]
        truth = hot.permute(0, 3, 1, 2).to(logits.dtype)
        over = (0, 2, 3)
        support = truth.sum(over)
        overlap = (probabilities * truth).sum(over)
        total = probabilities.sum(over) + support
        present = (support > 0).to(logits.dtype)
        # An absent class gets weight 0; the floor only keeps its 0 / 0 finite.
        loss = 1 - (2 * overlap + self.smooth) / (total + self.smooth).clamp(min=1e-7)
        weights = present if self.class_weights is None else present * self.class_weights
        return (loss * weights).sum() / weights.sum().clamp(min=1e-7)
