"""The verdict as a sentence, and the decision as text."""

from pathlib import Path

import pytest

from maskwright.evaluation.metrics import Interval
from maskwright.labels.deciding.estimating import PAIRS, WayDifference, choose_way
from maskwright.labels.deciding.results import Decision, Question, reason_for

QUESTION = Question("set", Path("set"), "v1", Path("found"), 0.5, ["a", "b", "c"] * 20, 3.0)
ENDS = {"+": Interval(0.02, 0.01, 0.03), "-": Interval(-0.02, -0.03, -0.01), "0": Interval(0.0, -0.01, 0.01)}


def differences(signs):
    """In the order of `PAIRS`: + is clear of 0 above, - below, 0 holds it."""
    return [WayDifference(first, second, ENDS[sign], [0.0]) for (first, second), sign in zip(PAIRS, signs, strict=True)]


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        ("000", "no significant difference: keep them, which costs nothing"),
        ("00+", "keep them: neither excluding nor repairing them is significantly better"),
        ("-0+", "keep them: excluding them is worse"),
        ("--0", "keep them: excluding and repairing them is worse"),
        (
            "++0",
            "exclude them: +0.0200 [+0.0100, +0.0300] mIoU over keeping them, and repairing is not significantly "
            "better than that (+0.0000 [-0.0100, +0.0100])",
        ),
        (
            "0+0",
            "repair them: +0.0200 [+0.0100, +0.0300] mIoU over keeping them, while excluding them is not significantly "
            "better; 3.0 h of work",
        ),
        (
            "+++",
            "repair them: +0.0200 [+0.0100, +0.0300] mIoU over keeping them, and +0.0200 [+0.0100, +0.0300] over "
            "excluding them; 3.0 h of work",
        ),
    ],
)
def test_the_verdict_as_a_sentence(signs, reason):
    found = differences(signs)
    assert reason_for(choose_way(found), found, QUESTION) == reason


def test_the_text():
    scores = {"keep": [0.5, 0.6], "exclude": [0.5, 0.5], "repair": [0.7, 0.8]}
    decision = Decision(
        QUESTION,
        "repair",
        "repair them",
        Path("out"),
        40,
        [30, 29],
        [10, 11],
        {"missing": 3, "coarse_blob": 1},
        scores,
        differences("-++"),
        100,
        (64, 96),
        12.0,
        ["an estimate"],
    )
    assert decision.human().splitlines() == [
        "60 samples of set suspect (score 0.5 or more); simulated 2 times on 40 other samples",
        "trained on 29 to 30 images, evaluated on 10 to 11; planted errors: missing 3, coarse blob 1",
        "                       mIoU       95 % interval                          work",
        "  keep               0.5500",
        "  exclude            0.5000",
        "  repair             0.7500                      3.0 h (60 masks, 3 min each)",
        "  exclude - keep    -0.0200  [-0.0300, -0.0100]",
        "  repair - keep     +0.0200  [+0.0100, +0.0300]",
        "  repair - exclude  +0.0200  [+0.0100, +0.0300]",
        "verdict: repair them",
        "note: an estimate",
    ]
    assert repr(decision).startswith(
        "Decision(verdict='repair', reason='repair them', dataset='set', suspect_samples=60"
    )
    assert "\n" not in repr(decision) and str(decision) == decision.human()
    assert decision.to_dict()["ways"][2] == {
        "way": "repair",
        "meaning": "train with their masks drawn anew",
        "mIoU": 0.75,
        "repeats": [0.7, 0.8],
        "minutes": 180.0,
    }
