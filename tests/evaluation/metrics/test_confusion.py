"""Confusion counts against a loop over pixels, on both counting paths, and their refusals."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.errors import DataError
from maskwright.evaluation.metrics import confusion_matrix

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)


def count_by_loop(truth, prediction, classes, ignore):
    counts = [[0] * classes for _ in range(classes)]
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != ignore:
            counts[t][p] += 1
    return counts


@st.composite
def cases(draw):
    """Masks of either dtype, few or more than 256 classes, with an ignore id below K, above K or none."""
    classes = draw(st.sampled_from([1, 2, 5, 255, 256, 300]))
    dtypes = [np.uint8, np.uint16] if classes <= 256 else [np.uint16]
    truth_type, prediction_type = draw(st.sampled_from(dtypes)), draw(st.sampled_from(dtypes))
    outside = [i for i in (255, 65535) if classes <= i <= np.iinfo(truth_type).max]
    ignore = draw(st.sampled_from([None, 0, -100, *outside]))
    ids = st.integers(0, classes - 1)
    shape = draw(SHAPES)
    truth_ids = ids if ignore is None or ignore < 0 else ids | st.just(ignore)
    truth = draw(hnp.arrays(truth_type, shape, elements=truth_ids))
    return truth, draw(hnp.arrays(prediction_type, shape, elements=ids)), classes, ignore


@given(cases())
def test_equals_a_loop_over_pixels(case):
    truth, prediction, classes, ignore = case
    counts = confusion_matrix(truth, prediction, classes, ignore)
    assert counts.dtype == np.int64
    assert counts.tolist() == count_by_loop(truth, prediction, classes, ignore)
    assert counts.sum() == truth.size - np.count_nonzero(truth == ignore)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_pixels_does_not_matter(case, random):
    truth, prediction, classes, ignore = case
    order = list(range(truth.size))
    random.shuffle(order)
    shuffled = confusion_matrix(truth.ravel()[None, order], prediction.ravel()[None, order], classes, ignore)
    assert np.array_equal(shuffled, confusion_matrix(truth, prediction, classes, ignore))


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_renaming_classes_moves_rows_and_columns(renamed, seed):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 5, (2, 6, 7), dtype=np.uint8)
    table = np.array(renamed, np.uint8)
    counts = confusion_matrix(truth, prediction, 5)
    moved = confusion_matrix(table[truth], table[prediction], 5)
    assert np.array_equal(moved[np.ix_(renamed, renamed)], counts)


def test_rows_are_truth_and_columns_prediction():
    counts = confusion_matrix(np.array([[0, 0, 1]], np.uint8), np.array([[1, 1, 1]], np.uint8), 2)
    assert counts.tolist() == [[0, 2], [0, 1]]


def test_all_ignored_and_empty_masks_count_nothing():
    for dtype in (np.uint8, np.uint16):
        ignored = np.full((4, 5), 255, dtype)
        assert not confusion_matrix(ignored, np.zeros_like(ignored), 3).any()
        assert not confusion_matrix(ignored[:0], ignored[:0], 3).any()


def test_views_that_are_not_contiguous():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 20, 30), dtype=np.uint8)
    expected = confusion_matrix(truth[::2, ::3].copy(), prediction[::2, ::3].copy(), 4)
    assert np.array_equal(confusion_matrix(truth[::2, ::3], prediction[::2, ::3], 4), expected)
    assert np.array_equal(confusion_matrix(truth.T, prediction.T, 4), confusion_matrix(truth, prediction, 4))


def test_more_pixels_than_float32_can_count():
    truth = np.zeros((4100, 4100), np.uint8)
    truth[0, 0] = 1
    assert truth.size > 2**24 and truth.size % 2 == 0
    assert confusion_matrix(truth, np.zeros_like(truth), 2).tolist() == [[truth.size - 1, 0], [1, 0]]


def test_strips_add_up(monkeypatch):
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 6, (2, 37, 41), dtype=np.uint8)
    whole = confusion_matrix(truth, prediction, 6)
    monkeypatch.setattr(importlib.import_module("maskwright.evaluation.metrics.confusion"), "_STRIP_PIXELS", 100)
    assert np.array_equal(confusion_matrix(truth, prediction, 6), whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unknown_ids_are_named(dtype):
    good = np.array([[0, 1], [2, 255]], dtype)
    bad = np.array([[0, 7], [7, 200]], dtype)
    zeros = np.zeros_like(good)
    with pytest.raises(DataError, match=r"^truth mask: .* 7 \(2 px\), 200 \(1 px\), .* and ignore = 255;"):
        confusion_matrix(bad, zeros, 3)
    with pytest.raises(DataError, match=r"^truth mask: .* 255 \(1 px\), accepted are 0\.\.2;"):
        confusion_matrix(good, zeros, 3, ignore=None)
    with pytest.raises(DataError, match=r"^truth mask: .* 200 \(1 px\)"):
        confusion_matrix(bad, zeros, 8, ignore=7)
    with pytest.raises(DataError, match=r"^prediction: .* 255 \(1 px\), accepted are 0\.\.2;"):
        confusion_matrix(good, good, 3)  # the ignore id is no class, not even at an ignored pixel
    many = np.arange(100, dtype=dtype).reshape(10, 10)
    with pytest.raises(DataError, match="and 82 more"):
        confusion_matrix(many, np.zeros_like(many), 10)


def test_wrong_arrays_are_refused():
    mask = np.zeros((2, 3), np.uint8)
    retyped = [mask.astype(dtype) for dtype in (np.int64, bool, np.float32, ">u2")]
    for wrong in (*retyped, mask[None], mask[..., None]):
        with pytest.raises(DataError, match="uint8 or uint16"):
            confusion_matrix(wrong, mask, 2)
        with pytest.raises(DataError, match=r"^prediction: "):
            confusion_matrix(mask, wrong, 2)
    with pytest.raises(DataError, match=r"size 2 x 3 .* mask's 3 x 2;"):
        confusion_matrix(mask, mask.T, 2)
    with pytest.raises(DataError, match="0 classes"):
        confusion_matrix(mask, mask, 0)
