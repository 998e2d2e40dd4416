"""Images in every form that a caller has them in: the same picture, and one line for what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.core.arrays import as_images, holds_pixels
from maskwright.core.sample import Exif, read_image
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
        images, alone = as_images(given)
        found = [*images]
        assert not alone and len(found) == 2
        for image in found:
            np.testing.assert_array_equal(image, RGB)
    images, alone = as_images([])
    assert [*images] == [] and not alone
    picture = Image.fromarray(GREY)
    assert all(map(holds_pixels, (GREY, [GREY], picture, [picture], ["a.png", GREY])))
    assert not any(map(holds_pixels, ("a.png", ["a.png"], Path("a.png"), [])))


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_paths_and_images_of_pillow_are_read_as_files_are(tmp_path: Path, exif: Exif) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    Image.fromarray(RGB).save(tmp_path / "turned.jpg", exif=turned)
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(RGB).quantize().save(tmp_path / "palette.gif")
    Image.fromarray(np.dstack([RGB, RGB[..., :1]])).save(tmp_path / "alpha.png")
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "print.tif")
    paths = sorted(tmp_path.iterdir())
    expected = [read_image(path, exif) for path in paths]
    opened = [Image.open(path) for path in paths]
    for given in (paths, [*map(str, paths)], opened, [*opened[:3], *paths[3:]]):
        images, alone = as_images(given, exif)
        for found, image in zip(images, expected, strict=True):
            np.testing.assert_array_equal(found, image)
        assert not alone
    (found,), alone = as_images(paths[0], exif)
    assert alone and found.shape == expected[0].shape
    for one in opened:
        one.close()


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
        ([GREY.tolist()], "image 0: is a list"),
        ({"a": GREY}, "a dict is not what"),
        (None, "a NoneType is not what"),
        ([GREY, None], "image 1: is a NoneType"),
    ],
)
def test_what_is_no_image_is_said_in_one_line(given: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as raised:
        [*as_images(given)[0]]
    assert "\n" not in str(raised.value) and "give" in str(raised.value)


def test_files_that_are_no_images_are_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(RGB).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    half = Image.open(tmp_path / "half.png")
    for given, says in (
        (tmp_path / "gone.png", "gone.png: no such file"),
        (str(tmp_path / "text.png"), "text.png: not a readable image"),
        (tmp_path, "is a folder; give its files"),
        ([RGB, half], "image 1: cannot be decoded"),
        ([Image.new("F", (4, 4))], "image 0: float pixels have no agreed range"),
    ):
        with pytest.raises(DataError, match=says) as raised:
            [*as_images(given)[0]]
        assert "\n" not in str(raised.value)
    half.close()
