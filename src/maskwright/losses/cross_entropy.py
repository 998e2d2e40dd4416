"""Cross entropy over pixels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from maskwright.core.classes import IGNORE


class CrossEntropy(nn.Module):
    """Mean over counted pixels of -w[y] log softmax(z)[y], divided by the mean weight of those pixels.

    `class_weights` (K,) float32 or None. `label_smoothing` in 0..1 mixes the one-hot target with the
    uniform distribution (Szegedy et al., 2016).
    """

    def __init__(self, class_weights: torch.Tensor | None = None, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) float32 and targets (N, H, W) int64 to a scalar."""
        total = functional.cross_entropy(logits, targets, self.class_weights, ignore_index=IGNORE, reduction="sum",
                                         label_smoothing=self.label_smoothing)
        counted = targets != IGNORE
        if self.class_weights is None:
            weight = counted.sum()
        else:
            weight = (self.class_weights[targets.where(counted, 0)] * counted).sum()
        # Not a division by zero when everything is ignored: the sum is then exactly zero.
        return total / weight.clamp(min=torch.finfo(total.dtype).tiny if self.class_weights is not None else 1)
