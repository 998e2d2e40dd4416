"""Groups from names, and groups that equal images pull together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.data.splitting.grouping import group_of, joined
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
