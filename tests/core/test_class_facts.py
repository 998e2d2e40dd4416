"""What masks hold of each class, against plain loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwright.core.class_facts import ClassFacts, ClassSurvey, remedies, widths


@given(arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.sampled_from([0, 1, 255])))
def test_widths_against_plain_loops(mask: np.ndarray) -> None:
    def stretch(line: np.ndarray, at: int) -> int:
        low = high = at
        while low and line[low - 1] == line[at]:
            low -= 1
        while high < len(line) - 1 and line[high + 1] == line[at]:
            high += 1
        return high - low + 1

    expected = [
        [min(stretch(mask[y], x), stretch(mask[:, x], y)) for x in range(mask.shape[1])] for y in range(mask.shape[0])
    ]
    np.testing.assert_array_equal(widths(mask), expected)


def test_a_pole_and_a_wire_are_as_wide_as_they_were_drawn() -> None:
    first, second = np.zeros((2, 60, 80), np.uint8)
    first[10:50, 20:23] = 1  # a pole
    first[5:7] = 2  # a wire
    second[10:30, 20:23] = 1
    second[59] = 255
    survey = ClassSurvey(4)
    survey.add(first)
    survey.add(second)
    ground, pole, wire, nothing = survey.facts()
    assert (pole.pixels, pole.images, pole.size, pole.width) == (180, 2, 90.0, 3.0)
    assert (wire.pixels, wire.images, wire.size, wire.width) == (160, 1, 160.0, 2.0)
    assert (nothing.pixels, nothing.share, nothing.images, nothing.size, nothing.width) == (0, 0.0, 0, None, None)
    assert ground.pixels == 2 * 60 * 80 - 80 - 340 and ground.images == 2 and ground.width > 10
    assert sum(one.share for one in survey.facts()) == pytest.approx(1)
    assert ClassFacts.from_dict(pole.to_dict()) == pole


def test_a_class_in_few_of_many_masks_is_measured_too() -> None:
    survey = ClassSurvey(2)
    plain = np.zeros((20, 20), np.uint8)
    for _ in range(200):
        survey.add(plain)
    marked = plain.copy()
    marked[3:7, 3:7] = 1
    survey.add(marked)
    assert survey.facts()[1] == ClassFacts(16, 16 / (201 * 400), 1, 16.0, 4.0)


def test_masks_without_a_counted_pixel() -> None:
    survey = ClassSurvey(2)
    survey.add(np.full((4, 4), 255, np.uint8))
    assert [one.share for one in survey.facts()] == [0, 0]


def test_what_helps_follows_from_the_facts() -> None:
    common = ClassFacts(10_000, 0.2, 80, 500.0, 30.0)
    assert remedies(["car"], [common], 80, {}) == ["training for longer"]
    narrow = ClassFacts(900, 0.02, 70, 60.0, 1.0)
    assert remedies(["wire"], [narrow], 80, {})[0].startswith("a larger data.image_size ('wire' is 1 px wide")
    windows = {"data": {"crop": {"scale": 0.5}}}
    assert remedies(["wire"], [narrow], 80, windows)[0].startswith("a larger data.crop.scale ('wire' is 1 px wide")
    seldom = ClassFacts(900, 0.02, 12, 60.0, 9.0)
    assert remedies(["boat"], [seldom], 80, {}) == ["data.repeat_rare: 0.5", "training for longer"]
    assert remedies(["boat"], [seldom], 80, {"data": {"repeat_rare": 0.3}}) == ["training for longer"]
    small = ClassFacts(9, 0.001, 70, 60.0, 9.0)
    assert remedies(["dot"], [small], 80, {"loss": "ce"})[0] == "class_weights: inverse_root in the loss ce"
    assert remedies(["dot"], [small], 80, {"loss": [{"name": "ce", "class_weights": [1, 2]}]}) == [
        "training for longer"
    ]
