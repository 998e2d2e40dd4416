"""Turns and transposition: the very pixels, and for sizes that are not square what is stated."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskwright.core.classes import IGNORE
from maskwright.modeling.augment import Pipeline
from maskwright.modeling.augment.geometric import ClassCrop, HorizontalFlip, RandomRotate90, Rotate, Transpose

SQUARES = [(64, 64), (33, 33), (1, 1)]
OBLONG = [(60, 80), (61, 80), (80, 61), (60, 81), (5, 90)]


class Quarter:
    """Draws so many right angles."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def integers(self, most: int) -> int:
        assert most == 4
        return self.turns

    def random(self, count: int) -> np.ndarray:
        return np.zeros(count)


@pytest.mark.parametrize("size", SQUARES)
@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_of_squares_are_exact(size: tuple[int, int], turns: int, rng: np.random.Generator) -> None:
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 5, size, np.uint8)
    changed, labels = Pipeline([RandomRotate90(1)])(image, mask, Quarter(turns))  # type: ignore[arg-type]
    np.testing.assert_array_equal(changed, np.rot90(image, turns))
    np.testing.assert_array_equal(labels, np.rot90(mask, turns))


@pytest.mark.parametrize("size", SQUARES)
def test_transposed_squares_are_exact(size: tuple[int, int], rng: np.random.Generator) -> None:
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 5, size, np.uint8)
    changed, labels = Pipeline([Transpose(1)])(image, mask, rng)
    np.testing.assert_array_equal(changed, image.transpose(1, 0, 2))
    np.testing.assert_array_equal(labels, mask.T)
    changed, labels = Pipeline([Transpose(1), HorizontalFlip(1), Transpose(1)])(image, mask, rng)
    np.testing.assert_array_equal(changed, image[::-1])
    np.testing.assert_array_equal(labels, mask[::-1])


@pytest.mark.parametrize("size", OBLONG)
@pytest.mark.parametrize("turns", range(4))
def test_turns_of_other_sizes_are_about_the_middle(size: tuple[int, int], turns: int, rng: np.random.Generator) -> None:
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 5, size, np.uint8)
    changed, labels = Pipeline([RandomRotate90(1)], "ignore")(image, mask, Quarter(turns))  # type: ignore[arg-type]
    if turns % 2 == 0:
        np.testing.assert_array_equal(changed, np.rot90(image, turns))
        np.testing.assert_array_equal(labels, np.rot90(mask, turns))
        return
    known = labels != IGNORE
    rows, columns = (np.flatnonzero(known.any(axis)) for axis in (1, 0))
    kept = min(size)
    assert len(rows) == len(columns) == kept and known[np.ix_(rows, columns)].all()  # a square, exact, in the middle
    for lines, side in ((rows, size[0]), (columns, size[1])):
        assert abs(lines.mean() - (side - 1) / 2) <= 0.5
    inside = labels[np.ix_(rows, columns)], changed[np.ix_(rows, columns)]
    turned = np.rot90(mask, turns), np.rot90(image, turns)
    offsets = [
        (row, column)
        for row in range(turned[0].shape[0] - kept + 1)
        for column in range(turned[0].shape[1] - kept + 1)
        if all(
            np.array_equal(part[row : row + kept, column : column + kept], found)
            for part, found in zip(turned, inside, strict=True)
        )
    ]
    assert len(offsets) == 1
    row, column = offsets[0]
    assert abs(row - (turned[0].shape[0] - kept) / 2) <= 0.5 and abs(column - (turned[0].shape[1] - kept) / 2) <= 0.5


def test_all_turns_come_equally_often() -> None:
    rng = np.random.default_rng(0)
    found = [tuple(RandomRotate90(1).matrix((8, 8), rng)[0, :2]) for _ in range(800)]
    assert len(set(found)) == 4 and all(150 < found.count(one) < 250 for one in set(found))


def test_rotation_is_that_of_opencv() -> None:
    for seed in range(20):
        matrix = Rotate(1, 180).matrix((60, 80), np.random.default_rng(seed))
        angle = np.rad2deg(np.arctan2(matrix[0, 1], matrix[0, 0]))
        expected = cv2.getRotationMatrix2D((39.5, 29.5), angle, 1.0)
        np.testing.assert_allclose(matrix[:2], expected, atol=1e-9)
    angles = [
        np.rad2deg(np.arctan2(*Rotate(1, 40).matrix((9, 9), np.random.default_rng(s))[1::-1, 0])) for s in range(200)
    ]
    assert max(map(abs, angles)) <= 40 and min(angles) < -35 and max(angles) > 35


@pytest.mark.parametrize("limit", [-1, 181, float("nan")])
def test_settings_are_checked(limit: float) -> None:
    with pytest.raises(ValueError):
        Rotate(limit=limit)


class TestClassCrop:
    def test_a_pixel_of_a_random_class_is_in_it(self) -> None:
        """A class of three pixels is in half of the crops; of a crop at random places in about one of 14."""
        mask = np.zeros((60, 80), np.uint8)
        mask[40, 10:13] = 1
        image = np.repeat(mask[..., None] * np.uint8(200), 3, 2)
        crop = Pipeline([ClassCrop(1, (0.25, 0.25))])
        seen = [(crop(image, mask, np.random.default_rng(seed))[1] == 1).any() for seed in range(200)]
        assert 0.45 < np.mean(seen) < 0.7

    def test_after_other_geometry_it_still_aims_at_the_class(self) -> None:
        mask = np.zeros((60, 80), np.uint8)
        mask[5:9, 70:76] = 1
        mask[mask == 0] = IGNORE
        image = np.zeros((60, 80, 3), np.uint8)
        crop = Pipeline([HorizontalFlip(1), ClassCrop(1, (0.3, 0.3))])
        for seed in range(50):
            assert (crop(image, mask, np.random.default_rng(seed))[1] == 1).any()

    def test_it_is_never_outside_and_enlarges_what_it_takes(self, rng: np.random.Generator) -> None:
        size = (30, 40)
        mask = rng.integers(0, 4, size, np.uint8)
        for _ in range(50):
            matrix = ClassCrop(1, (0.3, 0.9)).matrix_for(mask, np.eye(3), rng)
            assert matrix is not None
            corners = np.linalg.inv(matrix) @ np.array([[-0.5, size[1] - 0.5], [-0.5, size[0] - 0.5], [1, 1]])
            (x0, x1), (y0, y1), _ = corners + 0.5
            assert -1e-6 <= x0 < x1 <= size[1] + 1e-6 and -1e-6 <= y0 < y1 <= size[0] + 1e-6
            assert 0.3 - 1e-6 <= (x1 - x0) / size[1] <= 0.9 + 1e-6
            assert (x1 - x0) / size[1] == pytest.approx((y1 - y0) / size[0])

    def test_without_a_counted_pixel_nothing_happens(self, rng: np.random.Generator) -> None:
        image, mask = rng.integers(0, 256, (9, 9, 3), np.uint8), np.full((9, 9), IGNORE, np.uint8)
        changed, labels = Pipeline([ClassCrop(1)])(image, mask, rng)
        np.testing.assert_array_equal(changed, image)
        np.testing.assert_array_equal(labels, mask)

    @pytest.mark.parametrize("scale", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1)])
    def test_scales_that_are_none(self, scale: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="scale must be"):
            ClassCrop(1, scale)
