"""Every guard sees its trap, and none of them barks at clean numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maskwright.core.class_facts import ClassFacts
from maskwright.core.findings import Severity
from maskwright.evaluation.guarding import GUARDS, guard
from maskwright.evaluation.guarding.number import Number, Origin, Training
from maskwright.evaluation.guarding.speed import Speed

IMAGES = tuple(f"test/{i:02d}" for i in range(30))
TRAINING = Training(
    frozenset(f"train/{i}" for i in range(50)), frozenset(f"val/{i}" for i in range(10)), "v1", True, 40
)
CLEAN = Number(
    "run-a",
    "test",
    IMAGES,
    (("ground", 5000), ("tree", 900)),
    {"aAcc": 0.95, "mAcc": 0.8, "mIoU": 0.75, "mDice": 0.85},
    {"aAcc": 0.85, "mAcc": 0.5, "mIoU": 0.42},
    "v1",
    TRAINING,
    Origin(40),
    Speed(10.0, 0.02, "cpu, 2"),
)
OTHER = replace(CLEAN, name="run-b", scores={**CLEAN.scores, "mIoU": 0.7}, speed=Speed(9.5, 0.02, "cpu, 2"))


def trained(**changes: object) -> Number:
    return replace(CLEAN, training=replace(TRAINING, **changes))


def made(**changes: object) -> Number:
    return replace(CLEAN, origin=replace(CLEAN.origin, **changes))


TRAPS = {
    "number.trained_on": [[trained(train=frozenset(IMAGES))], [trained(train=frozenset(IMAGES[:1]))]],
    "number.leakage": [[made(copies=((IMAGES[0], "train/7"),))]],
    "number.trivial": [[replace(CLEAN, scores={"mIoU": 0.42})], [replace(CLEAN, scores={"mIoU": None})]],
    "number.one_image": [[replace(CLEAN, images=IMAGES[:1])]],
    "number.changed_weights": [[made(changed=True)]],
    "number.other_split": [[CLEAN, OTHER, replace(OTHER, name="c", split="val", images=None)]],
    "number.other_images": [
        [CLEAN, OTHER, replace(OTHER, name="c", images=IMAGES[1:])],
        [CLEAN, OTHER, replace(OTHER, name="c", classes=(("ground", 4999), ("tree", 901)))],
    ],
    "number.selected_on": [[trained(val=frozenset(IMAGES))], [trained(val=frozenset(IMAGES[:3]))]],
    "number.tuned_on": [[made(tuned_on=IMAGES)], [made(tuned_on=IMAGES[:3])]],
    "number.unchecked": [[made(checked=False)]],
    "number.not_best": [[made(iteration=80)]],
    "number.unfinished": [[trained(finished=False)]],
    "number.few_images": [[replace(CLEAN, images=IMAGES[:19])], [replace(CLEAN, images=IMAGES[:2])]],
    "number.absent_class": [[replace(CLEAN, classes=(("ground", 5000), ("tree", 0)))]],
    "number.class_missed": [
        [replace(CLEAN, missed=(("tree", 0),))],
        [replace(CLEAN, missed=(("tree", 30),)), replace(OTHER, missed=(("tree", 30),))],
    ],
    "number.class_untrained": [[replace(trained(classes={"tree": ClassFacts(0, 0.0, 0)}), missed=(("tree", 0),))]],
    "number.version": [[replace(CLEAN, version="v2")]],
    "number.other_version": [[CLEAN, OTHER, replace(OTHER, name="c", version="v2", training=None)]],
    "number.other_tree": [[made(same_tree=False)]],
    "number.other_choice": [
        [CLEAN, OTHER, replace(trained(config={"train": {"best": {"score": "mDice"}}}), name="run-c")]
    ],
    "number.other_selector": [
        [replace(CLEAN, selector="leaf"), replace(OTHER, selector="leaf"), replace(OTHER, name="c", selector="levels")]
    ],
    "number.loading": [[CLEAN, replace(OTHER, speed=Speed(5.0, 0.51, "cpu, 2"))]],
    "number.trivial_accuracy": [[replace(CLEAN, scores={"mIoU": 0.5, "aAcc": 0.85})]],
    "number.weak_truth": [[made(weak=3)]],
    "number.same_names": [[made(same_names=IMAGES[:2])]],
    "number.other_machine": [[CLEAN, OTHER, replace(OTHER, name="c", speed=Speed(5.0, 0.51, "cuda, 8"))]],
    "number.unknown_training": [[replace(CLEAN, training=None)]],
}


def test_every_guard_has_a_trap():
    assert {*TRAPS, "number.chosen_on_scored"} == {*GUARDS}


@pytest.mark.parametrize("code", TRAPS)
def test_every_trap_is_seen(code):
    for numbers in TRAPS[code]:
        found = {finding.code: finding for finding in guard(numbers)}
        assert set(found) <= {code, "number.unknown_training"} and found[code].severity == GUARDS[code].severity
        assert found[code].message and found[code].fix and found[code].evidence["runs"]


def test_missed_classes_are_told_apart_by_whether_they_are_predicted():
    number = replace(
        trained(
            train=frozenset(map(str, range(50))),
            classes={"pole": ClassFacts(300, 0.003, 40, 80.0, 2.0), "sign": ClassFacts(900, 0.02, 9, 90.0, 9.0)},
        ),
        missed=(("pole", 0), ("sign", 17)),
    )
    (one,) = guard([number])
    assert one.message == (
        "1 class is never predicted: 'pole'; 1 class is predicted, but hardly anywhere correctly: 'sign' (IoU below 0.01)"
    )
    assert "'pole' is 2 px wide" in one.fix and "'sign' is in 9 of 50" in one.fix
    assert one.evidence == {"runs": ["run-a"], "never": ["pole"], "classes": ["pole", "sign"]}


def test_no_alarm_on_clean_numbers():
    assert guard([CLEAN]) == guard([CLEAN, OTHER]) == guard([CLEAN, OTHER], chosen_on="val") == []


def test_choosing_on_the_scored_split_is_remarked():
    (one,) = guard([CLEAN, OTHER], chosen_on="test", optimism=0.0123)
    assert (
        one.code == "number.chosen_on_scored"
        and "by about 0.0123" in one.message
        and one.evidence["optimism"] == 0.0123
    )
    assert one.evidence["runs"] == ["run-a", "run-b"]
    assert guard([CLEAN], chosen_on="test") == []


def test_what_is_said_of_several_in_the_same_words_is_said_once():
    (one,) = guard([replace(number, images=IMAGES[:8]) for number in (CLEAN, OTHER)])
    assert one.evidence == {"runs": ["run-a", "run-b"], "images": 8} and one.split == "test"


def test_names_of_another_dataset_are_not_those_of_the_training():
    number = replace(
        trained(train=frozenset(IMAGES), val=frozenset(IMAGES)), version="other", origin=Origin(40, same_data=False)
    )
    assert guard([number]) == []


def test_a_log_of_another_tool_that_ends_with_its_last_epoch():
    """Of a foreign log little is known, and what is not known is no finding."""
    log = Number("foreign", "val", scores={"mIoU": 0.7}, training=Training(best=70), origin=Origin(100))
    (one,) = guard([log])
    assert one.code == "number.not_best" and one.evidence["best"] == 70
    assert guard([replace(log, origin=Origin(70))]) == []


def test_really_faster_is_no_loading():
    for speed in (Speed(5.0, 0.02, "cpu, 2"), Speed(8.0, 0.3, "cuda"), Speed(9.4, 0.5, "cpu, 2")):
        assert not any(f.code == "number.loading" for f in guard([CLEAN, replace(OTHER, speed=speed)]))


def test_the_worst_comes_first():
    found = guard([replace(made(same_names=IMAGES[:2], copies=((IMAGES[0], "train/7"),)), images=IMAGES[:8])])
    assert [f.severity for f in found] == [Severity.ERROR, Severity.WARNING, Severity.INFO]
