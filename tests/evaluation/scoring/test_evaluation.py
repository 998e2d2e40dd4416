"""An Evaluation is the same after it was written and read, whatever was counted."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from maskwright.base.storage import atomic_write_json, dump_json, read_json
from maskwright.core.classes import ClassTree
from maskwright.errors import DataError, SetupError
from maskwright.evaluation.metrics import BoundaryScores, Tolerance, level_confusion
from maskwright.evaluation.scoring.evaluation import Evaluation, newest
from maskwright.evaluation.scoring.tally import Counted
from maskwright.evaluation.scoring.writing import evaluation_of, write
from maskwright.run import Run
from run_folders import GARDEN, add_evaluation, predict, trained_run, truth

FLAT = ClassTree.flat(GARDEN)
TREE = ClassTree.from_dict(
    {
        "ignore": 255,
        "leaves": [
            {"id": 0, "name": "ground", "colour": "#000000", "parents": []},
            {"id": 7, "name": "tree", "colour": "#00ff00", "parents": ["plant"]},
            {"id": 9, "name": "grass", "colour": "#00aa00", "parents": ["plant"]},
        ],
    }
)
COUNTS = predict(truth(8), 0.8, 1)


def counted(classes, *, tolerance=None, calibration=False):
    rng = np.random.default_rng(0)
    levels = [level_confusion(COUNTS, level) for level in classes.levels]
    outlines = [BoundaryScores(*rng.random((4, 8, len(level)))) for level in classes.levels] if tolerance else []
    for one in outlines:
        one.f[0, 0] = math.nan
    sums = rng.integers(1, 50, (8, 16, 3)).astype(float) if calibration else None
    return Counted(classes, levels, 12 if classes.depth > 1 else 0, tolerance, outlines, sums)


@pytest.mark.parametrize("classes", [FLAT, TREE])
@pytest.mark.parametrize("tolerance", [None, Tolerance(), Tolerance(pixels=2), Tolerance(share=0.01)])
@pytest.mark.parametrize("calibration", [False, True])
def test_what_was_written_is_read_back(tmp_path, classes, tolerance, calibration):
    made = counted(classes, tolerance=tolerance, calibration=calibration)
    (folder := tmp_path / "test-001").mkdir()
    written = evaluation_of(folder, "test", [f"test/{i}" for i in range(8)], made, "v1", "levels")
    write(folder, written, made)
    found = Evaluation.load(folder)
    assert dump_json(found.to_dict()) == dump_json(written.to_dict())
    assert json.loads(dump_json(found.to_dict())) == read_json(folder / "scores.json")
    assert found.human() == written.human() == str(found) and found.names == written.names
    assert (found.tolerance, [*found.reliability]) == (written.tolerance, [*written.reliability])
    np.testing.assert_array_equal(found.confusions, COUNTS)
    for level, expected in zip(found.levels, made.confusions if found.levels else (), strict=True):
        np.testing.assert_array_equal(level.confusions, expected)
    if tolerance:
        np.testing.assert_array_equal(np.stack(found.boundaries), np.stack(made.boundaries[-1]))
    else:
        assert found.boundaries is None
    np.testing.assert_array_equal(found.calibration, made.calibration)
    found.require_counts()


def test_the_trivial_predictions_are_those_that_were_written(tmp_path):
    """Their means are over the classes of the model's means, which the counts of one prediction do not tell."""
    counts = np.zeros((2, 3, 3), np.int64)
    counts[:, 1, :] = [1, 5, 2]
    made = add_evaluation(tmp_path, counts)
    found = Evaluation.load(made.folder)
    assert repr(found.baselines) == repr(made.baselines) and found.baselines["most_frequent"].mIoU == pytest.approx(
        1 / 3
    )
    assert list(found.trivial) == ["all pixels predicted as ground", "all pixels predicted as tree"]


def test_an_evaluation_from_before_there_were_measures_has_them(tmp_path):
    made = add_evaluation(tmp_path, COUNTS)
    stored = read_json(made.folder / "scores.json")
    for key in ("measures", "findings", "origin", "inputs", "size", "levels"):
        del stored[key]
    atomic_write_json(made.folder / "scores.json", stored | {"notes": ["an old note"]})
    found = Evaluation.load(made.folder)
    assert repr(found.measures) == repr(made.measures) and found.notes == ["an old note"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "scores.json").write_text("[]"), "is not what this version of `evaluate` writes"),
        (lambda folder: (folder / "scores.json").write_text('{"split": "test"}'), "KeyError: 'scores'"),
        (lambda folder: (folder / "scores.json").write_text("{"), r"scores\.json"),
        (lambda folder: (folder / "scores.json").unlink(), "not an evaluation"),
    ],
)
def test_what_is_no_evaluation_is_said(tmp_path, change, says):
    folder = add_evaluation(tmp_path, COUNTS).folder
    change(folder)
    with pytest.raises(DataError, match=says) as refused:
        Evaluation.load(folder)
    assert "\n" not in str(refused.value)


def test_counts_that_are_missing_or_of_other_images_are_said_when_they_are_needed(tmp_path):
    found = add_evaluation(tmp_path, COUNTS)
    np.save(found.folder / "confusions.npy", COUNTS[:3])
    assert Evaluation.load(found.folder).scores == found.scores
    with pytest.raises(DataError, match="not the counts of 8 images and 3 classes; evaluate again"):
        _ = found.confusions
    (found.folder / "confusions.npy").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        found.require_counts()


def test_images_as_a_table(tmp_path):
    found = add_evaluation(tmp_path, COUNTS)
    frame = found.to_frame()
    assert list(frame.index) == found.names and frame.index.name == "sample"
    assert [name for name in frame.columns if name.startswith("iou/")] == [f"iou/{name}" for name in GARDEN]
    for record, (_, row) in zip(found.images, frame.iterrows(), strict=True):
        assert row["mIoU"] == record["mIoU"] and row["dice/tree"] == record["dice"][1]
    lost = add_evaluation(tmp_path, np.diag([3, 2, 0])[None], number=2).to_frame()
    assert math.isnan(lost["iou/house"].iloc[0]) and lost["iou/house"].dtype == float


def test_classes_as_a_table(tmp_path):
    found = add_evaluation(tmp_path, COUNTS)
    frame = found.to_pandas()
    assert list(frame.index) == list(GARDEN) and frame.loc["tree", "iou"] == found.scores.classes[1].iou
    assert frame["true_pixels"].sum() == COUNTS.sum()


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    run = trained_run(tmp_path / "run")
    found = add_evaluation(run, COUNTS)
    monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (found.to_frame, found.to_pandas, run.history().to_pandas):
        with pytest.raises(SetupError, match=r"maskwright\[pandas\]"):
            table()


def test_it_is_shown_in_one_line(tmp_path):
    found = add_evaluation(tmp_path, COUNTS)
    assert repr(found) == f"Evaluation({str(found.folder)!r}: test, 8 images, mIoU {found.scores.mIoU:.4f})"


def test_the_evaluations_of_a_run(tmp_path):
    run = trained_run(tmp_path / "run")
    assert run.evaluations() == [] and newest(run, "test") is None
    with pytest.raises(DataError, match="not evaluated on 'test'; first `maskwright evaluate"):
        run.scores()
    for split, number in (("val", 1), ("test", 1), ("train", 3), ("holdout", 1), ("test", 2)):
        add_evaluation(run, COUNTS if number == 1 else COUNTS[:4], split=split, number=number)
    (run.evaluations_folder / "test-009").mkdir()  # being written
    names = ["test-002", "test-001", "holdout-001", "val-001", "train-003"]
    assert [one.folder.name for one in run.evaluations()] == names
    assert [one.folder.name for one in run.evaluations("test")] == names[:2]
    assert run.evaluated_splits() == ["holdout", "test", "train", "val"]
    assert run.scores() == Evaluation.load(run.evaluations_folder / "test-002").scores != run.scores("val")
    assert Run(run.path).evaluation_folders("val") == [run.evaluations_folder / "val-001"]
