"""Groups from names, and groups that equal images pull together."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.sample import Sample
from maskwright.data.splitting.grouping import group_of, groups_of, joined
from maskwright.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "pattern", "group"),
    [
        ("train/p7_03", r"(p\d+)_", "p7"),
        ("train/p7_03", r"p\d+", "p7"),
        ("train/other", r"(p\d+)_", "train/other"),
        ("a_1", "a(_x)?", "a_1"),
        ("a_1", "(x*)", "a_1"),
        ("a_1", "(a)(_1)", "a"),
        ("vid1-frame3", "^(.*)-", "vid1"),
        ("café_2", r"(\w+)_", "café"),
    ],
)
def test_group_of(name: str, pattern: str, group: str) -> None:
    assert group_of(name, pattern) == group


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<x", "*", "a{99999999999999999999}", "(" * 5000])
def test_no_regular_expression(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"pattern .*: is no regular expression .*; write for example"):
        group_of("name", pattern)


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from([b"1", b"2", b"3", b"4", b"5", b"6"]))))
def test_joined_are_the_connected_components(samples: list[tuple[str, bytes]]) -> None:
    found = joined([group for group, _ in samples], [digest for _, digest in samples])
    # Spread the least name until nothing changes.
    names = [group for group, _ in samples]
    for _ in samples:
        names = [
            min(names[j] for j, other in enumerate(samples) if other[0] == one[0] or other[1] == one[1])
            for one in samples
        ]
    assert found == names
    order = random.Random(0).sample(range(len(samples)), len(samples))
    assert joined([samples[i][0] for i in order], [samples[i][1] for i in order]) == [found[i] for i in order]


def test_a_long_chain_is_no_problem() -> None:
    groups = [f"{i // 2:06d}" for i in range(40_000)]
    digests = [((i + 1) // 2).to_bytes(4) for i in range(40_000)]
    assert set(joined(groups, digests)) == {"000000"}


def samples(*names: str) -> list[Sample]:
    """With their first folder as their split, where there is one."""
    return [Sample(name, Path(name), split=name.split("/")[0] if "/" in name else None) for name in names]


@pytest.mark.parametrize("pattern", [r"^(patient[0-9]+)", r"(patient\d+)", "^(.*)_"])
@pytest.mark.parametrize("splits", [("train", "val"), ("Training", "valid"), ("fold 1", "fold 2")])
def test_groups_do_not_hold_the_split_of_before(pattern: str, splits: tuple[str, str]) -> None:
    found = groups_of(samples(*(f"{split}/patient{p}_{i}" for p in "01" for i, split in enumerate(splits))), pattern)
    assert set(found.values()) == {"patient0", "patient1"} and len(found) == 4


def test_a_split_that_was_edited_since_is_left_out_too() -> None:
    moved = [Sample("train/p1_a", Path("a"), split="test"), Sample("val/p1_b", Path("b"))]
    assert set(groups_of(moved, "^(p[0-9])").values()) == {"p1"}
    assert groups_of(samples("trainstation/p1_a", "p1_b"), "^(p[0-9])") == {
        "trainstation/p1_a": "p1",
        "p1_b": "p1",
    }  # its split is called so
    unsplit = [Sample("station/p1_a", Path("a"))]
    assert groups_of(unsplit, "^(station)") == {"station/p1_a": "station"}


@pytest.mark.parametrize(
    ("names", "offered"),
    [
        (["train/patient00_1", "val/patient00_2", "val/patient01_1"], "^([A-Za-z]+[0-9]+)"),
        (["train/a/1", "val/a/2", "val/b/3"], "^([^/]+)/"),
        (["7_x", "7_y", "8_x"], "^([^_]+)_"),
        (["12-x", "12-y", "13-x"], "^([^-]+)-"),
        (["000", "001", "002"], "--group-file|`group_file`"),
    ],
)
def test_a_pattern_that_catches_nothing_is_refused_with_one_that_would_do(names: list[str], offered: str) -> None:
    with pytest.raises(ConfigError) as error:
        groups_of(samples(*names), "^(film[0-9])")
    text = str(error.value)
    assert any(one in text for one in offered.split("|")) and "\n" not in text
    shown = names[len(names) // 2].removeprefix("train/").removeprefix("val/")
    assert repr(shown) in text and ("without their split" in text) is ("/" in names[0])
    if offered.startswith("^"):
        groups = set(groups_of(samples(*names), offered).values())
        assert 1 < len(groups) < len(names)


def test_some_names_without_a_match_are_groups_of_their_own() -> None:
    found = groups_of(samples("train/p1_a", "val/p1_b", "val/other"), "^(p[0-9])")
    assert found == {"train/p1_a": "p1", "val/p1_b": "p1", "val/other": "val/other"}
    assert groups_of([], "x") == {}
