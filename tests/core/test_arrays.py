"""Arrays as images: the same picture in every form, and one line for what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskwright.core.arrays import as_images, is_arrays
from maskwright.errors import DataError

GREY = np.arange(256, dtype=np.uint8).reshape(8, 32)
RGB = np.stack([GREY, GREY[::-1], GREY.T.reshape(8, 32)], axis=2)


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        GREY[..., None],
        GREY.astype(np.uint16) * 257,
        GREY / 255,
        (GREY / 255).astype(np.float32),
        np.repeat(GREY[..., None], 3, axis=2),
        GREY.T.copy().T,
    ],
)
def test_grey_in_every_form_is_the_same_image(image: Any) -> None:
    (found,), alone = as_images(image)
    assert alone and found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.repeat(GREY[..., None], 3, axis=2))


def test_colours_alpha_and_lists() -> None:
    alpha = np.concatenate([RGB, 255 - RGB[..., :1]], axis=2)
    for given in ([RGB, alpha], (RGB, RGB / 255.0), np.stack([RGB, RGB])):
        found, alone = as_images(given)
        assert not alone and len(found) == 2
        for image in found:
            np.testing.assert_array_equal(image, RGB)
    assert as_images([]) == ([], False)
    assert is_arrays(GREY) and is_arrays([GREY]) and not is_arrays("a.png") and not is_arrays(["a.png"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (RGB.transpose(2, 0, 1), "the image: has the shape .* channels last"),
        (np.zeros((4, 5, 2), np.uint8), "the image: has the shape"),
        (np.zeros((0, 5), np.uint8), "the image: has the shape"),
        (np.zeros(5, np.uint8), r"an array of shape \(5,\) is not what"),
        (np.zeros((1, 2, 3, 4, 5), np.uint8), "is not what"),
        (GREY.astype(np.float32), "its floats go from 0 to 255, and must be numbers from 0 to 1"),
        (GREY / 255 - 0.5, "its floats go from -0.5"),
        (np.full((3, 4), np.nan), "its floats go from nan"),
        (GREY.astype(np.int64), "dtype int64"),
        (GREY > 5, "dtype bool"),
        ([GREY, "a.png"], "image 1: is a str; .*files are for `predict`"),
        ("a.png", "a str is not what"),
        ([GREY.tolist()], "image 0: is a list"),
    ],
)
def test_what_is_no_image_is_said_in_one_line(given: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as raised:
        as_images(given)
    assert "\n" not in str(raised.value) and "give" in str(raised.value)
