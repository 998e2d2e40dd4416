"""A study from its file to scored runs: what finishes, what fails, what is kept, and what is refused."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import maskwright
from helpers import write
from maskwright.base.storage import dump_json, exclusive_lock
from maskwright.demonstration.generator import generate
from maskwright.errors import ConfigError, DataError, Interrupted, LockedError, SetupError
from maskwright.studies import pool, progress_table, worker
from maskwright.studies import study as running
from maskwright.studies.folder import Study
from maskwright.studies.progress_table import shown_progress as show
from maskwright.studies.status import RunStatus, StudyStatus, scored, study_status
from maskwright.studies.study import study
from maskwright.training import image_cache, loader
from tiny import write_dataset

BASE = {
    "data": {"root": "data", "image_size": [32, 32]},
    "loss": "ce",
    "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4}},
    "train": {
        "iterations": 4,
        "batch_size": 4,
        "evaluate_every": 2,
        "precision": "float32",
        "channels_last": True,
        "threads": 1,
    },
}
SCRIPT = Path(__file__).parents[1] / "studies.py"


class Here:
    """A worker's process, but within this one: it has ended when it is made."""

    started: list[str] = []

    def __init__(self, study: Study, name: str, slot: int, threads: int, device: str) -> None:
        self.started.append(name)
        self.stdin = io.BytesIO()
        self._code = worker.outcome(study, name, slot, device)

    def poll(self) -> int:
        return self._code


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were worked on, by this process."""
    monkeypatch.setattr(Here, "started", [])
    monkeypatch.setattr(pool, "start", Here)
    monkeypatch.setattr(pool, "PAUSE", 0)
    return Here.started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", {"train": 6, "val": 2, "test": 2})
    return tmp_path


def put(folder: Path, matrix: dict[str, Any], base: dict[str, Any] | None = None, **more: Any) -> Path:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"base": BASE | (base or {}), "matrix": matrix} | more, sort_keys=False))
    return file


def states(status: StudyStatus) -> dict[str, str]:
    return {run.name: run.state for run in status.runs}


def files(path: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and file.name != ".lock"}


def test_a_study_is_kept_and_extended(
    folder: Path, here: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    decode = image_cache.decode
    assert loader.decode is decode  # it is imported before anything is replaced
    monkeypatch.setattr(image_cache, "in_order", lambda function, samples, workers: map(function, samples))
    monkeypatch.setattr(
        image_cache,
        "decode",
        lambda dataset, geometry, sample: (reads.append(sample.name), decode(dataset, geometry, sample))[1],
    )
    file = put(folder, {"loss": ["ce", ["ce", "dice"]]})
    status = study(file)
    err = capsys.readouterr().err.splitlines()
    assert err[0] == err[-1] == f"study folder: {folder}/studies/study"
    assert status.exit_code == 0 and status.path == folder / "studies" / "study"
    assert states(status) == {"ce": "finished", "ce+dice": "finished"} and here == ["ce", "ce+dice"]
    assert sorted(reads) == sorted([f"train/train_{i:02d}" for i in range(6)] + ["val/val_00", "val/val_01"])
    assert not (status.path / "decoded").exists()
    assert [run.values for run in status.runs] == [{"loss": "ce"}, {"loss": "ce+dice"}]
    for run in status.runs:
        assert (run.iteration, run.iterations, run.evaluated, run.pid) == (4, 4, ["test"], None)
        assert run.best_val_mIoU is not None and run.seconds > 0
        assert len(json.loads((run.run / "evaluations/test-001/scores.json").read_text())["classes"]) == 2
    assert maskwright.study_status(status.path) == status
    before = files(status.path)
    assert study(file) == study(status.path) == status and files(status.path).items() >= before.items()
    put(folder, {"loss": ["ce", ["ce", "dice"], "dice"]})
    added = study(file)
    assert here == ["ce", "ce+dice", "dice"] and added.states == {"finished": 3}
    assert all(files(status.path)[path] == changed for path, changed in before.items() if path.name != "study.yaml")
    put(folder, {"loss": ["ce"]}, {"seed": 3})
    with pytest.raises(ConfigError, match="was begun with other settings for ce, ce\\+dice, dice; runs may be added"):
        study(file)
    other = study(file, out=folder / "other")
    assert states(other) == {"ce": "finished"} and len(here) == 4


def test_failed_runs_are_told_and_tried_again_only_when_asked(
    folder: Path, here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(folder / "bad" / "images/train/train_00.png", np.zeros((32, 32, 3), np.uint8)).parents[2]
    write_dataset(bad, {"train": 3, "val": 1})
    mask = bad / "masks/train/train_01.png"
    good = mask.read_bytes()
    mask.write_bytes(b"broken")
    file = put(folder, {"data.root": ["bad", "data"], "optimizer.lr": {"fine": 0.001, "wild": 1e30}}, evaluate=["val"])
    status = study(file, workers=2)
    assert states(status) == {
        "bad_fine": "failed",
        "bad_wild": "failed",
        "data_fine": "finished",
        "data_wild": "failed",
    }
    reasons = {run.name: run.reason for run in status.runs}
    assert str(mask) in reasons["bad_fine"] and "is not finite at iteration" in reasons["data_wild"]
    assert status.exit_code == DataError.exit_code and "train_01.png" in capsys.readouterr().err.splitlines()[-4]
    assert not (status.path / "runs" / "bad_fine").exists() and (status.path / "decoded").is_dir()
    again = study(file)
    assert again == status and len(here) == 4 and "`retry` tries it again" in capsys.readouterr().err
    mask.write_bytes(good)
    retried = study(file, retry=True)
    assert states(retried) == {
        "bad_fine": "finished",
        "bad_wild": "failed",
        "data_fine": "finished",
        "data_wild": "failed",
    }
    assert here[4:] == ["bad_fine", "bad_wild", "data_wild"]
    mask.write_bytes(b"broken")
    with pytest.raises(
        DataError, match=r"bad: has changed since .*bad_fine began: the mask of 'train/train_01' differs; .* begin anew"
    ):
        study(file, retry=True)


def test_only_what_is_trained_on_holds_a_study_up(folder: Path, here: list[str]) -> None:
    """A mask of a test image was mended, or a display name changed: the runs that are left are trained all the same."""
    file = put(folder, {"seed": [0, 1]})
    stopped = study(file)
    shutil.rmtree(stopped.path / "runs" / "seed1")
    write(folder / "data/masks/test/test_00.png", np.zeros((32, 32), np.uint8))
    again = study(file)
    assert states(again) == {"seed0": "finished", "seed1": "finished"} and here == ["seed0", "seed1", "seed1"]
    for part in ("images", "masks"):
        shutil.copy(folder / f"data/{part}/train/train_00.png", folder / f"data/{part}/train/train_06.png")
    shutil.rmtree(stopped.path / "runs" / "seed1")
    with pytest.raises(DataError, match="it has other samples to train on or to validate with; restore it, or begin"):
        study(file)


def test_unexpected_ends_are_failures_too(folder: Path, here: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(folder, {"seed": [0]})

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "work", fail)
        status = study(file)
    log = status.path / "jobs/seed0/worker.log"
    assert status.runs[0].reason == f"unexpected ZeroDivisionError: oh; see {log}" and status.exit_code == 1
    with monkeypatch.context() as patch:
        patch.setattr(worker, "outcome", lambda *_: 77)
        Study(status.path).forgive("seed0")
        status = study(file)
        assert status.runs[0].reason == f"its process ended with exit code 77; see {log}"
        patch.setattr(worker, "outcome", lambda *_: -9)
        Study(status.path).forgive("seed0")
        status = study(file)
    assert status.exit_code == SetupError.exit_code and status.states == {"waiting": 1}
    assert study(file).exit_code == 0  # what was killed is no failure


@pytest.mark.parametrize(
    ("matrix", "more", "error", "says"),
    [
        ({"model": ["SegNet", {"name": "UNet", "args": {"channels": []}}]}, {}, ConfigError, "UNet cannot be built"),
        ({"loss": ["ce", {"name": "ce", "class_weights": [1, 2, 3]}]}, {}, ConfigError, "loss.0.class_weights"),
        ({"data.root": ["data", "nowhere"]}, {}, DataError, "nowhere: no such folder"),
        ({"seed": [1]}, {"evaluate": ["tset"]}, ConfigError, "no labelled samples in 'tset'; it has test, train, val"),
    ],
)
def test_what_is_checked_before_the_first_training(
    folder: Path, here: list[str], matrix: dict[str, Any], more: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        study(put(folder, matrix, **more))
    assert not here and not (folder / "studies").exists()


def test_two_leaders_and_wrong_places(folder: Path, here: list[str]) -> None:
    file = put(folder, {"seed": [0]})
    status = study(file)
    with exclusive_lock(status.path), pytest.raises(LockedError, match=f"pid {os.getpid()}"):
        study(file)
    with pytest.raises(ConfigError, match="at least 1"):
        study(file, workers=0)
    assert study(status.path, out=status.path).exit_code == 0  # where it is anyway
    with pytest.raises(ConfigError, match="leave `out` out"):
        study(status.path, out=folder / "x")
    with pytest.raises(ConfigError, match="never overwritten"):
        study(file, out=folder / "data")
    file = status.path / "study.yaml"
    file.write_text(file.read_text().replace("seed0:", "../../data:"))
    with pytest.raises(ConfigError, match="restore the file"):
        study_status(status.path)
    for call in (study, study_status):
        with pytest.raises(DataError, match="not a study's folder"):
            call(folder / "data")


def test_the_splits_to_score(folder: Path, here: list[str]) -> None:
    write_dataset(folder / "flat", {"": 8})
    status = study(put(folder, {"data.root": ["flat"]}))
    assert status.runs[0].evaluated == ["val"] and scored(Study(status.path).run("flat"), "val")
    put(folder, {"data.root": ["flat"]}, evaluate=["val", "train"])
    assert study(folder / "study.yaml").runs[0].evaluated == ["val", "train"]  # only what was not there
    assert here == ["flat", "flat"] and len([*(status.path / "runs/flat/evaluations").iterdir()]) == 2


def test_notes_of_what_is_measured_beside_others(folder: Path) -> None:
    def said(train: dict[str, Any], workers: int) -> str:
        entries = maskwright.load_study(put(folder, {"seed": [0]}, {"train": train})).entries
        return "\n".join(running.notes([entry.config for entry in entries], workers))

    fixed = BASE["train"]
    assert said(fixed, 2) == said({"budget": "5m"}, 1) == ""
    assert "train.precision, channels_last, threads" in said(fixed | {"precision": "auto"}, 2)
    assert "same work for every run" in said(
        {k: v for k, v in fixed.items() if k != "iterations"} | {"budget": "5m"}, 2
    )


STATUS = StudyStatus(
    Path("st"),
    [
        RunStatus("a", Path("st/runs/a"), {}, "finished", 40, 40, 0.75, ["test"], 100.0),
        RunStatus("bcd", Path("st/runs/bcd"), {}, "training", 10, 40, None, [], 50.0, 17),
        RunStatus("e", Path("st/runs/e"), {}, "failed", 3, 40, reason="x: is broken; mend it", code=3),
        RunStatus("f", Path("st/runs/f"), {}, "waiting"),
    ],
)


def test_the_time_that_is_left_and_the_lines() -> None:
    assert STATUS.seconds_left == 0.75 * 200 + (100 + 200) / 2  # its own speed, or the mean of those that have begun
    assert replace(STATUS, runs=STATUS.runs[2:]).seconds_left is None
    assert STATUS.human().splitlines() == [
        "a    finished    40/40  best val mIoU 0.7500  scored on test",
        "bcd  training    10/40",
        "e    failed      3/40  x: is broken; mend it",
        "f    waiting     0/?",
        "4 runs: 1 finished, 1 training, 1 failed, 1 waiting; about 5:00 left",
    ]
    assert STATUS.next_command == "maskwright compare st"
    assert replace(STATUS, runs=[replace(STATUS.runs[0], evaluated=["val"])]).next_command.endswith("st --split val")
    assert replace(STATUS, runs=STATUS.runs[1:]).next_command == ""
    assert (STATUS.exit_code, replace(STATUS, runs=STATUS.runs[:2]).exit_code) == (3, SetupError.exit_code)
    assert repr(STATUS).startswith("StudyStatus(study='st', runs=4") and str(STATUS) == STATUS.human()
    frame = replace(STATUS, runs=[replace(run, values={"seed": run.name}) for run in STATUS.runs]).to_pandas()
    assert list(frame["seed"]) == ["a", "bcd", "e", "f"] and list(frame["iteration"]) == [40, 10, 3, 0]
    assert json.loads(dump_json(STATUS.to_dict()))["runs"][1] == {
        "name": "bcd",
        "run": "st/runs/bcd",
        "values": {},
        "state": "training",
        "iteration": 10,
        "iterations": 40,
        "best_val_mIoU": None,
        "evaluated": [],
        "seconds": 50.0,
        "pid": 17,
        "reason": "",
        "code": 0,
    }


def test_plain_lines_are_shown_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with show(lambda: STATUS) as tick:
        tick()
        assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress_table, "LINES_EVERY", 0.0)
    with show(lambda: STATUS) as tick:
        tick()
    assert capsys.readouterr().err.splitlines() == [*STATUS.human().splitlines()[1:3], STATUS.summary()]


def test_a_terminal_shows_the_runs_that_something_happens_with() -> None:
    program = (
        "from pathlib import PosixPath\nfrom maskwright.studies import progress_table\n"
        "from maskwright.studies.status import RunStatus, StudyStatus\n"
        "progress_table.DRAWN_EVERY = 0\n"
        f"with progress_table.shown_progress(lambda: StudyStatus({STATUS.path!r}, {STATUS.runs!r})) as tick: tick()"
    )
    leader, terminal = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", program],
        stderr=terminal,
        check=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert (
        "training    10/40" in shown
        and "is broken" in shown
        and "about 5:00 left" in shown
        and "waiting     0" not in shown
    )


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def test_a_process_ends_with_the_one_that_leads_and_goes_on(
    folder: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = BASE["train"] | {"iterations": 200, "evaluate_every": 100}
    file = put(folder, {"seed": [0]}, {"train": train})
    whole = study(file, out=folder / "whole")
    monkeypatch.undo()
    left = Study(folder / "left")
    left.begin(maskwright.load_study(file))
    process = pool.start(left, "seed0", 0, 1)
    until(lambda: left.run("seed0").metrics.size)
    status = study_status(left.path)
    assert states(status) == {"seed0": "training"} and status.runs[0].pid == process.pid
    process.stdin.close()  # as when the process that leads dies
    assert process.wait(120) == Interrupted.exit_code
    status = study_status(left.path)
    assert states(status) == {"seed0": "stopped"} and 0 < status.runs[0].iteration < 200 and status.seconds_left
    assert worker.outcome(left, "seed0") == 0 and states(study_status(left.path)) == {"seed0": "finished"}
    for name in ("checkpoints/best.safetensors", "checkpoints/last.safetensors", "metrics.jsonl"):
        assert (left.path / "runs/seed0" / name).read_bytes() == (whole.path / "runs/seed0" / name).read_bytes(), name


def troubled(tmp_path: Path, troubles: int, timeout: float) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, str(troubles), "5"],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(
        f"{found['troubles']} in {found['attempts']} attempts at {found['studies']} studies, "
        f"{found['files']} files compared ({found['seconds']} s)"
    )
    assert found["problems"] == [] and found["files"] >= 40
    assert sum(count for kind, count in found["troubles"].items() if kind != "nothing") >= troubles


@pytest.mark.slow
def test_killed_studies_end_with_the_same_bytes_many_times(tmp_path: Path) -> None:
    troubled(tmp_path, 120, 3000)


@pytest.mark.slow
def test_the_command_line_under_ctrl_c(folder: Path) -> None:
    file = put(folder, {"seed": [0, 1]}, {"train": BASE["train"] | {"iterations": 1500, "evaluate_every": 500}})
    command = [sys.executable, "-m", "maskwright", "study", file, "--workers", "2", "--json"]
    path = folder / "studies" / "study"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as leader:
        until(lambda: [*path.glob("runs/*/metrics.jsonl")])
        with pytest.raises(LockedError, match=f"pid {leader.pid}"):
            study(file)
        leader.send_signal(signal.SIGINT)
        out, err = leader.communicate(timeout=120)
    assert leader.returncode == 130 and not out and f"resume with `maskwright study {path}`" in err.splitlines()[-1]
    status = [*command[:4], "status", path, "--json"]
    told = json.loads(subprocess.run(status, capture_output=True, text=True, check=True).stdout)
    assert {run["state"] for run in told["runs"]} <= {"stopped", "waiting", "finished"}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["states"] == {"finished": 2}


@pytest.mark.slow
def test_the_recipe_runs(tmp_path: Path, here: list[str]) -> None:
    generate(tmp_path / "demo" / "data", images=20, size=64, planted=0)
    recipe = Path(shutil.copytree(Path(__file__).parents[2] / "recipes" / "study", tmp_path / "recipes" / "study"))
    text = (recipe / "run.yaml").read_text()
    (recipe / "run.yaml").write_text(text.replace("iterations: 600", "iterations: 2").replace("[128, 128]", "[32, 32]"))
    status = study(recipe / "study.yaml", workers=2)
    assert status.states == {"finished": 12} and len(here) == 12 and status.runs[0].evaluated == ["test"]
