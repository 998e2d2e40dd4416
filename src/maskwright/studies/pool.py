"""Processes that work on the runs of a study or a search, so many at the same time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from maskwright.base import cluster
from maskwright.base.cluster import RayProcess, started
from maskwright.base.workers import available_cores
from maskwright.studies.folder import RunsFolder

# Without the working folder on the path, where a file could have the name of a module.
COMMAND = (sys.executable, "-P", "-m", "maskwright.studies.worker")
PAUSE = 0.1

Child = subprocess.Popen[bytes] | RayProcess
Ended = Callable[[str, int], None]


def run_all(
    folder: RunsFolder,
    next_run: Callable[[], str | None],
    workers: int,
    threads: int,
    stopping: Callable[[], bool],
    ended: Ended,
    tick: Callable[[], None],
    device: str = "auto",
    unwanted: Callable[[str], bool] = lambda name: False,
) -> None:
    """Works on runs, `workers` of them at a time with `threads` threads each on `device`: `next_run` names one for a
    process that is free, or None while there is none; the work ends when none is left and none is at work. `ended` is
    told of each and how its process ended. A run that has become `unwanted`, and all of them once `stopping` says so,
    are asked to save their state and are waited for. When this is left by an error they are killed, which loses a
    minute's work and no run."""
    at_work = dict[int, tuple[str, Child]]()
    asked: set[str] = set()
    try:
        while True:
            for slot in range(workers):
                if slot not in at_work and not stopping() and (name := next_run()) is not None:
                    at_work[slot] = name, start(folder, name, slot, threads, device)
            if not at_work:
                return
            for slot, (name, child) in [*at_work.items()]:
                if name not in asked and (stopping() or unwanted(name)):
                    asked.add(name)
                    _close(child)
                if (code := child.poll()) is not None:
                    _close(child)
                    asked.discard(name)
                    del at_work[slot]
                    ended(name, code)
            tick()
            time.sleep(PAUSE)
    finally:
        for _, child in at_work.values():
            child.kill()
            child.wait()
            _close(child)


def threads_of(workers: int) -> int:
    """The threads that each of so many processes gets."""
    import torch

    found = cluster.active()
    return max(1, (found.cores if found else min(torch.get_num_threads(), available_cores())) // workers)


def start(folder: RunsFolder, name: str, slot: int, threads: int, device: str = "auto") -> Child:
    """A process for one run, which ends when its standard input does. A session of its own keeps Ctrl-C from it, which
    this process answers for all."""
    command = [*COMMAND, str(folder.path.absolute()), name, str(slot), device]
    if found := cluster.active():
        return found.process(command, folder.log(name), threads, device in ("auto", "cuda"))
    return started(command, folder.log(name), threads)


def _close(child: Child) -> None:
    assert child.stdin is not None
    child.stdin.close()
