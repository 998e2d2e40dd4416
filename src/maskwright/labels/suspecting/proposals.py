"""Repair proposals: the label with its suspect regions drawn as models that have not seen the image would draw them.

Probabilities are brought to the image's own size; where that is measured to help on labels that are no suspects, they
are first snapped to the image's edges by a guided filter (He, Sun and Tang, ECCV 2010).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask, Pixels, boundary
from maskwright.labels.suspecting.candidates import Bools, Candidate

Floats = npt.NDArray[np.float32]
_ROOM = 2  # pixels of the model's size around a candidate in which its outline may be drawn
_EDGE = 1e-3  # variance of grey values (0..1) below which the filter takes a place for even
_ERRORS = 2.0  # standard errors that a gain must exceed


def at_size(probabilities: Floats, size: tuple[int, int], image: Pixels | None = None) -> Floats:
    """(K, h, w) to (K, H, W) with `size` = (H, W), linear; with an `image` (H, W, 3) snapped to its edges."""
    scale = max(size[0] / probabilities.shape[1], size[1] / probabilities.shape[2])
    grey = None if image is None else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    radius = max(1, round(2 * scale))
    large = (cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in probabilities)
    return np.stack([one if grey is None else _guided(one, grey, radius) for one in large])


def _guided(values: Floats, guide: Floats, radius: int) -> Floats:
    """`values` (H, W) as a linear function of the guide around each pixel."""
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(of: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(of, side), np.float32)

    guide_mean, values_mean = mean(guide), mean(values)
    slope = (mean(guide * values) - guide_mean * values_mean) / (mean(guide * guide) - guide_mean**2 + _EDGE)
    return np.asarray(mean(slope) * guide + mean(values_mean - slope * guide_mean), np.float32)


def redraw(label: Mask, predicted: Mask, candidate: Candidate, small: tuple[int, int]) -> Bools:
    """(H, W) bool: the pixels of `label` (H, W) that get the class in `predicted` (H, W) when a candidate in an image
    of the size `small` is redrawn: those of its class in either, in its region and close around it."""
    region = np.zeros(small, np.uint8)
    region[candidate.window] = candidate.inside
    region = cv2.dilate(region, np.ones((2 * _ROOM + 1, 2 * _ROOM + 1), np.uint8))
    near = cv2.resize(region, label.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    of_class = (label == candidate.index) | (predicted == candidate.index)
    return np.asarray(near & of_class & (label != IGNORE) & (label != predicted))


def snapping_gain(image: Pixels, label: Mask, probabilities: Floats) -> float | None:
    """By how much more of the pixels around the label's outlines are right when probabilities (K, h, w) are snapped to
    the edges of the image (H, W, 3); None for a label (H, W) without outlines."""
    scale = max(label.shape[0] / probabilities.shape[1], label.shape[1] / probabilities.shape[2])
    near = boundary(label, max(1, round(3 * scale))) & (label != IGNORE)
    if not near.any():
        return None
    plain, snapped = (
        at_size(probabilities, label.shape, guide).argmax(0)[near] == label[near] for guide in (None, image)
    )
    return float(snapped.mean() - plain.mean())


def worth_snapping(gains: Sequence[float]) -> bool:
    """Whether the mean gain is above 0 by more than chance: two standard errors."""
    values = np.array(gains, np.float64)
    return len(values) > 1 and bool(values.mean() > _ERRORS * values.std(ddof=1) / np.sqrt(len(values)))
