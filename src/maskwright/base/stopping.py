"""How long work is asked to stop: by Ctrl-C or SIGTERM, at a moment of its own choice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any


class Stop:
    """Set by the first Ctrl-C or SIGTERM; a second one acts at once."""

    def __init__(self) -> None:
        self._signals = count()
        self._set = False

    def __call__(self, number: int, frame: Any) -> None:
        """The handler of the signals."""
        if next(self._signals):
            raise KeyboardInterrupt
        self._set = True

    def is_set(self) -> bool:
        """Whether to stop as soon as the state is complete."""
        return self._set


@contextmanager
def graceful() -> Iterator[Stop]:
    """Lets a step finish when the process is asked to stop. Signals can be caught in the main thread only."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
