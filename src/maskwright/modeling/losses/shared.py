"""What losses share: wide numbers, one-hot truth, and means over counted pixels and over present classes."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.core.classes import IGNORE


class ClassWeighted(nn.Module):
    """Abstract: a loss with `class_weights` (K,) float32 or None, which follow the device but are in no checkpoint."""

    class_weights: torch.Tensor | None

    def __init__(self, class_weights: torch.Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)


def widened(logits: torch.Tensor) -> torch.Tensor:
    """The logits in float32 at least: exponentials and sums over an image leave the range of half precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def one_hot(targets: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Targets (N, H, W) as 0 and 1 of (N, K, H, W), K and dtype those of `like` (N, K, H, W); ignored pixels are 0
    in every class."""
    classes = torch.arange(like.shape[1], device=targets.device)
    return (targets[..., None] == classes).permute(0, 3, 1, 2).to(like.dtype)


def pixel_weights(targets: torch.Tensor, class_weights: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """(N, H, W): the weight of each pixel's true class (1 without class weights), 0 where it is ignored."""
    counted = targets != IGNORE
    if class_weights is None:
        return counted.to(dtype)
    return class_weights.to(dtype)[targets.where(counted, 0)] * counted


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """sum(values * weights) / sum(weights) over tensors of equal shapes; exactly 0 when all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(values.dtype).tiny)


def overlaps(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each class (K,), over the counted pixels of the batch: sum(p y), sum(p) and sum(y), with p the softmax of
    wide `logits` and y the one-hot truth."""
    probabilities = logits.softmax(1) * (targets != IGNORE)[:, None]
    truth = one_hot(targets, logits)
    over = (0, 2, 3)
    return (probabilities * truth).sum(over), probabilities.sum(over), truth.sum(over)


def mean_of_present(losses: torch.Tensor, support: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """The mean of `losses` (..., K) over the classes whose `support` (..., K) is above 0, weighted by `class_weights`
    (K,) if given; 0 when there is none. An absent class so neither rewards nor punishes."""
    weights = (support > 0).to(losses.dtype)
    if class_weights is not None:
        weights = weights * class_weights
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=1e-7)
