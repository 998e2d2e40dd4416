"""Class colours: distinct, also where lightness is all that is seen, and hex text both ways."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.palette import OKABE_ITO, colour_of, from_hex, to_hex


def test_colours_differ() -> None:
    colours = [colour_of(i) for i in range(40)]
    assert len(set(colours)) == 40
    assert tuple(colours[:8]) == OKABE_ITO
    assert all(0 <= part <= 255 for i in range(254) for part in colour_of(i))


def test_neighbours_differ_in_lightness() -> None:
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (colour_of(i) for i in range(8, 60))]
    assert min(abs(a - b) for a, b in itertools.pairwise(light)) > 40


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_hex_round_trip(colour: tuple[int, int, int]) -> None:
    assert from_hex(to_hex(colour)) == colour
    assert from_hex(to_hex(colour).lower().removeprefix("#")) == colour


@pytest.mark.parametrize("text", ["", "#12345", "#1234567", "#GGGGGG", "red", "#+12345", "#-12345", "#1_2345"])
def test_bad_hex(text: str) -> None:
    with pytest.raises(ValueError):
        from_hex(text)
