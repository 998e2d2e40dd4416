"""ClearML without a server: the zip file of an offline session."""

from __future__ import annotations

import json
import socket
import zipfile
from collections import Counter

import pytest

from maskwright.training.tracking.delivery.sync import sync
from run_folders import delivered, log, logged, logged_run, scored_half

pytest.importorskip("clearml")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """ClearML notes its last session in the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CLEARML_CONFIG_FILE", "CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


def kept(run):
    """Values by iteration, single values, names of pictures, and the task."""
    with zipfile.ZipFile(run.trackers / "clearml" / "session.zip") as session:
        task = json.loads(session.read("task.json"))
        events = [event for line in session.read("metrics.jsonl").splitlines() for event in json.loads(line)]
        pictures = [name for name in session.namelist() if name.endswith(".png")]
    values, single = Counter(), {}
    for event in events:
        if event["metric"] == "Summary":
            single[event["variant"]] = event["value"]
        elif event["type"] == "training_stats_scalar":
            name = event["metric"] if event["metric"] == event["variant"] else f"{event['metric']}/{event['variant']}"
            values[name, event["iter"], event["value"]] += 1
    return values, single, pictures, task


def test_offline(tmp_path):
    run = logged_run(tmp_path / "run", [{"name": "clearml", "offline": True, "project": "trees"}])
    made = scored_half(run)
    result = sync(run, timeout="120s")
    assert result.complete, result.human()
    values, single, pictures, task = kept(run)
    assert values == logged(run) and single == {f"test/{name}": value for name, value in delivered(made).items()}
    assert len(pictures) == 2 and task["project_name"] == "trees" and task["name"] == "run"
    assert task["hyperparams"]["General"]["model.name"]["value"] == "UNet"
    assert task["hyperparams"]["Run"]["best_checkpoint"]["value"] == str(run.best)
    assert task["hyperparams"]["Run"]["dataset_version"]["value"] == "abc"
    assert not task.get("script", {}).get("diff")
    assert {path.name for path in (run.trackers / "clearml").iterdir()} == {"session.zip", ".lock"}


@pytest.mark.slow
def test_written_anew_when_there_is_more(tmp_path):
    run = logged_run(tmp_path / "run", [{"name": "clearml", "offline": True}], finished=False)
    assert sync(run, timeout="120s").complete
    log(run, range(50, 101, 10))
    run.finish({})
    assert sync(run, timeout="120s").complete
    assert kept(run)[0] == logged(run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refusing", "silent", "unknown"])
def test_dead_servers_are_given_up(tmp_path, monkeypatch, kind):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        port = hole.getsockname()[1] if kind == "silent" else 9
        if kind != "unknown":
            for service in ("API", "WEB", "FILES"):
                monkeypatch.setenv(f"CLEARML_{service}_HOST", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("CLEARML_API_ACCESS_KEY", "key")
            monkeypatch.setenv("CLEARML_API_SECRET_KEY", "hidden")
        run = logged_run(tmp_path / "run", ["clearml"])
        result = sync(run, timeout="45s").runs[str(run.path)][0]
    assert result.delivered == 0 and result.problem
    assert not any(b"hidden" in path.read_bytes() for path in run.path.rglob("*") if path.is_file())
