"""What the colours of an image say of a region, without any model: do pixels look like its inside or its outside?

The image's own colours are put into a few groups (k-means). In the surroundings of a region, each group is more or less
frequent inside than outside, and the log of that ratio is what a pixel of the group says. It is learnt anew for each
region, from pixels in which label and prediction agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.edges import edge_strength, smoothed
from maskwright.core.masks import Pixels

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_GROUPS = 24
_SAMPLED = 4000  # pixels that the groups are found from
_MOST = 3.0  # of the log ratio, either way


@dataclass(frozen=True)
class Look:
    """Of an image: `edge` (H, W) float32, how fast the colour changes, in units of CIELAB in 8 bits (lightness 0..255)
    a pixel; `groups` (H, W) uint8, the group of each pixel's colour."""

    edge: Floats
    groups: Pixels


def look(image: Pixels) -> Look:
    """That of an image (H, W, 3) uint8."""
    lab = smoothed(cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32))
    return Look(edge_strength(lab), _groups(lab))


def _groups(lab: Floats) -> Pixels:
    # Whole levels, so that rounding does not make groups of an even image.
    flat = np.rint(lab).reshape(-1, 3).astype(np.float32)
    known = flat[:: max(1, len(flat) // _SAMPLED)]
    if len(known) < _GROUPS:
        return np.zeros(lab.shape[:2], np.uint8)
    cv2.setRNGSeed(0)  # k-means draws from OpenCV's generator
    ends = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
    _, _, middles = cv2.kmeans(known, _GROUPS, None, ends, 1, cv2.KMEANS_PP_CENTERS)
    distances = (middles**2).sum(1) - 2 * flat @ middles.T
    return np.asarray(distances.argmin(1), np.uint8).reshape(lab.shape[:2])


@dataclass(frozen=True)
class Sides:
    """What the pixels of a region's surroundings look like: `ratio` (h, w), the log of how much more frequent their
    colour is inside than outside; `apart`: the mean difference of both sides in it, 0 where they look alike."""

    ratio: Floats
    apart: float


def sides(groups: Pixels, inside: Bools, outside: Bools) -> Sides:
    """That of the surroundings (h, w) of a region, learnt from the pixels that are surely `inside` and `outside`."""
    within, without = (
        np.bincount(groups[where], minlength=_GROUPS).astype(np.float64) + 1 for where in (inside, outside)
    )
    log_ratio = np.clip(np.log(within / within.sum()) - np.log(without / without.sum()), -_MOST, _MOST)
    apart = log_ratio @ (within / within.sum() - without / without.sum())
    return Sides(log_ratio.astype(np.float32)[groups], float(apart))
