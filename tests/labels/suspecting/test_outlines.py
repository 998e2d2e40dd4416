"""Outlines beside the objects in all masks: drawn wider, narrower or coarser by a known amount, and told so."""

import cv2
import numpy as np
import pytest

from maskwright.core.classes import IGNORE
from maskwright.labels.suspecting import outlines as module
from maskwright.labels.suspecting.outlines import outlines, profile

KERNEL = np.ones((3, 3), np.uint8)
NAMES = ["ground", "disc", "box"]


def scene(rng, scale=1):
    """An image with a dark disc and a bright box on grey ground, noise, and its exact mask."""
    mask = np.zeros((96 * scale, 128 * scale), np.uint8)
    x, y, radius = (int(scale * rng.integers(*bounds)) for bounds in ((25, 40), (35, 60), (14, 22)))
    cv2.circle(mask, (x, y), radius, 1, -1)
    left, top, side = (int(scale * rng.integers(*bounds)) for bounds in ((70, 85), (20, 40), (22, 34)))
    mask[top : top + side, left : left + side] = 2
    image = np.array([110, 60, 170], np.float32)[mask] + rng.normal(0, 6, mask.shape)
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, 2), mask


def grown(mask, pixels):
    """Every object drawn wider by so many pixels, or narrower below 0."""
    drawn = np.zeros_like(mask)
    for index in (1, 2):
        here = (mask == index).astype(np.uint8)
        away = cv2.distanceTransform(1 - here, cv2.DIST_L2, 5) - cv2.distanceTransform(here, cv2.DIST_L2, 5)
        drawn[away < (pixels + 0.5 if pixels >= 0 else pixels - 0.5)] = index
    return drawn


def measured(drawn, images=20, scale=1):
    rng = np.random.default_rng(7)
    pairs = [scene(rng, scale) for _ in range(images)]
    return {one.name: one for one in outlines([profile(image, drawn(mask), 3, 0) for image, mask in pairs], NAMES)}


@pytest.mark.parametrize("pixels", [-3, -2, -1, 0, 1, 2, 3])
def test_how_far_outlines_lie_beside_the_edges(pixels):
    found = measured(lambda mask: grown(mask, pixels))
    for name in ("disc", "box"):
        assert found[name].offset == pytest.approx(-pixels, abs=0.35)
        assert found[name].low <= found[name].offset <= found[name].high
        assert found[name].beside == (abs(pixels) > 0)
        assert [which in " ".join(found[name].sentences()) for which in ("too wide", "too narrow")] == [
            pixels > 0,
            pixels < 0,
        ]


def test_errors_to_both_sides_are_no_offset():
    rng = np.random.default_rng(1)
    found = measured(lambda mask: grown(mask, int(rng.integers(-2, 3))), images=60)
    assert not any(one.beside for one in found.values())


def test_the_pixels_are_those_of_the_stored_image(monkeypatch):
    monkeypatch.setattr(module, "_LONGEST", 256)
    found = measured(lambda mask: grown(mask, 6), images=12, scale=4)["disc"]
    assert found.scale == pytest.approx(2)
    assert found.offset == pytest.approx(-6, abs=1)


def test_coarse_outlines_scatter():
    rng = np.random.default_rng(2)

    def coarse(mask):
        """Each object drawn beside its place, now here, now there."""
        drawn = np.zeros_like(mask)
        for index in (1, 2):
            drawn[np.roll(mask == index, rng.integers(-7, 8, 2), (0, 1))] = index
        return drawn

    exact, found = measured(lambda mask: mask, 60), measured(coarse, 60)
    assert exact["disc"].scatter < 2.5
    assert not exact["disc"].sentences()
    assert found["disc"].scatter > 1.5 * exact["disc"].scatter


def test_ignored_pixels_do_not_count():
    def with_ignored(mask):
        mask = grown(mask, 2)
        mask[grown(mask, 6) > 0] = IGNORE
        return mask

    assert measured(with_ignored) == {}


def test_what_cannot_be_told_is_not():
    assert measured(lambda mask: mask, images=9) == {}  # too few
    rng = np.random.default_rng(3)
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(20)]
    mask = np.zeros((64, 64), np.uint8)
    mask[20:44, 20:44] = 1
    assert outlines([profile(image, mask, 2, 0) for image in noise], NAMES[:2]) == []
    assert outlines([profile(image, np.ones((64, 64), np.uint8), 2, 0) for image in noise], NAMES[:2]) == []
