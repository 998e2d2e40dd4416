"""What a Python caller hands over as images, in the form that a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.core.bands import RGB, Bands, Stored
from maskwright.core.sample import Exif, opened_pixels, read_bands
from maskwright.errors import DataError

Given = str | Path | Image.Image | npt.NDArray[Any]
TAKEN = (
    "give the path of an image file, a PIL image, or a numpy array (H, W) or (H, W, C) with 1, 3 or 4 channels, of "
    "uint8, uint16 or floats from 0 to 1, or a list of them"
)


def holds_pixels(images: Any) -> bool:
    """Whether it is an array or an image of Pillow, or a sequence with one, and not only names of files."""
    pixels = (np.ndarray, Image.Image)
    return isinstance(images, pixels) or (
        isinstance(images, Sequence) and not isinstance(images, str) and any(isinstance(one, pixels) for one in images)
    )


def as_images(
    images: Given | Sequence[Given], exif: Exif = "apply", bands: Bands = RGB
) -> tuple[Iterator[Stored], bool]:
    """Each image as (H, W, C) of `bands`, (H, W, 3) uint8 when these are plain, one after the other, and whether a
    single one was given: a path, an image of Pillow, or an array (H, W) or (H, W, C).

    Files and images of Pillow are read as `read_bands` does, by `exif`. For plain bands, arrays of grey become three
    equal channels and a fourth channel (alpha) is left out; uint16 is divided by 256, floats from 0 to 1 are multiplied
    by 255 and rounded. For others, arrays have their channels and dtype.
    Raises DataError that says in one line what is taken, for an image when its turn comes.
    """
    if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim in (2, 3)):
        return iter([_as_image(images, "the image", exif, bands)]), True
    if not isinstance(images, (np.ndarray, list, tuple)) or (isinstance(images, np.ndarray) and images.ndim != 4):
        found = f"an array of shape {images.shape}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
        raise DataError(f"images: {found} is not what a model labels; {TAKEN}")
    return (_as_image(image, f"image {number}", exif, bands) for number, image in enumerate(images)), False


def _as_image(image: Any, what: str, exif: Exif, bands: Bands) -> Stored:
    if isinstance(image, (str, Path)):
        if Path(image).is_dir():
            raise DataError(f"{image}: is a folder; give its files, or let `predict` write masks for it (`out`)")
        return read_bands(Path(image), bands, exif)
    if isinstance(image, Image.Image):
        return opened_pixels(image, what, exif, bands)
    if not isinstance(image, np.ndarray):
        raise DataError(f"{what}: is a {type(image).__name__}; {TAKEN}")
    if not bands.plain:
        array = image[..., None] if image.ndim == 2 else image
        if array.ndim != 3 or not array.size or array.shape[2] != bands.channels or array.dtype != bands.dtype:
            shape = f"(H, W, {bands.channels})" + " or (H, W)" * (bands.channels == 1)
            raise DataError(
                f"{what}: has the shape {image.shape} and the dtype {image.dtype}; this model takes {shape} of "
                f"{bands.dtype}, channels last"
            )
        return np.ascontiguousarray(array)
    if image.ndim not in (2, 3) or not image.size or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        hint = ", channels last" if image.ndim == 3 and image.shape[0] in (1, 3, 4) else ""
        raise DataError(f"{what}: has the shape {image.shape}; {TAKEN}{hint}")
    if image.dtype == np.uint8:
        bytes_ = image
    elif image.dtype == np.uint16:
        bytes_ = (image >> 8).astype(np.uint8)  # as `read_image` does
    elif image.dtype.kind == "f":
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):  # nan too
            raise DataError(
                f"{what}: its floats go from {low:g} to {high:g}, and must be numbers from 0 to 1; divide "
                "them by their largest possible value, or give uint8"
            )
        bytes_ = np.rint(image * 255).astype(np.uint8)
    else:
        raise DataError(f"{what}: has the dtype {image.dtype}; {TAKEN}")
    bytes_ = bytes_[..., None] if image.ndim == 2 else bytes_[..., :3]
    return np.ascontiguousarray(np.broadcast_to(bytes_, (*image.shape[:2], 3)))
