"""Tversky loss: Dice with missed and invented pixels at prices of their own."""

from __future__ import annotations

import torch

from maskwright.modeling.losses.shared import ClassWeighted, mean_of_present, overlaps, widened


class Tversky(ClassWeighted):
    """1 minus the mean Tversky index (TP + smooth) / (TP + alpha FP + beta FN + smooth) (Salehi et al., 2017).

    TP = sum(p y), FP = sum(p (1 - y)) and FN = sum((1 - p) y) run over all counted pixels of the batch. `alpha` is the
    price of an invented pixel, `beta` that of a missed one: 0.5 and 0.5 is Dice, 1 and 1 is Jaccard, and the
    default is the paper's choice for small objects, which leans to recall. The mean is over the classes that occur
    in the batch's targets, weighted by `class_weights` (K,) if given; an absent class neither rewards nor punishes.
    """

    def __init__(
        self, class_weights: torch.Tensor | None = None, *, alpha: float = 0.3, beta: float = 0.7, smooth: float = 0.0
    ) -> None:
        super().__init__(class_weights)
        for name, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be at least 0 (given {value})")
        if not alpha + beta > 0:
            raise ValueError("alpha and beta must not both be 0: nothing would be an error")
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        overlap, predicted, support = overlaps(widened(logits), targets)
        wrong = self.alpha * (predicted - overlap) + self.beta * (support - overlap)
        # An absent class gets weight 0; the floor only keeps its 0 / 0 finite.
        loss = wrong / (overlap + wrong + self.smooth).clamp(min=1e-7)
        return mean_of_present(loss, support, self.class_weights)
