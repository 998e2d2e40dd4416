"""Calls shared by processes or threads: in order, never piling up, never stuck, with the errors of the calls."""

from __future__ import annotations

import faulthandler
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from maskwright.base.workers import by_processes, by_threads, in_order
from maskwright.errors import ConfigError, DataError

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


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"was killed \(SIGKILL\); free some memory"),
        (
            lambda: (faulthandler.disable(), os.kill(os.getpid(), signal.SIGSEGV)),
            "was ended by SIGSEGV; a file may be damaged",
        ),
        (lambda: os._exit(3), r"ended by itself \(exit code 3\)"),
    ],
)
def test_a_process_that_is_killed_is_an_error(end, said: str) -> None:
    parent = os.getpid()

    def work(item: int) -> int:
        if item == 5:
            assert os.getpid() != parent
            end()
        return item

    with pytest.raises(DataError, match=said):
        list(by_processes(work, range(10), 2))
    assert psutil.Process().children() == []


class Holding(ValueError):
    """Cannot be sent: it holds a lock."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Counted(LookupError):
    """Can be sent, but not be made anew: Python gives its text only."""

    def __init__(self, place: str, number: int) -> None:
        super().__init__(f"{place}: {number}")


class Changed(RuntimeError):
    """Arrives with another text."""

    def __init__(self, text: str) -> None:
        super().__init__(f"it was {text}")


class Odd(DataError):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}; look")


class Mute(OSError):
    def __str__(self) -> str:
        raise TypeError


class Panic(BaseException):
    """As libraries in Rust raise them."""


def local() -> Exception:
    class Local(ArithmeticError):
        pass

    return Local("of a function")


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: ValueError("plain"), ValueError, "^plain$"),
        (lambda: DataError("a.png: broken; look"), DataError, "^a.png: broken; look$"),
        (lambda: ConfigError(["one", "two"]), ConfigError, "^one\ntwo$"),
        (lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), UnicodeDecodeError, "can't decode byte"),
        (lambda: Holding("a defect"), ValueError, "^Holding: a defect$"),
        (lambda: Counted("a.png", 3), LookupError, "^Counted: a.png: 3$"),
        (lambda: Changed("green"), RuntimeError, "^Changed: it was green$"),
        (lambda: Odd("a.png", "broken"), DataError, "^a.png: broken; look$"),
        (lambda: Mute(), OSError, "^Mute: it has no readable text$"),
        (lambda: Panic("unreachable"), Panic, "^unreachable$"),
        (local, ArithmeticError, "Local: of a function$"),
    ],
)
def test_an_error_in_a_process_arrives_with_its_type_and_text(make, kind: type[BaseException], said: str) -> None:
    def work(item: int) -> int:
        if item == 3:
            raise make()
        return item

    taken = []
    with pytest.raises(kind, match=said) as caught:
        for item in by_processes(work, range(10), 2):
            taken.append(item)
    assert taken == [0, 1, 2]
    assert type(caught.value) is kind
    assert psutil.Process().children() == []


def test_a_result_that_cannot_be_sent_is_said() -> None:
    with pytest.raises(Exception, match="pickle") as caught:
        list(by_processes(lambda item: threading.Lock(), range(10), 2))
    assert not isinstance(caught.value, DataError)


def test_processes_end_when_the_first_one_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, time\nfrom pathlib import Path\nfrom maskwright.base.workers import by_processes\n"
        f"def work(item):\n    Path({str(tmp_path)!r}, str(os.getpid())).touch()\n    time.sleep(0.05)\n"
        "    return b'x' * 100_000\n"
        "for result in by_processes(work, range(10_000), 2):\n    pass\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    assert len(children) == 2
    while any(
        psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE for child in children
    ):
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


def test_threads_leave_the_settings_of_warnings_alone() -> None:
    """A generator that is not at its end would leave them with whoever listens."""
    before = list(warnings.filters)
    results = by_threads(lambda item: list(warnings.filters) == before, range(10), 2)
    assert next(results)
    assert list(warnings.filters) == before
    assert all(results)


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs GNU's allocator")
def test_processes_that_read_files_reuse_the_memory_of_the_last_image() -> None:
    """Pages that are asked for anew are counted as faults: 2,000 for 8 MB."""
    import resource

    def faults(_: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(8 << 20, np.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    found = list(by_processes(faults, range(16), 2))
    assert max(found[2:]) < 200, found
