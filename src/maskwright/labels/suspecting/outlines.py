"""What is the same in all masks: outlines that lie beside the objects, or scatter around them.

Models that have learnt from such masks draw like them, so no comparison with a prediction can tell. The images can:
their edges are strongest where objects end. Their mean strength by distance from the outlines of a class has its peak
where the outlines should be, and the peak is the wider, the more they scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.edges import edge_strength, smoothed
from maskwright.core.masks import Mask, Pixels

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_REACH = 8  # pixels on each side of an outline
_LONGEST = 1024  # pixels of the longer side: larger images are shrunk to it
_LEAST_IMAGES = 10
_PROMINENT = 1.2  # a peak exceeds the lowest values on both of its sides by this factor
_DRAWS = 400
_BESIDE, _SCATTERED = 0.75, 3.75  # pixels that are told; the filter of the edges alone scatters by two
_PLACES = np.arange(-_REACH, _REACH) + 0.5  # pixels from the outline, inside below 0


@dataclass(frozen=True)
class Profile:
    """Of one image, by class and distance from its outlines: the strength of the edges, summed over pixels, and the
    number of pixels, (K, 16) each; `scale`: pixels of the stored image in one."""

    strength: Floats
    pixels: Floats
    scale: float


@dataclass(frozen=True)
class Outline:
    """Where the images' edges lie beside the outlines of class `name`, in pixels of the stored images: `offset` with
    its 95 % interval, below 0 inside, so that masks are too wide; `scatter`: half the width of the peak at half its
    height. `images`: that have the class."""

    name: str
    images: int
    offset: float
    low: float
    high: float
    scatter: float
    scale: float

    @property
    def beside(self) -> bool:
        """Whether the outlines lie beside the edges, by more than chance and the exactness of pixels."""
        return max(self.low, -self.high) > _BESIDE * self.scale

    def sentences(self) -> list[str]:
        """What is wrong in all masks."""
        said = []
        if self.beside:
            which, where = ("wide", "inside") if self.offset < 0 else ("narrow", "outside")
            low, high = sorted((abs(self.low), abs(self.high)))
            said.append(
                f"the masks of {self.name!r} are systematically too {which}, by about {abs(self.offset):.1f} pixels: "
                f"the images' edges lie that far {where} their outlines (95 % interval {low:.1f} to {high:.1f}, "
                f"{self.images:,} images)"
            )
        if self.scatter > _SCATTERED * self.scale:
            said.append(
                f"the masks of {self.name!r} are systematically coarse, or its objects have soft edges: the images' "
                f"edges scatter by about {self.scatter:.0f} pixels around their outlines"
            )
        return said


def profile(image: Pixels, mask: Mask, classes: int, background: int | None) -> Profile:
    """The profile of an image (H, W, 3) uint8 and its mask (H, W) of class indices. Ignored pixels do not count; the
    `background` has no outlines of its own."""
    scale = max(1.0, max(mask.shape) / _LONGEST)
    if scale > 1:
        size = round(mask.shape[1] / scale), round(mask.shape[0] / scale)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    edge = edge_strength(smoothed(cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)))
    edge /= max(float(edge.mean()), 1e-6)
    strength, pixels = np.zeros((2, classes, 2 * _REACH), np.float32)
    for index in np.unique(mask[mask != IGNORE]).tolist():
        here = (mask == index).astype(np.uint8)
        if index == background or here.all():
            continue
        inside, outside = (cv2.distanceTransform(one, cv2.DIST_L2, 5) for one in (here, 1 - here))
        # The first pixel on either side has its middle half a pixel away.
        place = np.where(here > 0, _REACH - np.rint(inside), _REACH - 1 + np.rint(outside)).astype(np.int64)
        near = (place >= 0) & (place < 2 * _REACH) & (mask != IGNORE)
        pixels[index] = np.bincount(place[near], minlength=2 * _REACH)
        strength[index] = np.bincount(place[near], edge[near], minlength=2 * _REACH)
    return Profile(strength, pixels, scale)


def outlines(profiles: Sequence[Profile], names: Sequence[str]) -> list[Outline]:
    """Of each class whose edges have a peak beside its outlines, in at least 10 images."""
    rng = np.random.default_rng(31)
    found = []
    for index, name in enumerate(names):
        own = [one for one in profiles if one.pixels[index].any()]
        if len(own) < _LEAST_IMAGES:
            continue
        # Each image counts the same, not each pixel: large objects would hide the others.
        pixels = np.stack([one.pixels[index] / one.pixels[index].sum() for one in own])
        strength = np.stack([one.strength[index] / one.pixels[index].sum() for one in own])
        mean = strength.sum(0) / np.maximum(pixels.sum(0), 1e-9)
        if (peak := _peak(mean)) is None:
            continue
        drawn = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), _DRAWS)
        means = (drawn @ strength) / np.maximum(drawn @ pixels, 1e-9)
        low, high = np.quantile([_refined(one, int(one[1:-1].argmax()) + 1) for one in means], [0.025, 0.975])
        scale = float(np.median([one.scale for one in own]))
        offset, scatter = _refined(mean, peak), _half_width(mean, peak)
        offset, low, high, scatter = (scale * float(one) for one in (offset, low, high, scatter))
        found.append(Outline(name, len(own), offset, low, high, scatter, scale))
    return found


def _peak(mean: Doubles) -> int | None:
    place = int(mean[1:-1].argmax()) + 1
    floor = max(mean[:place].min(), mean[place + 1 :].min())
    return place if mean[place] > _PROMINENT * floor else None


def _refined(mean: Doubles, place: int) -> float:
    """Between pixels: the top of the parabola through the peak and its neighbours."""
    before, top, after = mean[place - 1 : place + 2]
    bend = before - 2 * top + after
    moved = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    return float(_PLACES[place]) + moved


def _half_width(mean: Doubles, place: int) -> float:
    """Each side is measured from its own lowest value."""
    width = 0.0
    for side in (mean[place::-1], mean[place:]):
        below = side <= (side[0] + side.min()) / 2
        end = int(below.argmax())
        width += end - 1 + (side[end - 1] - (side[0] + side.min()) / 2) / max(side[end - 1] - side[end], 1e-12)
    return width / 2
