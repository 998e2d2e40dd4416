"""The guided filter beside a slow one, and what is smoothed where."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.core.bands import RGB, Bands
from maskwright.core.geometry import Geometry
from maskwright.core.smoothing import Guided, Smoothing, grey_of
from maskwright.core.tiles import NUMPY, whole


def slow(guide: np.ndarray, values: np.ndarray, radius: int, edge: float) -> np.ndarray:
    """The definition: in each window the line through (guide, values) with the least squares and a price on its slope;
    at each pixel the mean of the lines of all windows that hold it."""
    side = 2 * radius + 1

    def windows(array: np.ndarray) -> np.ndarray:
        padded = np.pad(array, radius, mode="symmetric")
        return np.lib.stride_tricks.sliding_window_view(padded, (side, side)).reshape(*array.shape, -1)

    slopes, heights = np.zeros(guide.shape), np.zeros(guide.shape)
    for place in np.ndindex(guide.shape):
        x, y = windows(guide)[place], windows(values)[place]
        # The price, as rows: n edge² a² is added to the sum of squares.
        left = np.concatenate([np.stack([x, np.ones_like(x)], 1), [[edge * np.sqrt(len(x)), 0]]])
        slopes[place], heights[place] = np.linalg.lstsq(left, np.concatenate([y, [0]]), rcond=None)[0]
    return windows(slopes).mean(-1) * guide + windows(heights).mean(-1)


@pytest.mark.parametrize(("radius", "edge"), [(1, 0.1), (2, 0.01), (3, 0.5)])
def test_as_a_slow_one_finds_it(radius: int, edge: float) -> None:
    rng = np.random.default_rng(radius)
    guide, values = rng.random((9, 12)).astype(np.float32), rng.random((9, 12)).astype(np.float32)
    found = Guided(guide, radius, edge).filtered(values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow(guide.astype(float), values.astype(float), radius, edge), atol=2e-5)


def scene(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc in an image (H, W, 3), and where it is."""
    rows, columns = np.indices(size)
    disc = (rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2 < (size[0] / 3) ** 2
    image = np.where(disc, 200, 60)[..., None] + np.random.default_rng(0).integers(-4, 5, (*size, 3))
    return image.astype(np.uint8), disc


def coarse(disc: np.ndarray, step: int) -> np.ndarray:
    """(2, H, W): what a network would say that sees one value in `step` x `step` pixels."""
    import cv2

    small = cv2.resize(disc.astype(np.float32), None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    there = cv2.resize(small, disc.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.stack([1 - there, there])


@pytest.mark.parametrize("times", [1, 4])
def test_outlines_follow_the_image_at_any_size(times: int) -> None:
    size = (48 * times, 64 * times)
    image, disc = scene(size)
    probabilities = coarse(disc, 4 * times)
    maps = Smoothing(4, 0.05).on(whole(probabilities), image, Geometry((48, 64)), RGB, NUMPY)
    found = np.stack([maps([index]) for index in range(2)])
    wrong = [int((one.argmax(0) != disc).sum()) for one in (probabilities, found)]
    assert wrong[1] < 0.25 * wrong[0]
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-4)
    np.testing.assert_allclose(maps([0, 1]), found.sum(0), atol=1e-5)


def test_grey_is_a_share_of_the_range() -> None:
    image = np.array([[[1000, 3000], [2000, 2000]], [[1000, 1000], [3000, 3000]]], np.uint16)
    np.testing.assert_allclose(grey_of(image, Bands.of(2, 16, (1000, 3000))), [[0.5, 0.5], [0, 1]])


def test_an_image_smaller_than_the_windows() -> None:
    image = np.full((3, 2, 3), 9, np.uint8)
    maps = Smoothing(8, 0.01).on(whole(np.ones((1, 3, 2), np.float32)), image, Geometry((3, 2)), RGB, NUMPY)
    np.testing.assert_allclose(maps([0]), 1, atol=1e-5)
