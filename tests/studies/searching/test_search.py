"""A search from its file to the config of its best trial: what is written, resumed, refused and shown."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import maskwright
from maskwright.config import load_config
from maskwright.errors import ConfigError, DataError, Interrupted
from maskwright.run import Run
from maskwright.studies import pool, worker
from maskwright.studies.folder import RunsFolder
from maskwright.studies.searching.folder import Search
from maskwright.studies.searching.search import search
from maskwright.studies.searching.status import SearchStatus, TrialStatus
from maskwright.training.doctor import PRUNED, examine
from tiny import write_dataset

SEARCH: dict[str, Any] = {
    "base": {
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
    },
    "space": {
        "optimizer.lr": {"low": 0.0001, "high": 0.1, "log": True},
        "loss": {"choices": {"ce": "ce", "both": ["ce", "dice"]}},
        "loss.1.weight": {"low": 0.5, "high": 4.0, "when": {"loss": "both"}},
    },
    "trials": 3,
    "pruner": "none",
}


class Here:
    """A worker's process, but within this one: it has ended when it is made."""

    def __init__(self, folder: RunsFolder, name: str, slot: int, threads: int, device: str) -> None:
        self.stdin = io.BytesIO()
        self._code = worker.outcome(folder, name, slot, device)

    def poll(self) -> int:
        return self._code


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "start", Here)
    monkeypatch.setattr(pool, "PAUSE", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", {"train": 6, "val": 2, "test": 2})
    return tmp_path


def put(folder: Path, **more: Any) -> Path:
    file = folder / "search.yaml"
    file.write_text(yaml.safe_dump(SEARCH | more, sort_keys=False))
    return file


@pytest.mark.usefixtures("here")
def test_a_search_ends_with_a_config_and_goes_on_when_asked_for_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = search(put(folder))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == said[-1] == f"search folder: {folder}/searches/search"
    assert result.complete and result.states == {"finished": 3} and result.best is result.ranked[0]
    assert [trial.score for trial in result.ranked] == sorted((trial.score for trial in result.trials), reverse=True)
    for trial in result.trials:
        run = Run(trial.run)
        assert (run.finished and run.evaluated_splits() == ["val"]) or trial is result.best
        assert run.config().optimizer.lr == trial.values["optimizer.lr"]
        assert ("loss.1.weight" in trial.values) == (trial.values["loss"] == "both") == (len(run.config().loss) == 2)
        assert trial.score == run.finished["best_val_mIoU"]
    assert result.best and result.test and {*Run(result.best.run).evaluated_splits()} == {"val", "test"}
    assert not (result.path / "decoded").exists() and result.optimism is not None and not result.importance

    assert load_config(result.best_config) == Search(result.path).run_config(result.best.name)
    text = result.best_config.read_text()
    assert f"# {result.best.name} of 3 trials" in text and "#   optimizer.lr: " in text
    assert json.loads((result.path / "search.json").read_text())["best"] == result.best.name
    assert result.best.name in result.human() and "on test, which chose nothing" in result.human()

    before = {trial.name: (trial.run / "metrics.jsonl").read_bytes() for trial in result.trials}
    more = search(result.path, trials=4)
    assert more.states == {"finished": 4} and more.seconds > result.seconds
    assert all((more.path / "runs" / name / "metrics.jsonl").read_bytes() == log for name, log in before.items())
    assert search(folder / "search.yaml", trials=4).trials == more.trials

    board = maskwright.compare(result.path, split="val")
    assert {entry.name for entry in board.entries} == {trial.name for trial in more.trials}
    page = maskwright.report(result.path).read_text()
    assert 'id="search"' in page and "loss.1.weight" in page and str(more.best_config) in page


@pytest.mark.usefixtures("here")
def test_a_trial_that_was_ended_early_is_left_out_of_the_board(folder: Path) -> None:
    result = search(put(folder, trials=2))
    one = Run(result.trials[0].run)
    shutil.rmtree(one.evaluations_folder)
    Search(result.path).prune(result.trials[0].name, "ended early at iteration 2 of 4")
    board = maskwright.compare(result.path, split="val")
    assert len(board.entries) == 1 and not board.missing
    assert any("1 run was ended early by a search" in note for note in board.notes)
    (finding,) = examine(one)
    assert finding.code == PRUNED and "iteration 2 of 4" in finding.message
    shutil.rmtree(Run(result.trials[1].run).evaluations_folder)
    Search(result.path).prune(result.trials[1].name, "ended early")
    with pytest.raises(DataError, match="not evaluated on 'val', and all were ended early"):
        maskwright.compare(result.path, split="val")


@pytest.mark.usefixtures("here")
def test_nothing_begins_before_all_is_checked(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.yaml:\d+:\d+: .*No_such"):
        search(put(folder, space={"model": ["UNet", "No_such"]}))
    with pytest.raises(ConfigError, match="`workers`: 0 given"):
        search(put(folder), workers=0)
    with pytest.raises(ConfigError, match="is not a time"):
        search(put(folder), time="soon")
    assert not (folder / "searches").exists()
    with pytest.raises(DataError, match="not a search's folder"):
        search(folder)


@pytest.mark.usefixtures("here")
def test_another_dataset_is_another_search(folder: Path) -> None:
    result = search(put(folder, trials=1))
    write_dataset(folder / "data", {"train": 7, "val": 2, "test": 2})
    with pytest.raises(DataError, match="has changed since"):
        search(result.path, trials=2)


@pytest.mark.usefixtures("here")
def test_without_a_test_split_the_best_is_not_scored_on_one(folder: Path) -> None:
    shutil.rmtree(folder / "data")
    write_dataset(folder / "data", {"train": 6, "val": 2})
    result = search(put(folder, trials=1, objective={"score": "dice", "class": "class_1"}))
    assert result.complete and result.test is None and result.optimism is None


def test_a_search_that_is_asked_to_stop_says_how_to_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Here):
        def __init__(self, *how: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            self.stdin, self._code = io.BytesIO(), 130

    monkeypatch.setattr(pool, "start", Stopped)
    with pytest.raises(Interrupted, match=r"1 trial: 1 running; .*resume with `maskwright search ") as told:
        search(put(folder))
    assert "/searches/search" in str(told.value)


def test_what_is_shown() -> None:
    def trial(number: int, score: float | None, state: Any = "finished", reason: str = "") -> TrialStatus:
        return TrialStatus(
            f"trial-{number:04d}", Path(f"runs/{number}"), {"lr": 0.01 / (number + 1)}, state, score, reason
        )

    trials = [trial(i, 0.5 + i / 100) for i in range(12)] + [trial(12, 0.9, "pruned"), trial(13, None, "failed", "no")]
    result = SearchStatus(Path("found"), "mIoU", False, trials, 90.0, True, {"lr": 0.75}, 0.0123)
    text = result.human()
    assert result.best is trials[11] and text.index("trial-0011") < text.index("trial-0010")
    assert "and 2 more finished trials" in text and "trial-0013: no" in text and "lr 75 %" in text
    assert "chosen among 12 finished trials for its validation mIoU 0.6100, which is too high by about 0.0123" in text
    assert "14 trials: 12 finished, 1 pruned, 1 failed; 1:30" in text
    lowest = SearchStatus(Path("found"), "loss", True, trials, 90.0)
    assert lowest.best is trials[0] and lowest.to_dict()["best"] == "trial-0000"
    assert len(result.to_pandas()) == 14


@pytest.mark.slow
def test_a_search_is_killed_again_and_again_and_ends_as_if_never_killed(folder: Path) -> None:
    """Of real processes. The trials are not ended early, which would depend on when a log is looked at."""
    space = {"optimizer.lr": SEARCH["space"]["optimizer.lr"], "train.ema": [0.5, 0.9]}
    base = SEARCH["base"] | {"train": SEARCH["base"]["train"] | {"iterations": 60, "evaluate_every": 10}}
    file = put(folder, trials=5, space=space, base=base)
    command = [sys.executable, "-m", "maskwright", "search", str(file)]
    subprocess.run([*command, "--out", str(folder / "whole")], check=True, capture_output=True)
    kills = 0
    while True:
        process = subprocess.Popen(
            [*command, "--out", str(folder / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(12 + 2 * kills)  # longer and longer, so that it comes to its end
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills
    for name in (f"trial-{i:04d}" for i in range(5)):
        for file_name in ("metrics.jsonl", "checkpoints/best.safetensors", "checkpoints/last.safetensors"):
            whole, killed = (folder / one / "runs" / name / file_name for one in ("whole", "killed"))
            assert whole.read_bytes() == killed.read_bytes(), (name, file_name)
    whole, killed = (json.loads((folder / one / "search.json").read_text()) for one in ("whole", "killed"))
    assert [one["score"] for one in whole["trials"]] == [one["score"] for one in killed["trials"]]
