"""A finished run that is trained for longer, as a new run."""

from __future__ import annotations

import pytest
import torch

from helpers import fingerprint
from kept import artifacts, stop_in_batch
from maskwright.errors import ConfigError
from maskwright.modeling.models.segmenter import read_tensors
from maskwright.reporting.writing import report
from maskwright.training.train import resume, train
from tiny import EVERY_AUGMENTATION, config, write_dataset

CONSTANT = {"name": "constant", "warmup": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("longer") / "data", {"train": 6, "val": 2})


@pytest.fixture(scope="module")
def parent(data, tmp_path_factory):
    settings = config(data, train={"iterations": 6, "evaluate_every": 3}, augment=EVERY_AUGMENTATION, schedule=CONSTANT)
    return train(settings, out=tmp_path_factory.mktemp("longer") / "parent")


def test_with_a_constant_rate_it_is_the_longer_training(data, parent, tmp_path):
    settings = config(
        data, train={"iterations": 12, "evaluate_every": 3}, augment=EVERY_AUGMENTATION, schedule=CONSTANT
    )
    whole = train(settings, out=tmp_path / "whole")
    before = fingerprint(parent.path)
    run = resume(parent, overrides=["train.iterations=12"], out=tmp_path / "run")
    assert fingerprint(parent.path) == before
    assert run.best.read_bytes() == whole.best.read_bytes()
    assert run.metrics.path.read_bytes() == whole.metrics.path.read_bytes()
    ended, expected = read_tensors(run.last)[1], read_tensors(whole.last)[1]
    assert ended.keys() == expected.keys() and all(torch.equal(ended[key], expected[key]) for key in ended)
    assert run.finished["iterations"] == 12
    assert run.info()["parent"]["run"] == str(parent.path.resolve())
    assert run.info()["parent"]["iteration"] == 6
    assert f"goes on from</th><td>{parent.path}, from iteration" in report(run).read_text()


def test_the_schedule_is_that_of_the_new_length(data, tmp_path):
    poly = {"name": "poly", "power": 1.0, "warmup": 0}
    short = train(config(data, train={"iterations": 5, "evaluate_every": 5}, schedule=poly), out=tmp_path / "short")
    run = resume(short.path, overrides=["train.epochs=10", "train.evaluate_every=4"])
    assert run.path == tmp_path / "short-longer-001"
    assert run.config().train.iterations == 15  # 10 epochs of 6 images, batches of 4
    rates = {row["iteration"]: row["lr"] for row in run.history() if "lr" in row}
    lr = run.config().optimizer.lr
    assert rates[5] == pytest.approx(lr * (1 - 4 / 5))  # the parent's last step
    assert rates[8] == pytest.approx(lr * (1 - 7 / 15)) and rates[15] == pytest.approx(lr / 15)
    assert resume(short.path, overrides=["train.iterations=6"]).path == tmp_path / "short-longer-002"


def test_killed_and_resumed_it_ends_with_the_same_bytes(parent, tmp_path, monkeypatch):
    whole = resume(parent, overrides=["train.iterations=12"], out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in_batch(patch, 8, 2)
        with pytest.raises(BaseException, match="stopped at iteration 9 of 12"):
            resume(parent, overrides=["train.iterations=12"], out=tmp_path / "run")
    run = resume(tmp_path / "run")
    assert artifacts(run) == artifacts(whole)


def test_one_that_stopped_early_goes_on(data, tmp_path):
    settings = config(data, train={"iterations": 20, "evaluate_every": 1, "early_stopping": 1}, optimizer={"lr": 1e-12})
    early = train(settings, out=tmp_path / "early")
    assert early.finished["early_stopped"] and early.finished["iterations"] < 20
    run = resume(early, overrides=["train.iterations=20", "train.early_stopping=null"], out=tmp_path / "run")
    assert run.finished["iterations"] == 20 and not run.finished["early_stopped"]


def test_a_budget_is_the_time_of_what_is_added(parent, tmp_path):
    run = resume(parent, overrides=["train.budget=8s"], out=tmp_path / "run")
    assert run.finished["iterations"] > 6
    assert run.finished["budget"]["seconds"] == 8.0
    longest = resume(run, overrides=[f"train.iterations={run.finished['iterations'] + 2}"], out=tmp_path / "longest")
    assert longest.finished["iterations"] == run.finished["iterations"] + 2
    assert "budget" not in longest.info() and not longest.config().train.refits
    assert longest.info()["parent"]["run"] == str(run.path.resolve())


def test_what_cannot_be(parent, data, tmp_path, monkeypatch):
    def refused(match, *overrides, run=parent, kind=ConfigError, **options):
        with pytest.raises(kind, match=match):
            resume(run, overrides=overrides, **options)

    refused("6 iterations, but .* has made 6 already; the length counts from the beginning", "train.iterations=6")
    refused("model.name: cannot change when a run is trained for longer", "train.iterations=9", "model.name=SegNet")
    refused("has finished; give its new length with `overrides`", "train.early_stopping=3")
    refused("has finished; give its new length", out=tmp_path / "new")
    refused("already exists and outputs are never overwritten", "train.iterations=9", out=parent.path)
    with monkeypatch.context() as patch:
        stop_in_batch(patch, 3, 2)
        with pytest.raises(BaseException, match="stopped"):
            train(config(data, train={"iterations": 6}), out=tmp_path / "stopped")
    refused("has not finished, and is resumed as it began", "train.iterations=9", run=tmp_path / "stopped")
    assert resume(parent).path == parent.path
