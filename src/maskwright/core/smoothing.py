"""Conditional smoothing: probabilities drawn towards the edges of the image. Needs no torch.

A network that says labels at a quarter of the sides has outlines as coarse as that. The guided filter (He, Sun and
Tang, ECCV 2010) makes each map of probabilities, in every window, a linear function of the image's grey value: where
the image has an edge the map gets one there, elsewhere it is averaged. It is linear in the maps and keeps what is
constant, so that the sum over all classes stays 1, and groups of classes are smoothed as the sum of their members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.bands import Bands, Stored
from maskwright.core.geometry import Geometry
from maskwright.core.tiles import Arrays, Maps, Values

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Smoothing:
    """Windows reach `radius` pixels of the size that the model works at. Differences of grey below `edge` (0..1 of the
    range of the image's bands) are no edge."""

    radius: int
    edge: float

    def __str__(self) -> str:
        return f"outlines follow the edges of the image (radius {self.radius}, edge {self.edge:g})"

    def on(self, maps: Maps, image: Stored, geometry: Geometry, bands: Bands, arrays: Arrays) -> Maps:
        """The smoothed maps of leaves, of the library that `arrays` describes, at the own size of the image (H, W, C),
        which the model sees whole, in the shape of `geometry`."""
        size = (image.shape[0], image.shape[1])
        times = math.sqrt(math.prod(size) / math.prod(geometry.inner(size)))
        guided = Guided(grey_of(image, bands), max(1, round(self.radius * times)), self.edge)

        def smoothed(members: Sequence[int]) -> Values:
            values = maps(members)
            return arrays.like(guided.filtered(arrays.to_numpy(values)), values)

        return smoothed


def grey_of(image: Stored, bands: Bands) -> Floats:
    """(H, W, C) to the mean (H, W) of its bands, 0..1 of their range."""
    low, high = bands.range
    grey: Floats = (image.mean(2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    return grey


class Guided:
    """The guided filter of one `guide` (H, W), whose windows have 2 radius + 1 pixels a side; beyond the border the
    image is mirrored. `edge` is the square root of the paper's epsilon."""

    def __init__(self, guide: Floats, radius: int, edge: float) -> None:
        side = 2 * radius + 1
        self._mean_of = partial(cv2.boxFilter, ddepth=-1, ksize=(side, side), borderType=cv2.BORDER_REFLECT)
        self._guide, self._mean = guide, self._mean_of(guide)
        self._spread = np.maximum(self._mean_of(guide * guide) - self._mean**2, 0) + np.float32(edge**2)

    def filtered(self, values: Floats) -> Floats:
        """(H, W) float32 to the same."""
        mean = self._mean_of(values)
        slope = (self._mean_of(self._guide * values) - self._mean * mean) / self._spread
        found: Floats = self._mean_of(slope) * self._guide + self._mean_of(mean - slope * self._mean)
        return found
