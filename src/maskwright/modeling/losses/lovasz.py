"""Lovász-softmax loss: a convex surrogate of the IoU of the hard prediction."""

from __future__ import annotations

import torch

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.shared import ClassWeighted, mean_of_present, one_hot, widened


class Lovasz(ClassWeighted):
    """The mean over classes of the Lovász extension of the Jaccard loss at the errors |y - p|, with p the softmax
    (Berman et al., 2018).

    The pixels of a class are taken from the largest error down, and each error counts by how much the IoU
    falls when that pixel becomes wrong too. The mean is over the classes that occur in the targets, weighted by
    `class_weights` (K,) if given; an absent class neither rewards nor punishes. With `per_image` it is taken for each
    image by itself, then over the images with a counted pixel; otherwise for the batch as a whole.
    """

    def __init__(self, class_weights: torch.Tensor | None = None, *, per_image: bool = False) -> None:
        super().__init__(class_weights)
        self.per_image = per_image

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = widened(logits)
        truth = one_hot(targets, logits)
        # Below every error, ignored pixels come last, where they change no weight before them.
        errors = (truth - logits.softmax(1)).abs().where((targets != IGNORE)[:, None], -1)
        if self.per_image:
            errors, truth = errors.flatten(2), truth.flatten(2)
        else:
            errors, truth = (part.transpose(0, 1).flatten(1)[None] for part in (errors, truth))
        errors, order = errors.sort(stable=True, dim=-1, descending=True)
        hit = truth.gather(-1, order).long()
        support = hit.sum(-1)  # counts are integers, which stay exact in any number of pixels
        union = support[..., None] + (1 - hit).cumsum(-1)
        left = support[..., None] - hit.cumsum(-1)
        # What the pixel takes from the IoU: a missed one 1 / union, an invented one the growth of the union. Written
        # out, since the difference of two nearly equal IoUs would have few digits.
        fall = torch.where(hit == 1, 1 / union, left / (union.to(errors.dtype) * (union - 1).clamp(min=1)))
        losses = mean_of_present((errors.relu() * fall).sum(-1), support, self.class_weights)
        return losses.sum() / (support.sum(-1) > 0).sum().clamp(min=1)
