"""Blur, compression and holes, beside SciPy and Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from helpers import draw_pair
from maskwright.core.classes import IGNORE
from maskwright.modeling.augment import AUGMENTATIONS, Pipeline
from maskwright.modeling.augment.degrading import CoarseDropout, GaussianBlur, ImageCompression

IMAGE, MASK = draw_pair(np.random.default_rng(2), (40, 50))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5])
def test_blur_is_gaussian(sigma: float, rng: np.random.Generator) -> None:
    changed, labels = Pipeline([GaussianBlur(1, (sigma, sigma))])(IMAGE, MASK, rng)
    expected = ndimage.gaussian_filter(IMAGE.astype(float), (sigma, sigma, 0), mode="mirror")
    assert np.abs(changed - expected).max() <= 1.5
    assert labels is MASK


def test_no_blur_at_0(rng: np.random.Generator) -> None:
    np.testing.assert_array_equal(Pipeline([GaussianBlur(1, (0, 0))])(IMAGE, MASK, rng)[0], IMAGE)


@pytest.mark.parametrize("quality", [20, 60, 95])
def test_compression_is_that_of_a_jpeg_file(quality: int, rng: np.random.Generator) -> None:
    changed, _ = Pipeline([ImageCompression(1, (quality, quality))])(IMAGE, MASK, rng)
    stream = io.BytesIO()
    Image.fromarray(IMAGE).save(stream, "JPEG", quality=quality)
    expected = np.asarray(Image.open(stream))
    error = np.abs(changed.astype(int) - expected)
    assert error.mean() < 0.6 and error.max() <= 12


def test_quality_is_drawn_with_both_ends() -> None:
    found = {
        Pipeline([ImageCompression(1, (10, 12))])(IMAGE, MASK, np.random.default_rng(s))[0].tobytes() for s in range(40)
    }
    assert len(found) == 3


@pytest.mark.parametrize("fill_mask", [None, "ignore"])
def test_holes(fill_mask: str | None, rng: np.random.Generator) -> None:
    settings = {"num_holes_range": (2, 3), "hole_height_range": (0.1, 0.3), "hole_width_range": (0.2, 0.4), "fill": 7}
    image = np.full((50, 60, 3), 200, np.uint8)
    mask = np.ones((50, 60), np.uint8)
    counts = set()
    for _ in range(60):
        dropout = CoarseDropout(1, **settings, fill_mask=fill_mask)  # type: ignore[arg-type]
        changed, labels = Pipeline([dropout])(image, mask, rng)
        holes = (changed == 7).all(2)
        assert (changed[~holes] == 200).all()
        assert ((labels == IGNORE) == (holes if fill_mask else False)).all() and set(np.unique(labels)) <= {1, IGNORE}
        parts = ndimage.find_objects(ndimage.label(holes)[0])
        counts.add(len(parts))
        for rows, columns in parts:
            if holes[rows, columns].all():  # one by itself
                assert rows.stop - rows.start >= 5 and columns.stop - columns.start >= 12
        assert 1 <= len(parts) <= 3 and holes.sum() <= 3 * 15 * 24
    assert {2, 3} <= counts
    assert (image == 200).all() and (mask == 1).all()


def test_a_hole_may_be_everything(rng: np.random.Generator) -> None:
    changed, labels = Pipeline([CoarseDropout(1, (1, 1), (1, 1), (1, 1), 0, "ignore")])(IMAGE, MASK, rng)
    assert (changed == 0).all() and (labels == IGNORE).all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("GaussianBlur", {"sigma_limit": (2, 1)}),
        ("GaussianBlur", {"sigma_limit": (-1, 1)}),
        ("ImageCompression", {"quality_range": (0, 50)}),
        ("ImageCompression", {"quality_range": (50, 101)}),
        ("CoarseDropout", {"num_holes_range": (0, 2)}),
        ("CoarseDropout", {"hole_width_range": (0.5, 1.5)}),
        ("CoarseDropout", {"fill": 256}),
        ("CoarseDropout", {"fill_mask": "background"}),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        AUGMENTATIONS[name](**settings)  # type: ignore[arg-type]
