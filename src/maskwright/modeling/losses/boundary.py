"""Boundary loss: errors cost their distance from the true outline."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.shared import ClassWeighted, one_hot, pixel_weights, weighted_mean, widened

# In pixels. OpenCV's roots are wrong by up to 6.2e-7 of their value, at some places in memory on some processors, so
# the square of a distance d is wrong by 1.24e-6 d^2: by less than a third here, and by one half from 635 pixels on.
_FARTHEST = 500


class Boundary(ClassWeighted):
    """Mean over counted pixels of the sum over classes of phi (p - y), with p the softmax, y the one-hot truth and
    phi the signed distance in pixels from the outline of the class: negative inside (Kervadec et al., 2019, eq. 4).

    The paper drops the constant phi y; with it a perfect prediction has loss 0. Lengths are in pixels of the
    model's input, so the term is often larger than other losses: start with a weight of about 0.01 beside one
    that looks at regions. `class_weights` (K,), divided by their mean, multiply the terms of the classes.

    Outlines run along the edges of pixels: phi is the distance to the nearest pixel of the other side less 0.5. A
    class that is absent from an image has no outline and phi 0, less than that of a wrong class that is there; an
    image of one class teaches nothing. Ignored pixels belong to no side, so no outline runs along them. The
    distances are computed on the CPU for each batch, which makes a GPU wait.
    """

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) floats and targets (N, H, W) int64 to a scalar, float32 at least."""
        logits = widened(logits)
        distances = torch.from_numpy(signed_distances(targets.cpu().numpy(), logits.shape[1])).to(logits)
        if self.class_weights is not None:
            distances = distances * (self.class_weights / self.class_weights.mean())[:, None, None]
        losses = (distances * (logits.softmax(1) - one_hot(targets, logits))).sum(1)
        return weighted_mean(losses, pixel_weights(targets, None, logits.dtype))


def signed_distances(targets: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Of targets (N, H, W), the signed distances (N, K, H, W) in pixels from the outline that each class has in the
    image: negative inside, 0 for a class without one. Ignored pixels have those of pixels outside."""
    distances = np.zeros((len(targets), classes, *targets.shape[1:]), np.float32)
    for maps, target in zip(distances, targets, strict=True):
        counted = target != IGNORE
        for index in np.unique(target[counted]):
            inside = target == index
            other = counted & ~inside
            if other.any():
                maps[index] = np.where(inside, 0.5 - _distance_to(other), _distance_to(inside) - 0.5)
    return distances


def _distance_to(pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """(H, W) Euclidean distance to the nearest of `pixels` (H, W), at least one, up to `_FARTHEST`."""
    distance = cv2.distanceTransform((~pixels).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Its last bits change with the place of the array in memory; the squares are whole numbers, so they are known.
    squares = np.rint(np.square(distance, dtype=np.float64)).clip(max=_FARTHEST**2)
    return np.asarray(np.sqrt(squares), np.float32)
