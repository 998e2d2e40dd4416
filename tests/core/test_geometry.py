"""Resizing to the model's size: sizes, padding that is ignored, labels that are never invented."""

from __future__ import annotations

import numpy as np
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
