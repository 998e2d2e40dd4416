"""Weights & Biases without its service: the offline folder, read back record by record."""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from pathlib import Path

import pytest

from maskwright.training.tracking.delivery.cursor import Cursor
from maskwright.training.tracking.delivery.sync import sync
from run_folders import log, logged, logged_run, scored_half

pytest.importorskip("wandb")


def records(file: Path) -> list[bytes]:
    """The protocol buffers in a `.wandb` file: seven bytes of header, then LevelDB's log format."""
    data, found, parts, at = file.read_bytes(), [], b"", 7
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(parts)
            parts = b""
    return found


def kept(run):
    """Values by step, config and summary in the offline folder."""
    from wandb.proto.wandb_internal_pb2 import Record

    (store,) = (run.trackers / "wandb").glob("offline-run-*")
    (file,) = store.glob("run-*.wandb")
    history, config, summary = Counter(), {}, {}
    for data in records(file):
        record = Record.FromString(data)
        for item in record.run.config.update:
            config[item.key] = json.loads(item.value_json)
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        if row:
            step = row.pop("_step", record.history.step.num)
            history.update(
                (name, step, value)
                for name, value in row.items()
                if not name.startswith("_") and not name.startswith("samples")
            )
    return history, config, summary


def test_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "hidden" * 8)
    run = logged_run(tmp_path / "run", [{"name": "wandb", "offline": True, "project": "trees"}])
    result = sync(run, timeout="120s")
    assert result.complete, result.human()
    history, config, _ = kept(run)
    assert history == logged(run)
    assert config["model.name"] == "UNet" and config["run.dataset_version"] == "abc"
    (store,) = (run.trackers / "wandb").glob("offline-run-*")
    assert result.runs[str(run.path)][0].where == str(store) and Cursor.read(run, "wandb").key in store.name
    assert len(list((store / "files" / "media" / "images").iterdir())) == 2
    assert not any(b"hidden" in path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    assert {path.name for path in (run.trackers / "wandb").iterdir()} == {store.name, ".lock"}


@pytest.mark.slow
def test_written_anew_when_there_is_more(tmp_path):
    run = logged_run(tmp_path / "run", [{"name": "wandb", "offline": True}], finished=False)
    assert sync(run, timeout="120s").complete
    log(run, range(50, 101, 10))
    run.finish({})
    scored_half(run)
    assert sync(run, timeout="120s").complete
    history, _, summary = kept(run)
    assert history == logged(run) and summary["test/mIoU"] == 0.5
    assert summary["best_checkpoint"] == str(run.best)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_dead_servers_are_given_up(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        port = hole.getsockname()[1] if kind == "silent" else 9
        run = logged_run(tmp_path / "run", [{"name": "wandb", "uri": f"http://127.0.0.1:{port}"}])
        result = sync(run, timeout="45s").runs[str(run.path)][0]
    assert result.delivered == 0 and result.problem
