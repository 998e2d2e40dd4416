"""Whether a plan trains on windows of the images: only where whole images, shrunk, would lose a class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maskwright.base.texts import listing
from maskwright.training.planning.fingerprint import Fingerprint

# A class that is thinner (in pixels, in the shrunk image) is lost for the most part: a network halves the image first,
# and then it is about one pixel wide. At the scale of the windows it keeps `_KEPT` pixels, but no more than its own.
_LOST, _KEPT = 3.0, 4.0
# Images are large when they are shrunk to less than this share of their sides: in a short training of smaller ones, few
# steps over many windows are not known to be worth more than many over whole images.
_SHRUNK = 0.4
# The scaled image must be so many times the window, or a window would show hardly less than all of it; and have at most
# so many windows, or epochs and evaluations would take too long.
_LARGE, _MOST = 1.5, 64


@dataclass(frozen=True)
class CropChoice:
    """The scale of the images that windows are cut from, and why."""

    scale: float
    reason: str


def choose_crop(names: Sequence[str], found: Fingerprint, size: tuple[int, int]) -> CropChoice | None:
    """Windows of `size` where images are large and a class is too thin in them when they are shrunk to it; None where
    whole images do.

    The width of a class is the median over its pixels, so that specks, which are many but small, decide nothing.
    """
    shrunk = min(size[0] / found.height, size[1] / found.width)
    thin = [(name, one.width) for name, one in zip(names, found.classes, strict=False) if one.width]
    thin = sorted(((name, width) for name, width in thin if width * shrunk < _LOST), key=lambda one: one[1])
    most = math.sqrt(_MOST * size[0] * size[1] / (found.height * found.width))
    if not thin or shrunk >= _SHRUNK:
        return None
    scale = math.floor(100 * min(1.0, most, _KEPT / thin[0][1])) / 100
    if scale < _LARGE * shrunk:
        return None
    which = listing([f"{name!r} would be {width * shrunk:.1f} px wide" for name, width in thin], 3)
    return CropChoice(
        scale,
        f"windows, as in whole images shrunk to {size[0]}x{size[1]} {which}; at this scale {thin[0][0]!r} has "
        f"{thin[0][1] * scale:.1f} px",
    )
