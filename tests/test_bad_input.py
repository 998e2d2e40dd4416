"""Broken, odd and hostile files in a dataset: each ends in one line that names the file, or is read as stated.

Every row breaks one file of a good dataset, opens the dataset and reads all of it; the folder must be
the same afterwards, byte for byte.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from helpers import draw_pair, encoded, fingerprint, make_dataset, palette_image, write
from maskwright.core.sample import MAX_PIXELS
from maskwright.errors import DataError
from maskwright.formats.opening import load_dataset

IMAGE, MASK = "img/train/000.png", "labels/train/000.png"
SIZE = (48, 64)
PICTURE, LABELS = draw_pair(np.random.default_rng(5), SIZE)
COLOURS = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)
GREY = Image.fromarray(PICTURE).convert("L")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *between: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(between) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def two_bit_png() -> bytes:
    """Ids 0..3 packed four to a byte, as a grey PNG."""
    rows = b"".join(b"\0" + bytes(int(a) << 6 | int(b) << 4 | int(c) << 2 | int(d) for a, b, c, d in row.reshape(-1, 4))
                    for row in LABELS)
    return raw_png(SIZE[1], SIZE[0], 2, 0, rows)


def wide_colour_png(pixels: npt.NDArray[np.uint16]) -> bytes:
    """16 bits a channel."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return raw_png(pixels.shape[1], pixels.shape[0], 16, 2, rows)


def animated(form: str) -> bytes:
    other = Image.fromarray(255 - PICTURE)
    return encoded(PICTURE, form, save_all=True, append_images=[other])


def with_alpha(indices: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | int) -> Image.Image:
    grey = np.repeat(indices[..., None], 3, 2)
    return Image.fromarray(np.dstack([grey, np.broadcast_to(np.uint8(alpha), indices.shape)]))


def beyond_classes(value: int, kind: type[np.generic]) -> bytes:
    mask = LABELS.astype(kind)
    mask[3:5, 7] = value
    return encoded(mask, "PNG")


# Name -> (file in the dataset, its new content, what the message says).
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "truncated png": (IMAGE, encoded(PICTURE, "PNG")[:2000], "cannot be decoded"),
    "truncated jpeg": (IMAGE, encoded(PICTURE, "JPEG")[:900], "cannot be decoded"),
    "truncated webp": (IMAGE, encoded(PICTURE, "WEBP")[:600], "not a readable image|cannot be decoded"),
    "truncated tiff": (IMAGE, encoded(PICTURE, "TIFF")[:600], "not a readable image|cannot be decoded"),
    "only a signature": (IMAGE, b"\x89PNG\r\n\x1a\n", "not a readable image|cannot be decoded"),
    "png with damaged data": (IMAGE, raw_png(64, 48, 8, 2, b"\0" * 10), "cannot be decoded"),
    "no bytes": (IMAGE, b"", "not a readable image"),
    "zeros": (IMAGE, b"\0" * 5000, "not a readable image"),
    "text": (IMAGE, b"this is no image\n", "not a readable image"),
    "html": (IMAGE, b"<!DOCTYPE html><html><body>404</body></html>", "not a readable image"),
    "svg": (IMAGE, b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a readable image"),
    "postscript": (IMAGE, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    "gif": (IMAGE, encoded(PICTURE, "GIF"), "not a readable image"),
    "animated gif": (IMAGE, animated("GIF"), "not a readable image"),
    "pickle": (IMAGE, b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94.", "not a readable image"),
    "animated png": (IMAGE, animated("PNG"), "several frames"),
    "animated webp": (IMAGE, animated("WEBP"), "several frames"),
    "tiff of several pages": (IMAGE, animated("TIFF"), "several frames"),
    "bomb in the header": (IMAGE, raw_png(60_000, 60_000, 8, 2, b"\0" * 999), "million pixels"),
    "just above the limit": (IMAGE, raw_png(MAX_PIXELS // 9000 + 1, 9000, 8, 0, b"\0" * 999), "million pixels"),
    "bomb in a text": (IMAGE, raw_png(64, 48, 8, 2, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (80 << 20)))),
                       "cannot be decoded|not a readable"),
    "float image": (IMAGE, encoded(PICTURE[..., 0].astype(np.float32), "TIFF"), "float pixels"),
    "image beyond 16 bits": (IMAGE, encoded(PICTURE[..., 0].astype(np.int32) * 1000, "TIFF"), "outside 0..65535"),
    "negative image": (IMAGE, encoded(-PICTURE[..., 0].astype(np.int32), "TIFF"), "outside 0..65535"),
    "mask without bytes": (MASK, b"", "not a readable image"),
    "truncated mask": (MASK, encoded(LABELS, "PNG")[:150], "cannot be decoded"),
    "jpeg mask": (MASK, encoded(LABELS * 100, "JPEG"), "JPEG changes pixel values.*encoding: levels"),
    "jpeg of a phone as mask": (MASK, encoded(GREY, "MPO", save_all=True, append_images=[GREY]), "changes pixel"),
    "webp mask": (MASK, encoded(COLOURS[LABELS], "WEBP", lossless=True), "WEBP changes pixel values"),
    "colour mask": (MASK, encoded(COLOURS[LABELS], "PNG"), "colour mask where class ids"),
    "partly transparent": (MASK, encoded(with_alpha(LABELS, LABELS * 100), "PNG"), "transparent pixels"),
    "wrong size": (MASK, encoded(LABELS[:40], "PNG"), "is 64x40 but the image 000.png is 64x48"),
    "turned mask": (MASK, encoded(np.ascontiguousarray(LABELS.T), "PNG"), "is 48x64 but"),
    "unknown ids": (MASK, beyond_classes(9, np.uint8), r"no class: 9 \(2 px\)"),
    "unknown 16-bit ids": (MASK, beyond_classes(1000, np.uint16), r"no class: 1000 \(2 px\)"),
    "ids beyond 16 bits": (MASK, encoded(LABELS.astype(np.int32) * 70_000, "TIFF"), "outside 0..65535"),
    "float mask": (MASK, encoded(LABELS.astype(np.float32), "TIFF"), "no agreed meaning"),
    "cmyk mask": (MASK, encoded(with_alpha(LABELS, 255).convert("CMYK"), "TIFF"), "no agreed meaning"),
    "16 bits a channel": (MASK, wide_colour_png(np.repeat(LABELS[..., None], 3, 2).astype(np.uint16)), "16 bits"),
    "grey of two bits": (MASK, two_bit_png(), "fewer than 8 bits"),
    "pgm with another maximum": (MASK, b"P5 64 48 3 " + LABELS.tobytes(), "fewer than 8 bits"),
    "white is zero": (MASK, encoded(LABELS, "TIFF", tiffinfo={262: 0}), "white as 0"),
    "animated mask": (MASK, encoded(LABELS, "PNG", save_all=True, append_images=[Image.fromarray(2 - LABELS)]),
                      "several frames"),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", images=4, size=SIZE, describe=True)


def read_all(folder: Path) -> None:
    dataset = load_dataset(folder)
    for sample in dataset.samples:
        dataset.read(sample)


def refused(folder: Path, name: Path | str, what: str) -> None:
    """Opening and reading ends in one line that begins with the file's name, and touches nothing."""
    before = fingerprint(folder)
    with pytest.raises(DataError, match=what) as raised:
        read_all(folder)
    message = str(raised.value)
    assert raised.value.exit_code == 3
    assert "\n" not in message and message.isprintable() and len(message) < 500
    assert message.startswith(f"{folder / name}: "), message
    assert "; " in message  # says what to do
    assert fingerprint(folder) == before


@pytest.mark.parametrize("row", REFUSED)
def test_a_bad_file_is_named_in_one_line(dataset: Path, row: str) -> None:
    file, content, what = REFUSED[row]
    (dataset / file).write_bytes(content)
    refused(dataset, file, what)


def link_out(dataset: Path, name: str) -> None:
    outside = dataset.parent / "secret.png"
    (dataset / name).rename(outside)
    (dataset / name).symlink_to(outside)


def backslash_link(dataset: Path) -> None:
    """A name that, with its backslash taken as a separator, would be checked at another place."""
    outside = dataset.parent / "secret.png"
    (dataset / MASK).rename(outside)
    (dataset / "labels" / "train" / "x\\000.png").symlink_to(outside)


def locked(dataset: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (dataset / IMAGE).chmod(0)


# Name -> (how the dataset is broken, the file that is named, what the message says).
BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "link to an image outside": (lambda d: link_out(d, IMAGE), IMAGE, "outside .* symbolic link"),
    "link to a mask outside": (lambda d: link_out(d, MASK), MASK, "outside .* symbolic link"),
    "link hidden by a backslash": (backslash_link, "labels/train/x\\000.png", "outside .* symbolic link"),
    "no permission": (locked, IMAGE, "no permission"),
    "two images of one name": (lambda d: write(d / "img/train/000.bmp", PICTURE), IMAGE, "same name as 000.bmp"),
    "two masks of one name": (lambda d: write(d / "labels/train/000.bmp", LABELS), "labels/train/000.png", "same name"),
    "image without mask": (lambda d: (d / MASK).unlink(), IMAGE, "has no mask"),
    "no images": (lambda d: [path.unlink() for path in (d / "img").rglob("*.png")], "", "no images found"),
    "no split folder": (lambda d: (d / "img/val").rename(d / "img/other"), "img/val", "no such folder"),
}


@pytest.mark.parametrize("row", BROKEN)
def test_a_broken_folder_is_named_in_one_line(dataset: Path, row: str) -> None:
    breaks, file, what = BROKEN[row]
    breaks(dataset)
    refused(dataset, file, what)


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"a\x1bb.png"])
def test_names_that_are_no_text(dataset: Path, name: bytes) -> None:
    target = os.fsencode(dataset / "img" / "train") + b"/" + name
    try:
        os.rename(os.fsencode(dataset / IMAGE), target)
    except OSError:
        pytest.skip("this file system takes no such names")
    before = fingerprint(dataset)
    with pytest.raises(DataError, match="rename the file") as raised:
        read_all(dataset)
    assert str(raised.value).isprintable()
    assert fingerprint(dataset) == before


def test_an_empty_or_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "", "no folder of images found")
    refused(tmp_path / "missing", "", "no such folder")


def grey_of(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(np.asarray(Image.fromarray(picture).convert("L"))[..., None], 3, 2)


PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
INDEXED = np.asarray(GREY)
SIXTEEN = np.random.default_rng(2).integers(0, 65536, SIZE).astype(np.uint16)

# Name -> (content of the image file, the pixels that are read from it).
IMAGES: dict[str, tuple[bytes, npt.NDArray[np.uint8]]] = {
    "png": (encoded(PICTURE, "PNG"), PICTURE),
    "bmp": (encoded(PICTURE, "BMP"), PICTURE),
    "tiff": (encoded(PICTURE, "TIFF", compression="tiff_lzw"), PICTURE),
    "webp": (encoded(PICTURE, "WEBP", lossless=True), PICTURE),
    "ppm": (encoded(PICTURE, "PPM"), PICTURE),
    "grey": (encoded(GREY, "PNG"), grey_of(PICTURE)),
    "jpeg": (encoded(np.full_like(PICTURE, 80), "JPEG", quality=100), np.full_like(PICTURE, 80)),
    "palette": (encoded(palette_image(INDEXED, PALETTE), "PNG"), PALETTE[INDEXED]),
    "palette with one transparent": (encoded(palette_image(INDEXED, PALETTE), "PNG", transparency=7), PALETTE[INDEXED]),
    "palette with transparencies": (encoded(palette_image(INDEXED, PALETTE), "PNG", transparency=bytes(range(256))),
                                    PALETTE[INDEXED]),
    "alpha is dropped": (encoded(np.dstack([PICTURE, INDEXED]), "PNG"), PICTURE),
    "grey with alpha": (encoded(np.dstack([INDEXED, 255 - INDEXED]), "PNG"), grey_of(PICTURE)),
    "one bit": (encoded(GREY.point(lambda v: 255 * (v > 99)).convert("1", dither=0), "PNG"),
                np.repeat(np.uint8(255) * (INDEXED > 99).astype(np.uint8)[..., None], 3, 2)),
    "16-bit png": (encoded(SIXTEEN, "PNG"), np.repeat((SIXTEEN >> 8).astype(np.uint8)[..., None], 3, 2)),
    "16-bit tiff": (encoded(SIXTEEN, "TIFF"), np.repeat((SIXTEEN >> 8).astype(np.uint8)[..., None], 3, 2)),
    "16-bit colour": (wide_colour_png(PICTURE.astype(np.uint16) * 257), PICTURE),
    "cmyk": (encoded(Image.fromarray(PICTURE).convert("CMYK"), "TIFF"), PICTURE),
    "phone": (encoded(Image.fromarray(np.full_like(PICTURE, 80)), "MPO", quality=100, save_all=True,
                      append_images=[Image.fromarray(PICTURE)]), np.full_like(PICTURE, 80)),
}


def read_first(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    dataset = load_dataset(folder)
    return dataset.read(next(sample for sample in dataset.samples if sample.name == "train/000"))


@pytest.mark.parametrize("row", IMAGES)
def test_odd_images_are_read_as_stated(dataset: Path, row: str) -> None:
    content, expected = IMAGES[row]
    (dataset / IMAGE).write_bytes(content)
    before = fingerprint(dataset)
    image, _ = read_first(dataset)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
    assert fingerprint(dataset) == before


# Name -> content of a mask file that means LABELS.
MASKS: dict[str, bytes] = {
    "grey": encoded(LABELS, "PNG"),
    "bmp": encoded(LABELS, "BMP"),
    "tiff": encoded(LABELS, "TIFF", compression="tiff_deflate"),
    "pgm": encoded(LABELS, "PPM"),
    "palette": encoded(palette_image(LABELS, COLOURS), "PNG"),
    "palette whose colours are other ids": encoded(palette_image(LABELS, np.array([[2] * 3, [0] * 3, [1] * 3])), "PNG"),
    "palette of two bits": encoded(palette_image(LABELS, COLOURS), "PNG", bits=2),
    "palette with transparencies": encoded(palette_image(LABELS, COLOURS), "PNG", transparency=b"\0\x80\xff"),
    "16-bit": encoded(LABELS.astype(np.uint16), "PNG"),
    "16-bit tiff": encoded(LABELS.astype(np.uint16), "TIFF"),
    "32-bit tiff": encoded(LABELS.astype(np.int32), "TIFF"),
    "ids three times": encoded(np.repeat(LABELS[..., None], 3, 2), "PNG"),
    "ids with an opaque alpha": encoded(with_alpha(LABELS, 255), "PNG"),
}


@pytest.mark.parametrize("row", MASKS)
def test_masks_are_read_by_their_stored_values(dataset: Path, row: str) -> None:
    (dataset / MASK).write_bytes(MASKS[row])
    before = fingerprint(dataset)
    _, mask = read_first(dataset)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, LABELS)
    assert fingerprint(dataset) == before


def test_a_mask_of_one_bit_holds_zero_and_one(dataset: Path) -> None:
    (dataset / MASK).write_bytes(encoded(Image.fromarray((LABELS == 1).astype(np.uint8) * 255).convert("1"), "PNG"))
    _, mask = read_first(dataset)
    np.testing.assert_array_equal(mask, LABELS == 1)


def test_what_is_no_image_file_is_passed_over(dataset: Path) -> None:
    before = [sample.name for sample in load_dataset(dataset).samples]
    (dataset / "img/train/folder.png").mkdir()
    (dataset / "img/train/dangling.png").symlink_to("nowhere.png")
    for name in ("._000.png", "Thumbs.db", ".DS_Store", "notes.txt", ".hidden/001.png"):
        (dataset / "img/train" / name).parent.mkdir(exist_ok=True)
        (dataset / "img/train" / name).write_bytes(b"\0\5\x16\7")
    assert [sample.name for sample in load_dataset(dataset).samples] == before
    read_all(dataset)
