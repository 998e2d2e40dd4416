"""An audit that was stopped is resumed, and ends as if it never had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers import make_dataset, write
from maskwright.base.storage import exclusive_lock
from maskwright.base.workers import chunk
from maskwright.data.auditing import audit
from maskwright.data.auditing.survey import survey
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError, Interrupted, LockedError

CHUNK = chunk(24, 1)  # what was begun of one is looked at again


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty-four images of which some are broken in ways that reach every kind of fact."""
    folder = make_dataset(tmp_path / "data", 24, (40, 48), describe=True)
    (folder / "img/train/000.png").write_bytes(b"no image")
    write(folder / "labels/train/004.png", np.full((40, 48), 77, np.uint8))
    write(folder / "labels/val/002.png", np.zeros((20, 20), np.uint16))
    (folder / "labels/test/003.png").unlink()
    mask = np.zeros((40, 48), np.uint8)
    mask[3, 3] = mask[20, 5:40] = 1
    write(folder / "labels/train/005.png", mask)
    return folder


def stop_after(monkeypatch: pytest.MonkeyPatch, images: int) -> list[str]:
    """Makes the audit stop when it has looked at so many; returns the names of those that it looks at."""
    looked: list[str] = []
    module = sys.modules[survey.__module__]
    real = module._look_at_image

    def look(dataset, sample, statistics):
        if len(looked) == images:
            raise KeyboardInterrupt
        looked.append(sample.name)
        return real(dataset, sample, statistics)

    monkeypatch.setattr(module, "_look_at_image", look)
    return looked


def as_text(result) -> str:
    return json.dumps(result.to_dict() | {"fixed": None}, sort_keys=True, default=str)


@pytest.mark.parametrize("images", [0, 1, 13, 23])
def test_it_resumes_and_says_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int):
    whole = as_text(audit(data, progress=False, workers=1))
    place = tmp_path / "out.unfinished"
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="the same command resumes"):
        stop_after(patch, images)
        audit(data, progress=False, workers=1, unfinished=place)
    assert place.is_dir()
    looked = stop_after(monkeypatch, 999)
    assert as_text(audit(data, progress=False, workers=1, unfinished=place)) == whole
    assert len(looked) == 24 - images // CHUNK * CHUNK and not place.exists()


def test_every_fact_survives(data: Path, tmp_path: Path):
    dataset = load_dataset(data)
    first = survey(dataset, workers=1, unfinished=tmp_path / "kept")
    again = survey(dataset, workers=1, unfinished=tmp_path / "kept")
    assert again.records == first.records and again.statistics.to_dict() == first.statistics.to_dict()
    assert any(isinstance(record.image, str) for record in again.records)
    assert any(mask.unknown for _, mask in again.masks) and any(mask.flaws for _, mask in again.masks)


def test_changed_data_is_looked_at_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    place = tmp_path / "kept"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        stop_after(patch, 23)
        audit(data, progress=False, workers=1, unfinished=place)
    write(data / "labels/train/001.png", np.ones((40, 48), np.uint8))
    changed = audit(data, progress=False, workers=1, unfinished=place)
    assert "data changed since this work was stopped; it starts again" in capsys.readouterr().err
    assert as_text(changed) == as_text(audit(data, progress=False, workers=1))


def test_a_torn_line_costs_only_itself(data: Path, tmp_path: Path):
    dataset = load_dataset(data)
    whole = survey(dataset, workers=1, unfinished=tmp_path / "kept")
    file = tmp_path / "kept/survey.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert survey(dataset, workers=1, unfinished=tmp_path / "kept").records == whole.records


@pytest.mark.parametrize(
    "damage", ['{"facts": [[1]]}', '{"facts": [["a", [1]]], "splits": {}, "heat": []}', "[]", "{}"]
)
def test_a_damaged_journal_is_refused(data: Path, tmp_path: Path, damage: str):
    dataset = load_dataset(data)
    (tmp_path / "kept").mkdir()
    with open(tmp_path / "kept/survey.jsonl", "a") as stream:
        stream.write(damage + "\n")
    with pytest.raises(DataError, match="survey.jsonl"):
        survey(dataset, workers=1, unfinished=tmp_path / "kept")


def test_two_audits_do_not_share_a_folder(data: Path, tmp_path: Path):
    (tmp_path / "kept").mkdir()
    with exclusive_lock(tmp_path / "kept"), pytest.raises(LockedError):
        audit(data, progress=False, unfinished=tmp_path / "kept")


def test_the_command_goes_on_after_ctrl_c_and_kill(tmp_path: Path):
    data = make_dataset(tmp_path / "data", 80, (500, 600), describe=True)
    command = [sys.executable, "-m", "maskwright", "audit", str(data), "--out", str(tmp_path / "out"), "--json"]
    command += ["--fail-on", "never"]
    for number in (signal.SIGINT, signal.SIGKILL):
        # A shell starts what runs in its background without Ctrl-C, and tests may run there.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "out.unfinished/facts.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if number == signal.SIGINT else -number), err
        assert (tmp_path / "out.unfinished").is_dir() and not (tmp_path / "out").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not (tmp_path / "out.unfinished").exists()
    assert json.loads(done.stdout)["statistics"] == json.loads(as_text(audit(data, progress=False)))["statistics"]
