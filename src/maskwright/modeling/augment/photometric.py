"""Photometric transforms: light, colour and contrast. Values are 0..255, whatever is stored (see `Canvas`); those of
`colours` take RGB. The mask is untouched."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.modeling.augment.pipeline import Canvas, Floats, Mean, Transform, require_order, require_share

_BYTES = np.arange(256)


@dataclass(frozen=True)
class Tone(Transform):
    """A change that gives equal values of a channel equal results, so that 256 values stand for all pixels."""

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        canvas.tone(lambda values, mean: self.curve(values, mean, rng))

    @abstractmethod
    def curve(self, values: Floats, mean: Mean, rng: np.random.Generator) -> Floats:
        """New values for `values` (..., 3), or (..., 1) where the channels are equal; `mean()` is that of the image."""


@dataclass(frozen=True)
class RandomBrightnessContrast(Tone):
    """Contrast about the image's mean times 1 ± `contrast_limit`, then ± `brightness_limit` of full range."""

    brightness_limit: float = 0.15
    contrast_limit: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(brightness_limit=self.brightness_limit, contrast_limit=self.contrast_limit)

    def curve(self, values: Floats, mean: Mean, rng: np.random.Generator) -> Floats:
        """See `Tone.curve`."""
        gain = np.float32(rng.uniform(1 - self.contrast_limit, 1 + self.contrast_limit))
        offset = np.float32(rng.uniform(-self.brightness_limit, self.brightness_limit) * 255)
        return np.asarray(values * gain + (mean() * (1 - gain) + offset))


@dataclass(frozen=True)
class RandomGamma(Tone):
    """Values to the power of a gamma in `gamma_limit` (log-uniform)."""

    gamma_limit: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma_limit[0] <= self.gamma_limit[1]:
            raise ValueError(f"gamma_limit must be two exponents above 0 in order (given {self.gamma_limit})")

    def curve(self, values: Floats, mean: Mean, rng: np.random.Generator) -> Floats:
        """See `Tone.curve`."""
        gamma = np.float32(np.exp(rng.uniform(*np.log(self.gamma_limit))))
        return np.asarray(np.clip(values / np.float32(255), 0, 1) ** gamma * np.float32(255))


@dataclass(frozen=True)
class RGBShift(Tone):
    """Each channel times its own factor within 1 ± `limit`: a change of the light's colour."""

    colours: ClassVar[bool] = True
    limit: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(limit=self.limit)

    def curve(self, values: Floats, mean: Mean, rng: np.random.Generator) -> Floats:
        """See `Tone.curve`."""
        return values * rng.uniform(1 - self.limit, 1 + self.limit, 3).astype(np.float32)


@dataclass(frozen=True)
class HueSaturationValue(Transform):
    """Hue, saturation and value moved by up to so much: `hue_shift_limit` in steps of 2 degrees, as OpenCV counts
    them (0..180), the others of 255. Grey stays grey."""

    colours: ClassVar[bool] = True
    hue_shift_limit: float = 20
    sat_shift_limit: float = 30
    val_shift_limit: float = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("hue_shift_limit", 180), ("sat_shift_limit", 255), ("val_shift_limit", 255)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be within 0..{most} (given {getattr(self, name)})")

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        limits = np.array([self.hue_shift_limit, self.sat_shift_limit, self.val_shift_limit])
        hue, saturation, value = rng.uniform(-limits, limits)
        _change_hsv(canvas, _BYTES + hue, np.where(_BYTES > 0, _BYTES + saturation, 0), _BYTES + value)


@dataclass(frozen=True)
class PhotoMetricDistortion(Transform):
    """As MMSegmentation defines it: brightness, contrast, saturation, hue, contrast again, each with probability 0.5,
    the contrast at one of its two places. Brightness moves by up to `brightness_delta` of 255, contrast (about black)
    and saturation are multiplied by a factor in their range, hue moves by up to `hue_delta` of 180."""

    colours: ClassVar[bool] = True
    p: float = 1.0
    brightness_delta: float = 32
    contrast_range: tuple[float, float] = (0.5, 1.5)
    saturation_range: tuple[float, float] = (0.5, 1.5)
    hue_delta: int = 18

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.brightness_delta <= 255 or not 0 <= self.hue_delta <= 180:
            raise ValueError("brightness_delta must be within 0..255 and hue_delta within 0..180")
        require_order(0, None, contrast_range=self.contrast_range, saturation_range=self.saturation_range)

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        brighten, contrast, saturate, turn, early = rng.random(5) < 0.5
        offset = np.float32(rng.uniform(-self.brightness_delta, self.brightness_delta)) if brighten else np.float32(0)
        gain = np.float32(rng.uniform(*self.contrast_range)) if contrast else np.float32(1)
        factor = rng.uniform(*self.saturation_range) if saturate else 1.0
        hue = int(rng.integers(-self.hue_delta, self.hue_delta + 1)) if turn else 0
        canvas.tone(lambda values, _: np.clip(values + offset, 0, 255) * (gain if early else np.float32(1)))
        if saturate or turn:
            _change_hsv(canvas, _BYTES + hue, _BYTES * factor, _BYTES)
        if not early:
            canvas.tone(lambda values, _: values * gain)


@dataclass(frozen=True)
class CLAHE(Transform):
    """Contrast-limited adaptive histogram equalisation of the lightness (L of CIELAB), with a clip limit in
    `clip_limit`, in `tile_grid_size` (columns, rows) tiles."""

    colours: ClassVar[bool] = True
    clip_limit: tuple[float, float] = (1.0, 4.0)
    tile_grid_size: tuple[int, int] = (8, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_order(1, None, clip_limit=self.clip_limit)
        if min(self.tile_grid_size) < 1:
            raise ValueError(f"tile_grid_size must be at least 1 (given {self.tile_grid_size})")

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """See `Transform.paint`."""
        equaliser = cv2.createCLAHE(rng.uniform(*self.clip_limit), self.tile_grid_size)
        lab = cv2.cvtColor(canvas.pixels(), cv2.COLOR_RGB2LAB)
        lab[..., 0] = equaliser.apply(lab[..., 0])
        canvas.put(np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8))


def _change_hsv(canvas: Canvas, *tables: npt.NDArray[np.generic]) -> None:
    """Looks hue (0..179, a circle), saturation and value (0..255, clipped) up in tables (256,) of new values."""
    hue, saturation, value = (np.rint(table.astype(np.float64)) for table in tables)
    table = np.stack([hue % 180, np.clip(saturation, 0, 255), np.clip(value, 0, 255)], 1).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(canvas.pixels(), cv2.COLOR_RGB2HSV), table.reshape(256, 1, 3))
    canvas.put(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8))
