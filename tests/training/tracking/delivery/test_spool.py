"""The training's side: bounded at its end, untouched in its bytes, whatever the trackers do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskwright.base.storage import atomic_write_text
from maskwright.errors import ConfigError, SetupError
from maskwright.run import Run
from maskwright.training.tracking import trackers
from maskwright.training.tracking.delivery import spool
from maskwright.training.tracking.delivery.cursor import statuses
from maskwright.training.tracking.delivery.spool import LAST_WAIT, deliveries
from maskwright.training.tracking.delivery.sync import sync
from maskwright.training.train import resume, train
from recorder import COMMAND, ROWS, rows, values
from run_folders import logged, logged_run
from tiny import config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("spool") / "data", {"train": 6, "val": 2})


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """The run without trackers."""
    return train(config(data), out=tmp_path_factory.mktemp("spool") / "run")


def bytes_of(run):
    return {path.name: path.read_bytes() for path in (run.best, run.last, run.metrics.path)}


class Endless:
    """A process that never ends."""

    def __init__(self):
        self.stdin = open(os.devnull, "w")  # noqa: SIM115

    def poll(self):
        return None


class Clock:
    """Time that passes by sleeping only."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_the_end_waits_a_second_at_most_for_all_trackers_together(tmp_path, monkeypatch, capsys):
    run = logged_run(tmp_path / "run", [{"name": name, "store": "s"} for name in ROWS])
    monkeypatch.setattr(spool, "time", clock := Clock())
    spool.end_deliveries(run, {name: Endless() for name in ROWS})
    assert LAST_WAIT <= clock.now <= LAST_WAIT + 0.1 < 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(
        "0 of 6 records delivered; this continues in the background" in line for line in lines
    )


@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_dead_servers_cost_a_training_less_than_two_seconds(data, plain, tmp_path, capsys, kind):
    """Two of them, and one that works: it is served all the same, and the run is the same to the byte."""
    store, down = tmp_path / "store", tmp_path / "down"
    down.touch()
    with socket.create_server(("127.0.0.1", 0)) as hole:
        dead = {"down": str(down)} if kind == "refusing" else {"silent": hole.getsockname()[1]}
        settings = config(
            data,
            trackers=[
                {"name": "recorder", "store": str(tmp_path / "none"), **dead},
                {"name": "anew", "store": str(tmp_path / "none"), **dead},
                {"name": "second", "store": str(store)},
            ],
        )
        began = time.monotonic()
        with deliveries(logged_run(tmp_path / "other", settings.to_dict()["trackers"]), ["recorder", "anew"]):
            pass
        assert time.monotonic() - began < 2
        run = train(settings, out=tmp_path / "run")
    assert bytes_of(run) == bytes_of(plain)
    told = capsys.readouterr().err
    assert told.count(f"`maskwright sync {run.path}`") >= 2
    assert sync(run, timeout="1s").runs[str(run.path)][2].complete and values(store) == logged(run)


def test_what_cannot_be_started_and_what_raises_never_reaches_the_run(data, plain, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(spool, "COMMAND", ("/nowhere/python",))
    settings = config(data, trackers=[{"name": "recorder", "store": str(tmp_path / "s")}])
    run = train(settings, out=tmp_path / "run")
    assert bytes_of(run) == bytes_of(plain)
    assert "tracker recorder: could not be started" in capsys.readouterr().err
    monkeypatch.setattr(spool, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr(spool, "statuses", lambda run: 1 / 0)
    with deliveries(run, ["recorder"]):
        pass
    assert "trackers: division by zero" in capsys.readouterr().err


def test_errors_of_the_training_pass_through(tmp_path):
    run = logged_run(tmp_path / "run", [{"name": "recorder", "store": str(tmp_path / "store")}])
    with pytest.raises(KeyError), deliveries(run, ["recorder"]):
        raise KeyError


def test_everything_is_checked_before_the_folder_appears(data, tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "recorder", "recorder:Missing")
    with pytest.raises(SetupError, match=r"not installed: recorder; `pip install maskwright\[recorder\]`"):
        train(config(data, trackers=[{"name": "recorder", "store": "s"}]), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="password") as refused:
        train(config(data, trackers=[{"name": "mlflow", "uri": "http://me:hidden@host"}]), out=tmp_path / "run")
    assert "hidden" not in str(refused.value) and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_training_and_delivery_killed_then_resumed(data, tmp_path):
    """Every value is at the tracker once, and the run is the same to the byte as one that was left alone."""
    store = tmp_path / "store"
    settings = config(
        data, train={"iterations": 160, "evaluate_every": 20}, trackers=[{"name": "recorder", "store": str(store)}]
    )
    code = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parents[3])!r}]\n"
        "import json; from pathlib import Path; from maskwright.training.tracking import trackers; from maskwright.training.tracking.delivery import spool\n"
        "from maskwright.config import RunConfig; from maskwright.training import train, loop\n"
        f"trackers.TRACKERS.update({ROWS!r}); spool.COMMAND = {COMMAND!r}\n"
        "start = spool.start\n"
        "spool.start = lambda *a, **k: print((c := start(*a, **k)).pid, flush=True) or c\n"
        "step = loop.train_step\n"  # slow enough to be met alive
        "import time\n"
        "loop.train_step = lambda *a: (lambda f: lambda *b: time.sleep(0.05) or f(*b))(step(*a))\n"
        "train.train(RunConfig.model_validate(json.loads(sys.argv[1])), out=Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, json.dumps(settings.to_dict()), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as trainer:
        assert trainer.stdout
        delivery = int(trainer.stdout.readline())
        end = time.monotonic() + 60
        while len(values(store)) < 40:
            assert time.monotonic() < end and trainer.poll() is None
            time.sleep(0.01)
        os.kill(delivery, signal.SIGKILL)
        trainer.kill()
    run = Run(tmp_path / "run")
    assert not run.finished and not list(run.path.glob("trackers/.partial*"))[1:]
    atomic_write_text(run.trackers / "recorder" / "kept", "resuming leaves this folder alone")
    resume(run)
    assert sync(run, timeout="30s").complete
    assert values(store) == logged(run) and max(values(store).values()) == 1
    assert (run.trackers / "recorder" / "kept").exists() and statuses(run)[0].delivered == 24
    assert bytes_of(run) == bytes_of(
        train(config(data, train={"iterations": 160, "evaluate_every": 20}), out=tmp_path / "whole")
    )
    assert rows(store)[-1]["close"] is True
