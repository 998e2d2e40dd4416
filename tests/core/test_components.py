"""Objects are counted the same whatever part of a mask is looked at at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from maskwright.core.classes import IGNORE
from maskwright.core.components import component_counts


def expected(mask: np.ndarray, classes: int) -> list[int]:
    return [ndimage.label(mask == index, np.ones((3, 3)))[1] for index in range(classes)]


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 5), st.integers(0, 1000), st.integers(1, 300))
def test_as_scipy_counts_them(height: int, width: int, classes: int, seed: int, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, classes, (height, width)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.2] = IGNORE
    assert component_counts(mask, classes, pixels).tolist() == expected(mask, classes)


@pytest.mark.parametrize("pixels", [1, 7, 49, 1 << 24])
def test_what_turns_around_is_one_object(pixels: int) -> None:
    spiral = np.zeros((7, 7), np.uint8)
    spiral[0] = spiral[-1] = spiral[:, -1] = 1
    spiral[2:, 0] = spiral[2, :5] = 1
    assert component_counts(spiral, 3, pixels).tolist() == expected(spiral, 3) == [1, 1, 0]


def test_nothing_is_no_object() -> None:
    assert component_counts(np.full((4, 4), IGNORE, np.uint8), 2).tolist() == [0, 0]
