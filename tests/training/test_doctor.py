"""The training doctor: each symptom on a course that has it and only it, and none on a healthy one."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from helpers import write
from maskwright import doctor, evaluate
from maskwright.cli import main
from maskwright.core.class_facts import ClassFacts
from maskwright.errors import DataError
from maskwright.run import Run
from maskwright.training.doctor import NOT_FINITE, SYMPTOMS, Course, diagnose, examine
from maskwright.training.train import train
from tiny import config, write_dataset

RECORDS, EVALUATIONS = 60, 12


def course(**changes) -> Course:
    """A healthy one: the loss falls to a fifth, the scores rise, with some noise."""
    rng = np.random.default_rng(1)
    steps, evaluated = np.arange(1, RECORDS + 1) * 10.0, np.arange(1, EVALUATIONS + 1) * 50.0
    loss = 0.2 + 0.8 * np.exp(-steps / 100) + rng.normal(0, 0.01, RECORDS)
    gain = 1 - np.exp(-evaluated / 120)
    healthy = Course(
        1.0,
        steps,
        loss,
        loss + np.abs(rng.normal(0, 0.02, RECORDS)),
        0.01 * (1 - steps / 601) ** 0.9,
        evaluated,
        0.25 + 0.75 * np.exp(-evaluated / 100),
        0.3 + 0.5 * gain,
        np.stack([0.5 + 0.4 * gain, 0.1 + 0.6 * gain], 1),
        ["sky", "bird"],
        0.02,
        25.0,
    )
    return dataclasses.replace(healthy, **changes)


FACTS = {
    "sky": ClassFacts(9000, 0.9, 20, 400.0, 50.0),
    "bird": ClassFacts(950, 0.095, 15, 80.0, 9.0),
    "wire": ClassFacts(50, 0.005, 4, 12.0, 2.0),
}


def three(**changes) -> Course:
    """A healthy one but for a third class, which is never found."""
    ious = np.concatenate([course().ious, np.full((12, 1), 0.0003)], 1)
    return course(ious=ious, classes=["sky", "bird", "wire"], **changes)


STEPS = np.arange(RECORDS) / RECORDS
ILL = {
    "train.rate_high": course(loss=0.9 + 3 * np.sin(np.pi * STEPS), peak=0.9 + 3 * np.sin(np.pi * STEPS)),
    "train.rate_low": course(
        loss=1 - 0.1 * STEPS, peak=1 - 0.1 * STEPS, val_loss=np.linspace(1, 0.9, 12), miou=np.full(12, 0.3)
    ),
    "train.collapse": course(ious=np.stack([np.full(12, 0.7), np.where(np.arange(12) < 7, 0.2, 0)], 1)),
    "train.plateau": course(
        loss=0.9 + 0.1 * np.exp(-20 * STEPS),
        peak=0.9 + 0.1 * np.exp(-20 * STEPS),
        val_loss=np.full(12, 0.9),
        miou=np.full(12, 0.3),
    ),
    "train.overfitting": course(
        val_loss=np.concatenate([np.linspace(0.8, 0.4, 5), np.linspace(0.45, 0.9, 7)]),
        miou=np.concatenate([np.linspace(0.3, 0.6, 5), np.full(7, 0.58)]),
    ),
    "train.spike": course(peak=np.where(np.arange(RECORDS) == 40, 3.0, course().peak)),
    "train.loader": course(waited=0.6),
    "train.unjudged": course(miou=np.full(12, np.nan), ious=np.full((12, 2), np.nan), validated=[0, 0]),
    "train.class_missed": three(facts=FACTS, images=20),
    "train.class_untrained": three(facts=FACTS | {"wire": ClassFacts(0, 0.0, 0)}),
    "train.class_unvalidated": three(validated=[900, 500, 0]),
    "train.rare_windows": course(
        crops={"windows": 1200, "drawn": 0.4, "natural": [0.998, 0.002], "seen": [0.97, 0.03]}
    ),
    "train.repeated_images": course(
        repeats={"images": 4, "most": 3.1, "natural": [0.998, 0.002], "seen": [0.97, 0.03]}
    ),
}


def test_a_healthy_course_is_not_called_ill():
    assert diagnose(course()) == []


def test_every_symptom_has_its_example():
    assert ILL.keys() == SYMPTOMS.keys()


@pytest.mark.parametrize("code", ILL)
def test_each_symptom_is_seen_alone(code):
    findings = diagnose(ILL[code])
    assert [finding.code for finding in findings] == [code]
    assert findings[0].fix and findings[0].severity == SYMPTOMS[code].severity
    json.dumps(
        findings[0].to_dict()
        | {"evidence": {k: float(v) for k, v in findings[0].evidence.items() if isinstance(v, (int, float))}}
    )


def test_repeating_images_in_vain_is_said():
    repeats = {"images": 0, "most": 1.0, "natural": [0.9, 0.1], "seen": [0.9, 0.1]}
    (finding,) = diagnose(course(repeats=repeats))
    assert finding.code == "train.repeated_images" and "changes nothing" in finding.message


def test_it_says_when():
    assert "since iteration 250 (epoch 10.0)" in diagnose(ILL["train.overfitting"])[0].message
    assert "'sky' since iteration 400 (epoch 16.0)" in diagnose(ILL["train.collapse"])[0].message
    assert "between iterations 401 and 410" in diagnose(ILL["train.spike"])[0].message
    assert "60 %" in diagnose(ILL["train.loader"])[0].message


def test_what_may_help_a_class_that_is_missed_follows_from_the_data():
    (finding,) = diagnose(ILL["train.class_missed"])
    assert finding.message == "1 class is not found: 'wire' (validation IoU below 0.01 in the best checkpoint)"
    assert finding.fix == (
        "what may help: a larger data.image_size ('wire' is 2 px wide at the model's size); "
        "class_weights: inverse_root in the loss ce; data.repeat_rare: 0.5; "
        "more labelled images with it ('wire' is in 4 of 20); training for longer"
    )
    told = dataclasses.replace(
        ILL["train.class_missed"],
        config={"data": {"repeat_rare": 0.5}, "loss": [{"name": "ce", "class_weights": "inverse_root"}]},
    )
    (finding,) = diagnose(told)
    assert "class_weights" not in finding.fix and "repeat_rare" not in finding.fix


def test_a_log_without_facts_of_the_classes_still_says_what_is_missed():
    old = dataclasses.replace(ILL["train.class_missed"], facts={}, images=0)
    (finding,) = diagnose(old)
    assert finding.code == "train.class_missed" and "audit" in finding.fix


def test_no_class_is_missed_before_there_was_time_to_learn_it():
    early = dataclasses.replace(
        ILL["train.class_missed"],
        **{key: getattr(ILL["train.class_missed"], key)[:2] for key in ("evaluated", "val_loss", "miou", "ious")},
    )
    assert diagnose(early) == []
    (finding,) = diagnose(dataclasses.replace(early, finished=True))
    assert finding.code == "train.class_missed"


def test_a_training_that_is_best_at_its_end_has_no_plateau():
    """Mean IoU still rises, if slowly, while classes that are missed keep the loss high."""
    rising = dataclasses.replace(ILL["train.plateau"], miou=np.linspace(0.3, 0.32, 12))
    assert diagnose(rising) == []


def test_a_plateau_begins_where_little_is_gained_any_more_not_at_its_luckiest_evaluation():
    lucky = np.concatenate([np.linspace(0.2, 0.3, 4), np.full(8, 0.3)])
    lucky[10] = 0.304
    (finding,) = diagnose(dataclasses.replace(ILL["train.plateau"], miou=lucky))
    assert "since iteration 200 (epoch 8.0)" in finding.message and "only 0.004 more than then" in finding.message
    lucky[10], lucky[11] = 0.3, 0.304  # no more than chance, though it is the last one
    (finding,) = diagnose(dataclasses.replace(ILL["train.plateau"], miou=lucky))
    assert "since iteration 200 (epoch 8.0)" in finding.message


def test_consequences_are_left_out():
    both = dataclasses.replace(ILL["train.rate_high"], ious=ILL["train.collapse"].ious, waited=0.6)
    assert [finding.code for finding in diagnose(both)] == ["train.rate_high", "train.loader"]


def test_a_class_without_pixels_is_no_collapse():
    (finding,) = diagnose(course(ious=np.stack([np.full(12, 0.7), np.full(12, np.nan)], 1)))
    assert finding.code == "train.class_unvalidated" and "1 class has no validation pixel: 'bird'" in finding.message


def test_of_a_short_log_only_the_loading_is_told():
    short = course(loss=np.ones(3), peak=np.ones(3), iteration=np.arange(3.0), lr=np.ones(3), waited=0.5)
    assert [finding.code for finding in diagnose(short)] == ["train.loader"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("doctor") / "data", {"train": 8, "val": 3})


def test_a_real_run_is_examined_by_command_and_python(data, tmp_path, capsys):
    run = train(
        config(
            data, train={"iterations": 90, "evaluate_every": 9, "batch_size": 4, "ema": None}, optimizer={"lr": 30.0}
        ),
        out=tmp_path / "run",
    )
    assert re.search(r"learning rate of 2\d\.?\d* is too high", capsys.readouterr().err)
    found = Course.of(run)
    assert len(found.loss) == 10 and len(found.val_loss) == 10 and found.per_epoch == 2 and 0 <= found.waited < 1
    assert (found.peak >= found.loss).all() and found.iteration[-1] == 90
    findings = doctor(run.path).findings
    assert [finding.code for finding in findings] == ["train.rate_high"]
    with pytest.raises(SystemExit) as ended:
        main(["doctor", str(run.path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and told["findings"][0]["code"] == "train.rate_high"
    assert told["summary"]["by_severity"]["error"] == 1
    assert doctor().findings is None


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory):
    """`dot` has two pixels in each image, `ship` is in validation and test images only, `moon` in training images."""
    root = tmp_path_factory.mktemp("lopsided")
    for split, count in (("train", 8), ("val", 4), ("test", 3)):
        for index in range(count):
            rng = np.random.default_rng([len(split), index])
            mask = np.zeros((32, 32), np.uint8)
            mask[16:] = 1
            mask[rng.integers(2, 12), rng.integers(2, 28) + np.arange(2)] = 2
            mask[20:28, 4:20] = 4 if split == "train" else 3
            image = np.where(mask == 2, 0, mask) * 60 + rng.integers(0, 30, mask.shape)
            write(root / f"images/{split}/{index}.png", image.astype(np.uint8))
            write(root / f"masks/{split}/{index}.png", mask)
    names = enumerate(("sky", "sea", "dot", "ship", "moon"))
    (root / "dataset.yaml").write_text(
        "layout: split_folders\nimages: {folder: images}\nmasks: {folder: masks}\n"
        "splits: {train: train, val: val, test: test}\nclasses:\n"
        + "".join(f"  - {{id: {i}, name: {name}}}\n" for i, name in names)
        + "ignore: 255\n"
    )
    return root


def test_classes_that_cannot_be_found_are_said_at_the_end_by_the_doctor_and_of_the_numbers(lopsided, tmp_path, capsys):
    run = train(config(lopsided, train={"iterations": 20, "evaluate_every": 10}), out=tmp_path / "run")
    said = capsys.readouterr().err
    before = said[: said.index("trained 20 iterations")]
    assert "warning: 1 class has no training pixel: 'ship'" in before
    assert "info: 1 class has no validation pixel: 'moon'" in before
    assert re.search(
        r"warning: \d class(es are| is) not found: .*'dot'.* \(validation IoU below 0.01 in the best", said
    )
    assert "warning: 1 class has no training pixel: 'ship': there is nothing to learn it from" in said
    assert "info: 1 class has no validation pixel: 'moon': nothing tells how well it is learnt" in said
    assert run.training_classes()["dot"] == ClassFacts(16, 16 / (8 * 1024), 8, 2.0, 1.0)
    codes = {finding.code: finding for finding in doctor(run).findings}
    assert {"train.class_missed", "train.class_untrained", "train.class_unvalidated"} <= {*codes}
    assert "'dot' is 1 px wide at the model's size" in codes["train.class_missed"].fix
    told = {finding.code: finding for finding in evaluate(run, split="test").findings}
    assert "'dot'" in told["number.class_missed"].message and "IoU below 0.01" in told["number.class_missed"].message
    assert told["number.class_untrained"].evidence["classes"] == ["ship"]
    assert "'dot' is 1 px wide" in told["number.class_missed"].fix


def test_a_loss_that_is_not_finite_names_the_files_until_it_is_mended(data, tmp_path):
    with pytest.raises(DataError, match="not finite"):
        train(config(data, train={"iterations": 60, "batch_size": 4}, optimizer={"lr": 1e25}), out=tmp_path / "run")
    run = Run.open(tmp_path / "run")
    (finding,) = examine(run)
    assert finding.code == NOT_FINITE and set(finding.evidence["samples"]) <= {f"train/train_{i:02d}" for i in range(8)}
    assert len(finding.evidence["samples"]) == 4 and run.last.is_file()
