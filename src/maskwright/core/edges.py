"""Edges of an image by its colours."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def smoothed(lab: Floats) -> Floats:
    """(H, W, 3) float32, without the noise of single pixels: a Gaussian of one pixel."""
    return np.asarray(cv2.GaussianBlur(lab, (0, 0), 1.0), np.float32)


def edge_strength(lab: Floats) -> Floats:
    """(H, W) float32: how fast the colour of (H, W, 3) float32 changes, in its own units a pixel; of CIELAB, of which a
    step of 2.3 is just noticeable, as the eye would have it."""
    slopes = [cv2.Scharr(lab, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (0, 1)]
    return np.asarray(np.sqrt(sum((slope**2).sum(-1) for slope in slopes)), np.float32)
