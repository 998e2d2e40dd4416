"""Soft Jaccard loss."""

from __future__ import annotations

import torch

from maskwright.modeling.losses.shared import ClassWeighted, mean_of_present, overlaps, widened


class Jaccard(ClassWeighted):
    """1 minus the mean soft IoU (sum(p y) + smooth) / (sum(p) + sum(y) - sum(p y) + smooth).

    Sums run over all counted pixels of the batch (Rahman and Wang, 2016); the mean is over the classes that occur in
    the batch's targets, weighted by `class_weights` (K,) if given, so that an absent class neither rewards nor
    punishes.
    """

    def __init__(self, class_weights: torch.Tensor | None = None, *, smooth: float = 0.0) -> None:
        super().__init__(class_weights)
        if not 0 <= smooth < float("inf"):
            raise ValueError(f"smooth must be at least 0 (given {smooth})")
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        overlap, predicted, support = overlaps(widened(logits), targets)
        union = predicted + support - overlap
        # An absent class gets weight 0; the floor only keeps its 0 / 0 finite.
        loss = (union - overlap) / (union + self.smooth).clamp(min=1e-7)
        return mean_of_present(loss, support, self.class_weights)
