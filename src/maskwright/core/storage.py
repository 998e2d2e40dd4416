"""Everything that touches the disk on the way out: atomic writes, locks, journals, path confinement.

A file is written to a sibling temporary file, flushed to the disk, renamed over its target, and the
folder is flushed too, so that a reader (or a machine that lost power) sees the old content or the new
one and never a mixture. A result of several files is staged in a sibling folder and appears by one
rename.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from maskwright.errors import ConfigError, DataError, LockedError, SetupError

STAGING_PREFIX = ".partial-"
# A file that cannot be written for these reasons is a matter of the machine, not of the user's data.
_DISK_ERRORS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
                errno.EROFS: "the file system is read-only", errno.EACCES: "no permission to write here",
                errno.EPERM: "no permission to write here", errno.EIO: "the disk reports an error",
                errno.EEXIST: "a file stands where a folder is needed",
                errno.ENOTDIR: "a file stands where a folder is needed",
                errno.EISDIR: "a folder stands where a file is needed", errno.ENAMETOOLONG: "the name is too long"}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk, a read-only folder and the like into a SetupError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise SetupError(f"{path}: {_DISK_ERRORS[error.errno]}; free some space or choose another place") from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` so that `path` holds its old content or all of the new one, whatever happens."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{STAGING_PREFIX}{os.getpid()}-{path.name}")
        try:
            with open(partial, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
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


def dump_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON text of `value`; see `jsonable`."""
    return json.dumps(jsonable(value), indent=indent, ensure_ascii=False, allow_nan=False)


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
        raise DataError(f"{path}: is of {what} format {found}, from a newer Maskwright ({reads}); "
                        "`pip install --upgrade maskwright`")
    raise DataError(f"{path}: is of {what} format {found}, which is too old ({reads}); make it again, or read it with "
                    "the Maskwright that wrote it")


def require_absent(folder: Path) -> Path:
    """Outputs are never overwritten: an existing non-empty folder, or a file, is refused."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"{folder}: already exists and outputs are never overwritten; "
                          "choose another --out or move it away")
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


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts paths by name with numbers as numbers: 999 before 1000, `seed2` before `seed10`."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part)
            for part in re.split(r"([0-9]+)", path.as_posix()) if part]


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
            staging.mkdir(parents=True)
            yield staging
            os.sync()  # the files reach the disk before their folder's name does
            require_absent(folder)  # another process may have been faster
            if folder.is_dir():
                folder.rmdir()
            os.rename(staging, folder)
            _flush_folder(folder.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


# Locked files of this process. A forked child (a loader process) inherits them, and with them the locks, which
# would then outlive a parent that is killed; so a child closes them first.
_held: set[int] = set()


def _close_held() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_held)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Holds `folder/.lock` for this process; LockedError names the pid that holds it.

    The kernel releases the lock when the process ends in any way, so no stale lock can remain.
    """
    path = folder / ".lock"
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LockedError(f"{folder}: in use by another process (pid {owner}); wait for it or stop it") from None
    _held.add(descriptor)
    try:
        with disk_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        if descriptor in _held:  # not in a child that was forked inside
            _held.discard(descriptor)
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


def lock_owner(folder: Path) -> int | None:
    """The pid of the process that holds `folder/.lock`, or None. For a moment of the look nobody else can take it."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0)
        return int(owner) if owner.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def confine(root: Path, relative: str, source: str) -> Path:
    """Resolves a path that came from a file (`source`) and refuses it when it leaves `root`.

    Absolute paths, drive letters, `..`, NUL bytes and symbolic links that point outside are refused
    with a DataError. Backslashes are taken as separators, as Windows tools write them.
    """
    def refuse(why: str) -> DataError:
        return DataError(f"{source}: the path {relative!r} {why}; only paths inside {root} are read")

    if not relative or "\0" in relative:
        raise refuse("is empty or holds a NUL byte")
    windows = PureWindowsPath(relative)
    if windows.drive or windows.root or PurePosixPath(relative).is_absolute():
        raise refuse("is absolute")
    if ".." in windows.parts:
        raise refuse("points to a parent folder")
    path = root.joinpath(*windows.parts)
    if not is_inside(root, path):
        raise refuse("leads outside through a symbolic link")
    return path


def is_inside(root: Path, path: Path) -> bool:
    """Whether `path` lies in `root` once every symbolic link is followed; a circle of links does not."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


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

    def append(self, record: dict[str, Any], *, durable: bool = True) -> None:
        """Adds one record, dropping a torn last line first; `durable` waits for the disk."""
        line = (dump_json(record) + "\n").encode()
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as stream:
                self._drop_torn_line(stream.fileno())
                stream.write(line)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())

    @staticmethod
    def _drop_torn_line(descriptor: int) -> None:
        end = size = os.fstat(descriptor).st_size
        while end > 0:
            start = max(0, end - (1 << 12))
            end = start + os.pread(descriptor, end - start, start).rfind(b"\n") + 1
            if end > start:  # behind a line break; else it is further up
                break
        if end < size:
            os.ftruncate(descriptor, end)

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
