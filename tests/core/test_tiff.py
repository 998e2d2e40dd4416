"""Every way to store bands that tifffile writes is read as tifffile reads it."""

import io
import struct
from itertools import product
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.core import tiff
from maskwright.core.sample import read_header, read_image, read_pages
from maskwright.errors import DataError


def stored(pixels: np.ndarray, **options: Any) -> io.BytesIO:
    given: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None} | options
    if given["planarconfig"] == "separate":
        pixels = pixels.transpose(2, 0, 1)
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **given)
    return stream


def noise(channels: int, dtype: type, size: tuple[int, int] = (37, 53)) -> np.ndarray:
    return (
        np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, (*size, channels), endpoint=True).astype(dtype)
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 3, 4, 5, 12])
def test_bands_come_back(channels: int, dtype: type) -> None:
    pixels = noise(channels, dtype)
    for planar, packed, tile, order in product(
        ("contig", "separate"), ((None, False), ("zlib", False), ("zlib", True)), (None, (16, 32)), "<>"
    ):
        layout = {"tile": tile} if tile else {"rowsperstrip": 10}
        given = {"planarconfig": planar, "compression": packed[0], "predictor": packed[1], "byteorder": order}
        stream = stored(pixels, **given, **layout)
        (page,) = tiff.pages(stream, "x")
        assert (page.bands, page.bits, page.size) == (channels, 8 * pixels.itemsize, (37, 53))
        found = tiff.decoded(stream, page)
        assert found.dtype == dtype and np.array_equal(found, pixels), given | layout


@pytest.mark.parametrize("packed", ["tiff_lzw", "packbits", "tiff_deflate"])
def test_other_compressions(packed: str) -> None:
    pixels = noise(1, np.uint8) // 50
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(stream, "TIFF", compression=packed)
    assert np.array_equal(tiff.decoded(stream, tiff.pages(stream, "x")[0]), pixels)


def test_big_tiffs() -> None:
    pixels = noise(5, np.uint16)
    stream = stored(pixels, bigtiff=True, compression="zlib")
    assert np.array_equal(tiff.decoded(stream, tiff.pages(stream, "x")[0]), pixels)


def test_white_may_be_zero() -> None:
    pixels = noise(2, np.uint16)
    stream = stored(pixels, photometric="miniswhite")
    assert np.array_equal(tiff.decoded(stream, tiff.pages(stream, "x")[0]), 65535 - pixels)


@pytest.mark.parametrize(("kind", "alpha"), [("unspecified", False), ("unassalpha", True), ("assocalpha", True)])
def test_alpha_is_told(kind: str, alpha: bool) -> None:
    stream = stored(noise(4, np.uint8), photometric="rgb", extrasamples=[kind])
    assert tiff.pages(stream, "x")[0].alpha is alpha


def test_pages_of_one_band_are_the_bands_of_an_image() -> None:
    stream = io.BytesIO()
    pixels = noise(5, np.uint16)
    tifffile.imwrite(stream, pixels.transpose(2, 0, 1), photometric="minisblack", metadata=None)
    found = tiff.pages(stream, "x")
    assert len(found) == 5 and tiff.chosen(found, None, "x") == found and tiff.chosen(found, 3, "x") == [found[3]]
    with pytest.raises(DataError, match="x: holds fewer pages"):
        tiff.chosen(found, 5, "x")
    assert np.array_equal(np.concatenate([tiff.decoded(stream, page) for page in found], 2), pixels)


def test_pages_of_colours_are_several_images() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((2, 9, 8, 3), np.uint8), photometric="rgb", metadata=None)
    with pytest.raises(DataError, match="several frames"):
        tiff.chosen(tiff.pages(stream, "x"), None, "x")


def test_overviews_are_passed_over() -> None:
    stream, pixels = io.BytesIO(), noise(4, np.uint8)
    with tifffile.TiffWriter(stream) as file:
        file.write(pixels, photometric="minisblack", planarconfig="contig", metadata=None)
        file.write(pixels[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1, metadata=None)
    assert [page.size for page in tiff.pages(stream, "x")] == [(37, 53)]


@pytest.mark.parametrize(
    ("pixels", "options", "told"),
    [
        (noise(2, np.uint8).astype(np.float32), {}, "not whole numbers of 8 or 16 bits"),
        (noise(2, np.uint8).astype(np.int16), {}, "not whole numbers"),
        (noise(2, np.uint8).astype(np.uint32), {}, "not whole numbers"),
        (noise(4, np.uint8), {"photometric": "separated"}, "CMYK"),
    ],
)
def test_what_is_no_band_of_8_or_16_bits_is_refused(pixels: np.ndarray, options: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=f"x: .*{told}"):
        tiff.pages(stored(pixels, **options), "x")


def with_tag(stream: io.BytesIO, tag: int, value: int) -> io.BytesIO:
    """A little-endian TIFF with another value of a tag that holds a single number."""
    data = bytearray(stream.getvalue())
    (place,) = struct.unpack_from("<I", data, 4)
    for entry in range(struct.unpack_from("<H", data, place)[0]):
        at = place + 2 + 12 * entry
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<HII", data, at + 2, 4, 1, value)
            return io.BytesIO(bytes(data))
    raise AssertionError(tag)


@pytest.mark.parametrize(
    ("tag", "value", "told"),
    [
        (256, 1 << 31, "more than 178 million pixels"),  # nothing is allocated for it
        (256, 0, "without pixels"),
        (257, 99, "parts do not fit its size"),
        (277, 1 << 20, "357 million values"),
        (278, 1, "parts do not fit its size"),
    ],
)
def test_lies_about_the_size_are_refused_before_anything_is_decoded(tag: int, value: int, told: str) -> None:
    stream = with_tag(stored(noise(4, np.uint8), compression="zlib", rowsperstrip=10), tag, value)
    with pytest.raises(DataError, match=told):
        tiff.pages(stream, "x")


def test_a_circle_of_directories_ends() -> None:
    data = bytearray(stored(noise(4, np.uint8)).getvalue())
    (place,) = struct.unpack_from("<I", data, 4)
    count = struct.unpack_from("<H", data, place)[0]
    struct.pack_into("<I", data, place + 2 + 12 * count, place)
    assert len(tiff.pages(io.BytesIO(bytes(data)), "x")) == 1


def test_overviews_and_masks_are_no_pages_of_their_own(tmp_path, rng):
    """As a cloud-optimised GeoTIFF has them; of several images each may have some."""
    first, second = rng.integers(0, 256, (2, 64, 80, 3), dtype=np.uint8)
    for name, images in (("one", [first]), ("two", [first, second])):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for image in images:
                file.write(image, photometric="rgb", metadata=None)
                file.write(image[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
                file.write(image[..., 0] > 99, photometric="mask", subfiletype=4, metadata=None)
    assert read_pages(tmp_path / "one.tif") == 1 and read_pages(tmp_path / "two.tif") == 2
    assert read_header(tmp_path / "one.tif").size == (64, 80)
    np.testing.assert_array_equal(read_image(tmp_path / "one.tif"), first)
    np.testing.assert_array_equal(read_image(tmp_path / "two.tif", page=1), second)
    for page, said in ((None, "holds several frames"), (2, "holds fewer pages")):
        with pytest.raises(DataError, match=said):
            read_image(tmp_path / "two.tif", page=page)
