"""Colour changes: within their limits, clipped and not wrapped around, and never a change of the mask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from helpers import draw_pair
from maskwright.modeling.augment import AUGMENTATIONS, Pipeline
from maskwright.modeling.augment.degrading import GaussNoise
from maskwright.modeling.augment.passthrough import library
from maskwright.modeling.augment.photometric import (
    CLAHE,
    HueSaturationValue,
    PhotoMetricDistortion,
    RandomBrightnessContrast,
    RandomGamma,
    RGBShift,
)
from maskwright.modeling.augment.pipeline import Canvas, Floats, Transform

NAMES = [
    "RandomBrightnessContrast",
    "RandomGamma",
    "RGBShift",
    "HueSaturationValue",
    "PhotoMetricDistortion",
    "CLAHE",
    "GaussNoise",
    "GaussianBlur",
    "ImageCompression",
]
TONES = [RandomBrightnessContrast(1, 0.3, 0.4), RandomGamma(1, (0.5, 2)), RGBShift(1, 0.2)]
IMAGE, MASK = draw_pair(np.random.default_rng(2), (40, 50))


def painted(transform: Transform, image: Floats, rng: np.random.Generator) -> Floats:
    """What becomes of a float image, before anything is clipped or rounded."""
    canvas = Canvas(np.zeros(image.shape, np.uint8), MASK)
    canvas.floats()[:] = image
    transform.paint(canvas, rng)
    return canvas.floats()


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_untouched(name: str, rng: np.random.Generator) -> None:
    changed = 0
    for _ in range(5):
        image, mask = Pipeline([AUGMENTATIONS[name](p=1)])(IMAGE, MASK, rng)
        np.testing.assert_array_equal(mask, MASK)
        changed += not np.array_equal(image, IMAGE)
    assert changed >= (3 if name == "PhotoMetricDistortion" else 5)


@pytest.mark.parametrize(
    "transforms",
    [*permutations(TONES), *([one] for one in TONES), [TONES[0], TONES[0]], [TONES[1], GaussNoise(1), *TONES]],
)
def test_a_table_gives_the_bytes_that_float_arithmetic_on_every_pixel_gives(transforms: Sequence[Transform]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 70, 3), np.uint8)
    for seed in range(8):
        table, floats = Canvas(image, MASK), Canvas(image, MASK)
        floats.floats()
        for canvas in (table, floats):
            rng = np.random.default_rng(seed)
            for transform in transforms:
                transform.paint(canvas, rng)
        np.testing.assert_array_equal(table.pixels(), floats.pixels())


@pytest.mark.parametrize(
    "transform",
    [
        RandomBrightnessContrast(1, 1, 1),
        RandomGamma(1, (0.1, 10)),
        RGBShift(1, 1),
        GaussNoise(1, 1),
        HueSaturationValue(1, 180, 255, 255),
        PhotoMetricDistortion(1, 255, (0, 9), (0, 9), 180),
        CLAHE(1, (1, 99)),
    ],
)
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
    for transform in (
        RandomBrightnessContrast(1, 0, 0),
        RandomGamma(1, (1, 1)),
        RGBShift(1, 0),
        GaussNoise(1, 0),
        PhotoMetricDistortion(1, 0, (1, 1), (1, 1), 0),
    ):
        image, _ = Pipeline([transform])(IMAGE, MASK, rng)
        hsv = isinstance(transform, PhotoMetricDistortion)  # bytes of HSV are coarser than those of RGB
        assert np.abs(image.astype(int) - IMAGE).max() <= (6 if hsv else 0)


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


@pytest.mark.parametrize("shifts", [(20, 0, 0), (-13, 25, -17), (180, -255, 255)])
def test_hue_saturation_value_is_that_of_albumentations(shifts: tuple[int, int, int]) -> None:
    library()
    from albumentations.augmentations.pixel.functional import shift_hsv

    class Drawn:
        def uniform(self, low: object, high: object) -> tuple[int, int, int]:
            return shifts

    canvas = Canvas(IMAGE, MASK)
    HueSaturationValue(1).paint(canvas, Drawn())  # type: ignore[arg-type]
    np.testing.assert_array_equal(canvas.pixels(), shift_hsv(IMAGE, *map(float, shifts)))


@pytest.mark.parametrize(("clip_limit", "grid"), [(1.0, (8, 8)), (4.0, (4, 2))])
def test_clahe_is_that_of_albumentations(clip_limit: float, grid: tuple[int, int], rng: np.random.Generator) -> None:
    albumentations = library()
    theirs = albumentations.CLAHE((clip_limit, clip_limit), grid, p=1)(image=IMAGE)["image"]
    ours, _ = Pipeline([CLAHE(1, (clip_limit, clip_limit), grid)])(IMAGE, MASK, rng)
    np.testing.assert_array_equal(ours, theirs)


def as_in_mmsegmentation(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Its steps one by one on bytes, with the draws of our class."""

    def convert(values: npt.NDArray[np.uint8], alpha: float = 1, beta: float = 0) -> npt.NDArray[np.uint8]:
        return np.clip(values.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

    brighten, contrast, saturate, turn, early = rng.random(5) < 0.5
    beta = rng.uniform(-32, 32) if brighten else 0
    alpha = rng.uniform(0.5, 1.5) if contrast else 1
    factor = rng.uniform(0.5, 1.5) if saturate else 1
    hue = int(rng.integers(-18, 19)) if turn else 0
    image = convert(image, beta=beta)
    if early:
        image = convert(image, alpha)
    for act, channel in ((saturate, 1), (turn, 0)):
        if act:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            hsv[..., channel] = convert(hsv[..., 1], factor) if channel else (hsv[..., 0].astype(int) + hue) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if early else convert(image, alpha)


def test_photometric_distortion_is_that_of_mmsegmentation() -> None:
    smooth = cv2.resize(IMAGE, (100, 80), interpolation=cv2.INTER_CUBIC)
    changed = 0
    for seed in range(80):
        canvas = Canvas(smooth, MASK)
        PhotoMetricDistortion().paint(canvas, np.random.default_rng(seed))
        expected = as_in_mmsegmentation(smooth, np.random.default_rng(seed))
        error = np.abs(canvas.pixels().astype(int) - expected)
        # It cuts fractions off where we round, and goes through HSV twice.
        assert error.mean() < 2 and np.quantile(error, 0.99) <= 6, seed
        changed += np.abs(expected.astype(int) - smooth).mean() > 4
    assert changed > 50


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("HueSaturationValue", {"hue_shift_limit": 181}),
        ("HueSaturationValue", {"val_shift_limit": -1}),
        ("PhotoMetricDistortion", {"contrast_range": (1.5, 0.5)}),
        ("PhotoMetricDistortion", {"hue_delta": -1}),
        ("PhotoMetricDistortion", {"brightness_delta": 256}),
        ("CLAHE", {"clip_limit": (0, 4)}),
        ("CLAHE", {"tile_grid_size": (0, 8)}),
        ("RandomBrightnessContrast", {"brightness_limit": 1.5}),
        ("RandomBrightnessContrast", {"contrast_limit": -0.1}),
        ("RandomGamma", {"gamma_limit": (0, 1)}),
        ("RandomGamma", {"gamma_limit": (2, 1)}),
        ("RGBShift", {"limit": 2}),
        ("GaussNoise", {"std": -1}),
        ("GaussNoise", {"std": float("nan")}),
        ("RandomGamma", {"gamma_limit": (1, float("inf"))}),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        AUGMENTATIONS[name](**settings)  # type: ignore[arg-type]
