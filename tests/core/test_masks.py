"""Mask functions against loops over pixels, and mask files against the reader."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskwright.core import masks
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.masks import boundary, class_pixels, differences, jpeg_bytes, mask_png, overlay, png_bytes

Mask = npt.NDArray[np.uint8]
MASKS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 3, IGNORE])
)


@given(MASKS)
def test_class_pixels(mask: Mask) -> None:
    counts = class_pixels(mask, 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [int((mask == value).sum()) for value in (0, 1, 2, 3, IGNORE)]


def test_class_pixels_beyond_what_float32_counts() -> None:
    mask = np.ones((4097, 4097), np.uint8)
    mask[0, 0] = IGNORE
    assert class_pixels(mask, 2).tolist() == [0, 4097 * 4097 - 1, 1]


@given(MASKS, st.integers(1, 3))
def test_boundary(mask: Mask, width: int) -> None:
    expected = np.zeros(mask.shape, bool)
    for row, column in np.ndindex(*mask.shape):
        around = mask[max(0, row - width) : row + width + 1, max(0, column - width) : column + width + 1]
        expected[row, column] = (around != mask[row, column]).any()
    np.testing.assert_array_equal(boundary(mask, width), expected)


@pytest.mark.parametrize("background", [None, 0])
def test_an_overlay_drawn_in_parts_is_the_same(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, background: int | None
) -> None:
    image = rng.integers(0, 256, (900, 420, 3), dtype=np.uint8)
    mask = cv2.resize(rng.integers(0, 4, (18, 12), dtype=np.uint8), (420, 900), interpolation=cv2.INTER_NEAREST)
    mask[mask == 3] = IGNORE
    colours = rng.integers(0, 256, (3, 3), dtype=np.uint8)
    whole = overlay(image, mask, colours, background=background)
    for pixels in (1, 420 * 7, 420 * 450):
        monkeypatch.setattr(masks, "_DRAWN", pixels)
        np.testing.assert_array_equal(overlay(image, mask, colours, background=background), whole)


def test_overlay_leaves_background_and_inputs_alone(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    mask = np.zeros((20, 24), np.uint8)
    mask[5:15, 5:20] = 1
    mask[0:3] = IGNORE
    before = image.copy(), mask.copy()
    colours = np.array([(0, 0, 0), (230, 159, 0)], np.uint8)
    result = overlay(image, mask, colours)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    assert (result[5, 5:20] == colours[1]).all()  # the outline
    inner = result[7:13, 7:18].astype(float)
    np.testing.assert_allclose(inner, 0.55 * image[7:13, 7:18] + 0.45 * colours[1], atol=1)
    assert (result[mask == IGNORE] == 255).all(axis=1).any()
    assert not (result[mask != IGNORE] == 255).all(axis=1).any()


def test_differences_shows_errors_only() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    truth = np.array([[0, 0, 1], [1, 2, IGNORE]], np.uint8)
    found = np.array([[0, 1, 1], [0, 1, 1]], np.uint8)
    picture = differences(image, truth, found)
    orange, blue, grey = (230, 159, 0), (86, 180, 233), (114, 114, 114)
    assert [[tuple(p) for p in row] for row in picture.tolist()] == [[grey, blue, grey], [orange, orange, grey]]


def test_pictures_are_rgb(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(pixels)))), pixels)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(np.asarray(Image.open(io.BytesIO(jpeg_bytes(red)))).astype(int) - red).max() < 6


@given(MASKS, st.sampled_from([[0, 1, 2, 3], [9, 0, 254, 7], [0, 300, 65534, 2]]))
def test_mask_files_are_read_back(mask: Mask, ids: list[int]) -> None:
    import tempfile

    tree = ClassTree.flat(["a", "b", "c", "d"], ids)
    data = mask_png(mask, tree)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.png"
        path.write_bytes(data)
        pixels = read_mask(path, INDEX, tree)
        np.testing.assert_array_equal(tree.to_indices(pixels.ids), mask)
        assert pixels.inexact == 0
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    if max(ids) < 256:  # other viewers see the class colours
        np.testing.assert_array_equal(shown[mask == 1], np.broadcast_to(tree.colours[1], shown[mask == 1].shape))
