"""The process that delivers a run to one tracker.

    python -m maskwright.training.tracking.delivery.process RUN NAME SECONDS

It follows the log until its standard input ends, which also happens when the training is killed, and then has
SECONDS left. On its standard output it says a line when deliveries begin to fail or to arrive again. Whatever the
tools print goes nowhere: it may hold secrets.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from maskwright.base.storage import exclusive_lock
from maskwright.errors import LockedError
from maskwright.run import Run
from maskwright.training.tracking.delivery.sender import Courier, TooLong, said

# Seconds between two looks at the log, at most after failures, and that one attempt may take.
PAUSE, _LONGEST_PAUSE, _ATTEMPT = 2.0, 60.0, 60.0


def follow(courier: Courier, ended: Callable[[float], bool], tell: Callable[[str], None], seconds: float) -> None:
    """Delivers until `ended(pause)`, which waits that long for the end, says so; then once more, in `seconds`.

    After a failure the pauses grow, so that a server that is down is not hammered.
    """
    pause, problem = 0.0, ""
    while True:
        last = ended(pause)
        with time_limit(seconds if last else _ATTEMPT):
            good = courier.deliver(last)
        if courier.cursor.problem != problem:
            problem = courier.cursor.problem
            tell(f"deliveries fail ({problem}) and are tried again" if problem else "deliveries arrive again")
        if last:
            return
        pause = PAUSE if good else min(max(2 * pause, PAUSE), _LONGEST_PAUSE)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Ends what takes longer with TooLong, and when that is swallowed, the process."""
    late = iter((TooLong,))

    def ring(number: int, frame: Any) -> None:
        for error in late:
            raise error
        os._exit(1)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 2.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _alone(folder: Path, ended: Callable[[float], bool], seconds: float) -> Iterator[None]:
    """Holds the delivery's lock. A process of a training that was killed may still have it for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    left = seconds
    while True:
        try:
            with exclusive_lock(folder):
                yield
                return
        except LockedError:
            if ended(0.0):
                left -= 0.2
                if left <= 0:
                    raise
            time.sleep(0.2)


def main(folder: str, name: str, seconds: float) -> NoReturn:
    """Never returns: the hooks that tools leave for the exit would wait for their servers."""
    code = 1
    with open(os.dup(1), "w", buffering=1) as out:
        void = os.open(os.devnull, os.O_RDWR)
        os.dup2(void, 1)
        os.dup2(void, 2)
        os.nice(10)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, meant for the training

        def ended(pause: float) -> bool:
            return bool(select.select([0], [], [], pause)[0])

        def tell(line: str) -> None:
            with suppress(OSError):  # nobody listens any more
                print(line, file=out)

        run = Run(Path(folder))
        try:
            with _alone(run.trackers / name, ended, seconds):
                follow(Courier(run, name), ended, tell, seconds)
            code = 0
        except LockedError as error:
            code = error.exit_code
        except Exception as error:
            tell(said(error))
        finally:
            os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
