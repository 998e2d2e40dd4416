"""The verb on evaluated runs: sums, what mending is worth by really mending, ranks, trees, findings, and refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers import fingerprint, write
from maskwright.base.storage import dump_json
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.explaining import explain
from maskwright.evaluation.explaining.anatomy import dissect
from maskwright.evaluation.explaining.evaluated import read
from maskwright.evaluation.explaining.findings import FINDINGS
from maskwright.evaluation.explaining.kinds import NAMES
from maskwright.evaluation.metrics import confusion_matrix, iou, mIoU
from maskwright.run import Run
from scenes import IDS, TREE, distorted, evaluated, write_data

IMAGES = 14


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    root = write_data(folder / "data", IMAGES)
    return evaluated(folder / "run", root, distorted), root


@pytest.fixture(scope="module")
def result(made):
    return explain(made[0], top=4)


def test_kinds_add_up_to_every_wrong_pixel_for_every_class(made, result):
    confusion = np.load(made[0].evaluations_folder / "test-001" / "confusions.npy").sum(0)
    wrong = confusion - np.diag(np.diag(confusion))
    np.testing.assert_array_equal(result.confusion, confusion)
    assert sum(kind.pixels for kind in result.kinds) == result.wrong == wrong.sum() > 1000
    assert [kind.name for kind in result.kinds] == [*NAMES]
    np.testing.assert_array_equal(np.sum([kind.lost for kind in result.kinds], 0), wrong.sum(1))
    np.testing.assert_array_equal(np.sum([kind.invented for kind in result.kinds], 0), wrong.sum(0))
    assert sum(kind.share for kind in result.kinds) == pytest.approx(1)
    assert all(kind.pixels >= kind.regions[0].pixels for kind in result.kinds if kind.pixels)


def test_worth_is_what_mending_the_files_gives(made, result):
    """Predictions are mended on disk, kind by kind, and scored again."""
    dataset, folder, before = result.dataset, result.folder, result.scores.mIoU
    for kind in result.kinds[:4]:
        total = np.zeros((4, 4), np.int64)
        for sample in dataset.splits["test"]:
            image, truth, prediction = read(dataset, folder, sample)
            here = dissect(image, truth, prediction).kinds == 1 + NAMES.index(kind.name)
            total += confusion_matrix(truth, np.where(here, truth, prediction), 4)
        assert kind.worth["mIoU"].value == float(mIoU(total)) - before
        assert kind.class_worth == (iou(total) - iou(result.confusion)).tolist()
        assert kind.worth["mIoU"].low <= kind.worth["mIoU"].value <= kind.worth["mIoU"].high


def test_ranks_are_those_of_images_jsonl(made, result):
    rows = [json.loads(line) for line in (result.folder / "images.jsonl").read_text().splitlines()]
    ranked = sorted(rows, key=lambda row: (-row["mDice"], row["sample"]))
    assert [one.sample for one in result.best] == [row["sample"] for row in ranked[:4]]
    assert [one.sample for one in result.worst] == [row["sample"] for row in ranked[::-1][:4]]
    assert [one.dice for one in result.worst] == [row["mDice"] for row in ranked[::-1][:4]]
    assert result.best[0].class_dice == ranked[0]["dice"] and result.ranked == IMAGES
    tree = explain(made[0], top=20, by="tree")
    values = sorted(row["dice"][2] for row in rows if row["dice"][2] is not None)
    assert [one.dice for one in tree.worst] == values[: len(values) // 2] and tree.ranked == len(values)
    assert len(tree.best) + len(tree.worst) == tree.ranked


def test_of_a_tree_the_errors_within_a_group_are_told(result):
    """Of `grass` taken for `tree` the level above is right, of `stone` taken for `tree` it is not."""
    confused = next(kind for kind in result.kinds if kind.name == "confused")
    within = result.confusion[1, 2] + result.confusion[2, 1]
    assert 0 < confused.related[0] <= within < result.wrong
    assert sum(kind.related[0] for kind in result.kinds) == within
    assert len(confused.related) == 1 and any("class tree" in note for note in result.notes)


def test_neither_the_number_of_processes_nor_a_second_call_changes_anything(made, result):
    before = fingerprint(made[0].path)
    texts = [dump_json(explain(made[0], top=4, workers=workers).to_dict()) for workers in (1, 3)]
    assert texts[0] == texts[1] == dump_json(result.to_dict()) and fingerprint(made[0].path) == before


def test_the_background_is_a_choice(made):
    stone, none = explain(made[0], background="stone"), explain(made[0], background="none")
    assert stone.background == "stone" and none.background is None
    assert [kind.pixels for kind in none.kinds[1:3]] == [0, 0]
    assert stone.wrong == none.wrong and {one.name for one in none.slices if one.axis == "class"} == {
        "ground",
        "grass",
        "tree",
        "stone",
    }


def test_findings_name_the_kinds_that_matter_with_a_region(result):
    found = {finding.code: finding for finding in result.findings}
    assert set(found) <= set(FINDINGS) and {"error.missed", "error.hallucinated"} <= set(found)
    missed = found["error.missed"]
    kind = result.kinds[1]
    assert (missed.sample, missed.region) == (kind.regions[0].sample, kind.regions[0].region)
    assert missed.split == "test" and f"{kind.pixels:,} wrong pixels" in missed.message
    sample = next(one for one in result.dataset.samples if one.name == missed.sample)
    image, truth, prediction = read(result.dataset, result.folder, sample)
    x, y, width, height = missed.region
    part = dissect(image, truth, prediction).kinds[y : y + height, x : x + width] == 2
    assert part.any(0).all() and part.any(1).all() and part.sum() >= kind.regions[0].pixels
    order = [
        kind.worth["mIoU"].value
        for code in found
        if code.startswith("error.")
        for kind in result.kinds
        if code == f"error.{kind.name}"
    ]
    assert order == sorted(order, reverse=True)


def test_the_text_names_what_is_worth_most_first(result):
    text = result.human()
    rows = [line.split()[0] for line in text.splitlines()[2 : 2 + len(result.by_worth)]]
    assert rows == [kind.name.split("_")[0] for kind in result.by_worth]
    assert (
        "do not add up" in text
        and "start with: " in text
        and "mIoU gained if fixed" in text
        and "only 14 images" in text
        and len(text.splitlines()) < 40
    )
    shares = [line.split(" %")[0].split()[-1] for line in text.splitlines()[2 : 2 + len(rows)]]
    assert round(sum(map(float, shares)), 1) == 100.0


def test_directions_of_outlines_are_told(tmp_path):
    """What swells every object by two pixels is called too far out, what shrinks it too far in."""
    root = write_data(tmp_path / "data", 4)
    import cv2

    def swollen(index, image, truth):
        clean = np.where(truth == 255, 0, truth).astype(np.uint8)
        return cv2.dilate(clean, np.ones((3, 3), np.uint8))

    def eroded(index, image, truth):
        return cv2.erode(np.where(truth == 255, 0, truth).astype(np.uint8), np.ones((3, 3), np.uint8))

    out = explain(evaluated(tmp_path / "a", root, swollen)).human()
    assert "outlines of 'grass' are too far out" in out and "too far in" not in out
    into = explain(evaluated(tmp_path / "b", root, eroded)).human()
    assert "outlines of 'tree' are too far in" in into and "too far out" not in into


def test_a_perfect_evaluation_has_nothing_to_explain(tmp_path):
    root = write_data(tmp_path / "data", 3)
    found = explain(evaluated(tmp_path / "run", root, lambda _, image, truth: np.where(truth == 255, 0, truth)))
    assert found.wrong == 0 and not found.findings and found.by_worth == [] and found.scores.mIoU == 1
    assert "0 of" in found.human() and all(kind.worth["mIoU"].value == 0 for kind in found.kinds)


def test_the_newest_evaluation_is_explained(tmp_path, made):
    run = Run(shutil.copytree(made[0].path, tmp_path / "run"))
    evaluated(run.path, made[1], lambda _, image, truth: np.where(truth == 255, 0, truth), 2)
    assert explain(run).folder.name == "test-002" and explain(run).wrong == 0
    (run.evaluations_folder / "test-002" / "scores.json").unlink()  # not finished
    assert explain(run).folder.name == "test-001"


def test_what_cannot_be_explained_is_refused(tmp_path, made):
    run = Run(shutil.copytree(made[0].path, tmp_path / "run"))
    for arguments, says in (
        ({"split": "val"}, "evaluations of test"),
        ({"by": "gras"}, "did you mean 'grass'"),
        ({"background": "sky"}, "`background` sky"),
        ({"top": -1}, "top = -1"),
        ({"tolerance": float("nan")}, "tolerance = nan"),
    ):
        with pytest.raises(ConfigError, match=says):
            explain(run, **arguments)
    other = write_data(tmp_path / "other", IMAGES, seed=1)
    with pytest.raises(DataError, match="is not what was scored"):
        explain(run, data=other)
    fewer = write_data(tmp_path / "fewer", 3)
    with pytest.raises(DataError, match="are not in it"):
        explain(run, data=fewer)
    classes = write_data(tmp_path / "classes", IMAGES, [*TREE, {"id": 11, "name": "sky"}])
    with pytest.raises(DataError, match="its classes .* are not those of"):
        explain(run, data=classes)
    write(
        run.evaluations_folder / "test-001/predictions/test/03.png",
        Image.fromarray(np.full((130, 200), IDS[1], np.uint8)),
    )
    with pytest.raises(DataError, match="test/03: its mask or its prediction"):
        explain(run)
    (run.evaluations_folder / "test-001/predictions/test/03.png").unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        explain(run)
    (run.evaluations_folder / "test-001/confusions.npy").write_bytes(b"")
    with pytest.raises(DataError, match="evaluate again"):
        explain(run)


def test_it_needs_no_torch(made):
    code = f"import sys, maskwright; maskwright.explain({str(made[0].path)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_dataset_may_be_given_instead_of_its_folder(made, result):
    found = explain(made[0].path, data=load_dataset(made[1]), top=4)
    assert found.to_dict() == result.to_dict()
