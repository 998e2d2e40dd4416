"""What is known of a number is read from the run, its dataset and its logs."""

from __future__ import annotations

import shutil

import pytest

from compared_runs import evaluate, make_run, predict, truth
from maskwright.core.storage import Journal, read_json
from maskwright.evaluations import newest
from maskwright.formats.opening import load_dataset
from maskwright.guarding import guard
from maskwright.guarding.number import Number, Origin, image_hashes, origin_of
from maskwright.guarding.speed import speed_of
from maskwright.run import Run
from tiny import write_dataset


@pytest.fixture
def run(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2, "test": 3})
    dataset = load_dataset(root)
    splits = {name: [s.name for s in dataset.splits[name]] for name in ("train", "val")}
    return Run(make_run(tmp_path / "run", config={"data": {"root": str(root), "image_size": [32, 32]}}, info={
        "dataset": {"name": "data", "root": str(root.resolve()), "version": dataset.version()}, "splits": splits}))


def origin(run, split="test", root=None):
    dataset = load_dataset(root or run.config().data.root)
    return origin_of(run, dataset, dataset.splits[split], image_hashes(dataset))


def folder(run, split):
    from pathlib import Path

    return Path(run.config().data.root) / "images" / split


def test_a_clean_split_has_nothing_to_say(run):
    assert origin(run) == Origin(iteration=10)
    assert origin(run, "train").copies == ()  # an image is no copy of itself


def test_a_copy_of_a_training_image_and_a_name_that_is_like_one(run):
    shutil.copy(folder(run, "train") / "train_01.png", folder(run, "test") / "test_02.png")
    (folder(run, "test") / "test_00.png").rename(folder(run, "test") / "train_03.png")
    found = origin(run)
    assert found.copies == (("test/test_02", "train/train_01"),) and found.same_names == ("test/train_03",)
    assert Origin.from_dict(found.to_dict()) == found


def test_another_dataset_is_searched_for_copies_too(run, tmp_path):
    other = shutil.copytree(folder(run, "test").parents[1], tmp_path / "other")
    shutil.copy(folder(run, "train") / "train_01.png", other / "images/test/test_02.png")
    found = origin(run, root=other)
    assert not found.same_data and found.copies == (("test/test_02", "train/train_01"),)
    assert len(origin(run, "train", other).copies) == 4
    shutil.rmtree(folder(run, "test").parents[1])
    dataset = load_dataset(other)
    assert origin_of(run, dataset, dataset.splits["test"], image_hashes(dataset)).copies == ()


def test_hashes_are_those_of_the_version(run):
    dataset = load_dataset(run.config().data.root)
    hashes = image_hashes(dataset)
    assert dataset.version(lambda sample: (hashes[sample.name], None)) == dataset.version()


def test_an_evaluation_is_read_back(tmp_path):
    run = Run(make_run(tmp_path / "run"))
    evaluate(run.path, predict(truth(30), 0.8, 1))
    scored = newest(run, "test")
    number = Number.of("run", scored.result, scored.names, run)
    assert number.images[0] == "test/0" and len(number.images) == 30
    assert 0 < number.trivial["mIoU"] < number.scores["mIoU"] < 1 and number.training.best == 10
    assert guard([number]) == []
    older = read_json(scored.folder / "scores.json")
    del older["origin"]
    assert guard([Number.of("run", older, scored.names, run)]) == []


def test_speed_with_and_without_waiting(tmp_path):
    run = Run(make_run(tmp_path / "run", step=0.1, waited=0.3))
    found = speed_of(run)
    assert found.images_per_second == pytest.approx(4 / 0.4) and found.waited == pytest.approx(0.75)
    assert found.busy == pytest.approx(4 / 0.1)


def test_speed_of_a_run_that_was_killed_and_went_on(tmp_path):
    """What was done again counts with the time that it took; a first record behind an earlier one does not."""
    path = make_run(tmp_path / "run", step=0.1)
    for step in (15, 25):
        Journal(path / "timing.jsonl").append({"iteration": step, "seconds_since": 1.0, "waited": 0.0}, durable=False)
    assert speed_of(Run(path)).images_per_second == pytest.approx(30 * 4 / 3.0)
    (path / "timing.jsonl").write_text("")
    assert speed_of(Run(path)) is None
