"""The object among pixels that surely are, or probably are not, its background."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.masks import Pixels

_SIDE = 416  # longest side at which it is computed, for an answer in a moment
_ROUNDS = 4
_LEAST = 5  # pixels: as many as it has mixtures of colours of each kind


def cut_out(image: Pixels, marks: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(H, W) bool: what GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004; OpenCV's) takes for the object in an
    image (H, W, 3), begun with `marks` (H, W) uint8 of OpenCV (`cv2.GC_BGD`, `GC_FGD`, `GC_PR_BGD`, `GC_PR_FGD`); never
    what is surely background. What the marks say where there are too few pixels of either kind to learn from. The same
    input gives the same result."""
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale))
    part = np.ascontiguousarray(image[..., ::-1])
    small = part if scale == 1 else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    found = cv2.resize(marks, size, interpolation=cv2.INTER_NEAREST)
    if np.bincount((found & 1).ravel(), minlength=2).min() < _LEAST:
        return np.asarray(marks & 1, np.bool_)
    cv2.setRNGSeed(0)  # its k-means draws from OpenCV's generator
    cv2.grabCut(small, found, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    large = cv2.resize((found & 1) * 255, marks.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray((large > 127) & (marks != cv2.GC_BGD))
