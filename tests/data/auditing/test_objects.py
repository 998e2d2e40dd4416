"""Objects against scipy's labelling, one mask and one class at a time, and flaws against their definitions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from maskwright.data.auditing.objects import FLAWS, NONE, Flaw, measure, speck_limit

Mask = npt.NDArray[np.uint8]
EIGHT = np.ones((3, 3))


def naive(mask: Mask, limit: int) -> tuple[Counter[tuple[int, int]], dict[str, list[tuple[int, int, tuple[int, ...]]]]]:
    """(class, area) of every object, and of each kind of flaw the class, area and box."""
    found: Counter[tuple[int, int]] = Counter()
    flaws: dict[str, list[tuple[int, int, tuple[int, ...]]]] = {}
    padded = np.pad(mask, 1, constant_values=NONE)
    for index in set(np.unique(mask).tolist()) - {255, NONE}:
        labels, _ = ndimage.label(padded == index, EIGHT)
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            inside = labels == label
            area = int(inside.sum())
            found[index, area] += 1
            box = (columns.start - 1, rows.start - 1, columns.stop - columns.start, rows.stop - rows.start)
            around = set(padded[ndimage.binary_dilation(inside, EIGHT) & ~inside].tolist())
            if index and area <= limit:
                kind = "specks"
            elif index and not ndimage.binary_erosion(inside, EIGHT).any() and max(box[2:]) > 10:
                kind = "slivers"
            elif not index and area <= 4 and len(around) == 1 and not around & {255, NONE}:
                kind = "pinholes"
            else:
                continue
            flaws.setdefault(kind, []).append((index, area, box))
    return found, flaws


def check(masks: list[Mask]) -> None:
    measured = measure(masks)
    for number, mask in enumerate(masks):
        found, flaws = naive(mask, speck_limit(mask.size))
        here = measured.mask == number
        assert Counter(zip(measured.index[here].tolist(), measured.area[here].tolist(), strict=True)) == found
        assert measured.pixels[number].tolist() == np.bincount(mask.reshape(-1), minlength=256).tolist()
        assert Counter(measured.flaw[here].tolist()) - Counter({-1: mask.size}) == {
            FLAWS.index(kind): len(rows) for kind, rows in flaws.items()
        }
        told = {flaw.kind: flaw for flaw in measured.flaws[number]}
        assert {kind: flaw.times for kind, flaw in told.items()} == {kind: len(rows) for kind, rows in flaws.items()}
        for kind, flaw in told.items():
            areas = {(index, box): area for index, area, box in flaws[kind]}
            of_class = [area for index, area, _ in flaws[kind] if index == flaw.leaf]
            assert areas[flaw.leaf, flaw.region] == (min if kind == "specks" else max)(of_class)


@given(st.integers(1, 25), st.integers(1, 25), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0.3, 0.99))
def test_noise(height: int, width: int, number: int, seed: int, background: float) -> None:
    rng = np.random.default_rng(seed)
    values, chance = np.array([0, 1, 2, 255, NONE], np.uint8), (1 - background) / 4
    check([rng.choice(values, (height, width), p=[background] + [chance] * 4) for _ in range(number)])


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_blobs_lines_and_holes(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(3):
        mask = np.zeros((60, 70), np.uint8)
        for _ in range(12):
            y, x, high, wide = *rng.integers(0, 60, 2), *rng.integers(1, 20, 2)
            mask[y : y + (high if rng.random() < 0.5 else rng.integers(1, 4)), x : x + wide] = rng.integers(0, classes)
        masks.append(mask)
    check(masks)


def test_masks_in_a_strip_do_not_touch() -> None:
    full = np.ones((5, 7), np.uint8)
    assert measure([full, full, full]).area.tolist() == [35, 35, 35]


def test_objects_that_touch_by_a_corner_are_one() -> None:
    measured = measure([np.eye(6, dtype=np.uint8) + 1])
    # The diagonal, and the two triangles beside it, which touch across it.
    assert set(zip(measured.index.tolist(), measured.area.tolist(), strict=True)) == {(1, 30), (2, 6)}


def test_the_worst_is_told_with_its_box() -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[2, 3], mask[10:12, 20] = 1, 1  # specks of 1 and 2 pixels
    mask[30:32, 5:25] = 2  # a sliver
    mask[15:28, 30:45] = 3
    mask[20, 35:38] = mask[25, 40] = 0  # pinholes of 3 and 1 pixels
    assert set(measure([mask]).flaws[0]) == {
        Flaw("specks", 2, 1, (3, 2, 1, 1)),
        Flaw("slivers", 1, 2, (5, 30, 20, 2)),
        Flaw("pinholes", 2, 0, (35, 20, 3, 1)),
    }


@pytest.mark.parametrize(("thick", "length", "sliver"), [(1, 11, True), (2, 11, True), (3, 11, False), (2, 10, False)])
def test_what_a_sliver_is(thick: int, length: int, sliver: bool) -> None:
    for place in (0, 20):  # at the edge of the mask too
        mask = np.zeros((40, 40), np.uint8)
        mask[place : place + thick, place : place + length] = 1
        for turned in (mask, mask.T.copy()):
            assert [flaw.kind for flaw in measure([turned]).flaws[0]] == ["slivers"] * sliver


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.__setitem__((9, 9), 2),
        lambda m: m.__setitem__((9, 9), 255),
        lambda m: m.__setitem__((slice(10, 12), slice(10, 14)), 0),
        lambda m: m.__setitem__((slice(0, 11), 10), 0),
    ],
)
def test_what_no_pinhole_is(spoil) -> None:
    """A hole beside another class or an ignored pixel, one of eight pixels, one that reaches the edge."""
    mask = np.ones((30, 30), np.uint8)
    mask[10, 10] = 0
    assert [flaw.kind for flaw in measure([mask]).flaws[0]] == ["pinholes"]
    spoil(mask)
    assert "pinholes" not in [flaw.kind for flaw in measure([mask]).flaws[0]]


@pytest.mark.parametrize(("pixels", "limit"), [(64 * 64, 4), (512 * 512, 13), (2000 * 3000, 16)])
def test_the_limit_of_specks_grows_with_the_image_up_to_a_point(pixels: int, limit: int) -> None:
    assert speck_limit(pixels) == limit
