"""Trivial predictors against masks that really hold one class everywhere."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import DataError
from maskwright.evaluation.metrics import confusion_matrix, constant_baseline, most_frequent_baseline, scores

NAMES = ["background", "cat", "dog"]


@given(st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_equals_scoring_a_constant_mask(column, seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), (5, 6))
    prediction = rng.integers(0, 3, (5, 6), dtype=np.uint8)
    given_counts = confusion_matrix(truth, prediction, 3)
    constant = confusion_matrix(truth, np.full_like(truth, column), 3)
    baseline, expected = constant_baseline(given_counts, NAMES, predicted_id=column), scores(constant, NAMES)
    np.testing.assert_equal(baseline.to_dict()["classes"], expected.to_dict()["classes"])
    assert (baseline.aAcc, baseline.mAcc) == pytest.approx((expected.aAcc, expected.mAcc), nan_ok=True)


@given(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_means_are_over_the_classes_of_the_models_mean(column, true, predicted, seed):
    """Independently, by scikit-learn from pixels: whatever the model predicts enlarges both means alike."""
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, true, 40, dtype=np.uint8), rng.integers(0, predicted, 40, dtype=np.uint8)
    counts = confusion_matrix(truth[None], prediction[None], 4)
    labels, names = sorted({*truth.tolist(), *prediction.tolist()}), ["a", "b", "c", "d"]
    everywhere = np.full_like(truth, column)
    baseline = constant_baseline(counts, names, predicted_id=column)
    for score, of in (("mIoU", sklearn.metrics.jaccard_score), ("mDice", sklearn.metrics.f1_score)):
        # Beside the model's own mean over the same labels.
        model = of(truth, prediction, labels=labels, average="macro", zero_division=0)
        assert getattr(scores(counts, names), score) == pytest.approx(model)
        assert getattr(baseline, score) == pytest.approx(
            of(truth, everywhere, labels=labels, average="macro", zero_division=0)
        )


def test_a_model_is_not_worse_than_nothing_for_naming_more_classes():
    """Two classes are true; a model that finds most of both and sees a few pixels of two others is better than
    background everywhere, which a mean over two classes hides."""
    counts = np.array([[900, 10, 5, 5], [20, 60, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    model, baseline = scores(counts, [*NAMES, "bird"]), most_frequent_baseline(counts, [*NAMES, "bird"])
    assert model.mIoU == pytest.approx((900 / 940 + 60 / 90) / 4) and baseline.mIoU == pytest.approx(920 / 1000 / 4)
    assert baseline.mIoU < model.mIoU < 920 / 1000 / 2


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
