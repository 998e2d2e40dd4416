"""Processes that work on the runs of a study or a search, so many at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from maskwright.studies.folder import RunsFolder

# Without the working folder on the path, where a file could have the name of a module.
COMMAND = (sys.executable, "-P", "-m", "maskwright.studies.worker")
PAUSE = 0.1

Child = subprocess.Popen[bytes]
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


def start(folder: RunsFolder, name: str, slot: int, threads: int, device: str = "auto") -> Child:
    """A process for one run, which ends when its standard input does. A session of its own keeps Ctrl-C from it, which
    this process answers for all."""
    with open(folder.log(name), "ab") as log:
        return subprocess.Popen(
            [*COMMAND, str(folder.path.absolute()), name, str(slot), device],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(os.environ, threads),
        )


def _environment(own: Mapping[str, str], threads: int) -> dict[str, str]:
    # Threads that wait for each other sleep soon, as in `maskwright train`; here they surely have company.
    waiting = {} if "OMP_WAIT_POLICY" in own else {"GOMP_SPINCOUNT": "10000"}
    return {**waiting, **own, "OMP_NUM_THREADS": str(threads)}


def _close(child: Child) -> None:
    assert child.stdin is not None
    child.stdin.close()
