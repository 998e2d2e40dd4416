"""Kinds of wrong pixels: a slow loop over pixels as oracle, planted errors, and the cases that rules are there for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.distance import cdist

from maskwright.evaluation.explaining.anatomy import FOUND, dissect, filled, object_labels, tolerance_of
from maskwright.evaluation.explaining.kinds import BOUNDARY, CONFUSED, HALLUCINATED, LABEL_SUSPECT, MISSED, NAMES
from scored_run import BENCH

GREY = np.full((48, 64, 3), 128, np.uint8)


def grey(mask: np.ndarray) -> np.ndarray:
    """An image that says nothing about any label."""
    return np.full((*mask.shape, 3), 128, np.uint8)


def slow(truth: np.ndarray, prediction: np.ndarray, background: int | None, tolerance: float) -> np.ndarray:
    """The rules of `kinds` but for labels, pixel by pixel; truth without ignored pixels."""
    objects = [
        scipy.ndimage.label(truth == value, np.ones((3, 3)))[0] == number
        for value in np.unique(truth)
        for number in range(1, scipy.ndimage.label(truth == value, np.ones((3, 3)))[1] + 1)
    ]
    own = np.zeros(truth.shape, int)
    for number, inside in enumerate(objects):
        own[inside] = number

    def share(number: int, where: np.ndarray) -> float:
        return float((objects[number] & where).sum() / objects[number].sum())

    def reaches(place: tuple[int, int], where: np.ndarray) -> bool:
        points = np.argwhere(where)
        return bool(len(points)) and cdist([place], points).min() <= tolerance + 0.5

    def union(numbers: list[int]) -> np.ndarray:
        return np.any([objects[number] for number in numbers], axis=0) if numbers else np.zeros(truth.shape, bool)

    kinds = np.zeros(truth.shape, int)
    solid = [number for number, inside in enumerate(objects) if truth[inside][0] != background]
    for row, column in np.argwhere(truth != prediction):
        place, true, told, mine = (row, column), truth[row, column], prediction[row, column], own[row, column]
        if told == background:
            near = (
                share(mine, prediction != background) >= FOUND
                and reaches(place, truth == background)
                and reaches(place, prediction != background)
            )
            kinds[place] = BOUNDARY if near else MISSED
        elif true == background:
            mates = union([number for number in solid if share(number, prediction == told) >= FOUND])
            near = reaches(place, mates) and reaches(place, prediction == background)
            kinds[place] = BOUNDARY if near else HALLUCINATED
        else:
            found = [number for number in range(len(objects)) if share(number, prediction == truth) >= FOUND]
            near = (
                mine in found
                and reaches(place, union([n for n in found if truth[objects[n]][0] == told]))
                and reaches(place, prediction == true)
            )
            kinds[place] = BOUNDARY if near else CONFUSED
    return kinds


@pytest.mark.parametrize("seed", range(12))
def test_the_kinds_are_those_of_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    truth = scipy.ndimage.zoom(rng.integers(0, 4, (5, 6)), 4, order=0).astype(np.uint8)
    prediction = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    prediction[rng.random(truth.shape) < 0.05] = rng.integers(0, 4)
    prediction[4:10, 3:14] = rng.integers(0, 4)
    for background in (0, 2, None):
        for tolerance in (0.0, 1.0, 2.0):
            found = dissect(grey(truth), truth, prediction, background=background, tolerance=tolerance)
            np.testing.assert_array_equal(found.kinds, slow(truth, prediction, background, tolerance))


@pytest.mark.parametrize("seed", range(8))
def test_every_wrong_pixel_has_one_kind_and_no_other_pixel_has_one(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 5, (2, 40, 50)).astype(np.uint8)
    if seed % 2:
        truth, prediction = (np.kron(mask[:8, :10], np.ones((5, 5), np.uint8)) for mask in (truth, prediction))
    truth[rng.random(truth.shape) < 0.2] = 255
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    anatomy = dissect(image, truth, prediction)
    np.testing.assert_array_equal(anatomy.kinds > 0, (truth != prediction) & (truth != 255))
    assert not (anatomy.whole & ~np.isin(anatomy.kinds, [MISSED, HALLUCINATED])).any()
    everything = dissect(image, truth, prediction, background=None)
    assert set(np.unique(everything.kinds)) <= {0, BOUNDARY, CONFUSED, LABEL_SUSPECT}


def test_planted_errors_are_found_as_what_they_are():
    result = BENCH.measure(14)
    least = {
        "boundary": (0.99, 0.9),
        "missed": (0.95, 0.99),
        "hallucinated": (0.95, 0.99),
        "confused": (0.99, 0.75),
        "label_suspect": (0.9, 0.99),
    }
    for name, (recall, precision) in least.items():
        found = result["kinds"][name]
        assert found["planted"] > 1000
        assert found["recall"] >= recall and found["precision"] >= precision, (name, found)
    rows = {
        name: {kind: pixels / sum(row.values()) for kind, pixels in row.items()}
        for name, row in result["plants"].items()
    }
    assert all(
        rows[f"{side}: {name} a little"]["boundary"] > 0.98
        for side in ("model", "label")
        for name in ("shifted", "dilated", "eroded")
    )
    assert 0.35 < rows["model: shifted far"]["missed"] < 0.5 and 0.35 < rows["model: shifted far"]["hallucinated"] < 0.5
    assert all(rows[f"model: {name}"]["label_suspect"] == 0 for name in BENCH.PLANTS)


def disc(size: tuple[int, int] = (48, 64), radius: int = 12, value: int = 1) -> np.ndarray:
    rows, columns = np.indices(size)
    mask = ((rows - size[0] // 2) ** 2 + (columns - size[1] // 2) ** 2 <= radius**2).astype(np.uint8)
    return mask * np.uint8(value)


def test_a_displacement_is_boundary_up_to_the_tolerance_and_not_beyond_twice_of_it():
    truth, shares = disc(), []
    for pixels in range(1, 8):
        kinds = dissect(GREY, truth, BENCH.shifted(truth > 0, pixels).astype(np.uint8), tolerance=3).kinds
        shares.append((kinds == BOUNDARY).sum() / (kinds > 0).sum())
    # Where a circle is left to the side, it is displaced by less.
    assert shares[:3] == [1, 1, 1] and shares[3] < 0.95 and shares[6] < 0.35
    assert sorted(shares, reverse=True) == shares
    grown = BENCH.grown(truth > 0, 7).astype(np.uint8)
    assert not (dissect(GREY, truth, grown, tolerance=3).kinds == BOUNDARY).any()


def test_whole_objects_and_parts_of_them_are_told_apart():
    truth = np.hstack([disc(), disc()])
    prediction = truth.copy()
    prediction[:, :64] = 0
    prediction[:, 96:] = 0  # half of the second disc
    anatomy = dissect(grey(truth), truth, prediction, tolerance=2)
    assert (anatomy.kinds[:, :64] > 0).sum() == disc().sum()
    assert (anatomy.kinds[:, :64] == MISSED).sum() == disc().sum() == anatomy.whole.sum()
    assert (anatomy.kinds[:, 64:] == MISSED).sum() > 100
    back = dissect(grey(truth), prediction, truth, tolerance=2)
    assert (back.kinds[:, :64] == HALLUCINATED).sum() == disc().sum() == back.whole.sum()
    assert (back.kinds[:, 64:] == HALLUCINATED).sum() > 100


def test_a_gap_in_a_thin_line_is_missed_although_its_pixels_all_touch_the_outline():
    truth = np.zeros((48, 64), np.uint8)
    truth[23:25] = 1
    prediction = truth.copy()
    prediction[:, 20:45] = 0
    kinds = dissect(GREY, truth, prediction, tolerance=2).kinds
    assert (kinds[23:25, 24:41] == MISSED).all() and (kinds == BOUNDARY).sum() == 8


def test_an_object_of_the_wrong_class_is_confused_and_its_outline_a_matter_of_boundaries():
    truth = disc(value=1)
    prediction = BENCH.grown(truth > 0, 2).astype(np.uint8) * 2
    anatomy = dissect(GREY, truth, prediction, tolerance=2)
    assert (anatomy.kinds[truth > 0] == CONFUSED).all()
    assert (anatomy.kinds[(truth == 0) & (prediction > 0)] == BOUNDARY).all()


def test_a_band_of_ignored_pixels_does_not_part_an_object_from_its_background():
    truth = disc()
    truth[BENCH.grown(truth == 1, 2) & (truth == 0)] = 255
    small = BENCH.shrunk(disc() > 0, 2).astype(np.uint8)
    kinds = dissect(GREY, truth, small, tolerance=3).kinds
    assert (kinds > 0).any() and set(np.unique(kinds)) == {0, BOUNDARY}


def test_ignored_pixels_take_the_nearest_label():
    truth = np.full((5, 9), 255, np.uint8)
    truth[:, 0], truth[:, 8] = 3, 1
    np.testing.assert_array_equal(filled(truth)[0, [0, 1, 3, 5, 8]], [3, 3, 3, 1, 1])
    assert (filled(np.full((2, 2), 255, np.uint8)) == 0).all()
    assert not dissect(grey(truth), np.full((5, 9), 255, np.uint8), np.ones((5, 9), np.uint8)).kinds.any()


def test_components_are_those_of_scipy(rng):
    mask = rng.integers(0, 4, (20, 30)).astype(np.uint8)
    expected = sum(scipy.ndimage.label(mask == value, np.ones((3, 3)))[1] for value in range(4))
    assert object_labels(mask).max() == expected and object_labels(mask).min() == 1


def test_the_tolerance_grows_with_the_image():
    assert tolerance_of((32, 32)) == 2 and tolerance_of((300, 400)) == pytest.approx(3.75)
    assert len(NAMES) == 5


@pytest.mark.parametrize("change", ["none", "grey", "swapped"])
def test_a_label_is_suspect_only_where_the_image_speaks_against_it(change):
    """The same masks: the label lacks a disc; the image shows it, shows nothing, or shows what the label says."""
    rng = np.random.default_rng(0)
    shown = np.hstack([disc(), disc()])
    label = shown.copy()
    label[:, 64:] = 0
    picture = {"none": shown, "grey": np.zeros_like(shown), "swapped": label}[change]
    image = np.clip(np.array([(60, 70, 60), (200, 60, 50)])[picture] + rng.normal(0, 12, (*shown.shape, 3)), 0, 255)
    kinds = dissect(image.astype(np.uint8), label, shown).kinds
    assert set(np.unique(kinds)) == {0, LABEL_SUSPECT if change == "none" else HALLUCINATED}
