"""Processes that work on the runs of a study, so many at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from maskwright.studies.folder import Study

# Without the working folder on the path, where a file could have the name of a module.
COMMAND = (sys.executable, "-P", "-m", "maskwright.studies.worker")
PAUSE = 0.1

Child = subprocess.Popen[bytes]
Ended = Callable[[str, int], None]


def run_all(
    study: Study,
    names: Sequence[str],
    workers: int,
    threads: int,
    stopping: Callable[[], bool],
    ended: Ended,
    tick: Callable[[], None],
    device: str = "auto",
) -> None:
    """Works on the runs `names` in this order, `workers` of them at a time with `threads` threads each on `device`, and
    tells `ended` of each and how its process ended. Once `stopping` says so, the ones at work are asked to save their
    state and are waited for. When this is left by an error they are killed, which loses a minute's work and no run."""
    waiting, at_work = deque(names), dict[int, tuple[str, Child]]()
    asked = False
    try:
        while at_work or (waiting and not stopping()):
            if stopping() and not asked:
                asked = True
                for _, child in at_work.values():
                    _close(child)
            for slot in range(workers):
                if slot not in at_work and waiting and not stopping():
                    name = waiting.popleft()
                    at_work[slot] = name, start(study, name, slot, threads, device)
            for slot, (name, child) in [*at_work.items()]:
                if (code := child.poll()) is not None:
                    _close(child)
                    del at_work[slot]
                    ended(name, code)
            tick()
            time.sleep(PAUSE)
    finally:
        for _, child in at_work.values():
            child.kill()
            child.wait()
            _close(child)


def start(study: Study, name: str, slot: int, threads: int, device: str = "auto") -> Child:
    """A process for one run, which ends when its standard input does. A session of its own keeps Ctrl-C from it, which
    this process answers for all."""
    with open(study.log(name), "ab") as log:
        return subprocess.Popen(
            [*COMMAND, str(study.path.absolute()), name, str(slot), device],
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
