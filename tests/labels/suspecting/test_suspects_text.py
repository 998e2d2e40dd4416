"""What the terminal shows of suspects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.text import human, self_test_facts
from suspected import LABEL_SETS, SELF_TEST, suspected


def test_the_head_of_the_ranking_and_the_counts_by_kind():
    lines = human(suspected([f"s{place:02d}" for place in range(14)], ["fine"])).splitlines()
    assert lines[0] == "pets: 14 of 15 samples hold a suspect, 14 regions"
    assert lines[1].split() == ["sample", "score", "kind", "wrong", "pixels", "suspects", "split"]
    assert lines[2].split() == ["s00", "0.990", "missing", "6.2", "%", "1", "train"]
    assert lines[11].startswith("  s09") and lines[12] == "  and 4 more"
    assert lines[13] == "kinds: " + ", ".join(f"2 {kind.replace('_', ' ')}" for kind in KINDS)
    assert "note: 2 samples are `left out`" in lines and "written: work (index.html" in lines[-2]


def test_the_kind_of_a_sample_is_that_of_its_likeliest_suspect():
    result = suspected(["a", "b"])
    likeliest = replace(result.suspects[1], sample="a", score=0.999)
    text = human(replace(result, suspects=[likeliest, *result.suspects]))
    assert text.splitlines()[2].split()[:3] == ["a", "0.990", "hallucinated"]


def test_the_commands_that_follow_can_be_copied():
    text = human(suspected(["a"], root=Path("my data")))
    assert "`maskwright suspects 'my data' --apply --min-confidence 0.9`" in text
    assert "`maskwright edits 'my data' --undo`" in text


def test_without_a_suspect_nothing_is_to_be_done():
    text = human(suspected([], ["a", "b"], notes=[]))
    assert text.splitlines() == [
        "pets: 0 of 2 samples hold a suspect",
        "written: work (index.html shows the worst, suspects.json names all)",
    ]


def test_the_self_test():
    text = human(suspected(["a"], self_test=SELF_TEST))
    assert (
        "self-test: 90 errors planted in copies of the masks\n  average precision 0.875, beside 0.625 by softmin\n"
        in text
    )
    assert "  planted errors among the first: 100.0 % of 10, 85.0 % of 20\n" in text
    assert (
        "all proposals taken over: of 61 planted masks 90.0 % are better and 5.0 % worse; IoU with the right label 0.500 before, 0.750 after"
        in text
    )
    assert "all proposals taken over: of 90 other masks 3 are worse (3.3 %)" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["wrong", "class", "15", "75.0", "%", "0.588"] in rows and [
        "kind",
        "planted",
        "found",
        "average",
        "precision",
    ] in rows


def test_a_ranking_no_better_than_a_baseline_says_so():
    worse = SELF_TEST | {"average_precision": 0.5}
    assert "no better than that" in self_test_facts(worse)[0]
    assert not any("no better" in fact for fact in self_test_facts(SELF_TEST))


@pytest.mark.parametrize("key", list(SELF_TEST))
def test_what_was_not_measured_is_left_out(key):
    less = {name: value for name, value in SELF_TEST.items() if name != key}
    inner = {name: {} if isinstance(value, dict) else value for name, value in SELF_TEST.items()}
    assert human(suspected(["a"], self_test=less)) and human(suspected(["a"], self_test=inner))
    assert self_test_facts({}) == []


def test_other_labels_of_the_same_images():
    assert (
        "beside hurried: 50 samples, mIoU 0.812 between the two; preferred labels: 11 this, 31 other, 8 undecided"
        in human(suspected(["a"], label_sets=LABEL_SETS))
    )


def test_a_name_does_not_steer_the_terminal():
    assert "\x1b" not in human(suspected(["a\x1b[2Jb"])) and "a\\x1b[2Jb" in human(suspected(["a\x1b[2Jb"]))
