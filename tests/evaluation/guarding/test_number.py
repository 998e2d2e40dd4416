"""What is known of a number is read from the run, its dataset and its logs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from helpers import write
from maskwright.base.storage import Journal, atomic_write_json, read_json
from maskwright.core.hashes import file_hash
from maskwright.data.opening import load_dataset
from maskwright.evaluation.guarding import guard
from maskwright.evaluation.guarding.number import Number, Origin, Training, origin_of, used_by
from maskwright.evaluation.guarding.speed import speed_of
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.run import Run
from run_folders import add_evaluation, predict, trained_run, truth
from tiny import write_dataset


@pytest.fixture
def run(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2, "test": 3})
    dataset = load_dataset(root)
    splits = {name: [s.name for s in dataset.splits[name]] for name in ("train", "val")}
    return before_hashes(
        trained_run(
            tmp_path / "run",
            config={"data": {"root": str(root), "image_size": [32, 32]}},
            info={
                "dataset": {"name": "data", "root": str(root.resolve()), "version": dataset.version()},
                "splits": splits,
            },
        )
    )


def before_hashes(run):
    """As runs were before they stored the hashes of the images that they used."""
    (run.path / "images.json").unlink()
    return run


def origin(run, split="test", root=None):
    dataset = load_dataset(root or run.config().data.root)
    hashes = dataset.file_hashes()
    return origin_of(run, dataset.splits[split], used_by(run, dataset, dataset.version(hashes), hashes), hashes)


def stored(run):
    """As `train` leaves a run: with the hashes of the images that it used."""
    dataset = load_dataset(run.config().data.root)
    run.write_info(
        run.info(), {split: {s.name: file_hash(s.image) for s in dataset.splits[split]} for split in ("train", "val")}
    )
    return run


def folder(run, split):
    from pathlib import Path

    return Path(run.config().data.root) / "images" / split


def test_a_clean_split_has_nothing_to_say(run):
    for one in (run, stored(run)):
        assert origin(one) == Origin(iteration=10, trained_on=(), selected_on=())
        assert origin(one, "train").copies == ()  # an image is no copy of itself
        assert origin(one, "train").trained_on == tuple(one.info()["splits"]["train"])
        assert origin(one, "val").selected_on == tuple(one.info()["splits"]["val"])


def test_a_copy_of_a_training_image_and_a_name_that_is_like_one(run):
    stored(run)
    shutil.copy(folder(run, "train") / "train_01.png", folder(run, "test") / "test_02.png")
    (folder(run, "test") / "test_00.png").rename(folder(run, "test") / "train_03.png")
    found = origin(run)
    assert found.copies == (("test/test_02", "train/train_01"),) and found.same_names == ("test/train_03",)
    assert Origin.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Origin.from_dict({**found.to_dict(), "of_a_later_version": 1}) == found


@pytest.mark.parametrize("stores", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_a_dataset_that_was_moved_is_known_by_its_content(run, tmp_path, stores, left):
    """Copied or moved, by a run that stores what it used or by one from before that."""
    if stores:
        stored(run)
    root = folder(run, "test").parents[1]
    moved = shutil.copytree(root, tmp_path / "elsewhere/again")
    if not left:
        shutil.rmtree(root)
    splits = run.info()["splits"]
    for split, code in (("train", "number.trained_on"), ("val", "number.selected_on"), ("test", None)):
        found = origin(run, split, moved)
        assert found.same_data and found.checked and found.copies == ()
        assert found.trained_on == tuple(splits["train"] if split == "train" else ())
        assert found.selected_on == tuple(splits["val"] if split == "val" else ())
        assert codes(run, split, found, load_dataset(moved)) == {code} - {None}


def codes(run, split, found, dataset):
    number = Number(
        "run",
        split,
        tuple(s.name for s in dataset.splits[split]),
        version=dataset.version(),
        training=Training.of(run),
        origin=found,
    )
    return {finding.code for finding in guard([number])} - {"number.few_images"}


def test_a_moved_dataset_that_has_changed(run, tmp_path):
    """What the run stores tells which images it knows; of a run that stores nothing, nobody knows any more."""
    moved = shutil.copytree(folder(run, "test").parents[1], tmp_path / "moved")
    (moved / "images/test/test_00.png").unlink()
    shutil.rmtree(folder(run, "test").parents[1])
    before = origin(run, "train", moved)
    assert not before.checked and before.trained_on == ()
    assert before.same_names == tuple(run.info()["splits"]["train"])
    assert codes(run, "train", before, load_dataset(moved)) == {"number.unchecked", "number.same_names"}


def test_a_moved_dataset_that_has_changed_by_a_run_that_stores_what_it_used(run, tmp_path):
    stored(run)
    moved = shutil.copytree(folder(run, "test").parents[1], tmp_path / "moved")
    (moved / "images/test/test_00.png").unlink()
    shutil.rmtree(folder(run, "test").parents[1])
    found = origin(run, "train", moved)
    assert found.checked and found.trained_on == tuple(run.info()["splits"]["train"])
    assert codes(run, "train", found, load_dataset(moved)) == {"number.trained_on", "number.version"}


def test_other_images_at_the_old_place_are_not_those_of_the_training(run):
    stored(run)
    for split in ("train", "val"):
        for path in folder(run, split).iterdir():
            write(path, np.full((32, 32, 3), 7, np.uint8))
    found = origin(run, "train")
    assert found.trained_on == () and found.checked and len(found.same_names) == 4
    assert "number.version" in codes(run, "train", found, load_dataset(run.config().data.root))


def test_another_dataset_is_searched_for_copies_too(run, tmp_path):
    stored(run)
    other = tmp_path / "other"
    write_dataset(other, {"test": 3}, seed=5)
    shutil.copy(folder(run, "train") / "train_01.png", other / "images/test/test_02.png")
    shutil.rmtree(folder(run, "test").parents[1])
    found = origin(run, root=other)
    assert not found.same_data and found.checked and found.copies == (("test/test_02", "train/train_01"),)
    (run.path / "images.json").unlink()  # a run from before they were stored
    found = origin(run, root=other)
    assert not found.checked and found.copies == ()


def test_evaluations_from_before_content_decided():
    """Names decide in the run's own dataset; of another one it is not known whether it was looked at."""
    images, training = tuple(f"train/{i}" for i in range(30)), Training(frozenset(f"train/{i}" for i in range(50)))
    for same, code in ((True, "number.trained_on"), (False, "number.unchecked")):
        found = Origin.from_dict(
            {"iteration": None, "same_data": same, "same_tree": True, "copies": [], "same_names": [], "weak": 0}
        )
        assert [f.code for f in guard([Number("run", "train", images, training=training, origin=found)])] == [code]


def test_an_evaluation_is_read_back(tmp_path):
    run = trained_run(tmp_path / "run")
    add_evaluation(run.path, predict(truth(30), 0.8, 1))
    number = newest(run, "test").number("run", run)
    assert number.images[0] == "test/0" and len(number.images) == 30
    assert 0 < number.trivial["mIoU"] < number.scores["mIoU"] < 1 and number.training.best == 10
    assert guard([number]) == []
    file = run.evaluation_folders("test")[0] / "scores.json"
    older = read_json(file)
    del older["origin"]
    atomic_write_json(file, older)
    assert guard([newest(run, "test").number("run", run)]) == []


def test_speed_with_and_without_waiting(tmp_path):
    run = trained_run(tmp_path / "run", step=0.1, waited=0.3)
    found = speed_of(run)
    assert found.images_per_second == pytest.approx(4 / 0.4) and found.waited == pytest.approx(0.75)
    assert found.busy == pytest.approx(4 / 0.1)


def test_speed_of_a_run_that_was_killed_and_went_on(tmp_path):
    """What was done again counts with the time that it took; a first record behind an earlier one does not."""
    path = trained_run(tmp_path / "run", step=0.1).path
    for step in (15, 25):
        Journal(path / "timing.jsonl").append({"iteration": step, "seconds_since": 1.0, "waited": 0.0}, durable=False)
    assert speed_of(Run(path)).images_per_second == pytest.approx(30 * 4 / 3.0)
    (path / "timing.jsonl").write_text("")
    assert speed_of(Run(path)) is None
