"""Calls of one function shared by processes, or by threads where processes cannot be forked; results in order."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

import cv2

from maskwright.base import cluster
from maskwright.base.limits import cpu_limit
from maskwright.base.memory import keep_freed_memory
from maskwright.errors import DataError, MaskwrightError

T = TypeVar("T")
R = TypeVar("R")
_MOST = 16
_CHUNK = 32
_FEW = 8  # calls that are not worth a process
_TERM = 128  # calls after which a process is replaced


def usable_cores() -> int:
    """The cores that this process may run on; all of the machine where the system has no such choice (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_cores() -> int:
    """How many threads or processes can compute at the same time: the cores that this process may run on, or fewer
    where control groups (docker's `--cpus`, a batch system) give it less time. A part of a core counts as one, for
    leaving it idle costs more than sharing it."""
    return max(1, min(usable_cores(), math.ceil(min(cpu_limit(), 1 << 16))))


def worker_count() -> int:
    """Workers by the cores that this process may use: two at least, so that one decodes while another waits for the
    disk."""
    return min(max(2, available_cores()), _MOST)


def chunk(number: int, workers: int) -> int:
    """How many of `number` samples make one call: enough to be worth sending, few enough to share evenly."""
    return max(1, min(_CHUNK, number // (4 * workers)))


def in_order(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    """`map(function, items)` by `workers` processes, or threads where there is no fork or there are few items, or by
    the cluster that this process works on.

    Neither items nor function are sent to a process: it inherits them. What the function raises is raised here.
    Raises DataError when a process is killed. An exception that cannot be sent from one process to another comes as the
    nearest of its base classes that can, and its text names its own class.
    """
    if len(items) > 1 and (found := cluster.active()) is not None:
        return found.in_order(function, items)
    workers = min(workers, len(items))
    if workers > 1 and len(items) >= _FEW and sys.platform == "linux":
        return by_processes(function, items, workers)
    return by_threads(function, items, max(1, workers))


def by_threads(function: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """`map` by threads with a short queue, so that results do not pile up."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "files") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def by_processes(function: Callable[[T], R], items: Sequence[T], processes: int) -> Iterator[R]:
    """`map` by forked processes, each with every n-th item. A pipe holds few results, so they do not pile up; when
    this process dies, the others find their pipes broken and end.

    Memory that a process only reads it copies nevertheless, for Python counts references; so new ones take over
    after some hundred items.
    """
    for begin in range(0, len(items), _TERM * processes):
        yield from _one_term(function, items[begin : begin + _TERM * processes], processes)


def _one_term(function: Callable[[T], R], items: Sequence[T], processes: int) -> Iterator[R]:
    context = multiprocessing.get_context("fork")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork
    pipes: list[Connection] = []
    children = []
    try:
        for first in range(processes):
            receive, send = context.Pipe(duplex=False)
            pipes.append(receive)
            child = context.Process(
                target=_serve, args=(function, items[first::processes], send, tuple(pipes)), daemon=True
            )
            # Python runs hooks around a fork, and a Ctrl-C that is raised inside one of them is lost.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                child.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            send.close()
            children.append(child)
        for index in range(len(items)):
            try:
                result, error = pipes[index % processes].recv()
            except EOFError:
                raise _ended(children[index % processes]) from None
            if error is not None:
                raise error
            yield result
    finally:
        cv2.setNumThreads(threads)
        for pipe in pipes:
            pipe.close()
        for child in children:
            child.join()


def _serve(function: Callable[[T], R], items: Sequence[T], send: Connection, others: tuple[Connection, ...]) -> None:
    for pipe in others:
        pipe.close()  # else a pipe would not break when the process that reads from it dies
    # Ctrl-C reaches every process of the group, but only the first decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # collecting garbage would copy the pages that are shared
    keep_freed_memory()
    try:
        for item in items:
            try:
                answer = ForkingPickler.dumps((function(item), None))
            except BaseException as error:  # of decoders too, some of which raise no Exception
                send.send_bytes(ForkingPickler.dumps((None, sendable(error))))
                return
            send.send_bytes(answer)
    except BrokenPipeError:
        return


def sendable(error: BaseException) -> BaseException:
    """`error`, or what is nearest to it and arrives as it was sent: classes may be unknown elsewhere, hold what cannot
    be sent, or want other arguments than those that Python makes them anew with."""
    try:
        text = str(error)
    except Exception:
        text = "it has no readable text"
    if _arrives(error, text):
        return error
    kind = type(error)
    for base in kind.__mro__[1:-1]:
        # Our own errors are said to users as they are.
        told = text if issubclass(base, MaskwrightError) else f"{kind.__qualname__}: {text}"
        with suppress(Exception):
            if _arrives(nearest := base(told), told):
                assert isinstance(nearest, BaseException)
                return nearest
    return RuntimeError(f"{kind.__qualname__}: {text}")


def _arrives(error: Any, text: str) -> bool:
    try:
        found = ForkingPickler.loads(ForkingPickler.dumps(error))
        return type(found) is type(error) and str(found) == text
    except Exception:
        return False


def _ended(child: ForkProcess) -> DataError:
    """Why a process ended without an answer."""
    child.join()
    code = child.exitcode or 0
    if code >= 0:
        return DataError(
            f"a process that reads the files ended by itself (exit code {code}); look for what it "
            "printed, and try again"
        )
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL:
        return DataError(f"a process that reads the files was killed ({name}); free some memory and try again")
    return DataError(
        f"a process that reads the files was ended by {name}; a file may be damaged in a way that its "
        "decoder cannot bear, or the machine's memory is short; try again, with fewer files to find it"
    )
