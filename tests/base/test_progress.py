"""Progress: seldom and plain where nobody watches, a bar on a terminal, stdout left alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from maskwright.base import progress as module
from maskwright.base.progress import progress, say


class Clock:
    """Time that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 5) as advance:
        for done in range(1, 6):
            clock.now += 0.5
            advance(done)
    assert capsys.readouterr() == ("", "")


def test_long_work_says_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", 100, "iterations", done=20) as advance:
        for done in range(21, 101):
            clock.now += 0.5
            advance(done, "best 0.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"training: {done}/100 iterations, 2.0/s, 0:{(100 - done) // 2:02d} left, best 0.5"
        for done in (40, 60, 80, 100)
    ]


def test_stuck_work_does_not_divide_by_zero(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 5) as advance:
        clock.now += 11
        advance(0)
    assert capsys.readouterr().err == "reading: 0/5 images, 0.0/s\n"


def test_say_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    program = (
        "import time\nfrom maskwright.base.progress import progress\n"
        "with progress('reading', 3) as advance:\n"
        "    for done in (1, 2, 3): time.sleep(0.15); advance(done, f'note{done}')"
    )
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", program],
        stderr=slave,
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.stdout == b""
    assert "3/3" in shown and "images/s" in shown and "note3" in shown and "0:00 left" in shown


def test_work_inside_other_work_is_a_bar_below_it() -> None:
    program = (
        "import time\nfrom maskwright.base.progress import progress\n"
        "with progress('images', 2) as outer:\n"
        "    for done in (1, 2):\n"
        "        with progress('windows', 9, 'rows') as inner: inner(9); time.sleep(0.3)\n"
        "        outer(done)\n"
        "with progress('after', 1) as advance: advance(1)"
    )
    master, slave = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", program], stderr=slave, check=True, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    )
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "9/9" in shown and "rows/s" in shown and "2/2" in shown and "1/1" in shown
    last = shown[shown.rindex("2/2") :]
    assert "windows" not in last, "it is gone when its work is done"


def test_one_clock_for_minutes_and_hours() -> None:
    from maskwright.base.texts import clock

    assert [clock(seconds) for seconds in (0, 59.6, 245, 3599, 3600, 36_000, 36_061)] == [
        "0:00",
        "1:00",
        "4:05",
        "59:59",
        "1:00:00",
        "10:00:00",
        "10:01:01",
    ]
