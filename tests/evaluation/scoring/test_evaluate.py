"""`evaluate`: every score again from the written masks by scikit-learn, the notes, and what is refused."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from helpers import fingerprint, write
from maskwright.base.storage import atomic_write_json, dump_json
from maskwright.core import hashes
from maskwright.core.hashes import file_hash
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics import MEASURES, BoundaryScores, Tolerance, boundary_scores
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.evaluation.scoring.evaluation import Evaluation
from maskwright.inference.loading import load
from maskwright.inference.predict import predict
from maskwright.modeling.models.segmenter import Segmenter
from maskwright.run import Run
from maskwright.training.train import train
from tiny import config, write_dataset

IDS = [0, 7, 200]
NAMES = ["background", "tooth", "gum"]
TREE = """classes:
  - {id: 0, name: background}
  - name: mouth
    children: [{id: 7, name: tooth}, {id: 200, name: gum}]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training on classes in a tree, with ids that are not contiguous and some ignored pixels."""
    folder = tmp_path_factory.mktemp("evaluate")
    root = write_dataset(folder / "data", {"train": 8, "val": 3, "test": 7}, ids=IDS, size=(40, 32))
    file = root / "dataset.yaml"
    head, _, rest = file.read_text().partition("classes:\n")
    file.write_text(head + TREE + "ignore" + rest.partition("ignore")[2])
    for path in sorted((root / "masks").glob("*/*.png")):
        mask = pixels(path).copy()
        mask[:5, :9] = 255
        write(path, mask)
    settings = config(root, train={"iterations": 60, "batch_size": 3}, optimizer={"lr": 0.03}, flip_average=True)
    return train(settings, out=folder / "run")


@pytest.fixture
def own(run, tmp_path):
    """A copy of the run with a copy of its dataset, to change things in."""
    root = shutil.copytree(run.config().data.root, tmp_path / "data")
    copied = Run(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations")))
    copied.write_config(
        copied.config().model_copy(update={"data": copied.config().data.model_copy(update={"root": str(root)})})
    )
    info = copied.info()
    info["dataset"]["root"] = str(root.resolve())
    atomic_write_json(copied.info_file, info)
    return copied


@pytest.fixture(scope="module")
def result(run):
    return evaluate(run)


@pytest.fixture(scope="module")
def full(run):
    """With all that can be asked for."""
    return evaluate(run, tolerance=2, calibration=True)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def data_of(run):
    return Path(run.config().data.root)


def pairs(run, result):
    """Truth and prediction of every image as they lie on the disk."""
    for name in result.names:
        yield pixels(data_of(run) / f"masks/{name}.png"), pixels(result.folder / f"predictions/{name}.png")


def counted(run, result):
    """All counted pixels, one after the other."""
    truth, found = (np.concatenate([pair[k].reshape(-1) for pair in pairs(run, result)]) for k in (0, 1))
    return truth[truth != 255], found[truth != 255]


def test_the_predictions_are_index_masks_of_ids(run, result):
    assert result.names == [f"test/test_0{i}" for i in range(7)]
    seen = set()
    for truth, found in pairs(run, result):
        assert truth.shape == found.shape == (40, 32)
        seen |= set(np.unique(found).tolist())
    assert seen == set(IDS)


def test_scores_against_scikit_learn(run, result):
    truth, found = counted(run, result)
    assert result.scores.pixels == len(truth) == 7 * (40 * 32 - 45)
    options = {"labels": IDS, "average": None, "zero_division": 0}
    columns = {
        "iou": sklearn.metrics.jaccard_score,
        "dice": sklearn.metrics.f1_score,
        "precision": sklearn.metrics.precision_score,
        "recall": sklearn.metrics.recall_score,
    }
    expected = {name: score(truth, found, **options) for name, score in columns.items()}
    for name, values in expected.items():
        np.testing.assert_allclose([getattr(row, name) for row in result.scores.classes], values, rtol=1e-12)
    assert [row.true_pixels for row in result.scores.classes] == [(truth == id_).sum() for id_ in IDS]
    assert [row.predicted_pixels for row in result.scores.classes] == [(found == id_).sum() for id_ in IDS]
    assert result.scores.aAcc == pytest.approx(sklearn.metrics.accuracy_score(truth, found), rel=1e-12)
    assert result.scores.mAcc == pytest.approx(sklearn.metrics.balanced_accuracy_score(truth, found), rel=1e-12)
    assert result.scores.mIoU == pytest.approx(expected["iou"].mean(), rel=1e-12)
    assert result.scores.mDice == pytest.approx(expected["dice"].mean(), rel=1e-12)


def test_counts_of_each_image_against_scikit_learn(run, result):
    saved = np.load(result.folder / "confusions.npy", allow_pickle=False)
    np.testing.assert_array_equal(saved, result.confusions)
    rows = [json.loads(line) for line in (result.folder / "images.jsonl").read_text().splitlines()]
    assert [row["sample"] for row in rows] == result.names
    for (truth, found), confusion, row in zip(pairs(run, result), result.confusions, rows, strict=True):
        kept = truth != 255
        np.testing.assert_array_equal(confusion, sklearn.metrics.confusion_matrix(truth[kept], found[kept], labels=IDS))
        present = [id_ for id_ in IDS if (truth[kept] == id_).any() or (found[kept] == id_).any()]
        expected = sklearn.metrics.jaccard_score(truth[kept], found[kept], labels=present, average="macro")
        assert row["mIoU"] == pytest.approx(expected, rel=1e-12)


def test_further_measures_of_each_image(run, full, result):
    """Boundaries against the function on the written masks, calibration against scikit-learn on the model's output."""
    assert "mean_image_boundary_f" not in result.measures and "dataset_ece" not in result.measures
    assert full.confusions.tolist() == result.confusions.tolist()
    rows = [json.loads(line) for line in (full.folder / "images.jsonl").read_text().splitlines()]
    segmenter = load(run)
    surprise = []
    for (truth, found), row, name in zip(pairs(run, full), rows, full.names, strict=True):
        index = np.zeros(256, np.uint8)
        index[[*IDS, 255]] = [0, 1, 2, 255]
        expected = boundary_scores(index[truth], index[found], 3, Tolerance(pixels=2))
        for key, values in expected._asdict().items():
            assert row[f"boundary_{key}"] == [None if np.isnan(value) else value for value in values]
        image = pixels(data_of(run) / f"images/{name}.png")
        p = next(segmenter.own_probabilities([image])).numpy()[:, truth != 255].T.astype(np.float64)
        surprise.append(
            sklearn.metrics.log_loss(index[truth[truth != 255]], p / p.sum(1, keepdims=True), labels=[0, 1, 2])
        )
        assert row["nll"] == pytest.approx(surprise[-1], rel=1e-3)
        assert 0 <= row["ece"] <= row["mce"] <= 1 and 0 < row["brier"] < 2
    assert full.measures["dataset_nll"].interval.value == pytest.approx(np.mean(surprise), rel=1e-3)
    f = full.measures["mean_image_boundary_f"]
    by_class = [[row["boundary_f"][c] for row in rows if row["boundary_f"][c] is not None] for c in range(3)]
    np.testing.assert_allclose(f.classes, [np.mean(values) for values in by_class])
    assert f.interval.value == pytest.approx(np.mean(f.classes)) and f.interval.low < f.interval.value < f.interval.high


def test_every_number_in_the_json_says_how_it_is_aggregated(full):
    document = json.loads((full.folder / "scores.json").read_text())
    assert document == json.loads(json.dumps(full.to_dict())) and document["tolerance"] == "2 px"
    assert {*document["measures"]} == {*MEASURES} - {*document["scores"]}
    for level in (document, *document["levels"]):
        for name, measure in level["measures"].items():
            assert measure["aggregation"] == MEASURES[name].aggregation and measure["absent"] == MEASURES[name].absent
            assert len(measure["classes"]) in (0, len(level["classes"])) and {"value", "low", "high"} <= set(measure)
    assert {"mean_image_hd95", "dataset_excess_recall"} <= set(document["levels"][0]["measures"])
    assert sum(row["pixels"] for row in document["reliability"]) == full.scores.pixels
    text = full.human()
    assert "boundaries agree within 2 px" in text and "over the dataset (counts summed over images" in text
    for measure in full.measures.values():
        assert f"{measure.interval.value:.4f}  [{measure.interval.low:.4f}, {measure.interval.high:.4f}]" in text


def test_boundaries_of_a_level_are_those_of_its_own_masks(run, full):
    index = np.zeros(256, np.uint8)
    index[[*IDS, 255]] = [0, 1, 1, 255]
    expected = BoundaryScores.stacked(
        [boundary_scores(index[truth], index[found], 2, Tolerance(pixels=2)) for truth, found in pairs(run, full)]
    )
    found = full.levels[0].measures["mean_image_nsd"]
    np.testing.assert_allclose(found.classes, np.nanmean(expected.nsd, axis=0))


def test_intervals_hold_the_values(result):
    for name in ("aAcc", "mAcc", "mIoU", "mDice"):
        interval = result.intervals[name]
        assert interval.value == getattr(result.scores, name)
        assert interval.low < interval.value < interval.high


def test_baselines_are_what_one_class_everywhere_would_reach(run, result):
    """Over the classes that the model's mean is over, here from the masks on the disk."""
    truth, predicted = counted(run, result)
    labels = sorted({*truth.tolist(), *predicted.tolist()})
    text = result.human()
    for name, id_ in (("first_class", 0), ("most_frequent", IDS[np.argmax([(truth == i).sum() for i in IDS])])):
        constant = np.full_like(truth, id_)
        found = result.baselines[name]
        assert found.aAcc == pytest.approx((truth == id_).mean(), rel=1e-12)
        expected = sklearn.metrics.jaccard_score(truth, constant, labels=labels, average="macro", zero_division=0)
        assert found.mIoU == pytest.approx(expected, rel=1e-12)
        assert f"all pixels predicted as {NAMES[IDS.index(id_)]} {expected:.4f}" in text


def test_a_model_that_names_more_classes_than_are_there_is_compared_with_the_same_ones(own):
    """Of a truth without gum, the model's false gum counts 0 on both sides: in the note, in the text and in JSON."""
    for path in (data_of(own) / "masks/test").iterdir():
        write(path, np.where(pixels(path) == 200, 7, pixels(path)).astype(np.uint8))
    found = evaluate(own)
    truth, predicted = counted(own, found)
    assert set(np.unique(truth)) == {0, 7} and 200 in predicted
    expected = sklearn.metrics.jaccard_score(truth, np.zeros_like(truth), labels=IDS, average="macro", zero_division=0)
    assert found.baselines["first_class"].mIoU == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx((truth == 0).mean() / 3)
    document = json.loads((found.folder / "scores.json").read_text())
    assert document["baselines"]["first_class"]["mIoU"]["value"] == pytest.approx(expected, rel=1e-12)
    assert expected < found.scores.mIoU and "number.trivial" not in [f.code for f in found.findings]


def test_levels_of_the_tree_merge_classes(run, result):
    truth, found = (np.where(values == 0, 0, 1) for values in counted(run, result))
    top, leaves = result.levels
    assert (top.level, leaves.level) == (1, 2)
    assert [(row.id, row.name) for row in top.scores.classes] == [(0, "background"), (1, "mouth")]
    expected = sklearn.metrics.jaccard_score(truth, found, average=None)
    np.testing.assert_allclose([row.iou for row in top.scores.classes], expected, rtol=1e-12)
    assert top.scores.aAcc == pytest.approx(sklearn.metrics.accuracy_score(truth, found), rel=1e-12)
    assert top.intervals["mIoU"].low < top.scores.mIoU < top.intervals["mIoU"].high
    assert top.baselines["first_class"].aAcc == pytest.approx((truth == 0).mean(), rel=1e-12)
    assert leaves.scores == result.scores and leaves.intervals == result.intervals
    np.testing.assert_array_equal(np.load(result.folder / "confusions-level-1.npy", allow_pickle=False), top.confusions)
    assert (result.selector, result.incoherent_share) == ("leaf", 0.0)


def test_levels_decided_for_themselves(run, result):
    """The masks at the top are those of `predict --levels`; the leaves are as ever."""
    found = evaluate(run, selector="levels")
    np.testing.assert_array_equal(found.confusions, result.confusions)
    images = [data_of(run) / f"images/{name}.png" for name in found.names]
    predicted = predict(run, images, out=run.path.parent / "levels", levels=True, selector="levels")
    contradicted = 0
    for confusion, row, (truth, leaves) in zip(
        found.levels[0].confusions, predicted.rows, pairs(run, found), strict=True
    ):
        top = pixels(predicted.folder / row["levels"][0])
        kept = truth != 255
        np.testing.assert_array_equal(pixels(predicted.folder / row["mask"]), leaves)
        np.testing.assert_array_equal(confusion, sklearn.metrics.confusion_matrix(truth[kept] != 0, top[kept]))
        contradicted += ((leaves != 0) != top)[kept].sum()
    assert contradicted and found.incoherent_share == contradicted / found.scores.pixels
    assert f"selector levels: labels of {100 * found.incoherent_share:.2f} % of the pixels" in found.human()


def test_top_down_never_contradicts(run, result):
    found = evaluate(run, selector="top_down")
    assert (found.confusions != result.confusions).any() and found.incoherent_share == 0
    np.testing.assert_array_equal(found.levels[0].confusions, evaluate(run, selector="levels").levels[0].confusions)


def test_the_tree_is_that_of_the_dataset(own, result):
    file = data_of(own) / "dataset.yaml"
    head, _, rest = file.read_text().partition("classes:\n")
    flat = "".join(f"  - {{id: {id_}, name: {name}}}\n" for id_, name in zip(IDS, NAMES, strict=True))
    file.write_text(f"{head}classes:\n{flat}ignore{rest.partition('ignore')[2]}")
    found = evaluate(own)
    assert found.scores == result.scores and found.levels == []
    assert "the class tree is not the one that the run was trained with" in found.notes
    assert {"selector", "incoherent_share"}.isdisjoint(found.to_dict()) and found.to_dict()["levels"] == []
    with pytest.raises(ConfigError, match="selector: top_down is for class trees, and the classes are a flat list"):
        evaluate(own, selector="top_down")


def test_the_json_has_the_promised_keys(result):
    document = json.loads((result.folder / "scores.json").read_text())
    assert document == json.loads(json.dumps(result.to_dict()))
    assert (document["split"], document["images"]) == ("test", 7)
    for name in ("aAcc", "mAcc", "mIoU", "mDice"):
        assert set(document["scores"][name]) == {"value", "low", "high"}
    assert [row["name"] for row in document["classes"]] == NAMES
    for level, names in zip(document["levels"], [["background", "mouth"], NAMES], strict=True):
        assert level["names"] == [row["name"] for row in level["classes"]] == names
        assert set(level["scores"]["mIoU"]) == {"value", "low", "high"}
    assert document["levels"][1]["scores"] == document["scores"]
    assert document["notes"] == [finding["message"] for finding in document["findings"]]
    assert document["findings"][0]["code"] == "number.few_images"
    assert document["origin"]["same_data"] and document["origin"]["copies"] == []
    for row in document["classes"]:
        assert {"id", "name", "iou", "dice", "precision", "recall", "true_pixels", "predicted_pixels"} <= set(row)


def test_the_text_for_people_holds_the_numbers(result):
    text = result.human()
    for value in (result.scores.mIoU, result.intervals["mIoU"].low, result.levels[0].scores.mIoU):
        assert f"{value:.4f}" in text
    for line in (*NAMES, *(f"note: {note}" for note in result.notes)):
        assert line in text


def test_again_goes_to_a_new_folder_with_the_same_masks(run, result):
    before = fingerprint(result.folder)
    again = evaluate(run.path, again=True)
    assert again.folder != result.folder and again.folder.parent == result.folder.parent
    assert fingerprint(result.folder) == before
    assert fingerprint(again.folder / "predictions") == fingerprint(result.folder / "predictions")
    assert again.scores == result.scores


def equal(one, other):
    """All that two evaluations say, wherever they lie."""
    return one.to_dict() | {"folder": ""} == other.to_dict() | {"folder": ""}


def test_the_same_inputs_return_the_evaluation_that_is_there(own, monkeypatch, capsys):
    made = {}
    for name, options in {
        "plain": {},
        "all": {"tolerance": 2, "calibration": True},
        "levels": {"selector": "levels"},
        "val": {"split": "val"},
    }.items():
        made[name] = evaluate(own, **options)
        for where in (own, own.path):
            with monkeypatch.context() as patch:
                patch.setattr(Segmenter, "small_probabilities", None)  # nothing is predicted
                found = evaluate(where, **options)
            assert found.folder == made[name].folder and found.to_dict() == made[name].to_dict()
            assert json.loads(dump_json(found.to_dict())) == json.loads((found.folder / "scores.json").read_text())
            assert found.human() == made[name].human()
            for level, before in zip(found.levels, made[name].levels, strict=True):
                np.testing.assert_array_equal(level.confusions, before.confusions)
            (line,) = [line for line in capsys.readouterr().err.splitlines() if "is there already" in line]
            assert str(found.folder) in line and "`again`" in line
    assert len({one.folder for one in made.values()}) == 4
    again = evaluate(own, again=True)
    assert again.folder.name == "test-004" and equal(again, made["plain"])
    assert evaluate(own).folder == again.folder  # the newest


def test_a_dataset_that_lies_elsewhere_is_the_same_input(own, tmp_path):
    first = evaluate(own)
    moved = data_of(own).rename(tmp_path / "moved")
    assert evaluate(own, data=moved).folder == first.folder


@pytest.mark.parametrize(
    "change", ["truth", "model", "unfinished", "a mask is gone", "counts are damaged", "no JSON", "another version"]
)
def test_other_inputs_are_evaluated_anew(own, change, monkeypatch):
    first = evaluate(own)
    if change == "truth":
        path = data_of(own) / "masks/test/test_00.png"
        write(path, np.where(pixels(path) == 7, 0, pixels(path)).astype(np.uint8))
    elif change == "model":
        segmenter = load(own)
        segmenter.flip_average = False
        segmenter.save(own.best)
    elif change == "unfinished":
        (own.path / "finished.json").unlink()
    elif change == "a mask is gone":
        (first.folder / "predictions/test/test_03.png").unlink()
    elif change == "counts are damaged":
        (first.folder / "confusions.npy").write_bytes(b"\x93NUMPY")
    elif change == "no JSON":
        (first.folder / "scores.json").write_text("{")
    else:
        monkeypatch.setattr("maskwright.evaluation.scoring.evaluate.__version__", "9")
    assert evaluate(own).folder != first.folder


def test_a_second_evaluation_hashes_no_file_of_the_dataset(own, monkeypatch):
    for path in data_of(own).rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    seen = []
    monkeypatch.setattr(hashes, "file_hash", lambda path: seen.append(path) or file_hash(path))
    first = evaluate(own)
    assert len(seen) == 2 * 18
    seen.clear()
    assert evaluate(own, again=True).dataset_version == first.dataset_version and seen == []
    path = data_of(own) / "masks/test/test_00.png"
    write(path, np.where(pixels(path) == 7, 0, pixels(path)).astype(np.uint8))
    assert evaluate(own).dataset_version != first.dataset_version and seen == [path]


def test_the_run_is_not_changed(own):
    before = fingerprint(own.path)
    evaluate(own, split="val")
    after = fingerprint(own.path)
    assert {path: after[path] for path in before} == before
    assert all(path.startswith("evaluations") for path in set(after) - set(before))


def test_with_out_nothing_is_written_into_the_run(own, result, tmp_path):
    before = fingerprint(own.path)
    found = evaluate(own, out=tmp_path / "scores")
    assert fingerprint(own.path) == before and not (own.path / ".maskwright").exists()
    assert found.folder == tmp_path / "scores" and found.scores == result.scores
    assert Evaluation.load(tmp_path / "scores").scores == result.scores
    assert found.origin == result.origin


@pytest.mark.parametrize(
    ("split", "note"), [("train", "these images were trained on"), ("val", "the checkpoint was chosen on this split")]
)
def test_splits_that_the_model_has_seen_are_noted(own, split, note):
    found = evaluate(own, split=split)
    assert sorted(found.names) == sorted(own.info()["splits"][split])
    assert any(note in line for line in found.notes)


@pytest.mark.parametrize("gone", [True, False])
def test_a_dataset_that_was_moved_is_the_one_that_was_trained_on(own, tmp_path, gone):
    """`val` is here a split of its own; of a flat dataset it would be the recorded part of it."""
    moved = shutil.copytree(data_of(own), tmp_path / "mounted" / "data")
    if gone:
        shutil.rmtree(data_of(own))
    codes = {
        split: [f.code for f in evaluate(own, split=split, data=moved).findings if f.code != "number.class_missed"]
        for split in (
            "train",
            "val",
            "test",
        )  # whether so short a training finds both classes is no matter of this test
    }
    assert codes == {
        "train": ["number.trained_on", "number.few_images"],
        "val": ["number.selected_on", "number.few_images"],
        "test": ["number.few_images"],
    }


def test_a_run_from_before_images_were_stored(own, tmp_path):
    (own.path / "images.json").unlink()
    atomic_write_json(own.info_file, {key: value for key, value in own.info().items() if key != "format"})
    moved = shutil.copytree(data_of(own), tmp_path / "mounted" / "data")
    shutil.rmtree(data_of(own))
    assert "number.trained_on" in [f.code for f in evaluate(own, split="train", data=moved).findings]
    (moved / "images/train/train_00.png").unlink()
    found = evaluate(own, split="train", data=moved)
    assert "number.unchecked" in [f.code for f in found.findings] and "note: could not be checked: " in found.human()


def test_few_images_are_noted(own, result):
    assert "only 7 images: trust the intervals, not the single values" in result.notes
    for path in sorted((data_of(own) / "images/test").iterdir())[1:]:
        path.unlink()
    found = evaluate(own)
    assert any(note.startswith("one image: there is no interval") for note in found.notes)
    assert not found.intervals["mIoU"].low > -1  # undefined, not the value itself


def test_copies_of_training_images_are_found(own):
    shutil.copy(data_of(own) / "images/train/train_04.png", data_of(own) / "images/test/test_02.png")
    found = evaluate(own)
    assert found.findings[0].code == "number.leakage"
    assert found.origin.copies == (("test/test_02", "train/train_04"),)


def test_an_absent_class_is_noted_and_not_counted(own):
    for path in (data_of(own) / "masks/test").iterdir():
        mask = pixels(path).copy()
        mask[mask == 200] = 0
        write(path, mask)
    found = evaluate(own)
    assert any(note.startswith("class 'gum' does not occur in the ground-truth masks") for note in found.notes)
    assert any("the dataset has changed since training" in note for note in found.notes)
    assert "gum" in found.human()
    json.loads((found.folder / "scores.json").read_text())  # strict JSON whatever is undefined


def test_a_model_that_is_no_better_than_one_class_is_noted(own, monkeypatch, result):
    assert not any("no better than" in note for note in result.notes)
    monkeypatch.setattr(
        Segmenter, "level_maps", lambda _, probabilities, size, image=None: [np.zeros(size, np.uint8)] * 2
    )
    assert any("mIoU is no better than predicting one class everywhere" in note for note in evaluate(own).notes)


def test_an_unfinished_run_is_noted(own):
    (own.path / "finished.json").unlink()
    assert any("training has not finished" in note for note in evaluate(own).notes)


def test_another_dataset_with_the_same_classes(own, tmp_path):
    other = shutil.copytree(data_of(own), tmp_path / "other")
    for path in (other / "images/test").iterdir():
        if path.stem != "test_03":
            path.unlink()
    found = evaluate(own, data=other)
    assert found.names == ["test/test_03"]
    assert found.dataset_version != own.info()["dataset"]["version"]
    # It is the dataset of the training without some images, wherever it lies.
    assert any("changed since training" in note for note in found.notes)


def test_another_dataset_with_other_ids_of_the_same_classes(own, tmp_path):
    expected = evaluate(own)
    other = shutil.copytree(data_of(own), tmp_path / "other")
    file = other / "dataset.yaml"
    file.write_text(file.read_text().replace("id: 7", "id: 8"))
    for path in (other / "masks").glob("*/*.png"):
        mask = pixels(path).copy()
        mask[mask == 7] = 8
        write(path, mask)
    found = evaluate(own, data=other)
    np.testing.assert_array_equal(found.confusions, expected.confusions)
    assert set(np.unique(pixels(found.folder / f"predictions/{found.names[0]}.png"))) <= {0, 8, 200}


def test_classes_that_were_renamed_after_training_are_the_same(own, result, capsys):
    file = data_of(own) / "dataset.yaml"
    file.write_text(file.read_text().replace("tooth", "molar").replace("mouth", "jaw"))
    info = own.info()
    info["training_classes"][1] |= {"pixels": 0}
    atomic_write_json(own.info_file, info)
    found = evaluate(own)
    said = capsys.readouterr().err
    assert "classes have been renamed since training: 'tooth' is now 'molar'; their ids are the same" in said
    assert found.scores.mIoU == result.scores.mIoU
    assert [row.name for row in found.scores.classes] == ["background", "molar", "gum"]
    codes = {finding.code: finding for finding in found.findings}
    assert codes["number.class_untrained"].evidence["classes"] == ["molar"]
    assert not any("tree" in code for code in codes)


def test_another_dataset_with_other_classes_is_refused(own, tmp_path):
    other = write_dataset(tmp_path / "other", {"test": 2}, ids=IDS)
    before = fingerprint(own.path)
    with pytest.raises(
        DataError,
        match=r"classes \(class_0, class_7, class_200\) are not those of the run "
        r"\(background, tooth, gum\)",
    ):
        evaluate(own, data=other)
    # The same ids of another dataset may mean anything else.
    file = other / "dataset.yaml"
    file.write_text(file.read_text().replace("class_0", "background"))
    with pytest.raises(DataError, match=r"classes \(background, class_7, class_200\) are not those of the run "):
        evaluate(own, data=other)
    assert fingerprint(own.path) == before


def test_an_empty_split_is_refused(own):
    with pytest.raises(ConfigError, match=r"`split` extra: .* has no labelled samples in it; it has test, train, val"):
        evaluate(own, split="extra")
    shutil.rmtree(data_of(own) / "masks/val")
    with pytest.raises(ConfigError, match="`split` val: "):
        evaluate(own, split="val")
    assert not list(own.path.glob("evaluations/*"))


def test_a_truth_that_is_all_ignored_is_refused_and_leaves_nothing(own):
    for path in (data_of(own) / "masks/test").iterdir():
        write(path, np.full((40, 32), 255, np.uint8))
    with pytest.raises(DataError, match="no pixel counts"):
        evaluate(own)
    assert not list(own.path.glob("evaluations/*"))


def test_the_holdout_of_a_flat_dataset_can_be_evaluated(tmp_path):
    root = write_dataset(tmp_path / "data", {"": 6})
    run = train(config(root, train={"iterations": 4}), out=tmp_path / "run")
    found = evaluate(run, split="val")
    assert found.names == run.info()["splits"]["val"]
    assert evaluate(run, split="val", data=root.rename(tmp_path / "moved")).names == found.names
    (tmp_path / "moved").rename(root)
    assert found.scores.mIoU == run.finished["best_val_mIoU"]
    with pytest.raises(ConfigError, match="it has train, val"):
        evaluate(run)


def test_weights_that_were_changed_after_training_are_told(own):
    assert not evaluate(own).origin.changed
    tensors = load_file(own.best)
    with safe_open(own.best, "np") as file:
        facts = file.metadata()
    name = next(name for name, tensor in tensors.items() if tensor.dtype == np.float32)
    save_file(tensors | {name: tensors[name] * 1.01}, own.best, facts)
    result = evaluate(own)
    assert result.origin.changed and Evaluation.load(result.folder).origin.changed
    assert "the weights are no longer those that training ended with" in result.human()
    finished = own.finished
    del finished["best_hash"]  # a run from before it was noted
    atomic_write_json(own.path / "finished.json", finished)
    assert not evaluate(own, again=True).origin.changed
