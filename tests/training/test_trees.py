"""Training on a class tree: logged scores, exact resumption, and flat runs that know nothing of it."""

import json
import math

import pytest
from test_resume import artifacts, interrupted

from maskwright.base.storage import read_json
from maskwright.cli import main
from maskwright.core.classes import SELECTORS
from maskwright.errors import ConfigError
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.modeling.losses.hierarchy import Hierarchical
from maskwright.modeling.models.segmenter import load_segmenter
from maskwright.training import prepare as module
from maskwright.training.train import resume, train
from tiny import config, write_dataset

TREE = """classes:
  - {id: 0, name: out}
  - name: in
    children: [{id: 1, name: one}, {name: rest, children: [{id: 2, name: two}, {id: 3, name: three}]}]
ignore"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("trees") / "data", {"train": 6, "val": 3}, ids=(0, 1, 2, 3))
    file = root / "dataset.yaml"
    head, _, rest = file.read_text().partition("classes:\n")
    file.write_text(head + TREE + rest.partition("ignore")[2])
    return root


def settings(data, **changes):
    return config(
        data,
        **{
            "train": {"iterations": 12, "evaluate_every": 5},
            "optimizer": {"lr": 0.02},
            **changes,
            "loss": [{"name": "ce", "levels": "equal", "class_weights": "inverse_frequency"}, "dice"],
        },
    )


@pytest.mark.parametrize("selector", SELECTORS)
def test_the_log_has_the_levels_that_evaluate_finds(data, tmp_path, selector):
    run = train(settings(data, selector=selector), out=tmp_path / "run")
    rows = [row for row in run.metrics.read() if "val_loss" in row]
    assert all(row["val_mIoU_levels"][-1] == row["val_mIoU"] for row in rows)
    best = [row for row in rows if row["best"]][-1]
    found = evaluate(run, split="val")
    assert found.selector == load_segmenter(run.best).selector == selector
    assert [level.scores.mIoU for level in found.levels] == best["val_mIoU_levels"]
    assert read_json(run.info_file)["classes"]["leaves"][2]["parents"] == ["in", "rest"]


def test_selectors_and_levels_from_the_command_line(data, tmp_path, capsys):
    run = train(settings(data), out=tmp_path / "run")
    for selector in SELECTORS:
        with pytest.raises(SystemExit):
            main(["evaluate", str(run.path), "--split", "val", "--selector", selector, "--json"])
        found = json.loads(capsys.readouterr().out)
        assert found["selector"] == selector and [level["level"] for level in found["levels"]] == [1, 2, 3]
    with pytest.raises(SystemExit):
        main(
            [
                "predict",
                str(run.path),
                str(data / "images/val"),
                "--out",
                str(tmp_path / "out"),
                "--levels",
                "--selector",
                "levels",
                "--json",
            ]
        )
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [len(row["levels"]) for row in rows] == [2] * 3
    assert all((tmp_path / "out" / file).is_file() for row in rows for file in row["levels"])


def test_class_weights_come_from_the_training_pixels_of_each_level(data, tmp_path, monkeypatch):
    built, build = [], module.build_loss
    monkeypatch.setattr(module, "build_loss", lambda *given: built.append(build(*given)) or built[0])
    train(settings(data, train={"iterations": 1}), out=tmp_path / "run")
    hierarchy = built[0].losses[0]
    assert isinstance(hierarchy, Hierarchical) and len(built[0].losses) == 2
    assert [len(loss.class_weights) for loss in hierarchy.losses.values()] == [2, 3, 4]
    assert math.fsum(hierarchy.weights) == pytest.approx(1)


def test_a_stopped_run_goes_on_exactly(data, tmp_path, monkeypatch):
    chosen = settings(data, selector="levels", model={"dropout": 0.2})
    expected = artifacts(train(chosen, out=tmp_path / "whole"))
    run, _ = interrupted(chosen, tmp_path / "run", monkeypatch)
    assert run.config().loss[0].levels == "equal" and run.config().selector == "levels"
    assert artifacts(resume(run)) == expected


def test_a_flat_list_knows_nothing_of_levels(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    run = train(config(root, train={"iterations": 2, "evaluate_every": 2}), out=tmp_path / "run")
    assert not any("levels" in key for row in run.metrics.read() for key in row)
    assert "selector" not in load_segmenter(run.best).header()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"loss": [{"name": "ce", "levels": [1, 2]}]}, r"loss\.0\.levels: the classes are a flat list; nest them"),
        ({"selector": "top_down"}, "selector: top_down is for class trees, and the classes are a flat list; nest them"),
    ],
)
def test_levels_of_a_flat_list_are_refused_before_anything_is_written(tmp_path, changes, what):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    with pytest.raises(ConfigError, match=what):
        train(config(root, **{"loss": ["ce"], **changes}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
