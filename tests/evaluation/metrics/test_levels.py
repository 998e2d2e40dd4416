"""Counts by level: scikit-learn on masks mapped by hand, and sums of blocks against counting again."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.errors import DataError
from maskwright.evaluation.metrics import confusion_matrix, incoherent_pixels, level_confusion, level_confusions, mIoU
from nested import FACES, nested, nested_trees


def masks(classes: int, seed: int, ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, classes, (2, 13, 17)).astype(np.uint8)
    truth[rng.random(truth.shape) < ignored] = IGNORE
    return truth, found


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(nested_trees(), st.integers(0, 99))
def test_blocks_are_what_scikit_learn_counts_on_mapped_masks(tree: ClassTree, seed: int) -> None:
    truth, found = masks(len(tree), seed)
    leaves = confusion_matrix(truth, found, len(tree))
    kept = truth != IGNORE
    counts = level_confusions(truth, [level.mask(found) for level in tree.levels], tree, implied=False)
    implied = level_confusions(truth, [level.mask(found) for level in tree.levels], tree, implied=True)
    for number, level in enumerate(tree.levels, 1):
        groups = {path[:number]: None for path in ((*leaf.parents, leaf.name) for leaf in tree.leaves)}
        of = [list(groups).index((*leaf.parents, leaf.name)[:number]) for leaf in tree.leaves]
        expected = sklearn.metrics.confusion_matrix(
            np.array(of)[truth[kept]], np.array(of)[found[kept]], labels=range(len(groups))
        )
        np.testing.assert_array_equal(level_confusion(leaves, level), expected)
        np.testing.assert_array_equal(counts[number - 1], expected)
        np.testing.assert_array_equal(implied[number - 1], expected)


def test_levels_decided_for_themselves_are_counted_for_themselves() -> None:
    truth, found = masks(6, 1)
    top = np.random.default_rng(2).integers(0, 2, truth.shape).astype(np.uint8)
    middle = FACES.levels[1].mask(found)
    counts = level_confusions(truth, [top, middle, found], FACES, implied=False)
    kept = truth != IGNORE
    np.testing.assert_array_equal(
        counts[0], sklearn.metrics.confusion_matrix((truth[kept] > 0).astype(int), top[kept], labels=[0, 1])
    )
    np.testing.assert_array_equal(counts[2], confusion_matrix(truth, found, 6))
    # The top says head or background whatever the leaf is; below it nothing contradicts.
    assert incoherent_pixels(truth, [top, middle, found], FACES) == (((found > 0) != top) & kept).sum() > 0


@given(nested_trees(), st.integers(0, 99))
def test_implied_levels_never_contradict(tree: ClassTree, seed: int) -> None:
    truth, found = masks(len(tree), seed, 0)
    assert incoherent_pixels(truth, [level.mask(found) for level in tree.levels], tree) == 0


def test_counts_over_images_keep_their_axes() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (5, 6, 6))
    level = FACES.levels[1]
    by_level = level_confusion(counts, level)
    assert by_level.shape == (5, 3, 3) and by_level.dtype == np.int64
    np.testing.assert_array_equal(by_level.sum(0), level_confusion(counts.sum(0), level))
    np.testing.assert_array_equal(by_level[2], level_confusion(counts[2], level))


def test_merging_two_confused_classes_makes_them_right() -> None:
    tree = nested(("x",), ("g", "a"), ("g", "b"))
    counts = np.array([[5, 0, 0], [0, 0, 4], [0, 3, 0]])
    assert mIoU(counts) == pytest.approx(1 / 3) and mIoU(level_confusion(counts, tree.levels[0])) == 1


def test_counts_of_other_leaves_are_refused() -> None:
    with pytest.raises(DataError, match=r"level 1: counts of shape \(2, 2\) do not belong to 6 leaves"):
        level_confusion(np.zeros((2, 2), np.int64), FACES.levels[0])
