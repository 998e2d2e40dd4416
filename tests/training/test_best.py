"""The score that chooses the checkpoint: what it is, that the best one by it is kept, and what cannot be judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml

from helpers import write
from kept import stop_in_batch
from maskwright.base import strictyaml
from maskwright.config import BestConfig, check_document, load_config
from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.guarding import guard
from maskwright.evaluation.guarding.number import Number, Training
from maskwright.evaluation.metrics import scores
from maskwright.modeling.models.segmenter import read_tensors
from maskwright.reporting.writing import report
from maskwright.training.best import BY_MIOU, Best
from maskwright.training.train import resume, train
from tiny import config, write_dataset

FLAT = ClassTree.flat(["background", "crack", "rust"])
TREE = ClassTree(
    (
        ClassInfo(0, "background", (0, 0, 0)),
        ClassInfo(1, "skin", (1, 1, 1), ("head",)),
        ClassInfo(2, "hair", (2, 2, 2), ("head",)),
    ),
    255,
)
COUNTS = np.array([[50, 5, 0], [10, 20, 5], [0, 4, 6]], np.int64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("best") / "data", {"train": 6, "val": 2})


def best(classes=FLAT, **keys):
    return Best.of(BestConfig.model_validate(keys), classes)


def test_values_are_those_of_evaluate():
    table = scores(COUNTS, FLAT.names)
    for name in ("mIoU", "mDice", "mAcc", "aAcc"):
        assert best(score=name).value([COUNTS], 0.3) == getattr(table, name)
    for name in ("iou", "dice", "precision", "recall"):
        assert best(**{"score": name, "class": "crack"}).value([COUNTS], 0.3) == getattr(table.classes[1], name)
        others = [getattr(row, name) for row in table.classes[1:]]
        assert best(score=name, without_background=True).value([COUNTS], 0.3) == pytest.approx(np.mean(others))
    assert best(score="dice").value([COUNTS], 0) == table.mDice
    assert best(score="loss").value([COUNTS], 0.3) == 0.3
    assert best(score="loss").better(0.1, 0.3) and not best(score="loss").better(0.5, 0.3)
    assert best(score="iou").better(0.5, 0.3) and best(score="loss").better(5.0, None)
    never = COUNTS.copy()
    never[:, 2] = 0
    assert best(**{"score": "precision", "class": "rust"}).value([never], 0) == 0.0


def test_levels_have_scores_of_their_own():
    top = np.array([[60, 4], [6, 30]], np.int64)
    assert best(TREE, **{"score": "iou", "class": "head", "level": 1}).value([top, COUNTS], 0) == 30 / 40
    assert str(best(TREE, **{"score": "iou", "class": "head", "level": 1})) == "iou of 'head' at level 1"
    assert best(TREE, score="mIoU").value([top, COUNTS], 0) == scores(COUNTS, TREE.names).mIoU
    assert best(TREE, score="mIoU", level=1).value([top, COUNTS], 0) == scores(top, ["a", "b"]).mIoU
    with pytest.raises(ConfigError, match="'head' is not a class of level 2; it is one of level 1: add `level: 1`"):
        best(TREE, **{"score": "iou", "class": "head"})
    with pytest.raises(ConfigError, match=r"train.best.level: 3, but the classes have 2 levels"):
        best(TREE, score="mIoU", level=3)


def test_unknown_classes_and_no_background():
    with pytest.raises(ConfigError, match=r"train.best.class: 'crak' is not a class; did you mean 'crack'\?"):
        best(**{"score": "dice", "class": "crak"})
    with pytest.raises(ConfigError, match="without_background: no class is the background"):
        best(ClassTree(FLAT.leaves, 255, None), score="mIoU", without_background=True)


def test_the_short_form_and_what_does_not_go_together(tmp_path):
    settings = config(tmp_path).to_dict()
    for given, said in (
        ({"score": "mIoU", "class": "crack"}, "mIoU is of all classes; of one there are iou, dice, precision, recall"),
        ({"score": "loss", "level": 1}, "the loss is of all levels"),
        ({"score": "aAcc", "without_background": True}, "without_background is for means"),
        ("dyce", "train.best"),
    ):
        settings["train"]["best"] = given
        with pytest.raises(ConfigError, match=said):
            check_document(strictyaml.parse(yaml.safe_dump(settings), "run.yaml"))
    settings["train"]["best"] = "dice"
    found = check_document(strictyaml.parse(yaml.safe_dump(settings), "run.yaml"))
    assert str(found.train.best) == "mDice"
    settings["train"]["best"] = {"score": "dice", "class": "crack"}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(settings))
    again = yaml.safe_load(yaml.safe_dump(load_config(file).to_dict()))
    assert again["train"]["best"] == {"score": "dice", "class": "crack", "level": None, "without_background": False}
    assert str(load_config(file, ["train.best=loss"]).train.best) == "loss"


@pytest.mark.parametrize(
    "chosen", ["loss", "aAcc", {"score": "precision", "class": "class_1"}, {"score": "recall", "class": "class_0"}]
)
def test_the_best_by_the_score_is_kept(data, chosen, tmp_path, capsys):
    run = train(config(data, train={"evaluate_every": 1, "iterations": 6, "best": chosen}), out=tmp_path / "run")
    rows = [row for row in run.history() if "val_loss" in row]
    values = [row["val_best_score"] for row in rows]
    pick = min if chosen == "loss" else max
    expected = rows[values.index(pick(values))]
    if chosen in ("loss", "aAcc"):
        assert values == [row[f"val_{chosen}"] for row in rows]
    facts = run.finished
    name = str(BestConfig.model_validate(chosen))
    assert facts["best_iteration"] == expected["iteration"]
    assert (facts["best_score"], facts["best_value"]) == (name, pick(values))
    assert facts["best_val_mIoU"] == expected["val_mIoU"]
    assert f"best val {name} {pick(values):.4f} with mIoU" in capsys.readouterr().err
    page = report(run).read_text()
    assert f"with the {'lowest' if chosen == 'loss' else 'highest'} validation {name} is" in page.replace("&#39;", "'")


def test_early_stopping_follows_the_score(data, tmp_path):
    settings = config(
        data,
        train={"iterations": 30, "evaluate_every": 1, "early_stopping": 2, "best": "loss", "ema": None},
        optimizer={"lr": 3.0},
    )
    run = train(settings, out=tmp_path / "run")
    rows = [row for row in run.history() if "val_loss" in row]
    losses = [row["val_loss"] for row in rows]
    assert run.finished["early_stopped"]
    assert losses.index(min(losses)) == len(losses) - 3


def test_a_stopped_run_remembers_its_score(data, tmp_path, monkeypatch):
    settings = config(data, train={"iterations": 8, "evaluate_every": 2, "best": "loss"})
    whole = train(settings, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in_batch(patch, 5, 2)
        with pytest.raises(BaseException, match="stopped"):
            train(settings, out=tmp_path / "run")
    run = resume(tmp_path / "run")
    assert run.last.read_bytes() == whole.last.read_bytes() and run.best.read_bytes() == whole.best.read_bytes()
    assert math.isclose(read_tensors(run.last)[0]["best_value"], run.finished["best_value"])


def test_by_miou_nothing_is_stored_that_was_not(data, tmp_path):
    run = train(config(data, train={"iterations": 2, "evaluate_every": 2}), out=tmp_path / "run")
    header = read_tensors(run.last)[0]
    assert "best_value" not in header and header["best_miou"] == run.finished["best_val_mIoU"]
    assert not {"best_score", "best_value"} & run.finished.keys()
    assert all("val_best_score" not in row for row in run.history())
    assert BY_MIOU.usual and Best.of(None, FLAT) is not None


def test_a_class_that_validation_has_not_is_refused_before_training(data, tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2}, ids=(0, 1, 2))
    for file in (root / "masks/val").iterdir():
        write(file, np.zeros((32, 32), np.uint8))
    for given, said in (
        ({"score": "dice", "class": "class_2"}, "no validation pixel is of 'class_2', so it could never be judged"),
        ({"score": "mIoU", "without_background": True}, "no validation pixel is of any class but the background"),
    ):
        with pytest.raises(DataError, match=said):
            train(config(root, train={"best": given}), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="'class_9' is not a class"):
        train(config(root, train={"best": {"score": "dice", "class": "class_9"}}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_only_the_model_size_loses_can_be_judged(data):
    dataset = load_dataset(data)
    samples = [sample for sample in dataset.samples if sample.split == "val"]
    best(dataset.classes, **{"score": "dice", "class": "class_1"}).require_pixels(dataset, samples, [10, 0])


def test_the_guard_knows_the_score():
    other = Training(config={"train": {"best": {"score": "dice", "class": "crack"}}}, val=frozenset({"a"}))
    numbers = [
        Number("one", "test", ("a", "b"), training=Training()),
        Number("two", "test", ("a", "b"), training=Training()),
        Number("three", "test", ("a", "b"), training=other),
    ]
    found = {finding.code: finding.message for finding in guard(numbers)}
    assert found["number.other_choice"] == (
        "the checkpoint of three was chosen by dice of 'crack', that of one by mIoU: a part of their difference may "
        "come from that"
    )
    assert "chosen on 1 of these images, by dice of 'crack'" in found["number.selected_on"]
    assert "number.other_choice" not in {finding.code for finding in guard(numbers[:2])}
