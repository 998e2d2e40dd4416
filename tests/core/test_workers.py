"""Calls shared by processes or threads: in order, never piling up, never stuck, with the errors of the calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import cv2
import psutil
import pytest

from maskwright.core.workers import by_processes, by_threads, in_order
from maskwright.errors import DataError

BOTH = pytest.mark.parametrize("share", [by_processes, by_threads])


@BOTH
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order(share, workers: int) -> None:
    def work(item: int) -> tuple[int, bytes]:
        time.sleep(0.002 * (item % 3))
        return item, b"x" * 100_000 * (item % 2)  # more than a pipe holds

    assert [item for item, _ in share(work, range(20), workers)] == list(range(20))


@BOTH
def test_a_defect_of_our_own_is_not_swallowed(share) -> None:
    def work(item: int) -> int:
        if item == 3:
            raise RuntimeError("a defect")
        return item

    taken = []
    with pytest.raises(RuntimeError, match="a defect"):
        for item in share(work, range(100), 2):
            taken.append(item)
    assert taken == [0, 1, 2]


@BOTH
def test_whoever_stops_listening_is_not_waited_for(share) -> None:
    """And no process is left behind."""
    results = share(lambda item: b"x" * 1_000_000, range(1000), 2)
    next(results)
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 5
    assert psutil.Process().children() == []


def test_a_process_that_is_killed_is_an_error() -> None:
    parent = os.getpid()

    def work(item: int) -> int:
        if item == 5:
            assert os.getpid() != parent
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(DataError, match="was killed; free some memory"):
        list(by_processes(work, range(10), 2))
    assert psutil.Process().children() == []


def test_processes_end_when_the_first_one_is_killed(tmp_path: Path) -> None:
    code = ("import os, time\nfrom pathlib import Path\nfrom maskwright.core.workers import by_processes\n"
            f"def work(item):\n    Path({str(tmp_path)!r}, str(os.getpid())).touch()\n    time.sleep(0.05)\n"
            "    return b'x' * 100_000\n"
            "for result in by_processes(work, range(10_000), 2):\n    pass\n")
    first = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    assert len(children) == 2
    while any(psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE
              for child in children):
        assert time.monotonic() < deadline, "a process outlives the one that it works for"
        time.sleep(0.02)


def test_opencv_has_its_threads_back() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        assert list(by_processes(lambda item: cv2.getNumThreads() < 2, range(4), 2)) == [True] * 4
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize(("items", "workers", "other"), [(100, 2, True), (3, 2, False), (100, 1, False)])
def test_processes_are_for_many_calls(items: int, workers: int, other: bool) -> None:
    used = set(in_order(lambda item: os.getpid(), range(items), workers))
    assert (os.getpid() not in used) == (other and sys.platform == "linux")
    assert list(in_order(lambda item: item, [], workers)) == []


def test_warnings_that_threads_silence_in_turn_are_as_before() -> None:
    """The first thread leaves its `catch_warnings` while the second is inside, which would undo the one of both."""
    entered, also_entered, left = threading.Event(), threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item:
            entered.wait(10)
        with warnings.catch_warnings(action="ignore"):
            (also_entered if item else entered).set()
            (left if item else also_entered).wait(10)
            warnings.warn("of a damaged file", stacklevel=1)  # an error in these tests, unless silenced
        left.set()

    before = list(warnings.filters)
    assert list(by_threads(work, range(2), 2)) == [None, None]
    assert list(warnings.filters) == before


@pytest.mark.parametrize("threads", [1, 3])
def test_work_ahead_is_bounded(threads: int) -> None:
    begun, taken, most = 0, 0, 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - taken)
        return item

    for expected, item in enumerate(by_threads(work, range(50), threads)):
        assert item == expected
        time.sleep(0.001)
        taken += 1
    assert most <= 2 * threads + 1
