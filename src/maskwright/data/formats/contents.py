"""Files told by their content, wherever they lie: the first that fits, for detection, or all of them; and JSON.

Detection looks at both ends of the first files of each folder, some levels deep, so it takes no longer in a folder of a
million files. Hidden files, and the shadow files of macOS, are passed over.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from maskwright.base.storage import confine
from maskwright.core.listing import confine_found
from maskwright.data.formats.source import Occurrences
from maskwright.errors import DataError

_MAX_FILE = 512 << 20
# How far detection looks: levels of folders, folders of each, names in all, files of each folder, bytes of both ends.
_DEPTH, _FOLDERS, _LISTED, _PEEKED, _ENDS = 3, 200, 200_000, 4, 8 << 10

Test = Callable[[bytes], object]


def first_like(root: Path, endings: tuple[str, ...], test: Test) -> Path | None:
    """The first of the `candidates` whose beginning and end pass `test`."""
    return next((path for path in candidates(root, endings) if test(ends_of(path))), None)


def candidates(root: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """The first files of each folder with each of the `endings` (in lower case), in `root` and the folders below it,
    the outer ones first."""
    for files in _folder_by_folder(root, lambda name: name.lower().endswith(endings)):
        taken: Counter[str] = Counter()
        for path in files:
            ending = max((one for one in endings if path.name.lower().endswith(one)), key=len)
            taken[ending] += 1
            if taken[ending] <= _PEEKED:
                yield path


def first_named(root: Path, name: re.Pattern[str]) -> Path | None:
    """The first file that is named so, in `root` and the folders below it."""
    files = (path for found in _folder_by_folder(root, name.fullmatch) for path in found)
    return next(files, None)


def _folder_by_folder(root: Path, keep: Callable[[str], object]) -> Iterator[list[Path]]:
    level, left = [root], _LISTED
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level[:_FOLDERS]:
            count, files, folders = _names(folder, keep, left)
            left -= count
            yield files
            below += folders
        level = below


def _names(folder: Path, keep: Callable[[str], object], most: int) -> tuple[int, list[Path], list[Path]]:
    """How many names are in `folder`, its files that are to be kept, and its folders, by their names."""
    try:
        with os.scandir(folder) as entries:
            some = [entry for entry in islice(entries, most) if _counts(entry.name)]
            folders = [entry.name for entry in some if entry.is_dir(follow_symlinks=False)]
            files = [entry.name for entry in some if keep(entry.name) and entry.is_file()]
    except OSError:
        return 0, [], []
    return len(some), [folder / name for name in sorted(files)], [folder / name for name in sorted(folders)]


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def ends_of(path: Path, size: int = _ENDS) -> bytes:
    """`size` bytes from each end of a file, a line break between them; empty when it cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(size)
            stream.seek(max(len(start), path.stat().st_size - size))
            return start + b"\n" + stream.read(size)
    except OSError:
        return b""


def all_like(
    root: Path,
    annotations: str | None,
    endings: tuple[str, ...],
    test: Test,
    what: str,
    seen: Occurrences,
    needed: bool = True,
) -> list[Path]:
    """All files with these endings that pass `test`, below `root` or in `annotations`, which may be the one file.

    The others are counted: as `broken` what is empty or begins as no JSON or XML does, as `unread` what does. DataError
    when none passes and one is `needed`; `what` is the format in words.
    """
    place = confine(root, annotations, "the annotations") if annotations else root
    if place.is_file():
        return [confine_found(root, place)]
    passed = []
    for path in _files_below(place, endings):
        ends = ends_of(confine_found(root, path))
        if test(ends):
            passed.append(path)
        else:
            kind = "unread" if ends.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"{", b"[", b"<")) else "broken"
            seen.setdefault(kind, []).append(path.relative_to(root).as_posix())
    if needed and not passed:
        raise DataError(f"{place}: holds no file of {what}; is this the right folder?")
    return passed


def _files_below(place: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for folder, folders, files in os.walk(place):
        folders[:] = sorted(filter(_counts, folders))
        yield from (Path(folder, name) for name in sorted(files) if name.lower().endswith(endings) and _counts(name))


def load(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The content of a JSON file. DataError for what cannot be read."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise DataError(f"{path}: larger than {_MAX_FILE >> 20} MiB; export it in parts")
        return json.loads(path.read_bytes(), object_hook=hook)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); export it again or move it away") from None
