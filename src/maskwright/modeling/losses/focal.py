"""Focal loss: cross entropy in which pixels that are right already count less."""

from __future__ import annotations

import torch

from maskwright.modeling.losses.shared import ClassWeighted, one_hot, pixel_weights, weighted_mean, widened


class Focal(ClassWeighted):
    """Mean over counted pixels of -w[y] (1 - p)^gamma log p, divided by their mean weight, with p the softmax
    probability of the true class y (Lin et al., 2017, for softmax). `gamma` 0 is cross entropy.

    The paper's alpha is `class_weights` (K,). An absent class is pushed down at every pixel, as in cross entropy.
    """

    def __init__(self, class_weights: torch.Tensor | None = None, *, gamma: float = 2.0) -> None:
        super().__init__(class_weights)
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma must be at least 0 (given {gamma})")
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = widened(logits)
        log = (logits.log_softmax(1) * one_hot(targets, logits)).sum(1)
        # The floor keeps the power's slope finite where p is 1 and gamma below 1.
        doubt = (-log.expm1()).clamp(min=torch.finfo(log.dtype).eps)
        return weighted_mean(-log * doubt**self.gamma, pixel_weights(targets, self.class_weights, logits.dtype))
