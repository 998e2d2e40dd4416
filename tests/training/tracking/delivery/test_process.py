"""The delivery process: its pauses, its bounds, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from made_runs import log, logged, make_run
from maskwright.base.storage import exclusive_lock
from maskwright.training.tracking.delivery import spool
from maskwright.training.tracking.delivery.cursor import statuses
from maskwright.training.tracking.delivery.process import follow, time_limit
from maskwright.training.tracking.delivery.sender import Courier, TooLong
from recorder import rows, values


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_pauses_grow_while_a_server_is_down_and_it_is_said_once(tmp_path, store):
    down = tmp_path / "down"
    down.touch()
    run = make_run(tmp_path / "run", [{"name": "recorder", "store": str(store), "down": str(down)}])
    pauses, told = [], []

    def ended(pause):
        pauses.append(pause)
        if len(pauses) == 9:
            down.unlink()
        return len(pauses) == 11

    follow(Courier(run, "recorder"), ended, told.append, 5.0)
    assert pauses == [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 2.0, 2.0]
    assert told == ["deliveries fail (Connection refused) and are tried again", "deliveries arrive again"]
    assert values(store) == logged(run) and rows(store)[-1]["close"] is True


def test_what_hangs_is_ended():
    with pytest.raises(TooLong), time_limit(0.05):
        while True:
            with suppress(Exception):
                time.sleep(10)
    time.sleep(0.05)
    with time_limit(5.0):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_hangs_for_good_ends_the_process():
    pid = os.fork()
    if not pid:
        with time_limit(0.05):
            while True:
                with suppress(BaseException):
                    time.sleep(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_ends_with_its_input_and_leaves_signals_of_the_terminal(tmp_path, store):
    run = make_run(tmp_path / "run", [{"name": "recorder", "store": str(store)}], finished=False)
    child = spool.start(run, "recorder", 10.0, follow=True)
    with child:
        until(lambda: values(store) == logged(run))
        assert os.getpgid(child.pid) != os.getpgid(0)
        os.kill(child.pid, signal.SIGINT)
        log(run, range(50, 61, 10))
        until(lambda: values(store) == logged(run))
        run.finish({})
        assert child.stdin and child.stdout
        child.stdin.close()
        assert child.wait(10) == 0 and child.stdout.read() == ""
    assert rows(store)[-1] == {"close": True, "best": str(run.best)} and statuses(run)[0].complete


def test_ends_when_the_training_is_killed(tmp_path, store):
    """The kernel closes the pipe."""
    run = make_run(tmp_path / "run", [{"name": "recorder", "store": str(store)}], finished=False)
    trainer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import sys, time; from maskwright.training.tracking.delivery import spool; from maskwright.run import Run; from pathlib import Path\n"
                f"spool.COMMAND = {spool.COMMAND!r}\n"
                f"child = spool.start(Run(Path({str(run.path)!r})), 'recorder', 10.0, follow=True)\n"
                "print(child.pid, flush=True); time.sleep(60)"
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with trainer:
        assert trainer.stdout
        pid = int(trainer.stdout.readline())
        until(lambda: values(store) == logged(run))
        trainer.kill()
    until(lambda: not _alive(pid))
    assert rows(store)[-1]["close"] is False


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_at_a_time(tmp_path, store):
    run = make_run(tmp_path / "run", [{"name": "recorder", "store": str(store)}])
    folder = run.trackers / "recorder"
    folder.mkdir(parents=True)
    with exclusive_lock(folder), spool.start(run, "recorder", 0.3, follow=False) as child:
        assert child.wait(10) == 5
    assert not store.exists()


def test_a_black_hole_is_noted(tmp_path, store):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        port = hole.getsockname()[1]
        run = make_run(tmp_path / "run", [{"name": "recorder", "store": str(store), "silent": port}])
        with spool.start(run, "recorder", 0.2, follow=False) as child:
            assert child.wait(10) == 0 and child.stdout
            assert child.stdout.read() == "deliveries fail (no answer in time) and are tried again\n"
    assert statuses(run)[0].problem == "no answer in time"
