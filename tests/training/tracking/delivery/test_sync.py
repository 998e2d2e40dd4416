"""The verb `sync`."""

from __future__ import annotations

import json
import socket
import time

import pytest

from made_runs import logged, make_run
from maskwright import sync
from maskwright.cli import main
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.training.tracking import trackers
from maskwright.training.tracking.delivery import sync as module
from recorder import values


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["sync", *map(str, arguments)])
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def test_two_trackers_one_dead_and_twice(tmp_path, capsys):
    """What can be delivered is; exit code 4 until all is; again changes nothing."""
    down, good, bad = tmp_path / "down", tmp_path / "good", tmp_path / "bad"
    down.touch()
    run = make_run(
        tmp_path / "run",
        [{"name": "recorder", "store": str(bad), "down": str(down)}, {"name": "second", "store": str(good)}],
    )
    code, out, _ = command(capsys, run.path)
    assert code == 4 and f"{run.path}: recorder: 0 of 6 records delivered (Connection refused)" in out
    assert f"{run.path}: second: 6 of 6 records delivered to {good}" in out and values(good) == logged(run)
    before = good.read_bytes()
    down.unlink()
    code, out, _ = command(capsys, run.path, "--json")
    found = json.loads(out)
    assert code == 0 and found["complete"] and found["runs"][0]["run"] == str(run.path)
    assert [one["tracker"] for one in found["runs"][0]["trackers"]] == ["recorder", "second"]
    assert values(bad) == logged(run) and good.read_bytes() == before
    result = sync([run.path, run])
    assert str(result) == result.human() and repr(result) == "SyncResult(runs=1, trackers=2, complete=2)"
    assert result.complete and good.read_bytes() == before


def test_a_tool_that_hangs_is_killed(tmp_path, monkeypatch):
    """Even where its process cannot help itself, as here, where it may not take as long as it takes to begin."""
    monkeypatch.setattr(module, "GRACE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        run = make_run(
            tmp_path / "run", [{"name": "recorder", "store": str(tmp_path / "s"), "silent": hole.getsockname()[1]}]
        )
        began = time.monotonic()
        result = sync(run, timeout="0.1s")
    assert not result.complete and time.monotonic() - began < 10
    assert result.runs[str(run.path)][0].problem == "no answer in 0.1 s"


def test_what_cannot_be_synced(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", [])
    with pytest.raises(ConfigError, match="names no trackers"):
        sync(run)
    with pytest.raises(ConfigError, match="`timeout`: '3' is not a time"):
        sync(run, timeout="3")
    with pytest.raises(DataError, match="not a run folder"):
        sync(tmp_path)
    monkeypatch.setitem(trackers.TRACKERS, "recorder", "recorder:Missing")
    run = make_run(tmp_path / "other", [{"name": "recorder", "store": "s"}])
    with pytest.raises(SetupError, match=r"pip install maskwright\[recorder\]"):
        sync(run)
