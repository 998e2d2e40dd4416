"""Zip archives, as annotation tools hand them out: unpacked with limits, and written."""

from __future__ import annotations

import errno
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskwright.base.storage import STAGING_PREFIX, confine, disk_errors, move_into_place
from maskwright.core.folder_names import IMAGE_FOLDERS, MASK_FOLDERS, SPLIT_NAMES
from maskwright.errors import ConfigError, DataError

# Above these a small file would fill the disk: the sum of unpacked sizes, the growth of one file and of all together
# (below some size anything may grow), and the number of files.
MAX_BYTES, MAX_RATIO, MAX_FILES = 64 << 30, 200, 1_000_000
_SMALL_FILE, SMALL_ARCHIVE = 10 << 20, 1 << 30
_CHUNK = 1 << 20
# Others are rare, and LZMA takes as much memory as the archive asks for.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
# Folders in folders that are entered at most, what is not counted beside them, and names that say what is in them.
_DEEP = 4
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_TELLING = frozenset({*IMAGE_FOLDERS, *MASK_FOLDERS, *SPLIT_NAMES, "imagesets", "segmentationobject"})
# Names that fit no file system, or that two entries share: a matter of the archive, not of the disk.
_NAME_ERRORS = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """`path` itself when it is no zip file, else a temporary folder with what it holds, removed afterwards. Where that
    is one folder with all the rest in it, as many tools pack it, it is this one, unless its name says what is in it
    (images, train). Errors about files in there name the archive in its place.

    DataError for entries that lead outside or stand there twice, symbolic links, encrypted or damaged archives, and
    archives that would grow more than 200 times (in one file above 10 MiB, or above 1 GiB in all) or beyond 64 GiB.
    """
    if path.suffix.lower() != ".zip" or not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="maskwright-") as folder:
        _unpack(path, Path(folder))
        with standing_for(path, folder):
            yield _entered(Path(folder))


@contextmanager
def standing_for(path: Path, folder: str) -> Iterator[None]:
    """Errors about files in `folder` name `path` in its place."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace(folder, str(path))) from None
    except ConfigError as error:
        raise ConfigError([problem.replace(folder, str(path)) for problem in error.problems]) from None


def _entered(folder: Path) -> Path:
    """`folder`, or the only folder in it beside what macOS and Windows leave."""
    for _ in range(_DEEP):
        inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in _LITTER]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name.lower() in _TELLING:
            break
        folder = inside[0]
    return folder


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_FILES:
                raise DataError(f"{path}: holds {len(entries)} files; at most {MAX_FILES} are unpacked")
            # Entries may share their compressed bytes, so the limits for each do not limit their sum.
            left = min(MAX_BYTES, max(SMALL_ARCHIVE, MAX_RATIO * path.stat().st_size))
            for entry in entries:
                target = confine(folder, entry.filename, str(path))
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise DataError(f"{path}: {entry.filename!r} is a symbolic link; pack the file itself")
                if entry.compress_type not in _METHODS:
                    raise DataError(
                        f"{path}: {entry.filename!r} is packed with method {entry.compress_type}; pack it with deflate"
                    )
                if not entry.is_dir():
                    # Sizes in the archive's own list may lie, so the bytes that come out are counted.
                    limit = min(left, max(_SMALL_FILE, MAX_RATIO * entry.compress_size))
                    left -= _unpack_one(archive, entry, target, limit, path)
    except _ERRORS as error:
        why = str(error) or "it ends too early"  # EOFError says nothing
        raise DataError(f"{path}: cannot be unpacked ({why}); download or pack it again") from None


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int, path: Path) -> int:
    written = 0
    with disk_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            out = target.open("xb")
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            raise DataError(
                f"{path}: {entry.filename[:80]!r} stands there twice, or has an impossible name; pack it again"
            ) from None
        with out, archive.open(entry) as source:
            while block := source.read(_CHUNK):
                written += len(block)
                if written > limit:
                    raise DataError(
                        f"{path}: {entry.filename!r} grows to over {limit} bytes, as decompression bombs "
                        "do; unpack it by hand if it is meant"
                    )
                out.write(block)
    return written


def pack(folder: Path, path: Path) -> None:
    """Writes all files below `folder` into the zip file `path`, in the order of their names; it appears at once."""
    partial = path.with_name(f"{STAGING_PREFIX}{os.getpid()}-{path.name}")
    with disk_errors(path):
        try:
            # Zip files know no time before 1980.
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
                for file in sorted(folder.rglob("*")):
                    archive.write(file, file.relative_to(folder).as_posix())
            move_into_place(partial, path)
        finally:
            partial.unlink(missing_ok=True)
