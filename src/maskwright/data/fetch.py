"""The verb `fetch`: a copy of a folder that lies at a URL, for work that then needs no network.

What a URL means is fsspec's matter: object stores (s3, gs, az), servers (https, sftp, hdfs), archives.

    OUT.unfinished/listing.jsonl   relative name and size of each file, written before the first one is copied
    OUT.unfinished/files/          the copies so far; a file is there whole or not at all
    OUT.unfinished/arriving/       those that are on their way
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from maskwright.base.extras import require_remote
from maskwright.base.progress import progress, say
from maskwright.base.storage import atomic_stream, confine, disk_errors, move_into_place, publish, require_absent
from maskwright.base.texts import plural
from maskwright.base.work_folder import WorkFolder, work_folder_of
from maskwright.errors import ConfigError, DataError, MaskwrightError, SetupError

LISTING, FILES, ARRIVING = "listing.jsonl", "files", "arriving"
_TOGETHER = 64  # files that are asked for at a time; object stores answer many questions at once


@dataclass(frozen=True)
class FetchResult:
    """What `fetch` has copied: the number of files and their bytes, from `url` into the folder `out`."""

    url: str
    out: Path
    files: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"out": str(self.out)}

    def human(self) -> str:
        """For a terminal."""
        return f"fetched: {plural(self.files, 'file')}, {self.bytes / 1e6:,.1f} MB; next: maskwright init {self.out}"

    def __str__(self) -> str:
        return self.human()


def fetch(url: str, out: str | Path) -> FetchResult:
    """Copies the folder at `url` into the new folder `out`: `s3://bucket/folder`, `https://…`, `sftp://…` or whatever
    else fsspec can list and read. What the address needs, such as keys, fsspec takes from the environment or its own
    settings; a package that is missing for it is named.

    Files are listed first, and each is there whole or not at all. The same call resumes what was stopped, by the list
    of that time; a file that has another size by then is an error. Names that would lie outside of `out` are refused.
    Raises ConfigError for an address of no known kind, SetupError without the extra `remote` or what the address
    needs, DataError for what cannot be read.
    """
    require_remote("fetch")
    out = require_absent(Path(out))
    shown = _without_secrets(url)
    system, root = _opened(url, shown)
    with WorkFolder(work_folder_of(out), {"url": shown}).held() as held, _one_line(url, shown):
        listing = held.path / LISTING
        if not listing.exists():
            _list(system, root, listing, shown)
        files, size = _sums(listing)
        _copy(system, root, listing, held.path, files, shown)
        with disk_errors(out):
            publish(held.path / FILES, out)
        held.remove()
    return FetchResult(shown, out, files, size)


def _without_secrets(url: str) -> str:
    """The address without a user's name, password or query, for all that is shown or kept."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl() if parts.scheme else url


def _opened(url: str, shown: str) -> tuple[Any, str]:
    import fsspec

    if "://" not in url:
        raise ConfigError(f"{shown}: is no address, such as s3://bucket/folder; a folder of this machine needs no copy")
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise SetupError(f"{shown}: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise ConfigError(f"{shown}: {str(error).splitlines()[0]}; give an address that fsspec knows") from None
    return system, str(root).rstrip("/")


@contextmanager
def _one_line(url: str, shown: str) -> Iterator[None]:
    """Whatever a file system raises, in one line."""
    try:
        yield
    except (MaskwrightError, KeyboardInterrupt):
        raise
    except Exception as error:  # each library of a store has errors of its own
        text = (str(error).replace(url, shown).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{shown}: cannot be read ({text}); the same command goes on from here") from None


def _list(system: Any, root: str, listing: Path, shown: str) -> None:
    """Writes the list, one folder after the other, so that memory does not grow with the number of files."""
    say(f"listing {shown}")
    count = 0
    with atomic_stream(listing) as stream:
        for name, size in _found(system, root):
            confine(listing.parent / FILES, name, shown)
            if "\\" in name:
                raise DataError(f"{shown}: the name {name!r} has a backslash, which is no name everywhere; rename it")
            stream.write(json.dumps([name, size]).encode() + b"\n")
            count += 1
        if not count:
            raise DataError(f"{shown}: has no files; give the address of a folder with some")


def _found(system: Any, root: str) -> Iterator[tuple[str, int | None]]:
    """Name, relative to the root, and size of each file; None where the store does not say it."""
    for folder, _, files in system.walk(root, detail=True, on_error="raise"):
        inside = str(folder).rstrip("/").removeprefix(root).strip("/")
        for name, info in sorted(files.items()):
            if info.get("type") == "file" and name:
                size = info.get("size")
                yield f"{inside}/{name}" if inside else name, None if size is None else int(size)


def _lines(listing: Path) -> Iterator[tuple[str, int | None]]:
    with open(listing, encoding="utf-8") as stream:
        for line in stream:
            name, size = json.loads(line)
            yield name, size


def _sums(listing: Path) -> tuple[int, int]:
    files = size = 0
    for _, own in _lines(listing):
        files, size = files + 1, size + (own or 0)
    return files, size


def _copy(system: Any, root: str, listing: Path, work: Path, files: int, shown: str) -> None:
    """Copies what is not there yet, some files at a time."""
    arriving, lines, done = work / ARRIVING, _lines(listing), 0
    with progress("fetching", files, "files") as advance:
        while some := [*islice(lines, _TOGETHER)]:
            missing = [one for one in some if not (work / FILES / one[0]).exists()]
            if missing:
                shutil.rmtree(arriving, ignore_errors=True)
                arriving.mkdir()
                _get(system, root, missing, arriving, work / FILES, shown)
            done += len(some)
            advance(done)


def _get(
    system: Any, root: str, missing: Sequence[tuple[str, int | None]], arriving: Path, into: Path, shown: str
) -> None:
    places = [arriving / str(number) for number in range(len(missing))]
    system.get([f"{root}/{name}" for name, _ in missing], [os.fspath(place) for place in places])
    for place, (name, size) in zip(places, missing, strict=True):
        if not place.is_file() or (size is not None and place.stat().st_size != size):
            found = plural(place.stat().st_size, "byte") if place.is_file() else "nothing"
            raise DataError(
                f"{shown}/{name}: {found} arrived, and the list says {size}; if the folder has changed, delete "
                f"{arriving.parent} and fetch again"
            )
        target = into / name
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            move_into_place(place, target)
