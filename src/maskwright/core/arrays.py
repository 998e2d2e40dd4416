"""Arrays that a Python caller hands over as images, in the form that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.core.masks import Pixels
from maskwright.errors import DataError

TAKEN = (
    "give a numpy array (H, W) or (H, W, C) with 1, 3 or 4 channels, of uint8, uint16 or floats from 0 to 1, or a "
    "list of them"
)


def is_arrays(images: Any) -> bool:
    """Whether it is an array or a sequence that begins with one, and not names of files."""
    return isinstance(images, np.ndarray) or (
        isinstance(images, Sequence) and not isinstance(images, str) and any(isinstance(i, np.ndarray) for i in images)
    )


def as_images(images: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]) -> tuple[list[Pixels], bool]:
    """Each image as (H, W, 3) uint8, and whether a single one was given, (H, W) or (H, W, C).

    Grey becomes three equal channels and a fourth channel (alpha) is left out. uint16 is divided by 256, as when
    files are read; floats from 0 to 1 are multiplied by 255 and rounded.
    Raises DataError that says in one line what is taken.
    """
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        return [_as_image(images, "the image")], True
    if not isinstance(images, (np.ndarray, list, tuple)) or (isinstance(images, np.ndarray) and images.ndim != 4):
        found = f"an array of shape {images.shape}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
        raise DataError(f"images: {found} is not what a model labels; {TAKEN}")
    return [_as_image(image, f"image {number}") for number, image in enumerate(images)], False


def _as_image(image: Any, what: str) -> Pixels:
    if not isinstance(image, np.ndarray):
        raise DataError(f"{what}: is a {type(image).__name__}; {TAKEN} (files are for `predict`)")
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
