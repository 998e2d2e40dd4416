"""Photometric transforms on (H, W, 3) float32 images, 0..255; the mask is untouched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.augment.pipeline import Transform

Floats = npt.NDArray[np.float32]


def _require_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be within 0..1 (given {value})")


@dataclass(frozen=True)
class RandomBrightnessContrast(Transform):
    """Contrast about the image's mean times 1 ± `contrast_limit`, then ± `brightness_limit` of full range."""

    brightness_limit: float = 0.15
    contrast_limit: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_share(brightness_limit=self.brightness_limit, contrast_limit=self.contrast_limit)

    def pixels(self, image: Floats, rng: np.random.Generator) -> Floats:
        """See `Transform.pixels`."""
        gain = np.float32(rng.uniform(1 - self.contrast_limit, 1 + self.contrast_limit))
        offset = np.float32(rng.uniform(-self.brightness_limit, self.brightness_limit) * 255)
        mean = image.mean(dtype=np.float32)
        return np.asarray(image * gain + (mean * (1 - gain) + offset))


@dataclass(frozen=True)
class RandomGamma(Transform):
    """Values to the power of a gamma in `gamma_limit` (log-uniform)."""

    gamma_limit: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma_limit[0] <= self.gamma_limit[1]:
            raise ValueError(f"gamma_limit must be two exponents above 0 in order (given {self.gamma_limit})")

    def pixels(self, image: Floats, rng: np.random.Generator) -> Floats:
        """See `Transform.pixels`."""
        gamma = np.float32(np.exp(rng.uniform(*np.log(self.gamma_limit))))
        return np.asarray(np.clip(image / np.float32(255), 0, 1) ** gamma * np.float32(255))


@dataclass(frozen=True)
class RGBShift(Transform):
    """Each channel times its own factor within 1 ± `limit`: a change of the light's colour."""

    limit: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_share(limit=self.limit)

    def pixels(self, image: Floats, rng: np.random.Generator) -> Floats:
        """See `Transform.pixels`."""
        return image * rng.uniform(1 - self.limit, 1 + self.limit, 3).astype(np.float32)


@dataclass(frozen=True)
class GaussNoise(Transform):
    """Gaussian noise, the same for all channels, with a standard deviation of up to `std` of full range."""

    std: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_share(std=self.std)

    def pixels(self, image: Floats, rng: np.random.Generator) -> Floats:
        """See `Transform.pixels`."""
        deviation = np.float32(rng.uniform(0, self.std) * 255)
        return image + deviation * rng.standard_normal(image.shape[:2], np.float32)[..., None]
