"""Reading of images as their dataset describes them: all bands, all bits."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from banded import write_tiff
from maskwright.core.bands import RGB, Bands
from maskwright.core.sample import Held, open_shown, opened_pixels, read_bands, read_header, read_held, read_image
from maskwright.errors import DataError

GREY16, RGB16, FOUR = Bands.of(1, 16), Bands.of(3, 16), Bands.of(4)


def noise(channels: int, dtype: type = np.uint16) -> np.ndarray:
    shape = (21, 34, channels)
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_of_grey_are_kept(tmp_path: Path, ending: str) -> None:
    path, pixels = tmp_path / f"a.{ending}", noise(1)
    cv2.imwrite(str(path), pixels)
    assert read_held(path) == Held(1, 16, False)
    assert np.array_equal(read_bands(path, GREY16), pixels)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_of_colours_are_kept(tmp_path: Path, ending: str) -> None:
    path, pixels = tmp_path / f"a.{ending}", noise(3)
    cv2.imwrite(str(path), pixels[..., ::-1])  # OpenCV takes BGR
    assert read_held(path) == Held(3, 16, False)
    assert np.array_equal(read_bands(path, RGB16), pixels)
    assert np.array_equal(read_bands(path, RGB), pixels >> 8)  # as without the key


def test_16_bits_with_alpha(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.png", noise(4)
    cv2.imwrite(str(path), pixels[..., [2, 1, 0, 3]])
    assert read_held(path) == Held(4, 16, True)
    assert np.array_equal(read_bands(path, Bands.of(4, 16)), pixels)
    assert np.array_equal(read_bands(path, RGB16), pixels[..., :3])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_bands_of_a_tiff_are_read(tmp_path: Path, channels: int, dtype: type) -> None:
    path, pixels = tmp_path / "a.tif", noise(channels, dtype)
    write_tiff(path, pixels, compression="zlib")
    bands = Bands.of(channels, 8 * pixels.itemsize)  # type: ignore[arg-type]
    assert read_held(path) == Held(channels, 8 * pixels.itemsize, False)
    assert np.array_equal(read_bands(path, bands), read_image(path) if bands.plain else pixels)
    assert read_image(path, bands=bands).shape == (21, 34, 3)
    if not bands.plain:
        assert read_header(path, bands=bands).size == (21, 34)
    with open_shown(path) as image:
        assert image.size == (34, 21)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK"])
def test_bytes_are_what_pillow_reads(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image = Image.fromarray(noise(4, np.uint8), "RGBA").convert(mode)
    image.save(path)
    if mode == "CMYK":
        with pytest.raises(DataError, match="in CMYK"):
            read_held(path)
        return
    channels = {"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)
    assert read_held(path) == Held(channels, 8, mode.endswith("A"))
    if channels != 3:
        found = read_bands(path, Bands.of(channels))
        assert np.array_equal(found, np.asarray(image).reshape(21, 34, channels))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "png16", "tif"])
def test_images_are_turned_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    pixels = noise(1, np.uint16 if kind == "png16" else np.uint8)
    bands = Bands.of(1, 16 if kind == "png16" else 8)
    path = tmp_path / f"a.{kind[:3]}"
    if kind == "tif":
        write_tiff(path, pixels, extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels[..., 0]).save(path, exif=exif)
    tops = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1)}
    found = read_bands(path, bands)
    assert found.shape == ((34, 21, 1) if orientation >= 5 else (21, 34, 1))
    assert found[0, 0] == pixels[tops[orientation]]
    if kind != "tif":  # a TIFF's own orientation always counts
        assert np.array_equal(read_bands(path, bands, "ignore"), pixels)
    # As Pillow has it.
    if kind == "png":
        assert np.array_equal(found[..., 0], read_image(path)[..., 0])


def test_a_stack_of_grey_pages_is_one_image(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.tif", noise(5)
    write_tiff(path, pixels.transpose(2, 0, 1), planarconfig=None)
    assert read_held(path) == Held(5, 16, False) and np.array_equal(read_bands(path, Bands.of(5, 16)), pixels)
    assert np.array_equal(read_bands(path, GREY16, page=2), pixels[..., 2:3])


@pytest.mark.parametrize("bands", [Bands.of(5), Bands.of(4, 16), Bands.of(1), RGB16])
def test_other_bands_are_refused_with_their_number(tmp_path: Path, bands: Bands) -> None:
    write_tiff(tmp_path / "a.tif", noise(4, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), noise(4, np.uint8))
    for name in ("a.tif", "b.png"):
        with pytest.raises(
            DataError, match=f"{name}: holds 4 bands of 8 bits, where {bands} are expected .*dataset.yaml"
        ):
            read_bands(tmp_path / name, bands)


def test_images_of_pillow_are_read_alike() -> None:
    pixels = noise(4, np.uint8)
    assert np.array_equal(opened_pixels(Image.fromarray(pixels, "RGBA"), "it", bands=FOUR), pixels)
    deep = noise(1)
    assert np.array_equal(opened_pixels(Image.fromarray(deep[..., 0]), "it", bands=GREY16), deep)


def test_floats_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", noise(4).astype(np.float32))
    with pytest.raises(DataError, match="not whole numbers of 8 or 16 bits"):
        read_bands(tmp_path / "a.tif", Bands.of(4, 16))


@pytest.mark.parametrize("cut", [3, 9, 100, 600, 1500])
def test_files_that_end_too_early_are_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, noise(4), compression="zlib")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.tif: "):
        read_bands(path, Bands.of(4, 16))


def test_the_reader_is_shown_the_file(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.tif", []
    write_tiff(path, noise(12))
    read_bands(path, Bands.of(12, 16), tell=lambda image, stream: seen.append((image.mode, stream.read())))
    assert seen == [("I;16", path.read_bytes())]


def test_pictures_of_a_dataset_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.array([[100, 2100, 4100, 9000]], np.uint16))
    shown = read_image(path, bands=Bands.of(1, 16, (100, 4100)))
    assert shown[0].tolist() == [[0] * 3, [128] * 3, [255] * 3, [255] * 3]
