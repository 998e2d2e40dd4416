"""Binary cross entropy: one yes-or-no question for each class."""

from __future__ import annotations

import torch
from torch.nn import functional

from maskwright.modeling.losses.shared import ClassWeighted, one_hot, pixel_weights, weighted_mean, widened


class BinaryCrossEntropy(ClassWeighted):
    """Mean over counted pixels and classes of -y log s(z) - (1 - y) log(1 - s(z)), with s the sigmoid and y the
    one-hot truth: each class against the rest.

    A pixel weighs as much as its true class in `class_weights` (K,), for all its K questions; the sum is divided by
    those weights. An absent class is one that every pixel learns to deny. The class with the highest logit is the
    prediction, as with every loss; but the logits are fitted for sigmoids, so their softmax, which `predict` writes as
    probability, is too certain (with two classes, z0 = -z1, it is s(2 z1)).
    """

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = widened(logits)
        losses = functional.binary_cross_entropy_with_logits(logits, one_hot(targets, logits), reduction="none")
        return weighted_mean(losses.mean(1), pixel_weights(targets, self.class_weights, logits.dtype))
