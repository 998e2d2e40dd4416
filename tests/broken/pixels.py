"""Broken and odd image and mask files, in folders of images and masks."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from broken.table import Row, both, put, put_image, remove
from helpers import Pixels, draw_pair, encoded, palette_image
from maskwright.core.sample import MAX_PIXELS

IMAGE, MASK = "img/train/000.png", "labels/train/000.png"
SIZE = (48, 64)
PICTURE, LABELS = draw_pair(np.random.default_rng(5), SIZE)
COLOURS = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)
GREY = Image.fromarray(PICTURE).convert("L")
SIXTEEN = np.random.default_rng(2).integers(0, 65536, SIZE).astype(np.uint16)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *between: bytes) -> bytes:
    """A PNG whose header need not fit its rows."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(between)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def two_bit_png() -> bytes:
    """Ids 0..3 packed four to a byte, as a grey PNG."""
    rows = b"".join(
        b"\0" + bytes(int(a) << 6 | int(b) << 4 | int(c) << 2 | int(d) for a, b, c, d in row.reshape(-1, 4))
        for row in LABELS
    )
    return raw_png(SIZE[1], SIZE[0], 2, 0, rows)


def wide_colour_png(pixels: npt.NDArray[np.uint16]) -> bytes:
    """16 bits a channel."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return raw_png(pixels.shape[1], pixels.shape[0], 16, 2, rows)


def animated(form: str) -> bytes:
    """Two frames."""
    return encoded(PICTURE, form, save_all=True, append_images=[Image.fromarray(255 - PICTURE)])


def with_alpha(indices: Pixels, alpha: Pixels | int) -> Image.Image:
    """RGBA whose colours are grey."""
    grey = np.repeat(indices[..., None], 3, 2)
    return Image.fromarray(np.dstack([grey, np.broadcast_to(np.uint8(alpha), indices.shape)]))


def beyond_classes(value: int, kind: type[np.generic]) -> bytes:
    """Two pixels of an id that is no class."""
    mask = LABELS.astype(kind)
    mask[3:5, 7] = value
    return encoded(mask, "PNG")


def turned(form: str, pixels: Pixels, **options: object) -> bytes:
    """With the EXIF orientation of a camera that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(pixels, form, exif=exif, **options)


UNREADABLE = "not a readable image"
DAMAGED = "cannot be decoded"
IMAGES = [
    *(
        Row("image", "folders", kind, put(IMAGE, content), "error", says)
        for kind, content, says in [
            ("PNG cut off", encoded(PICTURE, "PNG")[:2000], DAMAGED),
            ("JPEG cut off", encoded(PICTURE, "JPEG")[:900], DAMAGED),
            ("WebP cut off", encoded(PICTURE, "WEBP")[:600], DAMAGED),
            ("TIFF cut off", encoded(PICTURE, "TIFF")[:600], DAMAGED),
            ("nothing behind the signature of a PNG", b"\x89PNG\r\n\x1a\n", UNREADABLE),
            ("PNG whose data are not those of its header", raw_png(64, 48, 8, 2, b"\0" * 10), DAMAGED),
            ("PNG without a pixel", raw_png(0, 48, 8, 2, b""), UNREADABLE),
            ("empty file", b"", UNREADABLE),
            ("zeros, as a broken disk leaves them", b"\0" * 5000, UNREADABLE),
            ("text", b"this is no image\n", UNREADABLE),
            ("web page of a failed download", b"<!DOCTYPE html><html><body>404</body></html>", UNREADABLE),
            ("pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", UNREADABLE),
            ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>', UNREADABLE),
            ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UNREADABLE),
            ("animated GIF", animated("GIF"), "several frames"),
            ("pickle", b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94.", UNREADABLE),
            ("animated PNG", animated("PNG"), "several frames"),
            ("animated WebP", animated("WEBP"), "several frames"),
            ("TIFF of several pages", animated("TIFF"), "several frames"),
            (
                "bomb: 60,000 x 60,000 pixels in the header",
                raw_png(60_000, 60_000, 8, 2, b"\0" * 999),
                "million pixels",
            ),
            (
                "bomb: just above the limit of pixels",
                raw_png(MAX_PIXELS // 9000 + 1, 9000, 8, 0, b"\0" * 999),
                "million pixels",
            ),
            (
                "bomb: 80 MiB of text in a PNG",
                raw_png(64, 48, 8, 2, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (80 << 20)))),
                DAMAGED,
            ),
            ("float pixels", encoded(PICTURE[..., 0].astype(np.float32), "TIFF"), "float pixels"),
            ("values beyond 16 bits", encoded(PICTURE[..., 0].astype(np.int32) * 1000, "TIFF"), "outside 0..65535"),
            ("negative values", encoded(-PICTURE[..., 0].astype(np.int32), "TIFF"), "outside 0..65535"),
        ]
    ),
    Row("image", "folders", "removed", remove(IMAGE), "warning", "no image has this name", changes=True),
    Row(
        "image",
        "folders",
        "folder in its place",
        both(remove(IMAGE), put(f"{IMAGE}/x.txt", "")),
        "warning",
        "no image has this name",
        changes=True,
    ),
    Row(
        "image",
        "folders",
        "link to nothing",
        lambda d: ((d / IMAGE).unlink(), (d / IMAGE).symlink_to("gone.png")),
        "warning",
        "no image has this name",
        changes=True,
    ),
    Row(
        "image",
        "folders",
        "beside the folders of the splits",
        put_image("img/more.png", PICTURE),
        "warning",
        "is in no folder of a split",
    ),
    Row(
        "image",
        "folders",
        "in a folder that is a link",
        lambda d: (d / "img/train/more").symlink_to(d / "img/val"),
        "warning",
        "1 folder is not entered, because of symbolic links",
    ),
    *(
        Row("image", "folders", kind, put(IMAGE, content), verdict, says)
        for kind, content, verdict, says in [
            ("16 bits", encoded(SIXTEEN, "PNG"), "warning", "images of 16 bits: 1 of 4"),
            (
                "16 bits a channel",
                wide_colour_png(PICTURE.astype(np.uint16) * 257),
                "warning",
                "images of 16 bits: 1 of 4",
            ),
            ("CMYK", encoded(Image.fromarray(PICTURE).convert("CMYK"), "TIFF"), "warning", "images in CMYK"),
            ("one colour", encoded(PICTURE * 0, "PNG"), "warning", "images of one colour: 1 of 4"),
            (
                "alpha channel",
                encoded(np.dstack([PICTURE, np.full_like(np.asarray(GREY), 255)]), "PNG"),
                "note",
                "alpha channel: 1 of 4; it is dropped",
            ),
            (
                "fourth band",
                encoded(np.dstack([PICTURE, np.asarray(GREY)]), "PNG"),
                "warning",
                "images with more than three bands: 1 of 4; the first three",
            ),
            (
                "palette",
                encoded(palette_image(np.asarray(GREY), np.arange(768).reshape(256, 3)), "PNG"),
                "note",
                "images with a palette: 1 of 4",
            ),
            (
                "EXIF orientation",
                turned("JPEG", np.ascontiguousarray(PICTURE.swapaxes(0, 1)), quality=95),
                "note",
                "images with an EXIF orientation: 1 of 4; it is applied",
            ),
        ]
    ),
    Row(
        "image",
        "folders",
        "smaller than an encoder takes",
        both(put_image(IMAGE, PICTURE[:9, :9]), put_image(MASK, LABELS[:9, :9])),
        "warning",
        "a side below 32 pixels: 1 of 4",
        changes=True,
    ),
]

NO_CLASS = "unknown class ids"
MASKS = [
    *(
        Row("mask", "folders", kind, put(MASK, content), "error", says)
        for kind, content, says in [
            ("empty file", b"", UNREADABLE),
            ("text", b"no mask", UNREADABLE),
            ("cut off", encoded(LABELS, "PNG")[:150], DAMAGED),
            ("JPEG of class ids", encoded(LABELS * 100, "JPEG"), "JPEG changes pixel values"),
            (
                "JPEG of a phone, with a preview",
                encoded(GREY, "MPO", save_all=True, append_images=[GREY]),
                "changes pixel",
            ),
            ("lossy WebP of class ids", encoded(COLOURS[LABELS], "WEBP"), "WEBP changes pixel values"),
            (
                "lossless WebP of colours",
                encoded(COLOURS[LABELS], "WEBP", lossless=True),
                "colour mask where class ids",
            ),
            ("colours where class ids are expected", encoded(COLOURS[LABELS], "PNG"), "colour mask where class ids"),
            ("partly transparent", encoded(with_alpha(LABELS, LABELS * 100), "PNG"), "transparent pixels"),
            ("smaller than its image", encoded(LABELS[:40], "PNG"), "the mask is 64x40 but the image is 64x48"),
            ("of half the size of its image", encoded(LABELS[::2, ::2], "PNG"), "as of a copy at 50% of its size"),
            ("turned on its side", encoded(np.ascontiguousarray(LABELS.T), "PNG"), "the mask is 48x64 but"),
            ("an id that is no class", beyond_classes(9, np.uint8), "unknown class ids: 9 (2 px)"),
            ("a 16-bit id that is no class", beyond_classes(1000, np.uint16), "unknown class ids: 1000 (2 px)"),
            (
                "0 and 255 among masks of ids",
                encoded(np.where(LABELS, 254, 0).astype(np.uint8), "PNG"),
                "unknown class ids: 254",
            ),
            (
                "instance numbers",
                encoded(np.arange(LABELS.size, dtype=np.uint16).reshape(SIZE), "PNG"),
                "unknown class ids",
            ),
            ("ids beyond 16 bits", encoded(LABELS.astype(np.int32) * 70_000, "TIFF"), "outside 0..65535"),
            ("negative ids", encoded(-LABELS.astype(np.int32), "TIFF"), "outside 0..65535"),
            ("fractions", encoded(LABELS.astype(np.float32) / 2, "TIFF"), "no whole numbers"),
            ("CMYK", encoded(with_alpha(LABELS, 255).convert("CMYK"), "TIFF"), "no agreed meaning"),
            ("16 bits a channel", wide_colour_png(np.repeat(LABELS[..., None], 3, 2).astype(np.uint16)), "16 bits"),
            ("grey of two bits", two_bit_png(), "fewer than 8 bits"),
            ("PGM whose white is 3", b"P5 64 48 3 " + LABELS.tobytes(), "fewer than 8 bits"),
            ("TIFF with white as 0", encoded(LABELS, "TIFF", tiffinfo={262: 0}), "white as 0"),
            (
                "animated PNG",
                encoded(LABELS, "PNG", save_all=True, append_images=[Image.fromarray(2 - LABELS)]),
                "several frames",
            ),
            (
                "bomb: 60,000 x 60,000 pixels in the header",
                raw_png(60_000, 60_000, 8, 0, b"\0" * 999),
                "million pixels",
            ),
        ]
    ),
    Row("mask", "folders", "removed", remove(MASK), "warning", "the image has no mask"),
    Row(
        "mask",
        "folders",
        "of no image",
        put_image("labels/train/other.png", LABELS),
        "warning",
        "no image has this name",
    ),
    Row(
        "mask",
        "folders",
        "every pixel ignored",
        put_image(MASK, np.full(SIZE, 255, np.uint8)),
        "warning",
        "every pixel is ignored",
        changes=True,
    ),
    Row(
        "mask",
        "folders",
        "EXIF orientation",
        put(MASK, turned("PNG", LABELS)),
        "warning",
        "masks with an EXIF orientation",
        changes=True,
    ),
    Row(
        "mask",
        "folders",
        "the mask of another image",
        lambda d: (d / MASK).write_bytes((d / "labels/train/001.png").read_bytes()),
        "warning",
        "has the same mask as",
        changes=True,
    ),
    Row(
        "mask",
        "folders",
        "nothing but background",
        put_image(MASK, LABELS * 0),
        "note",
        "masks with nothing but 'background': 1 of",
        changes=True,
    ),
    Row(
        "mask",
        "folders",
        "palette",
        put_image(MASK, palette_image(LABELS, COLOURS)),
        "note",
        "masks with a palette: 1 of 4; their indices are the class ids",
        changes=True,
    ),
    Row(
        "mask",
        "folders",
        "16 bits",
        put_image(MASK, LABELS.astype(np.uint16)),
        "note",
        "masks of 16 bits: 1 of 4",
        changes=True,
    ),
    Row(
        "mask",
        "folders",
        "ids three times, as RGB",
        put_image(MASK, np.repeat(LABELS[..., None], 3, 2)),
        "note",
        "grey masks stored as colour images: 1 of 4",
        changes=True,
    ),
    Row(
        "mask",
        "colour",
        "colours of no class",
        put_image(MASK, COLOURS[LABELS]),
        "warning",
        "moved to the nearest class colour",
        changes=True,
    ),
    Row(
        "mask",
        "colour",
        "JPEG of class colours",
        put(MASK, encoded(COLOURS[LABELS], "JPEG")),
        "warning",
        "moved to the nearest class colour",
        changes=True,
    ),
    Row(
        "mask",
        "colour",
        "partly transparent",
        put_image(MASK, with_alpha(LABELS, LABELS * 100)),
        "error",
        "transparent pixels",
    ),
    Row(
        "mask",
        "colour",
        "16-bit grey",
        put_image(MASK, LABELS.astype(np.uint16)),
        "error",
        "grey values where class colours",
    ),
    Row(
        "mask",
        "jpeg",
        "grey values between the levels",
        put_image("labels/train/000.jpg", LABELS * 50, "JPEG"),
        "warning",
        "moved to the nearest grey level",
        changes=True,
    ),
    Row(
        "mask",
        "jpeg",
        "colours where grey levels are expected",
        put_image("labels/train/000.jpg", COLOURS[LABELS]),
        "error",
        "colour mask",
    ),
]
