"""Geometric transforms: each returns the (3, 3) map of source to output pixel coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.modeling.augment.pipeline import Matrix, Pixels, Size, Transform, require_order


@dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Left and right exchanged."""

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        return np.array([[-1.0, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]])


@dataclass(frozen=True)
class VerticalFlip(Transform):
    """Top and bottom exchanged."""

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        return np.array([[1.0, 0, 0], [0, -1, size[0] - 1], [0, 0, 1]])


@dataclass(frozen=True)
class Affine(Transform):
    """Scaled by a factor in `scale` (log-uniform), rotated by up to `rotate` degrees and moved by up to
    `translate_percent` of the size, about the middle of the image."""

    scale: tuple[float, float] = (0.8, 1.25)
    rotate: float = 15.0
    translate_percent: float = 0.06

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two factors above 0 in order (given {self.scale})")
        if self.rotate < 0 or not 0 <= self.translate_percent < 1:
            raise ValueError("rotate must be at least 0 and translate_percent within 0..1")

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        factor = np.exp(rng.uniform(*np.log(self.scale)))
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate))
        shift = rng.uniform(-self.translate_percent, self.translate_percent, 2) * (size[1], size[0])
        cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
        result = _about_the_middle(np.array([[cosine, -sine], [sine, cosine]]), size)
        result[:2, 2] += shift
        return result


@dataclass(frozen=True)
class RandomSizedCrop(Transform):
    """A random part, `scale` of the height and width (uniform) with its aspect ratio changed by up to
    `ratio` (log-uniform), enlarged to the full size."""

    scale: tuple[float, float] = (0.6, 1.0)
    ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares within 0..1 in order (given {self.scale})")
        if self.ratio < 1:
            raise ValueError(f"ratio must be at least 1 (given {self.ratio})")

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        stretch = np.exp(rng.uniform(-1, 1) * np.log(self.ratio) / 2)
        share = rng.uniform(*self.scale)
        crop = np.minimum(np.array([share * stretch, share / stretch]), 1) * (size[1], size[0])
        corner = rng.uniform(0, 1, 2) * ((size[1], size[0]) - crop)
        return _cropped(corner, crop, size)


@dataclass(frozen=True)
class ClassCrop(Transform):
    """A random part, `scale` of the height and width (uniform), enlarged to the full size, that has a pixel of a
    random class: each that is in the mask is as likely as the others, and so is each of its pixels."""

    scale: tuple[float, float] = (0.5, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_order(0, 1, scale=self.scale)
        if not self.scale[0]:
            raise ValueError(f"scale must be above 0 (given {self.scale})")

    def matrix_for(self, mask: Pixels, before: Matrix, rng: np.random.Generator) -> Matrix | None:
        """See `Transform.matrix_for`. None where every pixel is ignored."""
        present = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=IGNORE + 1)[:IGNORE])
        if not len(present):
            return None
        places = np.flatnonzero(mask.reshape(-1) == rng.choice(present))
        y, x = divmod(int(rng.choice(places)), mask.shape[1])
        size = np.array([mask.shape[1], mask.shape[0]])
        crop = rng.uniform(*self.scale) * size
        point = (before @ (x, y, 1.0))[:2] + 0.5
        corner = np.clip(point - rng.uniform(0, 1, 2) * crop, 0, size - crop)
        return _cropped(corner, crop, (mask.shape[0], mask.shape[1]))


@dataclass(frozen=True)
class Rotate(Transform):
    """Turned by up to `limit` degrees about the middle of the image."""

    limit: float = 90.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.limit <= 180:
            raise ValueError(f"limit must be within 0..180 degrees (given {self.limit})")

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        angle = np.deg2rad(rng.uniform(-self.limit, self.limit))
        return _about_the_middle(np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), size)


@dataclass(frozen=True)
class RandomRotate90(Transform):
    """Turned by no, one, two or three right angles, without resampling.

    The size stays. If it is not square, a turn to the side is one about the middle: what comes to lie outside is
    lost, and what is uncovered is filled as `border` tells. Nothing is stretched.
    """

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        return _about_the_middle(np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), int(rng.integers(4))), size)


@dataclass(frozen=True)
class Transpose(Transform):
    """Rows and columns exchanged, without resampling; a size that is not square is treated as by RandomRotate90."""

    def matrix(self, size: Size, rng: np.random.Generator) -> Matrix:
        """See `Transform.matrix`."""
        return _about_the_middle(np.array([[0, 1], [1, 0]]), size)


def _cropped(corner: npt.NDArray[np.floating], crop: npt.NDArray[np.floating], size: Size) -> Matrix:
    """The map that enlarges a part, from `corner` (x, y) and of the size `crop` (width, height), to the full size."""
    factor = np.array([size[1], size[0]]) / crop
    # Pixel centres: x' + 0.5 = (x + 0.5 - corner) * factor
    result = np.diag([*factor, 1.0])
    result[:2, 2] = (0.5 - corner) * factor - 0.5
    return result


def _about_the_middle(linear: npt.NDArray[np.number], size: Size) -> Matrix:
    """The map that is `linear` (2, 2) about the middle of the image. Whole numbers stay whole: where the middle of
    turned pixels would lie between pixels, it is moved by half a pixel."""
    centre = np.array([size[1] - 1, size[0] - 1]) / 2
    result = np.eye(3)
    result[:2, :2] = linear
    result[:2, 2] = centre - linear @ centre
    if np.issubdtype(linear.dtype, np.integer):
        result[:2, 2] = np.floor(result[:2, 2])
    return result
