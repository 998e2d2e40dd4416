"""Everything that touches the disk on the way out: atomic writes, locks, journals, path confinement.

A file is written to a sibling temporary file, flushed to the disk, renamed over its target, and the
folder is flushed too, so that a reader (or a machine that lost power) sees the old content or the new
one and never a mixture. A result of several files is staged in a sibling folder and appears by one
rename. Only what was written is flushed, never the other files of the machine. Windows cannot flush a
folder: there a lost power may cost the newest files, but mixes none.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from maskwright.base.locking import try_lock
from maskwright.errors import ConfigError, DataError, LockedError, SetupError, argument

STAGING_PREFIX = ".partial-"
_FOLDERS_FLUSH = hasattr(os, "O_DIRECTORY")  # not on Windows, which also flushes only what is open for writing
_MOST_SHOWN = 200  # characters of a path in a message
_FLUSHERS = 8  # threads: a disk takes many small files together nearly as fast as one
_SPACE = "free some space or choose another place"
_RIGHTS = "make it writable, or copy its folder to a place where you may write, and work there"
_OTHER = "choose another place"
# A file that cannot be written for these reasons is a matter of the machine, not of the user's data: what it is, and
# what to do.
_DISK_ERRORS = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    errno.EDQUOT: ("the disk quota is used up", _SPACE),
    errno.EROFS: ("the file system is read-only", _RIGHTS),
    errno.EACCES: ("no permission to write here", _RIGHTS),
    errno.EPERM: ("no permission to write here", _RIGHTS),
    errno.EIO: ("the disk reports an error", "check the disk, or choose another place"),
    errno.EEXIST: ("a file stands where a folder is needed", _OTHER),
    errno.ENOTDIR: ("a file stands where a folder is needed", _OTHER),
    errno.EISDIR: ("a folder stands where a file is needed", _OTHER),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk, a read-only folder and the like into a SetupError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise SetupError(f"{path}: {'; '.join(_DISK_ERRORS[error.errno])}") from error


def _flush_one(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_file(path: Path) -> None:
    _flush_one(path, os.O_RDONLY if _FOLDERS_FLUSH else os.O_RDWR)


def _flush_folder(folder: Path) -> None:
    if _FOLDERS_FLUSH:
        _flush_one(folder, os.O_RDONLY)


def flush(files: Iterable[Path], root: Path) -> None:
    """Waits until the disk has `files`, which were written or made below the folder `root`, and their names: the
    folders up to `root` are flushed after them. Raises SetupError when the disk fails."""
    files = list(files)
    folders = {folder: None for file in files for folder in file.parents if folder.is_relative_to(root)}
    with disk_errors(root):
        _flush_files(files)
        for folder in folders:
            _flush_folder(folder)


def _flush_files(files: list[Path]) -> None:
    if len(files) < _FLUSHERS:
        for file in files:
            _flush_file(file)
    else:
        with ThreadPoolExecutor(_FLUSHERS, "flush") as pool:
            for _ in pool.map(_flush_file, files):
                pass


def _flush_below(root: Path) -> None:
    """All files and folders in `root`, and `root` itself. What links point to was not written here."""
    files, folders = [], []
    for place, _, names in os.walk(root):
        folders.append(Path(place))
        files += [path for name in names if (path := Path(place, name)).is_file() and not path.is_symlink()]
    _flush_files(files)
    for folder in folders:
        _flush_folder(folder)


def move_into_place(partial: Path, path: Path) -> None:
    """Gives the finished file `partial` the name `path`, once its bytes are on the disk."""
    with disk_errors(path):
        _flush_file(partial)
        os.replace(partial, path)
        _flush_folder(path.parent)


def publish(staging: Path, folder: Path) -> None:
    """Gives the finished folder `staging` its name, once all in it is on the disk. An empty `folder` gives way."""
    with disk_errors(folder):
        _flush_below(staging)
        require_absent(folder)  # another process may have been faster
        if folder.is_dir():
            folder.rmdir()
        os.rename(staging, folder)
        _flush_folder(folder.parent)


def _make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, whose names reach the disk too."""
    new = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        _flush_folder(path.parent)


def atomic_write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Writes `data` so that `path` holds its old content or all of the new one, whatever happens.

    Without `durable` that is so when the process dies, but not when the power is lost before `flush`, which waits
    for many files together.
    """
    with atomic_stream(path, durable=durable) as stream:
        stream.write(data)


@contextmanager
def atomic_stream(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """`atomic_write_bytes` of what the block writes into the stream; what it has written is gone when it raises."""
    with disk_errors(path):
        _make_folder(path.parent) if durable else path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{STAGING_PREFIX}{os.getpid()}-{path.name}")
        try:
            with open(partial, "wb") as stream:
                yield stream
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        if durable:
            _flush_folder(path.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """`atomic_write_bytes` in UTF-8."""
    atomic_write_bytes(path, text.encode("utf-8"))


def jsonable(value: Any) -> Any:
    """`value` with NaN and infinities as None (JSON has neither) and paths as text, recursively."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return jsonable(value.tolist())
    return value


def dump_json(value: Any, indent: int | None = None, ascii_only: bool = False) -> str:
    """Strict JSON text of `value`; see `jsonable`."""
    return json.dumps(jsonable(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def atomic_write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    atomic_write_text(path, dump_json(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file; a missing or broken one is a DataError that names it."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing; is this the right folder?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); restore or delete the file") from None


def require_format(path: Path, what: str, found: object, newest: int) -> None:
    """Files are read in the format of this version (`newest`) and in the one before. DataError for any other that was
    `found` in the file of `what` at `path`."""
    if found in (newest, newest - 1):
        return
    reads = f"this version reads {newest - 1} and {newest}"
    if not isinstance(found, int):
        raise DataError(f"{path}: its {what} format is {found!r}, which is no number; restore the file")
    if found > newest:
        raise DataError(
            f"{path}: is of {what} format {found}, from a newer Maskwright ({reads}); "
            "`pip install --upgrade maskwright`"
        )
    raise DataError(
        f"{path}: is of {what} format {found}, which is too old ({reads}); make it again, or read it with "
        "the Maskwright that wrote it"
    )


def require_absent(folder: Path) -> Path:
    """Outputs are never overwritten: an existing non-empty folder, or a file, is refused."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: already exists and outputs are never overwritten; choose another "
            f"{argument('out')} or move it away"
        )
    return folder


def numbered(parent: Path, stem: str | None = None, suffix: str = "") -> Iterator[tuple[str, int, Path]]:
    """Stem, number and path of each `STEM-001` with that suffix in `parent`, of one `stem` or of all; in no order."""
    for path in parent.iterdir() if parent.is_dir() else ():
        match = re.fullmatch(r"(.+)-([0-9]{3,})" + re.escape(suffix), path.name)
        if match and stem in (None, match[1]) and not path.name.startswith(STAGING_PREFIX):
            yield match[1], int(match[2]), path


def next_free(parent: Path, stem: str, suffix: str = "") -> Path:
    """`parent/stem-001`, or the number behind the highest that is taken: a higher number is always newer."""
    highest = max((number for _, number, _ in numbered(parent, stem, suffix)), default=0)
    return parent / f"{stem}-{highest + 1:03d}{suffix}"


_DIGITS = re.compile(r"([0-9]+)")


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts paths by name with numbers as numbers: 999 before 1000, `seed2` before `seed10`."""
    return natural_text(path.as_posix())


def natural_text(text: str) -> list[tuple[int, int, str]]:
    """`natural` of a path as text."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part]


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `folder`, which becomes `folder` by one rename when the block ends.

    Nothing is left behind when the block raises. Raises ConfigError when `folder` exists and is not
    an empty folder.
    """
    require_absent(folder)
    staging = folder.with_name(f"{STAGING_PREFIX}{os.getpid()}-{folder.name}")
    with disk_errors(folder):
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed and had the same pid
        try:
            _make_folder(staging.parent)
            staging.mkdir()
            yield staging
            publish(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def replacing(path: Path, part: str | None = None) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`; when the block ends, it, or the file `part` in it, becomes that.

    What is there gives way: a file by one rename; of a folder nothing is there between two. So it is for what can be
    made again, by one process at a time: what an earlier one has left is removed.
    """
    staging, old = (path.with_name(f"{STAGING_PREFIX}{word}-{path.name}") for word in ("new", "old"))
    with disk_errors(path):
        for folder in (staging, old):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            staging.mkdir()
            yield staging
            if part is not None:
                move_into_place(staging / part, path)
                return
            if path.exists():
                os.rename(path, old)
            publish(staging, path)
        finally:
            for folder in (staging, old):
                shutil.rmtree(folder, ignore_errors=True)


# Locked files of this process. A forked child (a loader process) inherits them, and with them the locks, which
# would then outlive a parent that is killed; so a child closes them first.
_held: set[int] = set()


def _close_held() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_close_held)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Holds `folder/.lock` for this process; LockedError names the pid that holds it.

    The system releases the lock when the process ends in any way, so no stale lock can remain.
    """
    path = folder / ".lock"
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    if not try_lock(descriptor):
        owner = _read_start(descriptor).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LockedError(f"{folder}: in use by another process (pid {owner}); wait for it or stop it") from None
    _held.add(descriptor)
    try:
        with disk_errors(path):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        if descriptor in _held:  # not in a child that was forked inside
            _held.discard(descriptor)
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


@contextmanager
def patient_lock(folder: Path, seconds: float = math.inf) -> Iterator[None]:
    """As `exclusive_lock`, but waits so long for another process before it raises LockedError."""
    end = time.monotonic() + seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive_lock(folder))
                break
            except LockedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        yield


def lock_owner(folder: Path) -> int | None:
    """The pid of the process that holds `folder/.lock`, or None. For a moment of the look nobody else can take it."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        if try_lock(descriptor, shared=True):
            return None
        owner = _read_start(descriptor)
        return int(owner) if owner.isdigit() else None
    finally:
        os.close(descriptor)


def _read_start(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 32)


def confine(root: Path, relative: str, source: str, follow: bool = False) -> Path:
    """Resolves a path that came from a file (`source`) and refuses it when it leaves `root`; with `follow`, symbolic
    links may lead outside.

    Absolute paths, drive letters, `..`, NUL bytes, symbolic links that point outside and names that no file can
    have (too long, or not to be encoded) are refused with a DataError. Backslashes are taken as separators, as Windows
    tools write them.
    """

    def refuse(why: str) -> DataError:
        shown = relative if len(relative) <= _MOST_SHOWN else relative[:_MOST_SHOWN] + "..."
        return DataError(f"{source}: the path {shown!r} {why}; only paths inside {root} are read")

    if not relative or "\0" in relative:
        raise refuse("is empty or holds a NUL byte")
    windows = PureWindowsPath(relative)
    if windows.drive or windows.root or PurePosixPath(relative).is_absolute():
        raise refuse("is absolute")
    if ".." in windows.parts:
        raise refuse("points to a parent folder")
    path = root.joinpath(*windows.parts)
    try:
        path.lstat()
    except ValueError:
        raise refuse("is an impossible name, with characters that no file name has") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # whoever asked next whether it is there would fail
            raise refuse("is an impossible name, longer than a file name can be") from None
    if not follow and not is_inside(root, path):
        raise refuse("leads outside through a symbolic link")
    return path


def is_inside(root: Path, path: Path) -> bool:
    """Whether `path` lies in `root` once every symbolic link is followed; a circle of links does not."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def _json_lines(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(dump_json(record) + "\n" for record in records).encode()


class Journal:
    """An append-only file of one JSON object per line, written so that a crash costs at most its last line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All complete records; a torn last line (a crash during its write) is left out."""
        if not self.path.exists():
            return []
        records = []
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                records.append(json.loads(line))
            except ValueError:
                raise DataError(f"{self.path}:{number}: not valid JSON; restore the file from a copy") from None
        return records

    def append(self, *records: dict[str, Any], durable: bool = True) -> None:
        """Adds records, dropping a torn last line first; `durable` waits for the disk."""
        if not records:
            return
        lines = _json_lines(records)
        with disk_errors(self.path):
            new = not self.path.exists()
            _make_folder(self.path.parent)
            with open(self.path, "ab+") as stream:
                self._drop_torn_line(stream)
                stream.write(lines)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            if new and durable:
                _flush_folder(self.path.parent)

    def replace(self, records: Iterable[dict[str, Any]]) -> None:
        """These records instead of all that were there, atomically."""
        atomic_write_bytes(self.path, _json_lines(records))

    @staticmethod
    def _drop_torn_line(stream: BinaryIO) -> None:
        end = size = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 12))
            stream.seek(start)
            end = start + stream.read(end - start).rfind(b"\n") + 1
            if end > start:  # behind a line break; else it is further up
                break
        if end < size:
            stream.truncate(end)

    @property
    def size(self) -> int:
        """Bytes on disk: with `truncate`, a position to come back to."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, size: int) -> None:
        """Forgets everything behind byte `size`; used by resume, which repeats those steps exactly."""
        if self.size > size:
            with disk_errors(self.path), open(self.path, "ab") as stream:
                stream.truncate(size)
                os.fsync(stream.fileno())
