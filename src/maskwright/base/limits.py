"""Limits: of the pixels that one file may hold, and of the cores and the memory that the system leaves to this process,
as control groups (containers, batch systems) say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import psutil

# What Pillow refuses to decode as a decompression bomb (twice what it warns of); sizes in annotation files may be
# anything too.
MAX_PIXELS = 178_956_970
CGROUPS, CGROUP_MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those above it, for version 2 and for `controller` of version 1.

    Inside a container the path may be that of the host: then only the mount point itself exists.
    """
    for line in _lines(CGROUPS):
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            base = CGROUP_MOUNT / controller if controllers else CGROUP_MOUNT
            parts = [part for part in path.split("/") if part and part != ".."]
            yield from (base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def cpu_limit() -> float:
    """Cores that control groups leave to this process, 1.5 for instance; infinite without a limit."""
    limits = [math.inf]
    for folder in _groups("cpu"):
        words = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and all(word.isdigit() and int(word) for word in words):  # else `max`, or -1
            limits.append(int(words[0]) / int(words[1]))
    return min(limits)


def memory_limit() -> float:
    """Bytes that control groups leave to this process in all; infinite without a limit."""
    words = [
        word
        for folder in _groups("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        for word in _words(folder / name)
    ]
    return min([float(word) for word in words if word.isdigit()], default=math.inf)


def memory_left() -> float:
    """Bytes that this process can still take: what the machine has free, or less where control groups leave less. Pages
    of files that a group has read count as free, as they do for the machine."""
    left = float(psutil.virtual_memory().available)
    for folder in _groups("memory"):
        for most, used, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, taken = _words(folder / most), _words(folder / used)
            if limit and taken and limit[0].isdigit() and taken[0].isdigit():
                pages = dict(line.split() for line in _lines(folder / "memory.stat") if len(line.split()) == 2)
                left = min(left, float(limit[0]) - float(taken[0]) + float(pages.get(cached, 0)))
    return max(0.0, left)


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
