"""Class colours: distinct to every kind of colour vision, and hex text both ways."""

from __future__ import annotations

import colorsys
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.palette import OKABE_ITO, VISIONS, colour_of, from_hex, seen, separation, to_hex


def test_colours_differ() -> None:
    colours = [colour_of(i) for i in range(254)]
    assert len(set(colours)) == 254
    assert tuple(colours[:8]) == OKABE_ITO
    assert all(0 <= part <= 255 for i in (*range(254), 1000) for part in colour_of(i))


@pytest.mark.parametrize(("classes", "least"), [(8, 16), (20, 16), (30, 13.5), (60, 9), (254, 4)])
def test_every_kind_of_eye_tells_them_apart(classes: int, least: float) -> None:
    assert separation([colour_of(i) for i in range(classes)]) > least


def test_hues_a_golden_angle_apart_are_not_enough() -> None:
    hues = [colorsys.hls_to_rgb(i * 0.381966 % 1, 0.5, 0.65) for i in range(12)]
    assert separation(np.array(hues) * 255) < 3


def test_each_later_colour_is_the_furthest_there_is() -> None:
    axis = range(0, 256, 15)
    grid = np.array(list(itertools.product(axis, axis, axis)), np.uint8)
    grid = grid[np.linalg.norm(seen(grid)[:, 1:], axis=1) >= 30]
    views = {vision: seen(grid, vision) for vision in VISIONS}

    def distance(colour: tuple[int, int, int]) -> np.ndarray:
        return np.min([np.linalg.norm(lab - seen([colour], vision), axis=1) for vision, lab in views.items()], axis=0)

    nearest = np.min([distance(colour) for colour in (*OKABE_ITO, (255, 255, 255))], axis=0)
    for index in range(8, 254):
        place = (grid == colour_of(index)).all(1)
        assert nearest[place] > nearest.max() - 0.02
        nearest = np.minimum(nearest, distance(colour_of(index)))


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_lab_is_that_of_opencv(colour: tuple[int, int, int]) -> None:
    expected = cv2.cvtColor(np.array([[colour]], np.float32) / 255, cv2.COLOR_RGB2Lab)[0, 0]
    assert np.abs(seen([colour])[0] - expected).max() < 0.6


def test_colour_blindness_hides_the_colours_it_is_known_to_hide() -> None:
    red, green, blue, yellow = [(190, 80, 0), (110, 120, 0), (0, 0, 200), (230, 220, 0)]
    normal, deuteranopia = (
        [np.linalg.norm(a - b) for a, b in (seen([red, green], vision), seen([blue, yellow], vision))]
        for vision in ("normal", "deuteranopia")
    )
    assert deuteranopia[0] < normal[0] / 3 and deuteranopia[1] > 100
    # Greys are seen alike by all.
    assert all(np.abs(seen([(90, 90, 90)], vision) - seen([(90, 90, 90)])).max() < 0.1 for vision in VISIONS)


def test_separation_of_few() -> None:
    assert separation([]) == separation([(1, 2, 3)]) == float("inf")
    assert separation([(1, 2, 3), (200, 0, 0), (1, 2, 3)]) == 0


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_hex_round_trip(colour: tuple[int, int, int]) -> None:
    assert from_hex(to_hex(colour)) == colour
    assert from_hex(to_hex(colour).lower().removeprefix("#")) == colour


@pytest.mark.parametrize("text", ["", "#12345", "#1234567", "#GGGGGG", "red", "#+12345", "#-12345", "#1_2345"])
def test_bad_hex(text: str) -> None:
    with pytest.raises(ValueError):
        from_hex(text)
