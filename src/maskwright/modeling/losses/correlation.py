"""Correlation-maximised structural similarity: cross entropy where the prediction does not follow the truth's shape."""

from __future__ import annotations

import torch
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.shared import ClassWeighted, one_hot, pixel_weights, weighted_mean, widened

# The paper's C4, which also gives places where truth and prediction are both flat the same value, 1.
_STABLE = 0.01
# Standard deviation of the Gaussian window in pixels, as in the structural similarity of Wang et al., 2004.
_SIGMA = 1.5


class Correlation(ClassWeighted):
    """`bce_share` of the loss `bce` and the rest of the structural similarity loss of Zhao et al., 2019
    (arXiv 1910.08711), each class against the rest with p = sigmoid(z) and the one-hot truth y:

    - e = |n(y) - n(p)|, with n(x) = (x - mean(x) + 0.01) / (std(x) + 0.01) in a Gaussian window (`window` x `window`,
      sigma 1.5) around the pixel: how far the prediction is from a linear function of the truth there.
    - Pixels and classes with e > `threshold` * max(e) over the batch are hard; the others do not count.
    - The loss is the mean over the hard ones of e * BCE(z, y). e is a weight: no gradient goes through it, since
      the model could lower e by being flat and wrong.

    Where truth and prediction are both flat, right or wrong, e is 0. So alone it would not see the inside of an object
    that is missed as a whole; that is what `bce_share` is for. Ignored pixels and those beyond the image are in no
    window: the Gaussian is divided by its sum over the counted ones. A pixel weighs as much as its true class in
    `class_weights` (K,). An absent class is one that every pixel learns to deny.
    """

    def __init__(
        self,
        class_weights: torch.Tensor | None = None,
        *,
        bce_share: float = 0.5,
        window: int = 11,
        threshold: float = 0.1,
    ) -> None:
        super().__init__(class_weights)
        if not 0 <= bce_share <= 1:
            raise ValueError(f"bce_share must be within 0..1 (given {bce_share})")
        if window < 3 or window % 2 == 0:
            raise ValueError(f"window must be odd and at least 3 (given {window})")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1 (given {threshold})")
        self.bce_share, self.window, self.threshold = bce_share, window, threshold

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = widened(logits)
        truth = one_hot(targets, logits)
        losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        weights = pixel_weights(targets, self.class_weights, logits.dtype)[:, None].expand_as(losses)
        errors = structural_errors(logits.detach(), targets, self.window)
        hard = (errors > self.threshold * errors.max()).to(losses.dtype)
        return self.bce_share * weighted_mean(losses, weights) + (1 - self.bce_share) * weighted_mean(
            losses * errors, weights * hard
        )


def structural_errors(logits: torch.Tensor, targets: torch.Tensor, window: int) -> torch.Tensor:
    """e of `Correlation` (N, K, H, W) for wide logits (N, K, H, W) and targets (N, H, W); 0 at ignored pixels."""
    offsets = torch.arange(window, dtype=logits.dtype, device=logits.device) - window // 2
    gaussian = (offsets**2 / (-2 * _SIGMA**2)).exp()
    counted = (targets != IGNORE)[:, None].to(logits.dtype)
    mass = _window_sums(counted, gaussian).clamp(min=torch.finfo(logits.dtype).tiny)

    def normalised(share: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        mean, other_mean = (_window_sums(part * counted, gaussian) / mass for part in (share, rest))
        # var(x) = m (1 - m) - mean(x (1 - x)): near 0 and 1 it keeps the digits that mean(x^2) - m^2 would lose.
        variance = mean * other_mean - _window_sums(share * rest * counted, gaussian) / mass
        return (share - mean + _STABLE) / (variance.clamp(min=0).sqrt() + _STABLE)

    truth = one_hot(targets, logits)
    return (normalised(truth, 1 - truth) - normalised(logits.sigmoid(), (-logits).sigmoid())).abs() * counted


def _window_sums(values: torch.Tensor, gaussian: torch.Tensor) -> torch.Tensor:
    """Sums (N, K, H, W) of `values` around each pixel, weighted by the separable window."""
    size, classes = len(gaussian), values.shape[1]
    for shape, padding in (((1, 1, size, 1), (size // 2, 0)), ((1, 1, 1, size), (0, size // 2))):
        values = functional.conv2d(
            values, gaussian.view(shape).expand(classes, *shape[1:]), padding=padding, groups=classes
        )
    return values
