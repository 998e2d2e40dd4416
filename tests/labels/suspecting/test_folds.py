"""Out-of-fold probabilities: who is held out when, what is stored, and how stopped work goes on."""

import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import fingerprint
from maskwright.base.storage import read_json
from maskwright.core.edits import Edit, add_edits
from maskwright.core.mask_files import read_grey
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError, Interrupted
from maskwright.labels.suspecting import folds
from maskwright.labels.suspecting.folds import (
    divide_into_folds,
    predict_out_of_fold,
    read_probabilities,
    write_probabilities,
)
from maskwright.run import Run
from maskwright.training.length import Length
from tiny import config, write_dataset


@pytest.fixture
def data(tmp_path):
    return write_dataset(tmp_path / "data", {"train": 7, "test": 4}, ids=(0, 1, 2))


def predict(home, folder, **changed):
    settings = config(home, train={"iterations": 4, "threads": 1})
    return predict_out_of_fold(
        load_dataset(home), settings, folder, **{"folds": 3, "seed": 0, "seconds": None, **changed}
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Predictions that were not disturbed."""
    root = tmp_path_factory.mktemp("folds")
    home = write_dataset(root / "data", {"train": 7, "test": 4}, ids=(0, 1, 2))
    return predict(home, root / "work")


def stored(folder):
    return fingerprint(folder / "probabilities")


def test_every_usable_sample_is_in_one_fold(data):
    names = [sample.name for sample in load_dataset(data).samples]
    (data / "masks/train/train_01.png").unlink()
    shutil.copy(data / "images/train/train_02.png", data / "images/test/test_03.png")
    shutil.copy(data / "images/train/train_02.png", data / "images/train/train_06.png")
    add_edits(data, [Edit("status", "train/train_00", "exclude")], "test")
    (data / "images/train/train_04.png").write_bytes(b"no image")
    dataset = load_dataset(data)
    found = divide_into_folds(dataset, 3, 0)
    left = {"train/train_00", "train/train_01", "train/train_04"}
    assert {*names} > left and sorted(name for part in found.names for name in part) == sorted({*names} - left)
    assert len(found.names) == 3 and all(found.names)
    assert sum({"train/train_02", "test/test_03", "train/train_06"} <= {*part} for part in found.names) == 1
    assert len(found.left_out) == 1 and "train_04" in found.left_out[0]
    assert divide_into_folds(dataset, 3, 0) == found


def test_no_more_folds_than_samples(data):
    for path in sorted((data / "masks").rglob("*.png"))[2:]:
        path.unlink()
    assert [len(part) for part in divide_into_folds(load_dataset(data), 4, 0).names] == [1, 1]
    next((data / "masks").rglob("*.png")).unlink()
    with pytest.raises(DataError, match="1 labelled samples cannot be divided; label more"):
        divide_into_folds(load_dataset(data), 4, 0)


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_probabilities_are_read_back(tmp_path, seed, classes):
    rng = np.random.default_rng(seed)
    given_ones = rng.dirichlet(np.ones(classes), (9, 7)).transpose(2, 0, 1).astype(np.float32)
    write_probabilities(tmp_path, "a/b", given_ones)
    found = read_probabilities(tmp_path, "a/b", classes)
    assert found.dtype == np.float32 and found.shape == given_ones.shape
    assert found.sum(0) == pytest.approx(np.ones((9, 7)), abs=1e-6)
    # Half a step of rounding in the value, and as much in each term of the sum.
    assert np.abs(found - given_ones).max() <= (1 + classes) / 2 / 255 / (1 - classes / 2 / 255)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no picture", np.zeros((7, 4), np.uint8), np.zeros((6, 4, 3), np.uint8), np.zeros((6, 4), np.uint16)],
)
def test_a_missing_or_strange_file_is_named(tmp_path, content):
    file = tmp_path / "probabilities" / "a.png"
    file.parent.mkdir()
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        cv2.imwrite(str(file), content)
    with pytest.raises(DataError, match=r"probabilities/a\.png: holds no probabilities of 3 classes; delete it"):
        read_probabilities(tmp_path, "a", 3)


def test_each_model_has_not_seen_what_it_predicts(whole):
    names = read_json(whole.folder / "folds.json")["names"]
    runs = [Run(whole.folder / f"fold-{number}") for number in (1, 2, 3)]
    assert len(whole.facts) == 3 and len(whole.samples) == 11
    for part, run, facts in zip(names, runs, whole.facts, strict=True):
        splits = run.info()["splits"]
        assert sorted(splits["val"]) == sorted(part)
        assert not {*splits["train"]} & {*part} and len(splits["train"]) + len(part) == 11
        assert run.finished["iterations"] == run.finished["best_iteration"] == 4  # no label has chosen it
        assert (facts.images, facts.iterations, facts.mIoU) == (11 - len(part), 4, run.finished["best_val_mIoU"])
    assert len({run.config().seed for run in runs}) == 3
    for sample in whole.samples:
        levels = read_grey(whole.folder / "probabilities" / f"{sample.name}.png")
        found = whole.read(sample)
        assert found.shape == (3, 32, 32) and found.sum(0) == pytest.approx(np.ones((32, 32)), abs=1e-6)
        assert np.abs(found - levels.reshape(3, 32, 32) / 255).max() <= 2 / 255


def test_what_is_there_is_not_made_again(whole, monkeypatch):
    before = fingerprint(whole.folder)
    monkeypatch.setattr("maskwright.training.train.train_part", None)
    monkeypatch.setattr(folds, "predict_samples", None)
    again = predict(whole.dataset.root, whole.folder)
    assert fingerprint(whole.folder) == before and again.samples == whole.samples


@pytest.mark.parametrize("when", ["before a training", "in a training", "before predicting", "while predicting"])
def test_stopped_work_goes_on_to_the_same(data, tmp_path, monkeypatch, whole, when):
    from maskwright.training import train as training

    count = {"train": 0, "predict": 0, "write": 0}
    real = training.train_part, folds.predict_samples, folds.write_probabilities

    def counted_train(settings, **given):
        count["train"] += 1
        if count["train"] == 2 and when == "before a training":
            raise KeyboardInterrupt
        if count["train"] == 2 and when == "in a training":
            monkeypatch.setattr(Length, "refit", interrupted)
        return real[0](settings, **given)

    def counted_predict(*given):
        count["predict"] += 1
        if count["predict"] == 2 and when == "before predicting":
            raise Interrupted("stopped")
        return real[1](*given)

    def counted_write(*given):
        count["write"] += 1
        if count["write"] == 6 and when == "while predicting":
            raise KeyboardInterrupt
        return real[2](*given)

    def interrupted(length, step):
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_part", counted_train)
    monkeypatch.setattr(folds, "predict_samples", counted_predict)
    monkeypatch.setattr(folds, "write_probabilities", counted_write)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        predict(data, tmp_path / "work")
    monkeypatch.undo()
    first = fingerprint(tmp_path / "work" / "fold-1")
    trained = []
    monkeypatch.setattr(
        training, "train_part", lambda *given, **named: trained.append(given) or real[0](*given, **named)
    )
    predict(data, tmp_path / "work")
    assert fingerprint(tmp_path / "work" / "fold-1") == first
    assert len(trained) == (2 if when == "before a training" else 1)
    assert stored(tmp_path / "work") == stored(whole.folder)


def test_what_was_deleted_is_predicted_again(data, tmp_path, whole):
    shutil.copytree(whole.folder, tmp_path / "work")
    expected = stored(tmp_path / "work")
    for name in ("train/train_03", "test/test_01"):
        (tmp_path / "work" / "probabilities" / f"{name}.png").unlink()
    predict(data, tmp_path / "work")
    assert stored(tmp_path / "work") == expected


def test_seconds_are_shared(data, tmp_path, monkeypatch):
    budgets = []

    def noted(settings, **_):
        budgets.append((settings.train.budget, settings.train.iterations))
        raise Interrupted("stopped")

    monkeypatch.setattr("maskwright.training.train.train_part", noted)
    for _ in range(2):
        with pytest.raises(Interrupted):
            predict(data, tmp_path / "work", seconds=30.0)
    assert budgets == [("10.00s", None)] * 2
    assert not Run(tmp_path / "work" / "fold-1").info_file.exists()


def test_later_folds_are_trained_like_the_first(data, tmp_path, monkeypatch):
    import maskwright.training.train as training

    seen, train = [], training.train_part

    def noted(settings, **options):
        seen.append(settings)
        return train(settings, **options)

    monkeypatch.setattr(training, "train_part", noted)
    predict(data, tmp_path / "work")
    first, *others = seen
    assert others and first.train.threads == 1
    for number, one in enumerate(others, 1):
        assert (one.train.iterations, one.train.budget, one.train.refits) == (first.train.iterations, None, [])
        assert one.train.threads and one.train.precision != "auto" and one.seed == first.seed + number
