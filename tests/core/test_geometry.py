"""Resizing to the model's size: sizes, padding that is ignored, labels that are never invented."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.classes import IGNORE
from maskwright.core.geometry import RESAMPLING, Geometry, letterbox, pad_to, resize_image, resize_mask

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(SIZES, SIZES)
def test_letterbox_fits_and_keeps_the_ratio(size: tuple[int, int], target: tuple[int, int]) -> None:
    assert letterbox(size, target, keep_ratio=False) == target
    inner = letterbox(size, target, keep_ratio=True)
    assert all(1 <= part <= whole for part, whole in zip(inner, target, strict=True))
    assert inner[0] == target[0] or inner[1] == target[1]
    scale = min(target[0] / size[0], target[1] / size[1])
    assert all(abs(part - max(1, whole * scale)) <= 0.5 for part, whole in zip(inner, size, strict=True))


@given(SIZES, SIZES, st.booleans(), st.integers(0, 99))
def test_image_and_mask_come_to_the_size(size: tuple[int, int], target: tuple[int, int], keep: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    geometry = Geometry(target, keep, "bilinear")
    mask = rng.choice(np.array([0, 3, 7, IGNORE], np.uint8), size)
    image = rng.integers(1, 256, (*size, 3), dtype=np.uint8)
    resized = geometry.mask(mask)
    height, width = geometry.inner(size)
    assert resized.shape == target and geometry.image(image).shape == (*target, 3)
    assert set(np.unique(resized[:height, :width])) <= set(np.unique(mask))  # no value that was not there
    outside = np.ones(target, bool)
    outside[:height, :width] = False
    assert (resized[outside] == IGNORE).all()
    assert (geometry.image(image)[outside] == 0).all()


@given(SIZES, SIZES, st.integers(0, 99))
def test_masks_are_sampled_at_pixel_centres(size: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 5, size, dtype=np.uint8)
    floats = torch.from_numpy(mask)[None, None].double()
    expected = torch.nn.functional.interpolate(floats, target, mode="nearest-exact")
    differing = resize_mask(mask, target) != expected[0, 0].numpy()
    # Where a centre falls exactly between two pixels, rounding may go either way.
    rows, columns = ((np.arange(t) + 0.5) * s / t for t, s in zip(target, size, strict=True))
    tied = [np.abs(c - np.round(c)) < 1e-6 for c in (rows, columns)]
    assert not (differing & ~tied[0][:, None] & ~tied[1][None]).any()


@pytest.mark.parametrize("resample", RESAMPLING)
def test_nothing_shifts(resample: str) -> None:
    gradient = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 8, 0).repeat(3, 2)
    small = resize_image(gradient, (4, 32), resample)
    # The mean of two neighbours, at the middle between their centres.
    np.testing.assert_allclose(small[0, 4:-4, 0], (np.arange(32) * 8 + 2)[4:-4], atol=1)
    large = resize_image(gradient, (8, 128), resample)[0, 8:-8, 0].astype(float)
    expected = ((np.arange(128) + 0.5) / 2 - 0.5) * 4
    np.testing.assert_allclose(large, expected[8:-8], atol=2 if resample == "area" else 1)


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 254
    for resample in RESAMPLING:
        assert np.abs(resize_image(stripes, (8, 8), resample)[:, 2:-2].astype(int) - 127).max() <= 20


def test_the_same_size_is_the_same_array() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert resize_image(image, (4, 5), "lanczos") is image
    assert resize_mask(image[..., 0], (4, 5)).shape == (4, 5)
    assert pad_to(image, (4, 5), 0) is image


def triangle(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.clip(1 - np.abs(x), 0, None)


def cubic(x: npt.NDArray[np.float64], a: float = -0.5) -> npt.NDArray[np.float64]:
    """Keys 1981."""
    x = np.abs(x)
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def lanczos(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def box(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return ((x > -0.5) & (x <= 0.5)).astype(float)


KERNELS = {"bilinear": triangle, "bicubic": cubic, "lanczos": lanczos, "area": box}


def weights(source: int, target: int, resample: str) -> npt.NDArray[np.float64]:
    """(target, source): a kernel around each new pixel centre, as wide as the new pixel where it is larger."""
    scale = max(1.0, source / target)
    centres = (np.arange(target) + 0.5) * source / target
    places = (np.arange(source) + 0.5)[None] - centres[:, None]
    found = KERNELS[resample](places / scale)
    return np.asarray(found / found.sum(1, keepdims=True))


@pytest.mark.parametrize("resample", RESAMPLING)
@pytest.mark.parametrize("target", [(20, 36), (13, 17), (80, 108), (55, 90), (40, 54)])
def test_every_way_is_its_kernel(resample: str, target: tuple[int, int], rng: np.random.Generator) -> None:
    """Pillow's resampling beside a sum over the kernel in float64."""
    image = cv2.GaussianBlur(rng.integers(0, 256, (40, 54, 3), np.uint8), (0, 0), 1)
    rows, columns = (weights(s, t, resample) for s, t in zip(image.shape[:2], target, strict=True))
    expected = np.clip(np.einsum("ar,bc,rcx->abx", rows, columns, image.astype(float)), 0, 255)
    error = np.abs(resize_image(image, target, resample) - expected)
    if resample == "area" and any(s % t for s, t in zip(image.shape[:2], target, strict=True)):
        assert np.quantile(error, 0.9) <= 1  # a centre on the edge of the box falls to either side
    else:
        assert error.max() <= 1.25  # it rounds after each of the two passes


def test_ways_that_opencv_has_too(rng: np.random.Generator) -> None:
    image = cv2.GaussianBlur(rng.integers(0, 256, (40, 56, 3), np.uint8), (0, 0), 1)
    for resample, target, flag in (("bilinear", (80, 112), cv2.INTER_LINEAR), ("area", (20, 14), cv2.INTER_AREA)):
        expected = cv2.resize(image, target[::-1], interpolation=flag)
        assert np.abs(resize_image(image, target, resample).astype(int) - expected).max() <= 1
