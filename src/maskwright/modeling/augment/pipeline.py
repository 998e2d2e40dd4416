"""Runs a list of transforms on one image and its mask with one resampling step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.bands import RGB, Bands, Stored
from maskwright.core.classes import IGNORE

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
Size = tuple[int, int]
Mean = Callable[[], np.float32]

_SWAP = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])  # rows and columns exchanged


class Canvas:
    """A sample while its colours are changed: the image (H, W, C) as it is stored or as float32, whatever a transform
    asks for, and its mask (H, W), in which pixels may become `IGNORE`.

    Floats may leave 0..255; they are clipped and rounded when stored pixels are asked for. Of 16 bits, 0..255 is the
    range of the `bands`, to which values are clipped. Of bytes, what changes equal values equally
    is gathered in one table of 256 values until somebody asks for pixels, which costs a fraction of float arithmetic
    on every pixel and gives the same bytes.
    """

    def __init__(self, image: Stored, mask: Pixels, bands: Bands = RGB) -> None:
        self.mask, self.bands = mask, bands
        self._step = np.float32((bands.range[1] - bands.range[0]) / 255)
        self._pixels: Stored | None = image
        self._floats: Floats | None = None
        self._table: Floats | None = None  # (256, 1, 1 or 3): what becomes of each byte of each channel

    def pixels(self) -> Stored:
        """The image as it is stored, uint8 or uint16; not to be written to."""
        if self._pixels is None:
            assert self._floats is not None
            if self.bands.bits == 8:
                self._floats += np.float32(0.5)
                self._pixels = np.clip(self._floats, 0, 255, out=self._floats).astype(np.uint8)
            else:
                np.clip(self._floats, 0, 255, out=self._floats)
                self._pixels = np.rint(self._floats * self._step + self.bands.range[0]).astype(np.uint16)
        elif self._table is not None:
            table = np.clip(self._table + np.float32(0.5), 0, 255).astype(np.uint8)
            self._pixels = np.asarray(cv2.LUT(self._pixels, table), np.uint8).reshape(self._pixels.shape)
        self._floats = self._table = None
        return self._pixels

    def level(self, value: int) -> int:
        """What stands for 0..255 in stored pixels."""
        return value if self.bands.bits == 8 else round(float(value * self._step)) + self.bands.range[0]

    def floats(self) -> Floats:
        """The image as float32, for the caller to change in place."""
        if self._floats is None:
            assert self._pixels is not None
            self._floats = self._looked_up(self._pixels)
        self._pixels = self._table = None
        return self._floats

    def _looked_up(self, image: Stored) -> Floats:
        if self.bands.bits == 16:
            return np.asarray((image.clip(*self.bands.range).astype(np.float32) - self.bands.range[0]) / self._step)
        if self._table is not None and self._table.shape[2] == 1:
            return np.asarray(cv2.LUT(image, self._table), np.float32).reshape(image.shape)
        return image.astype(np.float32) if self._table is None else np.asarray(cv2.LUT(image, self._table), np.float32)

    def put(self, image: Stored) -> None:
        """Replaces the image by a new one."""
        self._pixels, self._floats, self._table = image, None, None

    def tone(self, curve: Callable[[Floats, Mean], Floats]) -> None:
        """Replaces values (..., 3) or (..., 1) by those that `curve` gives; its second argument tells the mean of the
        whole image."""
        if self._floats is not None or self.bands.bits == 16:
            floats = self.floats()
            self._floats = curve(floats, lambda: floats.mean(dtype=np.float32))
            return
        assert self._pixels is not None
        image = self._pixels
        table = np.arange(256, dtype=np.float32).reshape(256, 1, 1) if self._table is None else self._table
        self._table = curve(table, lambda: self._looked_up(image).mean(dtype=np.float32))


@dataclass(frozen=True)
class Transform:
    """One random change, applied with probability `p`. A transform overrides one of the methods. One of `colours` means
    something for 8-bit RGB only."""

    colours: ClassVar[bool] = False
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must be within 0..1 (given {self.p})")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (str, type(None))) and not np.isfinite(value).all():
                raise ValueError(f"{field.name} must be finite (given {value})")

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix | None:
        """A (3, 3) map of source to output pixel coordinates (x, y, 1) for `size` = (H, W), or None."""
        return None

    def matrix_for(self, mask: Pixels, before: Matrix, rng: np.random.Generator) -> Matrix | None:
        """As `matrix`, for a transform that also looks at the `mask` (H, W) and at the map `before` it."""
        return self.matrix((mask.shape[0], mask.shape[1]), rng)

    def field(self, size: Size, rng: np.random.Generator) -> Floats | None:
        """(2, H, W) float32: how far beside itself, in pixels (x, y), each output pixel is taken from; or None."""
        return None

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Changes colours, after all geometry, in the order of the list."""


@dataclass(frozen=True)
class Pipeline:
    """Geometry first: the maps are multiplied, displacement fields are added up and act after the maps, and the
    sample is resampled once. Then colours.

    `border` is about the places that geometry uncovers. The image is mirrored there in any case, so that no black is
    mixed into pixels that count. `reflect` mirrors the labels too; `ignore` makes them `IGNORE`, so that nothing is
    learnt there. Never background.
    """

    transforms: Sequence[Transform]
    border: str = "reflect"
    bands: Bands = RGB

    def __call__(self, image: Stored, mask: Pixels, rng: np.random.Generator) -> tuple[Stored, Pixels]:
        """Image (H, W, C) of these bands and mask (H, W) uint8 to the same sizes. Where nothing acts, they are
        returned."""
        size = mask.shape[0], mask.shape[1]
        # Which ones act is drawn first, so that adding a parameter to one does not shift the others.
        acting = [t for t, draw in zip(self.transforms, rng.random(len(self.transforms)), strict=True) if draw < t.p]
        total = np.eye(3)
        displacement: Floats | None = None
        for transform in acting:
            matrix = transform.matrix_for(mask, total, rng)
            if matrix is not None:
                total = matrix @ total
            field = transform.field(size, rng)
            if field is not None:
                displacement = field if displacement is None else displacement + field
        canvas = Canvas(*self._warp(image, mask, total, displacement), self.bands)
        for transform in acting:
            transform.paint(canvas, rng)
        return canvas.pixels(), canvas.mask

    def _warp(self, image: Stored, mask: Pixels, matrix: Matrix, displacement: Floats | None) -> tuple[Stored, Pixels]:
        height, width = mask.shape
        labels_mode = cv2.BORDER_REFLECT_101 if self.border == "reflect" else cv2.BORDER_CONSTANT
        if displacement is not None:
            x, y = _sources(np.asarray(np.linalg.inv(matrix)), displacement, (height, width))
            warped = by_fours(
                image, lambda some: cv2.remap(some, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            )
            labels = cv2.remap(mask, x, y, cv2.INTER_NEAREST, borderMode=labels_mode, borderValue=IGNORE)
            return warped, np.asarray(labels, np.uint8)
        if height == width and np.array_equal(np.abs(matrix[:2, :2]), _SWAP[:2, :2]):
            image, mask = by_fours(image, cv2.transpose), np.asarray(cv2.transpose(mask), np.uint8)
            matrix = matrix @ _SWAP
        if np.array_equal(np.abs(matrix[:2, :2]), np.eye(2)):
            flip_x, flip_y = matrix[0, 0] < 0, matrix[1, 1] < 0
            if np.array_equal(matrix[:2, 2], [(width - 1) * flip_x, (height - 1) * flip_y]):
                # Flips are exact: no resampling at all.
                if not flip_x and not flip_y:
                    return image, mask
                code = int(flip_x) if flip_x != flip_y else -1
                return by_fours(image, lambda some: cv2.flip(some, code)), np.asarray(cv2.flip(mask, code), np.uint8)
        affine = matrix[:2]
        warped = by_fours(
            image,
            lambda some: cv2.warpAffine(
                some, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
            ),
        )
        labels = cv2.warpAffine(
            mask, affine, (width, height), flags=cv2.INTER_NEAREST, borderMode=labels_mode, borderValue=IGNORE
        )
        return warped, np.asarray(labels, np.uint8)


def by_fours(image: Stored, change: Callable[[Stored], Any]) -> Stored:
    """What `change` makes of an image (H, W, C), given at most four bands at a time: many functions of OpenCV take no
    more, and return one band without its axis."""
    if image.shape[2] == 3:
        return np.asarray(change(image), image.dtype)
    few = [np.ascontiguousarray(image[..., first : first + 4]) for first in range(0, image.shape[2], 4)]
    changed = [np.asarray(change(some), image.dtype) for some in few]
    return np.concatenate([one[..., None] if one.ndim == 2 else one for one in changed], axis=2)


def _sources(inverse: npt.NDArray[np.floating], displacement: Floats, size: Size) -> tuple[Floats, Floats]:
    """Where each output pixel comes from: `inverse` of its place and `displacement` (2, H, W); x and y, (H, W) each."""
    x = displacement[0] + np.arange(size[1], dtype=np.float32)
    y = displacement[1] + np.arange(size[0], dtype=np.float32)[:, None]
    (a, b, c), (d, e, f) = inverse[:2].astype(np.float32)
    return a * x + b * y + c, d * x + e * y + f


def require_share(**values: float) -> None:
    """ValueError unless each is within 0..1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be within 0..1 (given {value})")


def require_order(least: float, most: float | None, **ranges: tuple[float, float]) -> None:
    """ValueError unless each is two numbers in order, from `least` up to `most`."""
    for name, (low, high) in ranges.items():
        if not least <= low <= high or (most is not None and high > most):
            bounds = f"of at least {least}" if most is None else f"within {least}..{most}"
            raise ValueError(f"{name} must be two numbers {bounds} in order (given {(low, high)})")
