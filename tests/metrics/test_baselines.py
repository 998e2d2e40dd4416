"""Trivial predictors against masks that really hold one class everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import DataError
from maskwright.metrics import confusion_matrix, constant_baseline, most_frequent_baseline, scores

NAMES = ["background", "cat", "dog"]


@given(st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_equals_scoring_a_constant_mask(column, seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), (5, 6))
    prediction = rng.integers(0, 3, (5, 6), dtype=np.uint8)
    given_counts = confusion_matrix(truth, prediction, 3)
    constant = confusion_matrix(truth, np.full_like(truth, column), 3)
    baseline = constant_baseline(given_counts, NAMES, predicted_id=column)
    np.testing.assert_equal(baseline.to_dict(), scores(constant, NAMES).to_dict())


def test_most_frequent_is_taken_from_the_truth():
    confusion = np.array([[1, 1, 1], [8, 0, 0], [0, 0, 2]])
    baseline = most_frequent_baseline(confusion, NAMES)
    assert [row.predicted_pixels for row in baseline.classes] == [0, 13, 0]
    assert baseline.aAcc == 8 / 13 and baseline.mAcc == pytest.approx(1 / 3)
    assert baseline.mIoU == pytest.approx(8 / 13 / 3)


def test_ids_are_not_rows():
    confusion = np.array([[4, 0, 0], [0, 3, 0], [0, 0, 2]])
    baseline = constant_baseline(confusion, NAMES, predicted_id=9, ids=[0, 7, 9])
    assert [row.predicted_pixels for row in baseline.classes] == [0, 0, 9]
    with pytest.raises(DataError, match=r"no class has id 1; known ids are \[0, 7, 9\]"):
        constant_baseline(confusion, NAMES, predicted_id=1, ids=[0, 7, 9])
