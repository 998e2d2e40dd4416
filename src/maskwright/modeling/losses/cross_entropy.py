"""Cross entropy over pixels."""

from __future__ import annotations

import torch
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.shared import ClassWeighted, widened


class CrossEntropy(ClassWeighted):
    """Mean over counted pixels of -w[y] log softmax(z)[y], divided by the mean weight of those pixels.

    `class_weights` (K,) float32 or None. `label_smoothing` in 0..1 mixes the one-hot target with the
    uniform distribution (Szegedy et al., 2016).
    """

    def __init__(self, class_weights: torch.Tensor | None = None, *, label_smoothing: float = 0.0) -> None:
        super().__init__(class_weights)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be within 0..1 (given {label_smoothing})")
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = widened(logits)
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        total = functional.cross_entropy(
            logits, targets, weights, ignore_index=IGNORE, reduction="sum", label_smoothing=self.label_smoothing
        )
        counted = targets != IGNORE
        weight = counted.sum() if weights is None else (weights[targets.where(counted, 0)] * counted).sum()
        # Not a division by zero when everything is ignored: the sum is then exactly zero.
        return total / weight.clamp(min=1 if weights is None else torch.finfo(total.dtype).tiny)
