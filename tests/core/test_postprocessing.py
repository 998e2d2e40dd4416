"""Post-processing against a slow independent way to do the same, on random masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.postprocessing import ClassRule, PostProcessing
from maskwright.core.smoothing import Smoothing
from maskwright.core.tiles import whole
from maskwright.errors import DataError

EIGHT = np.ones((3, 3))
NAMES = ("ground", "tree", "car")


def slowly(mask: np.ndarray, rules: tuple[ClassRule, ...]) -> np.ndarray:
    """The words of the module, one component and one pixel after the other."""
    found, gone = mask.copy(), np.zeros(mask.shape, bool)
    for index, rule in enumerate(rules):
        labels, count = ndimage.label(mask == index, EIGHT)
        components = [labels == number for number in range(1, count + 1)]
        first = max(components, key=lambda one: (one.sum(), -np.flatnonzero(one)[0]), default=None)
        for one in components:
            if one.sum() < rule.min_pixels or (rule.largest_only and one is not first):
                gone |= one
    gaps, count = ndimage.label(gone, EIGHT)
    for number in range(1, count + 1):
        votes = [0] * len(rules)
        for y, x in np.argwhere(gaps == number):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1]
                if inside and not gone[v, u] and mask[v, u] != IGNORE:
                    votes[mask[v, u]] += 1
        if any(votes):
            found[gaps == number] = votes.index(max(votes))
    for index, rule in enumerate(rules):
        holes = ndimage.binary_fill_holes(found == index) & (found != index)
        labels, count = ndimage.label(holes)
        for number in range(1, count + 1):
            hole = labels == number
            if hole.sum() <= rule.fill_holes:
                found[hole & (found != IGNORE)] = index
    return found


def random_mask(seed: int, ignored: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(3, 37, 45)), (0, 1.2, 1.2))
    mask = noise.argmax(0).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.05] = seed % 3
    if ignored:
        mask[ndimage.gaussian_filter(rng.normal(size=mask.shape), 2) > 0.15] = IGNORE
    return mask


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize(
    "rules",
    [
        {"tree": {"min_pixels": 12}},
        {"tree": {"min_pixels": 30}, "car": {"min_pixels": 30}, "ground": {"min_pixels": 5}},
        {"car": {"largest_only": True}},
        {"tree": {"largest_only": True, "min_pixels": 40}, "car": {"largest_only": True}},
        {"tree": {"fill_holes": 6}},
        {"ground": {"fill_holes": 9}, "tree": {"fill_holes": 40}, "car": {"fill_holes": 2000}},
        {"tree": {"min_pixels": 8, "fill_holes": 20}, "car": {"largest_only": True, "fill_holes": 3}},
        {"ground": {"min_pixels": 10**6}, "tree": {"min_pixels": 10**6}, "car": {"min_pixels": 10**6}},
    ],
)
def test_as_the_words_say(rules: dict[str, dict[str, int]], ignored: bool) -> None:
    made = tuple(ClassRule(name, **rules.get(name, {})) for name in NAMES)
    changed = 0
    for seed in range(12):
        mask = random_mask(seed, ignored)
        before = mask.copy()
        found = PostProcessing(made).apply(mask)
        np.testing.assert_array_equal(found, slowly(mask, made))
        np.testing.assert_array_equal(mask, before)
        assert found.dtype == np.uint8 and ((found == IGNORE) == (mask == IGNORE)).all()
        changed += int((found != mask).sum())
    assert changed or rules["tree"].get("min_pixels") == 10**6


def test_equal_components_and_empty_masks() -> None:
    mask = np.zeros((5, 9), np.uint8)
    mask[3, 0:2] = mask[1, 4:6] = mask[4, 7:9] = 1
    rules = (ClassRule("ground"), ClassRule("tree", largest_only=True))
    assert np.argwhere(PostProcessing(rules).apply(mask)).tolist() == [[1, 4], [1, 5]]
    for shape in ((1, 1), (1, 7)):
        assert PostProcessing(rules).apply(np.ones(shape, np.uint8)).tolist() == np.ones(shape).tolist()
    with pytest.raises(ValueError, match="none of 2 classes"):
        PostProcessing(rules).apply(np.full((2, 2), 2, np.uint8))


def test_what_is_stored_comes_back() -> None:
    made = PostProcessing((ClassRule("ground"), ClassRule("tree", 1234, 5, True)))
    assert PostProcessing.from_dict(made.to_dict(), "x") == made and made
    assert "min_probability" not in made.to_dict()["rules"][0], "as it was before there was any"
    sure = PostProcessing((ClassRule("ground"), ClassRule("tree", min_probability=0.7)))
    assert PostProcessing.from_dict(sure.to_dict(), "x") == sure and sure and sure.thresholds == (0, 0.7)
    assert str(sure) == "tree: only where it is at least 0.7 probable"
    smooth = PostProcessing((ClassRule("ground"),), Smoothing(4, 0.01))
    assert PostProcessing.from_dict(smooth.to_dict(), "x") == smooth and smooth and "smoothing" not in sure.to_dict()
    assert str(smooth) == "outlines follow the edges of the image (radius 4, edge 0.01)"
    assert not PostProcessing((ClassRule("ground"),)) and str(PostProcessing((ClassRule("ground"),))) == "none"
    assert str(made) == (
        "tree: components below 1,234 pixels removed, only the largest component kept, holes up to 5 pixels filled"
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        {"rules": 3},
        {"rules": [{"name": "a", "colour": 3}]},
        {"rules": [{"name": "a", "min_pixels": -1}]},
        {"rules": [{"name": "a", "fill_holes": 1.5}]},
        {"rules": [{"name": "a", "largest_only": 1}]},
        {"rules": [{"min_pixels": 1}]},
        {"rules": [{"name": "a", "min_probability": 1.5}]},
        {"rules": [{"name": "a", "min_probability": float("nan")}]},
        {"rules": [{"name": "a", "min_probability": True}]},
        {"rules": [{"name": "a"}], "smoothing": {"radius": 4}},
        {"rules": [{"name": "a"}], "smoothing": {"radius": 0, "edge": 0.1}},
        {"rules": [{"name": "a"}], "smoothing": {"radius": 10**9, "edge": 0.1}},
        {"rules": [{"name": "a"}], "smoothing": {"radius": 4, "edge": 0}},
        {"rules": [{"name": "a"}], "smoothing": {"radius": 4, "edge": float("nan")}},
    ],
)
def test_damaged_rules_are_refused(data: object) -> None:
    with pytest.raises(DataError, match=r"x\.json: its post-processing is damaged"):
        PostProcessing.from_dict(data, "x.json")  # type: ignore[arg-type]


def test_the_most_probable_class_that_is_probable_enough() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(4, 0.7), (20, 30)).transpose(2, 0, 1).astype(np.float32)
    least = (0.0, 0.6, 0.5, 0.9)
    rules = PostProcessing(tuple(ClassRule(str(k), min_probability=value) for k, value in enumerate(least)))
    found = rules.allowed(whole(probabilities))
    maps = np.stack([found([index]) for index in range(4)])
    assert maps.dtype == np.float32
    changed = 0
    for values, label in zip(probabilities.reshape(4, -1).T, maps.argmax(0).reshape(-1), strict=True):
        order = sorted(range(4), key=lambda index: -values[index])
        may = [index for index in order if values[index] >= np.float32(least[index])]
        assert label == (may[0] if may else order[0])
        changed += label != order[0]
    assert changed > 50
    never = PostProcessing(tuple(ClassRule(str(k), min_probability=1.0) for k in range(4)))
    kept = np.stack([never.allowed(whole(probabilities))([index]) for index in range(4)])
    np.testing.assert_array_equal(kept.argmax(0), probabilities.argmax(0))
    nothing = whole(probabilities)
    assert PostProcessing(tuple(ClassRule(str(k)) for k in range(4))).allowed(nothing) is nothing


def test_rules_of_other_classes_and_of_the_background_are_refused() -> None:
    classes = ClassTree((ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "tree", (0, 9, 0))))
    PostProcessing((ClassRule("background", fill_holes=4), ClassRule("tree", min_pixels=4))).require(classes, "x")
    with pytest.raises(DataError, match="other classes"):
        PostProcessing((ClassRule("background"), ClassRule("bush"))).require(classes, "x")
    with pytest.raises(DataError, match="removes the background"):
        PostProcessing((ClassRule("background", min_pixels=4), ClassRule("tree"))).require(classes, "x")


def speckled(seed: int, size: tuple[int, int] = (150, 130)) -> np.ndarray:
    """Large regions with specks and holes that do not touch each other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (4, 4)).astype(np.uint8)
    mask = np.kron(coarse, np.ones((40, 40), np.uint8))[: size[0], : size[1]].copy()
    for top in range(2, size[0] - 8, 11):
        for left in range(2, size[1] - 8, 11):
            high, wide = rng.integers(1, 6, 2)
            mask[top : top + high, left : left + wide] = rng.choice([0, 1, 2, IGNORE])
    return mask


@pytest.mark.parametrize("rows", [1, 7, 64, 150])
@pytest.mark.parametrize("block", [16, 50, 1000])
def test_by_blocks_as_of_the_whole(rows: int, block: int) -> None:
    made = PostProcessing(
        (ClassRule("ground", fill_holes=9), ClassRule("tree", 12, 20), ClassRule("car", min_pixels=16))
    )
    for seed in range(6):
        mask = speckled(seed)
        strips = (mask[top : top + rows] for top in range(0, len(mask), rows))
        found = [*made.apply_to_strips(strips, len(mask), block)]
        np.testing.assert_array_equal(np.concatenate(found), made.apply(mask))
        assert (np.concatenate(found) != mask).any() and len(found) == -(-len(mask) // block)


def test_what_reaches_beyond_the_surroundings_of_a_block_stays() -> None:
    """A road of one pixel's width, which is larger than what is removed, though no block sees all of it."""
    mask = np.zeros((400, 60), np.uint8)
    mask[:, 20] = mask[100:103, 40] = 1
    made = PostProcessing((ClassRule("ground"), ClassRule("tree", min_pixels=300)))
    found = np.concatenate([*made.apply_to_strips(iter([mask]), 400, 40, 50)])
    assert found[:, 20].all() and not found[:, 40].any()


def test_no_block_knows_the_largest_component() -> None:
    made = PostProcessing((ClassRule("ground"), ClassRule("tree", largest_only=True)))
    with pytest.raises(ValueError, match="largest_only"):
        next(made.apply_to_strips(iter([np.zeros((4, 4), np.uint8)]), 4))
