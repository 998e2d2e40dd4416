"""One image is computed at a time; a bounded number of requests waits for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Busy(Exception):
    """As many wait as may."""


class Turns:
    """Runs work in one thread, in the order in which it came. At most `most` requests wait beside the one that runs."""

    def __init__(self, most: int) -> None:
        self.most, self._taken = most, 0
        self._turn = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, "model")

    @property
    def waiting(self) -> int:
        """Requests beside the one that runs."""
        return max(0, self._taken - 1)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Takes a place for a request, before its body is read, so that bodies do not fill the memory. Busy where there
        is none."""
        if self._taken > self.most:
            raise Busy
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Cancelled while it waits, it is never begun; cancelled later, it ends unheard,
        and the next one waits for that."""
        await self._turn.acquire()
        running = asyncio.get_running_loop().run_in_executor(self._worker, work)
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    def _ended(self, running: asyncio.Future[T]) -> None:
        if not running.cancelled():
            running.exception()  # else asyncio prints one that nobody waits for any more
        self._turn.release()

    def close(self) -> None:
        """Begins nothing any more."""
        self._worker.shutdown(wait=False, cancel_futures=True)
