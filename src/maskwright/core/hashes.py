"""Hashes of files, and a cache of them, so that a dataset that has not changed is not read again.

    .maskwright/hashes.json   {"format": 1, "files": {PATH: [size, mtime_ns, ctime_ns, hash], …}}

A hash is taken from the cache where path, size and times of the file are what they were. Paths are relative to the
folder beside `.maskwright/`, so that a dataset can be moved with it. The cache is a convenience: one that is damaged is
ignored, and one that cannot be written is left out.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from maskwright.base.storage import atomic_write_text, dump_json, read_json
from maskwright.core.description import FOLDER
from maskwright.errors import DataError, MaskwrightError

FILE_NAME = "hashes.json"
_FORMAT = 1
# A file that was written less than this before it was read may be written again without another time.
_SETTLED_NS = 2_000_000_000
_ABOVE = 3


def stream_hash(stream: BinaryIO) -> str:
    """BLAKE2b (32 hex digits) of what lies behind the position of a file."""
    found = hashlib.blake2b(digest_size=16)
    while block := stream.read(1 << 20):
        found.update(block)
    return found.hexdigest()


def file_hash(path: Path) -> str:
    """`stream_hash` of a whole file. DataError when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream_hash(stream)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it") from None


def file_hashes(paths: Iterable[Path], home: Path | None = None, spare: Path | None = None) -> dict[Path, str]:
    """`file_hash` of each path, where possible from the cache in `home/.maskwright`, the folder of a dataset.

    What had to be read is added to that cache, or where it cannot be written to `hashes.json` in the folder `spare` of
    a run, or in the folder above it, such as a study's, that has one already. Without folders nothing is kept. Raises
    DataError for a file that cannot be read.
    """
    # A dataset can be moved together with its own cache; another folder may serve several datasets.
    places = [
        (place, base)
        for place, base in ((home and home / FOLDER / FILE_NAME, home), (spare and _nearest(spare), None))
        if place
    ]
    caches = [(_read(place), base) for place, base in places]
    rows: dict[Path, list[Any]] = {}
    found: dict[Path, str] = {}
    read = 0
    for path in dict.fromkeys(paths):
        state = file_state(path)
        held = (cache.get(_key(path, base)) for cache, base in caches)
        row = next((row for row in held if row is not None and row[:3] == state), None)
        if row is not None:
            found[path], rows[path] = row[3], row
            continue
        settled = settled_state(path)
        found[path] = file_hash(path)
        # Of a file that was written while it was read, the state before is kept, which is not that of later.
        if settled is not None:
            rows[path] = [*settled, found[path]]
            read += 1
    if read:
        _write(places, rows)
    return found


def _nearest(folder: Path) -> Path:
    """The cache of a folder, or that of one above it, so that the runs of a study share one."""
    above = [parent / FILE_NAME for parent in (folder, *folder.absolute().parents[:_ABOVE])]
    return next((place for place in above if place.is_file()), folder / FILE_NAME)


def _key(path: Path, base: Path | None) -> str:
    """Relative where the file lies below `base`, however both are written."""
    if base is None:
        return str(path)
    try:
        return path.relative_to(base).as_posix()
    except ValueError:
        return os.path.abspath(path)


def file_state(path: Path) -> list[int] | None:
    """What changes when a file is written; None where it is not there. The time of the last change of the inode tells
    of files of one size and time that were exchanged."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def settled_state(path: Path) -> list[int] | None:
    """`file_state`, taken before the file is read; None too where it was written so lately that it may be written again
    and look the same."""
    state = file_state(path)
    return state if state is not None and state[1] < time.time_ns() - _SETTLED_NS else None


def _read(place: Path) -> dict[str, list[Any]]:
    """The rows of a cache; none where it is missing, damaged, or of another format."""
    try:
        data = read_json(place)
    except MaskwrightError:
        return {}
    files = data.get("files") if isinstance(data, dict) and data.get("format") == _FORMAT else None
    return {key: row for key, row in files.items() if _whole(row)} if isinstance(files, dict) else {}


def _whole(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 4
        and all(type(value) is int for value in row[:3])
        and isinstance(row[3], str)
        and len(row[3]) == 32
    )


def _write(places: Sequence[tuple[Path, Path | None]], rows: dict[Path, list[Any]]) -> None:
    """Into the first place that can be written."""
    for place, base in places:
        try:
            # Of another folder's cache, which may hold files of several datasets, those stay.
            files = ({} if base else _read(place)) | {_key(path, base): row for path, row in rows.items()}
            atomic_write_text(place, dump_json({"format": _FORMAT, "files": files}))
            return
        except (MaskwrightError, OSError):
            continue
