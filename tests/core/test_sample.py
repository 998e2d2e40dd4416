"""The reader of images and masks: EXIF, levels, colours, and damaged files of every format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from helpers import draw_pair, encoded, palette_image
from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.core.mask_files import INDEX, MaskEncoding, read_mask
from maskwright.core.sample import open_image, read_header, read_image
from maskwright.errors import DataError

TREE = ClassTree.flat(["a", "b", "c"])
PICTURE, LABELS = draw_pair(np.random.default_rng(3), (20, 30))


def put(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


class TestExif:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "16-bit"])
    def test_every_orientation(self, tmp_path: Path, orientation: int, form: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = PICTURE if form != "16-bit" else PICTURE[..., 0].astype(np.uint16) * 257
        options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
        path = put(tmp_path, encoded(pixels, "PNG" if form == "16-bit" else form, exif=exif, **options))
        with Image.open(path) as image:
            image.load()
            if form == "16-bit":
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
                image.getexif()[0x0112] = orientation
            upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            stored = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read_image(path, "apply"), upright)
        np.testing.assert_array_equal(read_image(path, "ignore"), stored)
        header = read_header(path)
        assert header.size == (20, 30) and header.orientation == orientation
        assert upright.shape[:2] == ((30, 20) if orientation >= 5 else (20, 30))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("pixels", [PICTURE, PICTURE[..., 0].astype(np.uint16) * 257])
    def test_a_tiff_is_always_upright_and_says_so(self, tmp_path: Path, orientation: int, pixels: np.ndarray) -> None:
        path = put(tmp_path, encoded(pixels, "TIFF", tiffinfo={0x0112: orientation}))
        picture = Image.fromarray(PICTURE if pixels.ndim == 3 else PICTURE[..., :1].repeat(3, 2))
        picture.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(picture))
        for exif in ("apply", "ignore"):
            np.testing.assert_array_equal(read_image(path, exif), upright)
        assert read_header(path).size == upright.shape[:2] and read_header(path).orientation == 1
        if pixels.ndim == 2:
            tree = ClassTree.flat([str(i) for i in range(3)])
            path.write_bytes(encoded(LABELS, "TIFF", tiffinfo={0x0112: orientation}))
            turned = Image.fromarray(LABELS)
            turned.getexif()[0x0112] = orientation
            np.testing.assert_array_equal(read_mask(path, INDEX, tree).ids, np.asarray(ImageOps.exif_transpose(turned)))

    @pytest.mark.parametrize("value", [0, 9, 60000])
    def test_orientations_that_do_not_exist(self, tmp_path: Path, value: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = value
        path = put(tmp_path, encoded(PICTURE, "PNG", exif=exif))
        assert read_header(path).orientation == 1
        np.testing.assert_array_equal(read_image(path), PICTURE)

    def test_an_orientation_that_is_text(self, tmp_path: Path) -> None:
        block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI4sI", 1, 0x0112, 2, 2, b"6\0\0\0", 0)
        path = put(tmp_path, encoded(PICTURE, "JPEG", exif=block))
        assert read_header(path).orientation == 1


def test_header_without_decoding(tmp_path: Path) -> None:
    path = put(tmp_path, encoded(PICTURE, "PNG")[:60])
    header = read_header(path)
    assert (header.size, header.mode, header.format, header.orientation) == ((20, 30), "RGB", "PNG", 1)


class TestLevels:
    def read(self, folder: Path, content: bytes, levels: dict[int, int]) -> tuple[np.ndarray, int]:
        pixels = read_mask(put(folder, content), MaskEncoding("levels", levels), TREE)
        return pixels.ids, pixels.inexact

    def test_each_pixel_goes_to_the_nearest_level(self, tmp_path: Path) -> None:
        levels = {0: 1, 100: 2, 255: 0}
        every = np.arange(256, dtype=np.uint8).reshape(16, 16)
        ids, inexact = self.read(tmp_path, encoded(every, "PNG"), levels)
        for value, found in zip(range(256), ids.ravel().tolist(), strict=True):
            distances = {abs(value - level) for level in levels}
            assert abs(value - next(level for level, id_ in levels.items() if id_ == found)) == min(distances)
        assert inexact == 253

    @pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA"])
    def test_binary_masks_in_every_mode(self, tmp_path: Path, mode: str) -> None:
        mask = (LABELS > 0).astype(np.uint8)
        image = Image.fromarray(mask * 255)
        image = palette_image(mask, np.array([[0] * 3, [255] * 3])) if mode == "P" else image.convert(mode)
        ids, inexact = self.read(tmp_path, encoded(image, "PNG"), {0: 0, 255: 2})
        np.testing.assert_array_equal(ids, mask * 2)
        assert inexact == 0

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_jpeg_masks(self, tmp_path: Path, mode: str) -> None:
        mask = np.kron((LABELS > 0).astype(np.uint8), np.ones((4, 4), np.uint8))
        content = encoded(Image.fromarray(mask * 255).convert(mode), "JPEG", quality=60)
        ids, inexact = self.read(tmp_path, content, {0: 0, 255: 1})
        assert (ids == mask).mean() > 0.995
        assert inexact > 0

    def test_16_bit_levels(self, tmp_path: Path) -> None:
        content = encoded(LABELS.astype(np.uint16) * 30_000, "PNG")
        ids, inexact = self.read(tmp_path, content, {0: 0, 30_000: 1, 60_000: 2})
        np.testing.assert_array_equal(ids, LABELS)
        assert inexact == 0

    def test_colours_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="colour mask"):
            self.read(tmp_path, encoded(PICTURE, "PNG"), {0: 0, 255: 1})


class TestColours:
    TREE = ClassTree((ClassInfo(4, "a", (255, 0, 0)), ClassInfo(2, "b", (255, 255, 0)), ClassInfo(9, "c", (127, 0, 0))))

    def read(self, folder: Path, content: bytes) -> tuple[np.ndarray, int]:
        pixels = read_mask(put(folder, content), MaskEncoding("colour"), self.TREE)
        return pixels.ids, pixels.inexact

    @pytest.mark.parametrize("form", ["RGB", "RGBA", "P", "TIFF"])
    def test_exact_colours(self, tmp_path: Path, form: str) -> None:
        colours = self.TREE.colours[LABELS]
        image = palette_image(LABELS, self.TREE.colours) if form == "P" else Image.fromarray(colours)
        image = image.convert("RGBA") if form == "RGBA" else image
        ids, inexact = self.read(tmp_path, encoded(image, "TIFF" if form == "TIFF" else "PNG"))
        np.testing.assert_array_equal(ids, np.array(self.TREE.ids)[LABELS])
        assert inexact == 0

    def test_stray_colours_go_to_the_nearest_and_are_counted(self, tmp_path: Path, rng: np.random.Generator) -> None:
        noise = rng.integers(-20, 21, (*LABELS.shape, 3)) * (rng.random(LABELS.shape) < 0.3)[..., None]
        pixels = np.clip(self.TREE.colours[LABELS].astype(int) + noise, 0, 255).astype(np.uint8)
        ids, inexact = self.read(tmp_path, encoded(pixels, "PNG"))
        np.testing.assert_array_equal(ids, np.array(self.TREE.ids)[LABELS])
        assert inexact == int((pixels != self.TREE.colours[LABELS]).any(2).sum())

    def test_a_photograph_of_many_colours_against_a_loop(self, tmp_path: Path, rng: np.random.Generator) -> None:
        pixels = rng.integers(0, 256, (90, 80, 3), dtype=np.uint8)
        ids, inexact = self.read(tmp_path, encoded(pixels, "PNG"))
        distances = ((pixels[:, :, None].astype(int) - self.TREE.colours.astype(int)) ** 2).sum(3)
        np.testing.assert_array_equal(ids, np.array(self.TREE.ids)[distances.argmin(2)])
        assert inexact == int((distances.min(2) > 0).sum())

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (encoded(np.dstack([PICTURE, LABELS]), "PNG"), "transparent"),
            (encoded(LABELS.astype(np.uint16), "PNG"), "grey values where class colours"),
            (encoded(LABELS.astype(np.float32), "TIFF"), "no agreed meaning"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes, what: str) -> None:
        with pytest.raises(DataError, match=what):
            self.read(tmp_path, content)


ORIGINALS = {
    "PNG": encoded(PICTURE, "PNG"),
    "JPEG": encoded(PICTURE, "JPEG"),
    "BMP": encoded(PICTURE, "BMP"),
    "TIFF": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "raw TIFF": encoded(PICTURE, "TIFF"),
    "WEBP": encoded(PICTURE, "WEBP"),
    "PPM": encoded(PICTURE, "PPM"),
    "plain": b"P3 2 1 9 1 2 3 4 5 6\n",
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "palette": encoded(palette_image(LABELS, PICTURE[:, 0]), "PNG"),
    "16-bit": encoded(LABELS.astype(np.uint16), "PNG"),
    "EXIF": encoded(PICTURE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "MPO": encoded(Image.fromarray(PICTURE), "MPO", save_all=True, append_images=[Image.fromarray(PICTURE)]),
}


@settings(max_examples=400)
@given(
    st.sampled_from(sorted(ORIGINALS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0.2, 1),
    st.booleans(),
)
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, form: str, bytes_: list[tuple[float, int]], keep: float, in_head: bool
) -> None:
    content = bytearray(ORIGINALS[form])
    for place, value in bytes_:
        content[int(place * (min(len(content), 120 if in_head else len(content)) - 1))] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content[: round(keep * len(content))]))
    for read in (
        read_image,
        read_header,
        lambda path: read_mask(path, INDEX, TREE),
        lambda path: read_mask(path, MaskEncoding("levels", {0: 0, 255: 1}), TREE),
    ):
        try:
            read(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


def test_open_image_closes_the_file(tmp_path: Path) -> None:
    path = put(tmp_path, encoded(PICTURE, "PNG"))
    with open_image(path) as image:
        stream = image.fp
        assert stream is not None and not stream.closed
    assert stream.closed


def test_errors_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_image(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"x\.png: no permission to read it"):
        read_image(tmp_path / "x.png")
