"""Colour changes: within their limits, clipped and not wrapped around, and never a change of the mask."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import draw_pair
from maskwright.augment import AUGMENTATIONS, Pipeline
from maskwright.augment.degrading import GaussNoise
from maskwright.augment.photometric import RandomBrightnessContrast, RandomGamma, RGBShift
from maskwright.augment.pipeline import Canvas, Floats, Transform

NAMES = ["RandomBrightnessContrast", "RandomGamma", "RGBShift", "GaussNoise"]
IMAGE, MASK = draw_pair(np.random.default_rng(2), (40, 50))


def painted(transform: Transform, image: Floats, rng: np.random.Generator) -> Floats:
    """What becomes of a float image, before anything is clipped or rounded."""
    canvas = Canvas(IMAGE, MASK)
    canvas.floats()[:] = image
    transform.paint(canvas, rng)
    return canvas.floats()


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_untouched(name: str, rng: np.random.Generator) -> None:
    for _ in range(5):
        image, mask = Pipeline([AUGMENTATIONS[name](p=1)])(IMAGE, MASK, rng)
        np.testing.assert_array_equal(mask, MASK)
        assert not np.array_equal(image, IMAGE)


@pytest.mark.parametrize("transform", [
    RandomBrightnessContrast(1, 1, 1), RandomGamma(1, (0.1, 10)), RGBShift(1, 1), GaussNoise(1, 1)])
@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_extremes_are_clipped(transform: Transform, value: int, rng: np.random.Generator) -> None:
    image = np.full((20, 20, 3), value, np.uint8)
    for _ in range(20):
        wide = painted(transform, image.astype(np.float32), np.random.default_rng(rng.integers(99)))
        assert np.isfinite(wide).all() and wide.dtype == np.float32
    for _ in range(20):
        seed = int(rng.integers(1000))
        drawn = np.random.default_rng(seed)
        drawn.random(1)
        expected = np.clip(painted(transform, image.astype(np.float32), drawn), 0, 255)
        changed, _ = Pipeline([transform])(image, image[..., 0], np.random.default_rng(seed))
        assert np.abs(changed - expected).max() <= 0.5 + 1e-3  # rounded, not wrapped around


def test_no_change_at_zero_limits(rng: np.random.Generator) -> None:
    for transform in (RandomBrightnessContrast(1, 0, 0), RandomGamma(1, (1, 1)), RGBShift(1, 0), GaussNoise(1, 0)):
        image, _ = Pipeline([transform])(IMAGE, MASK, rng)
        np.testing.assert_array_equal(image, IMAGE)


def test_brightness_and_contrast(rng: np.random.Generator) -> None:
    floats = IMAGE.astype(np.float32)
    for _ in range(50):
        brighter = painted(RandomBrightnessContrast(1, 0.2, 0), floats, rng)
        offset = brighter - floats
        assert np.ptp(offset) < 1e-3 and abs(offset.mean()) <= 0.2 * 255 + 1e-3
        stretched = painted(RandomBrightnessContrast(1, 0, 0.3), floats, rng)
        assert abs(stretched.mean() - floats.mean()) < 0.01
        assert 0.7 - 1e-4 <= stretched.std() / floats.std() <= 1.3 + 1e-4


def test_gamma_is_monotone_and_keeps_black_and_white(rng: np.random.Generator) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.float32)[None, :, None], 3, 2)
    for _ in range(20):
        curve = painted(RandomGamma(1, (0.5, 2)), ramp, rng)[0, :, 0]
        assert (np.diff(curve) > 0).all()
        np.testing.assert_allclose(curve[[0, 255]], [0, 255], atol=1e-3)
        gamma = np.log(curve[64] / 255) / np.log(64 / 255)
        assert 0.5 - 1e-4 <= gamma <= 2 + 1e-4


def test_colour_of_the_light(rng: np.random.Generator) -> None:
    floats = IMAGE.astype(np.float32) + 1
    for _ in range(20):
        factors = (painted(RGBShift(1, 0.1), floats, rng) / floats).reshape(-1, 3)
        assert (np.ptp(factors, axis=0) < 1e-5).all() and (np.abs(factors[0] - 1) <= 0.1 + 1e-5).all()
        assert np.ptp(factors[0]) > 0


def test_noise(rng: np.random.Generator) -> None:
    flat = np.full((100, 100, 3), 128, np.float32)
    for _ in range(10):
        noise = painted(GaussNoise(1, 0.1), flat, rng) - flat
        assert (np.ptp(noise, axis=2) < 1e-3).all()  # the same for all channels
        assert noise.std() <= 0.1 * 255 * 1.05 and abs(noise.mean()) < 1.5


@pytest.mark.parametrize(("name", "settings"), [
    ("RandomBrightnessContrast", {"brightness_limit": 1.5}), ("RandomBrightnessContrast", {"contrast_limit": -0.1}),
    ("RandomGamma", {"gamma_limit": (0, 1)}), ("RandomGamma", {"gamma_limit": (2, 1)}), ("RGBShift", {"limit": 2}),
    ("GaussNoise", {"std": -1}), ("GaussNoise", {"std": float("nan")}),
    ("RandomGamma", {"gamma_limit": (1, float("inf"))})])
def test_settings_are_checked(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        AUGMENTATIONS[name](**settings)  # type: ignore[arg-type]
