"""Zip archives, as `convert` takes them."""

from __future__ import annotations

import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from broken.table import Row
from maskwright.data.formats.archives import pack

Lie = Callable[[bytearray], object]


def zipped(change: Callable[[Path, Path], object]) -> Callable[[Path], Path]:
    """Packs the good folder, and changes the archive; `change` gets the archive and the folder."""

    def breaks(folder: Path) -> Path:
        (folder / "dataset.yaml").unlink()
        path = folder.parent / "task.zip"
        pack(folder, path)
        change(path, folder)
        return path

    return breaks


def with_entry(
    name: str | zipfile.ZipInfo, content: bytes = b"x", method: int = zipfile.ZIP_DEFLATED, times: int = 1
) -> Callable[[Path], Path]:
    """An entry more."""

    def change(path: Path, _: Path) -> None:
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a", method) as archive:
            for _ in range(times):
                archive.writestr(name, content)

    return zipped(change)


def with_lie(lie: Lie) -> Callable[[Path], Path]:
    """Bytes of the archive changed."""

    def change(path: Path, _: Path) -> None:
        data = bytearray(path.read_bytes())
        lie(data)
        path.write_bytes(data)

    return zipped(change)


def field(place: int, form: str, value: int) -> Lie:
    """A field of the last entry in the central directory."""
    return lambda data: struct.pack_into(form, data, data.rindex(b"PK\x01\x02") + place, value)


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def inside(name: str, content: bytes) -> Callable[[Path], Path]:
    """A file of the folder exchanged before it is packed."""

    def breaks(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return zipped(lambda *_: None)(folder)

    return breaks


def with_bomb_that_lies(folder: Path) -> Path:
    path = with_entry("zeros", bytes(30 << 20))(folder)
    data = bytearray(path.read_bytes())
    field(20, "<I", 1 << 30)(data)
    path.write_bytes(data)
    return path


def flipped(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)


ARCHIVES = [
    *(
        Row("archive", "coco", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("entry above the folder (zip slip)", with_entry("../../evil.txt"), "points to a parent folder"),
            ("entry of an absolute path", with_entry("/tmp/evil.txt"), "is absolute"),
            ("entry of another drive", with_entry("C:\\evil.txt"), "is absolute"),
            (
                "entry above the folder, with backslashes",
                with_entry("a\\..\\..\\evil.txt"),
                "points to a parent folder",
            ),
            ("symbolic link", with_entry(link("link"), b"/etc"), "is a symbolic link"),
            ("name given twice", with_entry("twice.txt", times=2), "stands there twice"),
            (
                "file and folder of one name",
                with_entry("images/train/000.png/x"),
                "stands there twice, or has an impossible name",
            ),
            ("name of 300 characters", with_entry("x" * 300), "impossible name"),
            ("bomb: 30 MiB of zeros", with_entry("zeros", bytes(30 << 20)), "as decompression bombs do"),
            ("bomb that lies about its size", with_bomb_that_lies, "cannot be unpacked"),
            ("encrypted", with_lie(field(8, "<H", 1)), "encrypted"),
            ("unknown method of packing", with_lie(field(10, "<H", 99)), "is packed with method 99"),
            ("packed with LZMA, which takes memory at will", with_lie(field(10, "<H", 14)), "is packed with method 14"),
            ("offset behind the end", with_lie(field(42, "<I", 10**8)), "cannot be unpacked"),
            ("cut off", with_lie(lambda data: data.__delitem__(slice(len(data) // 2, None))), "cannot be unpacked"),
            ("byte flipped", zipped(flipped), "cannot be unpacked"),
            ("empty file", zipped(lambda path, _: path.write_bytes(b"")), "cannot be unpacked"),
            ("no archive", zipped(lambda path, _: path.write_bytes(b"garbage")), "cannot be unpacked"),
            (
                "another archive (gzip)",
                zipped(lambda path, _: path.write_bytes(b"\x1f\x8b\x08" + bytes(50))),
                "cannot be unpacked",
            ),
            (
                "archive of nothing",
                zipped(lambda path, _: path.write_bytes(b"PK\x05\x06" + bytes(18))),
                "no images found",
            ),
            (
                "annotation file in it that is no JSON",
                inside("annotations/instances_train.json", b"{"),
                "not readable as JSON",
            ),
        ]
    ),
    Row(
        "archive",
        "coco",
        "image in it that is no image",
        inside("images/train/000.png", b"x"),
        "error",
        "not a readable image",
    ),
]
