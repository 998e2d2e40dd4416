"""Runs a list of transforms on one image and its mask with one resampling step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Size = tuple[int, int]


@dataclass(frozen=True)
class Transform:
    """One random change, applied with probability `p`. A transform overrides one of the two methods."""

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must be within 0..1 (given {self.p})")
        for field in fields(self):
            if not np.isfinite(getattr(self, field.name)).all():
                raise ValueError(f"{field.name} must be finite (given {getattr(self, field.name)})")

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix | None:
        """A (3, 3) map of source to output pixel coordinates (x, y, 1) for `size` = (H, W), or None."""
        return None

    def pixels(self, image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Changes colours of (H, W, 3) float32, 0..255; values outside are clipped at the end."""
        return image


@dataclass(frozen=True)
class Pipeline:
    """`border`: what fills the places that geometry uncovers. `reflect` mirrors image and mask; `ignore`
    leaves the image black and the mask `IGNORE`, so that nothing is learnt there. Never background."""

    transforms: Sequence[Transform]
    border: str = "reflect"

    def __call__(self, image: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Image (H, W, 3) uint8 and mask (H, W) uint8 to the same sizes."""
        size = mask.shape[0], mask.shape[1]
        # Which ones act is drawn first, so that adding a parameter to one does not shift the others.
        acting = [t for t, draw in zip(self.transforms, rng.random(len(self.transforms)), strict=True) if draw < t.p]
        total = np.eye(3)
        for transform in acting:
            matrix = transform.matrix(size, rng)
            if matrix is not None:
                total = matrix @ total
        image, mask = self._warp(image, mask, total)
        changed = image.astype(np.float32)
        for transform in acting:
            changed = transform.pixels(changed, rng)
        return np.clip(changed + 0.5, 0, 255).astype(np.uint8), mask

    def _warp(self, image: Pixels, mask: Pixels, matrix: Matrix) -> tuple[Pixels, Pixels]:
        height, width = mask.shape
        if np.array_equal(matrix, np.eye(3)):
            return image, mask
        if np.array_equal(np.abs(matrix[:2, :2]), np.eye(2)) and np.array_equal(matrix[:2, 2] % 1, [0, 0]):
            flip_x, flip_y = matrix[0, 0] < 0, matrix[1, 1] < 0
            expected = [(width - 1) * flip_x, (height - 1) * flip_y]
            if np.array_equal(matrix[:2, 2], expected):  # flips are exact: no resampling at all
                step_x, step_y = -1 if flip_x else 1, -1 if flip_y else 1
                return (np.ascontiguousarray(image[::step_y, ::step_x]),
                        np.ascontiguousarray(mask[::step_y, ::step_x]))
        reflect = self.border == "reflect"
        mode = cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_CONSTANT
        affine = matrix[:2]
        warped = cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=mode)
        labels = cv2.warpAffine(mask, affine, (width, height), flags=cv2.INTER_NEAREST, borderMode=mode,
                                borderValue=IGNORE)
        return np.asarray(warped, np.uint8), np.asarray(labels, np.uint8)
