"""Requests for a mask that no server should take, each with the HTTP status that it gets."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

Request = tuple[str, bytes, dict[str, str], int]  # its name, body, headers and status
FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "TIFF", "WEBP", "PPM", "GIF")
PICTURE = {"content-type": "image/png"}


def encoded(kind: str, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, packed: bytes, *before: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _bombs() -> Iterator[tuple[str, bytes]]:
    zeros = zlib.compress(bytes(50_000_000), 9)
    yield "a PNG of 60000 x 60000 pixels", _png(60000, 60000, zeros)
    yield "a PNG of 2**31 - 1 pixels a side", _png(2**31 - 1, 2**31 - 1, b"")
    yield "a PNG without pixels", _png(0, 0, b"")
    yield "a PNG with a text of 50 MB", _png(60000, 2, b"", _chunk(b"zTXt", b"Comment\0\0" + zeros))
    yield "a GIF of 65535 x 65535 pixels", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x3b"
    head = struct.pack("<IiiHHIIiiII", 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "a BMP of 100000 x 100000 pixels", b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head
    yield "a PPM of 99999 x 99999 pixels", b"P6 99999 99999 255\n"
    tags = [(256, 4, 100_000), (257, 4, 100_000), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 8)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    yield "a TIFF of 100000 x 100000 pixels", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    yield "a TIFF whose directory is itself", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"
    yield "a picture in gzip", gzip.compress(encoded("PNG"))
    yield "50 MB of zeros in gzip", gzip.compress(bytes(50_000_000))


def _others() -> Iterator[tuple[str, bytes]]:
    yield "text", b"give me a mask, please"
    yield "JSON", b'{"image": "/etc/passwd"}'
    yield "HTML", b"<!doctype html><script>alert(1)</script>"
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield "PDF", b"%PDF-1.7\n"
    yield "a pickle", pickle.dumps({"a": 1})
    yield "zeros", bytes(10_000)
    yield "noise", np.random.default_rng(0).bytes(10_000)
    yield "the first bytes of a PNG", b"\x89PNG\r\n\x1a\n"
    yield "several frames", encoded("GIF", save_all=True, append_images=[Image.new("RGB", (60, 40))])
    stream = io.BytesIO()
    np.save(stream, np.zeros((4, 4, 3), np.uint8))
    yield "an array", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.png", encoded("PNG"))
    yield "a zip file", stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(stream, "TIFF")
    yield "floats", stream.getvalue()
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "ICO")
    yield "an icon", stream.getvalue()
    yield "more than the server takes", b"\x89PNG" + bytes(1 << 21)


def requests() -> Iterator[Request]:
    """More than sixty; the last ones are right pictures, sent wrongly."""
    whole = {kind: encoded(kind) for kind in FORMATS}
    for kind, data in whole.items():
        for share in (0.02, 0.2, 0.4, 0.6):
            yield f"{share:.0%} of a {kind}", data[: int(len(data) * share)], PICTURE, 422
    for name, data in (*_bombs(), *_others()):
        yield name, data, PICTURE, 413 if len(data) > 1 << 20 else 422
    yield "nothing", b"", PICTURE, 422
    png = whole["PNG"]
    for kind in (
        "",
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        yield f"as {kind}", png, {"content-type": kind} if kind else {}, 415
    yield "in gzip", png, PICTURE | {"content-encoding": "gzip"}, 415
    for length in (1 << 40, 10**17, 10**4000):
        yield f"a length of {len(str(length))} digits", png, PICTURE | {"content-length": str(length)}, 413
    for length in ("-1", "x", "1e3", "٣"):
        yield f"the length {length}", png, PICTURE | {"content-length": length.encode()}, 400
