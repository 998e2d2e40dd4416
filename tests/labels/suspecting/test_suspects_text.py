"""What the terminal shows of suspects."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from maskwright.errors import SetupError
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.text import self_test_facts
from suspected import LABEL_SETS, SELF_TEST, suspected


def test_the_head_of_the_ranking_and_the_counts_by_kind():
    lines = suspected([f"s{place:02d}" for place in range(14)], ["fine"]).human().splitlines()
    assert lines[0] == "pets: 14 of 15 samples suspect, 14 regions"
    assert lines[1].split() == [
        "sample",
        "score",
        "agreement",
        "likely",
        "error",
        "wrong",
        "pixels",
        "suspect",
        "regions",
        "split",
    ]
    assert lines[2].split() == ["s00", "0.990", "1.000", "missing", "6.2", "%", "1", "train"]
    assert lines[11].startswith("  s09") and lines[12] == "  and 4 more"
    assert lines[13] == "errors by kind: " + ", ".join(
        f"{2 if place < 14 - len(KINDS) else 1} {kind.replace('_', ' ')}" for place, kind in enumerate(KINDS)
    )
    assert "note: 2 samples are `left out`" in lines and "written: work (index.html" in lines[-2]


def test_the_kind_of_a_sample_is_that_of_its_most_likely_suspect():
    result = suspected(["a", "b"])
    worst = replace(result.suspects[1], sample="a", score=0.999)
    text = replace(result, suspects=[worst, *result.suspects]).human()
    assert text.splitlines()[2].split()[:4] == ["a", "0.990", "1.000", "hallucinated"]


def test_the_commands_that_follow_can_be_copied():
    text = suspected(["a"], root=Path("my data")).human()
    assert "`maskwright suspects 'my data' --apply --min-confidence 0.9`" in text
    assert "`maskwright edits 'my data' --undo`" in text


def test_without_a_suspect_nothing_is_to_be_done():
    text = suspected([], ["a", "b"], notes=[]).human()
    assert text.splitlines() == [
        "pets: 0 of 2 samples suspect",
        "written: work (index.html shows the most likely errors, suspects.json lists all)",
    ]


def test_the_self_test():
    text = suspected(["a"], self_test=SELF_TEST).human()
    assert (
        "self-test: 90 errors planted in copies of the masks\n  average precision 0.875, compared with 0.625 by softmin\n"
        in text
    )
    assert "  share with a planted error among the first: 100.0 % of 10, 85.0 % of 20\n" in text
    assert (
        "all proposals applied: of 61 planted masks 90.0 % are better and 5.0 % worse; IoU with the right label 0.500 before, 0.750 after"
        in text
    )
    assert "all proposals applied: of 90 other masks 3 are worse (3.3 %)" in text
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
    assert "not better" in self_test_facts(worse)[0]
    assert not any("not better" in fact for fact in self_test_facts(SELF_TEST))


@pytest.mark.parametrize("key", list(SELF_TEST))
def test_what_was_not_measured_is_left_out(key):
    less = {name: value for name, value in SELF_TEST.items() if name != key}
    inner = {name: {} if isinstance(value, dict) else value for name, value in SELF_TEST.items()}
    assert suspected(["a"], self_test=less).human() and suspected(["a"], self_test=inner).human()
    assert self_test_facts({}) == []


def test_other_labels_of_the_same_images():
    assert (
        "compared with hurried: 50 samples, mIoU 0.812 between the two; where they differ, the models agree with: "
        "11 these labels, 31 the others, 8 neither" in suspected(["a"], label_sets=LABEL_SETS).human()
    )


def test_a_name_does_not_steer_the_terminal():
    text = suspected(["a\x1b[2Jb"]).human()
    assert "\x1b" not in text and "a\\x1b[2Jb" in text


def test_one_of_each_is_singular():
    text = suspected(["a"]).human()
    assert text.startswith("pets: 1 of 1 sample suspect, 1 region\n")
    facts = self_test_facts({"clean": {"masks": 1, "harmed": 1, "harm_rate": 1.0}})
    assert facts == ["all proposals applied: of 1 other mask 1 is worse (100.0 %)"]


def test_a_short_repr_and_a_text():
    result = suspected([f"s{place}" for place in range(500)])
    assert repr(result) == (
        "SuspectsResult(dataset='pets', samples=500, suspect_samples=500, suspect_regions=500, folder='work')"
    )
    assert str(result) == result.human() and "<table>" in result._repr_html_()


def test_tables_of_pandas():
    result = suspected(["a", "b"], ["c"])
    regions, samples = result.to_pandas(), result.to_pandas("samples")
    assert regions["sample"].tolist() == ["a", "b"] and samples["sample"].tolist() == ["a", "b", "c"]
    first = regions.iloc[0]
    assert first[["x", "y", "width", "height"]].tolist() == [10, 20, 30, 15]
    assert (first["kind"], first["share_missing"], first["error_pixels"]) == ("missing", 0.3, 1000)
    assert regions["share_hallucinated"].tolist() == [0.0, 0.7] and samples["score"].tolist()[-1] == 0.25
    nothing = suspected([])
    assert nothing.to_pandas().empty and [*nothing.to_pandas().columns] == [*regions.columns]
    assert [*nothing.to_pandas("samples").columns] == [*samples.columns]


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SetupError, match=r"maskwright\[pandas\]"):
        suspected(["a"]).to_pandas()
