"""How an image of any size comes to the size that a model sees, and labels come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.core.bands import Stored
from maskwright.core.classes import IGNORE

Mask = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
Box = tuple[float, float, float, float]
P = TypeVar("P", Pixels, Stored)

# What each name means in Pillow; all are antialiased when they shrink.
RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


def letterbox(size: tuple[int, int], target: tuple[int, int], keep_ratio: bool) -> tuple[int, int]:
    """The (height, width) that an image of `size` takes inside `target`: all of it, or with its aspect ratio."""
    if not keep_ratio:
        return target
    scale = min(target[0] / size[0], target[1] / size[1])
    return max(1, min(target[0], round(size[0] * scale))), max(1, min(target[1], round(size[1] * scale)))


def resize_image(image: P, size: tuple[int, int], resample: str, box: Box | None = None) -> P:
    """(H, W, C) uint8 or uint16 to `size` = (height, width), antialiased when shrinking; each band as if alone. With
    `box` (left, top, right, bottom), only what lies there in the image is made so large; pixels around it count at its
    borders."""
    if image.shape[:2] == size and box is None:
        return image
    method = RESAMPLING[resample]
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size[::-1], method, box))
    result = np.empty((*size, image.shape[2]), image.dtype)
    for band in range(image.shape[2]):
        # Pillow resizes bytes and float32, which holds 16 bits exactly.
        one = image[..., band].astype(np.uint8 if image.dtype == np.uint8 else np.float32)
        small = np.asarray(Image.fromarray(one).resize(size[::-1], method, box))
        result[..., band] = small if one.dtype == np.uint8 else np.rint(small).clip(0, np.iinfo(np.uint16).max)
    return result


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """(H, W) to `size` by nearest neighbour with aligned pixel centres (as Pillow and `nearest-exact` do)."""
    if mask.shape == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))


def pad_to(array: P, size: tuple[int, int], fill: int) -> P:
    """Pads (H, W) or (H, W, C) at the bottom and right to `size` with `fill`."""
    bottom, right = size[0] - array.shape[0], size[1] - array.shape[1]
    if bottom == right == 0:
        return array
    return np.pad(array, [(0, bottom), (0, right), *[(0, 0)] * (array.ndim - 2)], constant_values=fill)


# Of `Crop`, what configs and files may ask for.
MOST_SCALE, MOST_OVERLAP = 8.0, 0.75


@dataclass(frozen=True)
class Crop:
    """Windows in place of whole images: an image is made `scale` times as high and as wide, and windows of the model's
    size are cut from it. Those that cover it when it is predicted overlap by at least `overlap` of their sides."""

    scale: float = 1.0
    overlap: float = 0.25


@dataclass(frozen=True)
class Geometry:
    """How any image comes to the size that the model sees. `size` is (height, width); with `crop` it is that of the
    windows, and images and masks are scaled but not cut here."""

    size: Size
    keep_ratio: bool = False
    resample: str = "lanczos"
    crop: Crop | None = None

    def inner(self, size: Size) -> Size:
        """The part of `self.size` that an image of `size` takes; the rest is padding. With `crop`, the size of the
        scaled image."""
        if self.crop:
            return max(1, round(size[0] * self.crop.scale)), max(1, round(size[1] * self.crop.scale))
        return letterbox(size, self.size, self.keep_ratio)

    def image(self, image: P) -> P:
        """(H, W, C) to `size`; the padding of `keep_ratio` is black at the bottom and right. With `crop`, (h, w, C)."""
        return self._padded(resize_image(image, self.inner(image.shape[:2]), self.resample), 0)

    def mask(self, mask: Pixels) -> Pixels:
        """(H, W) to `size` by nearest neighbour; the padding is `IGNORE`. With `crop`, (h, w)."""
        return self._padded(resize_mask(mask, self.inner(mask.shape)), IGNORE)

    def _padded(self, array: P, fill: int) -> P:
        return array if self.crop else pad_to(array, self.size, fill)
