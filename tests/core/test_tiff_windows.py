"""Images that are read by windows are those that the one reader reads, whatever their parts are; and what cannot be read
says so."""

import io
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.core import tiff_windows
from maskwright.core.bands import RGB, Bands
from maskwright.core.geometry import RESAMPLING, Crop, Geometry, resize_image
from maskwright.core.sample import read_bands
from maskwright.core.tiff_files import LONG, SHORT, Tag, file_of
from maskwright.core.tiff_windows import open_windows
from maskwright.core.windows import Windows, scaled
from maskwright.errors import DataError

SIZE = (613, 450)


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(tiff_windows, "MAX_PIXELS", 1000)


def photograph(bands=3, dtype=np.uint8, size=SIZE):
    """Smooth, so that resampling has no ties and no overshoot."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    most = np.iinfo(dtype).max
    waves = [0.5 + 0.4 * np.sin(rows / (17 + 5 * band)) * np.cos(columns / (23 - band)) for band in range(bands)]
    return (np.dstack(waves) * most).astype(dtype)


def plain(path, pixels, **options):
    tifffile.imwrite(path, pixels, **({"photometric": "rgb", "metadata": None} | options))


def grey(path, pixels, **options):
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack", "metadata": None} | options))


def banded(path, pixels, **options):
    grey(path, pixels, **({"planarconfig": "contig"} | options))


def pillow(path, image, **options):
    image.save(path, "TIFF", **options)


def jpeg_tiles(path, pixels):
    """As GDAL writes orthophotos: each tile is a JPEG with halved colours."""
    side, parts = 64, []
    for top in range(0, pixels.shape[0], side):
        for left in range(0, pixels.shape[1], side):
            tile = np.zeros((side, side, 3), np.uint8)
            part = pixels[top : top + side, left : left + side]
            tile[: part.shape[0], : part.shape[1]] = part
            stream = io.BytesIO()
            Image.fromarray(tile).save(stream, "JPEG", quality=90, subsampling="4:2:0")
            parts.append(stream.getvalue())
    numbers = {256: SIZE[1], 257: SIZE[0], 259: 7, 262: 6, 277: 3, 322: side, 323: side}
    tags = {tag: Tag(LONG, [number]) for tag, number in numbers.items()}
    lists = {258: Tag(SHORT, [8, 8, 8]), 530: Tag(SHORT, [2, 2])}
    path.write_bytes(file_of({**tags, **lists}, parts, "<", True))


def with_overview(path, pixels):
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, photometric="rgb", tile=(64, 64), compression="zlib", metadata=None)
        file.write(pixels[::2, ::2], photometric="rgb", tile=(64, 64), subfiletype=1, metadata=None)


RGB_FILES = {
    "strips, LZW": lambda path: cv2.imwrite(str(path), photograph()),
    "16 bits": lambda path: cv2.imwrite(str(path), photograph(dtype=np.uint16)),
    "a single strip": lambda path: plain(path, photograph(), rowsperstrip=SIZE[0]),
    "a single strip, planar": lambda path: plain(
        path, photograph().transpose(2, 0, 1), planarconfig="separate", rowsperstrip=SIZE[0]
    ),
    "strips of three rows": lambda path: plain(path, photograph(), rowsperstrip=3),
    "strips of 300 rows": lambda path: plain(path, photograph(), rowsperstrip=300, compression="zlib"),
    "tiles": lambda path: plain(path, photograph(), tile=(64, 48), compression="zlib"),
    "tiles, differences": lambda path: plain(path, photograph(), tile=(64, 64), compression="zlib", predictor=2),
    "tiles, planar": lambda path: plain(
        path, photograph().transpose(2, 0, 1), planarconfig="separate", tile=(64, 48), compression="zlib"
    ),
    "tiles larger than the image": lambda path: plain(path, photograph(), tile=(1024, 1024), compression="zlib"),
    "big-endian": lambda path: plain(path, photograph(dtype=np.uint16), tile=(64, 64), byteorder=">"),
    "BigTIFF": lambda path: plain(path, photograph(), tile=(64, 64), bigtiff=True),
    "with an overview": lambda path: with_overview(path, photograph()),
    "alpha": lambda path: plain(path, photograph(4), tile=(64, 64), extrasamples=["unassalpha"]),
    "infrared": lambda path: plain(path, photograph(4), tile=(64, 64), extrasamples=["unspecified"]),
    "grey": lambda path: grey(path, photograph(1)[..., 0], tile=(64, 64)),
    "grey, white is 0": lambda path: tifffile.imwrite(path, photograph(1)[..., 0], photometric="miniswhite"),
    "grey of 16 bits": lambda path: grey(path, photograph(1, np.uint16)[..., 0], tile=(64, 64)),
    "palette": lambda path: pillow(path, Image.fromarray(photograph()).quantize(32), compression="tiff_lzw"),
    "black and white": lambda path: pillow(path, Image.fromarray(photograph()).convert("1"), compression="group4"),
    "CMYK": lambda path: pillow(path, Image.fromarray(photograph()).convert("CMYK"), compression="packbits"),
    "JPEG": lambda path: pillow(path, Image.fromarray(photograph()), compression="jpeg"),
    "JPEG in tiles": lambda path: jpeg_tiles(path, photograph()),
}
BANDED_FILES = {
    "five bands": (5, 8, lambda path: banded(path, photograph(5), tile=(64, 64), compression="zlib", predictor=2)),
    "five bands, planar": (
        5,
        8,
        lambda path: grey(path, photograph(5).transpose(2, 0, 1), planarconfig="separate", tile=(64, 64)),
    ),
    "four bands of 16 bits": (4, 16, lambda path: banded(path, photograph(4, np.uint16), rowsperstrip=SIZE[0])),
    "grey of 16 bits": (1, 16, lambda path: grey(path, photograph(1, np.uint16)[..., 0], rowsperstrip=7)),
}


def same_by_windows(path: Path, bands: Bands) -> None:
    whole = read_bands(path, bands)
    with open_windows(path, bands) as image:
        assert isinstance(image, Windows)
        assert image.shape == whole.shape and image.dtype == whole.dtype
        for top in range(0, whole.shape[0], 90):
            for left in range(0, whole.shape[1], 128):
                part = image[top : top + 128, left : left + 128]
                np.testing.assert_array_equal(part, whole[top : top + 128, left : left + 128])
        np.testing.assert_array_equal(np.asarray(image), whole)


@pytest.mark.parametrize("kind", RGB_FILES)
def test_as_the_reader_of_images(tmp_path, kind):
    path = tmp_path / "image.tif"
    RGB_FILES[kind](path)
    same_by_windows(path, RGB)


@pytest.mark.parametrize("kind", BANDED_FILES)
def test_as_the_reader_of_bands(tmp_path, kind):
    channels, bits, make = BANDED_FILES[kind]
    path = tmp_path / "image.tif"
    make(path)
    same_by_windows(path, Bands.of(channels, bits))


@pytest.mark.parametrize(("tile", "rows"), [((64, 64), None), (None, 8)])
def test_parts_that_are_left_out_are_black(tmp_path, tile, rows):
    """As GDAL writes sparse files: no bytes for what is 0."""
    pixels = photograph()
    pixels[64:128, 128:192] = 0
    pixels[192:200] = 0
    path = tmp_path / "image.tif"
    plain(path, pixels, **({"tile": tile} if tile else {"rowsperstrip": rows}))
    gone = 1 * 8 + 2 if tile else 192 // 8
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("TileOffsets", "TileByteCounts") if tile else ("StripOffsets", "StripByteCounts"):
            tag = file.pages[0].tags[name]
            tag.overwrite(tuple(0 if number == gone else value for number, value in enumerate(tag.value)))
    with open_windows(path, RGB) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


class TestLeftOut:
    @pytest.mark.parametrize(
        ("kind", "said"), [("infrared", ["bands"]), ("16 bits", ["bits"]), ("tiles", []), ("JPEG in tiles", [])]
    )
    def test_what_the_files_hold(self, tmp_path, kind, said):
        RGB_FILES[kind](tmp_path / "image.tif")
        with open_windows(tmp_path / "image.tif", RGB) as image:
            np.asarray(image)
            assert image.left_out() == said

    def test_dark_only_where_all_of_it_is(self, tmp_path):
        dark = np.full(SIZE, 900, np.uint16)
        grey(tmp_path / "dark.tif", dark, tile=(64, 64))
        dark[-1, -1] = 60000
        grey(tmp_path / "bright.tif", dark, tile=(64, 64))
        for name, said in (("dark", ["bits", "dark"]), ("bright", ["bits"])):
            with open_windows(tmp_path / f"{name}.tif", RGB) as image:
                np.asarray(image)
                assert image.left_out() == said


@pytest.mark.parametrize("resample", RESAMPLING)
@pytest.mark.parametrize("scale", [0.37, 1.0, 1.9])
def test_resized_by_windows(tmp_path, resample, scale):
    plain(tmp_path / "image.tif", photograph(), tile=(64, 64))
    geometry = Geometry((32, 32), resample=resample, crop=Crop(scale))
    whole = geometry.image(photograph()).astype(int)
    with open_windows(tmp_path / "image.tif", RGB) as image:
        small = scaled(image, geometry)
        assert small.shape == whole.shape
        for top in range(0, whole.shape[0], 70):
            for left in range(0, whole.shape[1], 90):
                part = small[top : top + 100, left : left + 100]
                apart = np.abs(part.astype(int) - whole[top : top + 100, left : left + 100])
                # "area" takes the nearest pixel where it enlarges, and at ties either of two.
                assert apart.max() <= (2 if resample != "area" or scale < 1 else 20)
                assert (apart > 1).mean() < (0.01 if resample != "area" else 0.05)


def test_sixteen_bits_resized(tmp_path):
    pixels = photograph(4, np.uint16)
    banded(tmp_path / "image.tif", pixels, tile=(64, 64))
    with open_windows(tmp_path / "image.tif", Bands.of(4, 16)) as image:
        small = np.asarray(image.resized((100, 80), "bilinear")).astype(int)
    assert np.abs(small - resize_image(pixels, (100, 80), "bilinear").astype(int)).max() <= 2


def test_memory_is_that_of_some_rows(tmp_path):
    size = (6000, 400)
    plain(tmp_path / "image.tif", np.zeros((*size, 3), np.uint8), tile=(64, 64), compression="zlib")
    with open_windows(tmp_path / "image.tif", RGB) as image:
        tracemalloc.start()
        for top in range(0, size[0], 100):
            for left in range(0, size[1], 100):
                _ = image[top : top + 128, left : left + 128]
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < size[0] * size[1] * 3 / 4


class TestOtherFiles:
    def test_small_ones_are_left_to_the_reader(self, tmp_path):
        plain(tmp_path / "small.tif", photograph(size=(20, 30)))
        Image.fromarray(photograph()).save(tmp_path / "large.png")
        (tmp_path / "empty.tif").write_bytes(b"")
        (tmp_path / "cut.tif").write_bytes(b"II*\0\x08\0\0\0")
        for name in ("small.tif", "large.png", "empty.tif", "cut.tif"):
            with open_windows(tmp_path / name, RGB) as image:
                assert image is None

    def test_values_count_where_all_bands_are_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tiff_windows, "MAX_PIXELS", 1 << 30)
        monkeypatch.setattr(tiff_windows, "MAX_VALUES", SIZE[0] * SIZE[1] * 3)
        banded(tmp_path / "image.tif", photograph(5), tile=(64, 64))
        with open_windows(tmp_path / "image.tif", Bands.of(5)) as image:
            assert image is not None
        with open_windows(tmp_path / "image.tif", RGB) as image:
            assert image is None

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"none.tif: no such file"), open_windows(tmp_path / "none.tif", RGB):
            pass

    def test_several_frames(self, tmp_path):
        plain(tmp_path / "two.tif", np.stack([photograph()] * 2))
        with pytest.raises(DataError, match=r"two.tif: holds several frames"), open_windows(tmp_path / "two.tif", RGB):
            pass

    def test_turned(self, tmp_path):
        plain(tmp_path / "turned.tif", photograph(), extratags=[(274, "H", 1, 6, True)])
        with pytest.raises(DataError, match="save it upright"), open_windows(tmp_path / "turned.tif", RGB):
            pass

    def test_parts_too_large(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tiff_windows, "MAX_VALUES", 1000)
        plain(tmp_path / "image.tif", photograph(), rowsperstrip=SIZE[0], compression="zlib")
        with pytest.raises(DataError, match="save it in tiles"), open_windows(tmp_path / "image.tif", RGB):
            pass

    def test_other_bands(self, tmp_path):
        banded(tmp_path / "image.tif", photograph(5), tile=(64, 64))
        said = r"image.tif: holds 5 bands of 8 bits, where 4"
        with open_windows(tmp_path / "image.tif", Bands.of(4)) as image, pytest.raises(DataError, match=said):
            _ = image[:10, :10]

    @pytest.mark.parametrize("tag", [256, 257, 258, 277, 322, 323, 324, 325])
    def test_parts_that_do_not_fit(self, tmp_path, tag):
        """Each number of the directory made too large, too small or 0: refused, or read as what is there."""
        plain(tmp_path / "image.tif", photograph(), tile=(64, 64), compression="zlib")
        with tifffile.TiffFile(tmp_path / "image.tif", mode="r+b") as file:
            found = file.pages[0].tags[tag]
            values = found.value if isinstance(found.value, tuple) else (found.value,)
            for number in (0, 1, 1 << 15) if tag != 325 else (1, 1 << 15):
                if tag in (324, 325):
                    found.overwrite((number * 100000, *values[1:]))
                else:
                    found.overwrite((number,) * len(values))
                file.filehandle.flush()
                with pytest.raises(DataError, match=r"image.tif: "):
                    _read(tmp_path / "image.tif")
            found.overwrite(values if len(values) > 1 else values[0])
            file.filehandle.flush()
        _read(tmp_path / "image.tif")

    @pytest.mark.parametrize("height", [SIZE[0] + 1, 1 << 31])
    def test_a_height_that_the_file_does_not_hold(self, tmp_path, height):
        """Nothing is allocated for it."""
        plain(tmp_path / "image.tif", photograph(), rowsperstrip=SIZE[0])
        with tifffile.TiffFile(tmp_path / "image.tif", mode="r+b") as file:
            for tag in (257, 278):
                found = file.pages[0].tags[tag]
                found.overwrite(height, dtype="I")
        with pytest.raises(DataError, match="parts do not fit"), open_windows(tmp_path / "image.tif", RGB):
            pass

    def test_bytes_by_chance(self, tmp_path, rng):
        """A damaged file is refused in one line, or read; nothing else happens."""
        plain(tmp_path / "image.tif", photograph(), tile=(64, 64), compression="zlib")
        whole = (tmp_path / "image.tif").read_bytes()
        directory = int.from_bytes(whole[4:8], "little")
        refused = 0
        for _ in range(150):
            damaged = bytearray(whole)
            for place in rng.integers(directory, min(len(whole), directory + 300), 3):
                damaged[place] = rng.integers(256)
            (tmp_path / "damaged.tif").write_bytes(damaged)
            try:
                _read(tmp_path / "damaged.tif")
            except DataError as error:
                assert "\n" not in str(error)
                refused += 1
        assert refused > 20


def _read(path):
    with open_windows(path, RGB) as image:
        if image is None:
            raise DataError(f"{path}: is left to the reader")
        if image.shape[0] * image.shape[1] < 1 << 22:  # as a directory may say
            np.asarray(image)
        else:
            _ = image[:10, :10]
