"""Run folders: formats of other versions, and what is read in the order of its numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

from maskwright import doctor
from maskwright.base.storage import atomic_write_json
from maskwright.errors import DataError, Interrupted
from maskwright.evaluation.comparing import compare
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.modeling.models.segmenter import HEADER, load_segmenter, read_tensors
from maskwright.run import FORMAT, Run
from maskwright.training import checkpoint, loop
from maskwright.training.train import resume, train
from run_folders import add_evaluation, logged_run, predict, trained_run, truth
from tiny import config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("run") / "data", {"train": 6, "val": 2})


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return train(config(data), out=tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def stopped(data, tmp_path, monkeypatch):
    """A run that was stopped after its first evaluation."""
    save, count = loop.save_state, iter(range(100))

    def stopping(*arguments):
        save(*arguments)
        if next(count) == 0:
            raise Interrupted("now")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", stopping)
        with pytest.raises(Interrupted):
            train(config(data), out=tmp_path / "stopped")
    return Run(tmp_path / "stopped")


def rewrite(path: Path, **header: object) -> None:
    """The same tensors under a header with these changes; None removes a key."""
    found, tensors = read_tensors(path)
    changed = {key: value for key, value in (found | header).items() if value is not None}
    save_file(tensors, path, {HEADER: json.dumps(changed, sort_keys=True)})


def test_what_is_written_has_a_number(whole, data):
    assert whole.info()["format"] == FORMAT == 2
    assert read_tensors(whole.last)[0]["format"] == checkpoint.FORMAT == 2
    images = whole.images()
    assert {split: [*names] for split, names in images.items()} == whole.info()["splits"]
    assert len({value for names in images.values() for value in names.values()}) == 8


def test_a_run_in_the_old_form_goes_on_to_the_same_bytes(stopped, whole):
    """As they were written before there were numbers."""
    (stopped.path / "images.json").unlink()
    atomic_write_json(stopped.info_file, {key: value for key, value in stopped.info().items() if key != "format"})
    rewrite(stopped.last, format=None)
    assert "format" not in json.loads(stopped.info_file.read_text()) and "format" not in read_tensors(stopped.last)[0]
    assert stopped.images() is None
    run = resume(stopped)
    assert run.finished and run.best.read_bytes() == whole.best.read_bytes()
    assert run.last.read_bytes() == whole.last.read_bytes() and run.metrics.read() == whole.metrics.read()


def test_a_field_that_is_missing_has_its_default(stopped):
    rewrite(stopped.last, evaluations_since_best=None)
    assert resume(stopped).finished


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (
            3,
            r"run format 3, from a newer Maskwright \(this version reads 1 and 2\); `pip install --upgrade maskwright`",
        ),
        (0, r"run format 0, which is too old \(this version reads 1 and 2\); make it again"),
        ("x", "run format is 'x', which is no number"),
    ],
)
def test_a_run_of_another_time_is_refused_in_one_line(tmp_path, number, says):
    run = trained_run(tmp_path / "run")
    atomic_write_json(run.info_file, json.loads(run.info_file.read_text()) | {"format": number})
    for use in (run.info, run.recipe, lambda: doctor(run)):
        with pytest.raises(DataError, match=says) as refused:
            use()
        assert "\n" not in str(refused.value) and str(run.info_file) in str(refused.value)


@pytest.mark.parametrize(
    ("number", "says"), [(3, "training state format 3, from a newer"), (0, "training state format 0, which is too old")]
)
def test_a_training_state_of_another_time_is_refused(stopped, number, says):
    rewrite(stopped.last, format=number)
    with pytest.raises(DataError, match=says):
        resume(stopped)


def test_a_model_of_another_time_is_refused(whole, tmp_path):
    file = shutil.copy(whole.best, tmp_path / "model.safetensors")
    rewrite(Path(file), format="maskwright-model-2")
    with pytest.raises(DataError, match=r"model format 2, from a newer Maskwright \(this version reads 1\)"):
        load_segmenter(Path(file))


def test_images_that_are_damaged_are_said(tmp_path):
    run = trained_run(tmp_path / "run")
    for content in ("[]", "{}", '{"train": [], "val": {}}', "{"):
        (run.path / "images.json").write_text(content)
        with pytest.raises(DataError, match=r"images\.json"):
            run.images()


def test_evaluations_are_in_the_order_of_their_numbers(tmp_path):
    run = trained_run(tmp_path / "run")
    for number in (1000, 2, 999):
        add_evaluation(run.path, predict(truth(3), 0.8, 1), number=number)
    names = ["test-002", "test-999", "test-1000"]
    assert [folder.name for folder in run.evaluation_folders()] == names
    assert [scored.folder.name for scored in run.evaluations()] == names[::-1]
    assert newest(run, "test").folder.name == "test-1000"


def test_doctor_says_what_compare_says_of_a_run_that_has_learnt_nothing(tmp_path):
    """One rule: a constant prediction scores as high."""
    true = truth(30)
    unlearnt, learnt = (trained_run(tmp_path / name, model=name) for name in ("UNet", "SegNet"))
    for run in (unlearnt, learnt):  # a log in which the training doctor sees nothing
        run.metrics.truncate(0)
        for at in (10, 20):
            run.metrics.append({"iteration": at, "epoch": at / 10, "loss": 9 / at, "lr": 0.1})
            run.metrics.append(
                {"iteration": at, "val_loss": 9 / at, "val_mIoU": 0.5, "val_iou": [0.5] * 3, "best": True}
            )
    counts = predict(true, 0.8, 1)
    constant = counts * 0
    constant[:, :, 0] = true
    add_evaluation(unlearnt.path, constant)
    add_evaluation(learnt.path, counts)
    said = {finding.code: finding for finding in compare(tmp_path).findings}["number.trivial"]
    assert said.evidence["runs"] == ["UNet"]
    report = doctor(unlearnt)
    (finding,) = report.findings
    assert (finding.code, finding.message, finding.fix) == (said.code, f"test: {said.message}", said.fix)
    assert finding.split == "test" and "not better than a constant prediction" in report.human()
    assert doctor(learnt).findings == [] and "no problem found" in doctor(learnt).human()
    # Of a folder of runs each is told by its name.
    (finding,) = doctor(tmp_path).findings
    assert finding.message == f"UNet: test: {said.message}"
    # The newest evaluation of a split counts.
    add_evaluation(unlearnt.path, counts, number=2)
    assert doctor(unlearnt).findings == []


def test_the_history_has_a_row_an_iteration(tmp_path):
    run = logged_run(tmp_path / "run", steps=40)
    history = run.history()
    assert [row["iteration"] for row in history] == [10, 20, 30, 40]
    assert [("val_mIoU" in row, row["loss"]) for row in history] == [
        (False, 0.1),
        (True, 0.05),
        (False, 1 / 30),
        (True, 1 / 40),
    ]
    assert history[1] == {
        key: value for row in run.metrics.read() if row["iteration"] == 20 for key, value in row.items()
    }
    frame = history.to_pandas()
    assert list(frame["iteration"]) == [10, 20, 30, 40] and list(frame["val_mIoU"].isna()) == [True, False, True, False]
    run.metrics.truncate(0)
    assert run.history() == []
