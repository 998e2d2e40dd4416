"""What a worse camera, a smaller file or something in the way does to an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np

from maskwright.core.classes import IGNORE
from maskwright.modeling.augment.pipeline import Canvas, Transform, by_fours, require_order, require_share


@dataclass(frozen=True)
class GaussNoise(Transform):
    """Gaussian noise, the same for all channels, with a standard deviation of up to `std` of full range."""

    std: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(std=self.std)

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        deviation = np.float32(rng.uniform(0, self.std) * 255)
        image = canvas.floats()
        noise = rng.standard_normal(image.shape[:2], np.float32)
        noise *= deviation
        image += noise[..., None]


@dataclass(frozen=True)
class GaussianBlur(Transform):
    """Blurred by a Gaussian with a standard deviation in `sigma_limit` pixels."""

    sigma_limit: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_order(0, None, sigma_limit=self.sigma_limit)

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        sigma = rng.uniform(*self.sigma_limit)
        if sigma > 0:
            canvas.put(by_fours(canvas.pixels(), lambda some: cv2.GaussianBlur(some, (0, 0), sigma)))


@dataclass(frozen=True)
class ImageCompression(Transform):
    """Saved as a JPEG of a quality in `quality_range` (1..100) and opened again."""

    colours: ClassVar[bool] = True
    quality_range: tuple[int, int] = (40, 95)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_order(1, 100, quality_range=self.quality_range)

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        quality = int(rng.integers(self.quality_range[0], self.quality_range[1] + 1))
        bgr = cv2.cvtColor(canvas.pixels(), cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done  # uint8 arrays of three channels always encode
        canvas.put(np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8))


@dataclass(frozen=True)
class CoarseDropout(Transform):
    """Rectangles painted over in one grey (`fill`, 0..255): so many as `num_holes_range` tells, with sides that are
    shares of the image's in `hole_height_range` and `hole_width_range`. Labels below them stay, so that the model
    learns to guess from what is around; with `fill_mask: ignore` they do not count."""

    num_holes_range: tuple[int, int] = (1, 2)
    hole_height_range: tuple[float, float] = (0.1, 0.2)
    hole_width_range: tuple[float, float] = (0.1, 0.2)
    fill: int = 0
    fill_mask: Literal["ignore"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_order(1, None, num_holes_range=self.num_holes_range)
        require_order(0, 1, hole_height_range=self.hole_height_range, hole_width_range=self.hole_width_range)
        if not 0 <= self.fill <= 255 or self.fill_mask not in (None, "ignore"):
            raise ValueError("fill must be within 0..255 and fill_mask null or ignore")

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        image = canvas.pixels().copy()
        if self.fill_mask:
            canvas.mask = canvas.mask.copy()
        for _ in range(rng.integers(self.num_holes_range[0], self.num_holes_range[1] + 1)):
            shares = np.array([rng.uniform(*self.hole_height_range), rng.uniform(*self.hole_width_range)])
            sides = np.maximum(np.rint(shares * image.shape[:2]).astype(int), 1)
            top, left = rng.integers(0, np.array(image.shape[:2]) - sides + 1)
            hole = slice(top, top + sides[0]), slice(left, left + sides[1])
            image[hole] = canvas.level(self.fill)
            if self.fill_mask:
                canvas.mask[hole] = IGNORE
        canvas.put(image)
