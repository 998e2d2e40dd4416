"""Excess recall: chance wins nothing, and what incomplete truth leaves out costs nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.evaluation.metrics import constant_confusions, excess_recall, iou, mean_excess_recall, precision, recall

COUNTS = hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 50))


@given(COUNTS, st.integers(0, 3))
def test_a_class_everywhere_gains_nothing(counts, column):
    everywhere = constant_confusions(counts, column)
    found = excess_recall(everywhere)
    present = counts.sum(1) > 0
    np.testing.assert_allclose(found[present], 0, atol=1e-12)
    assert np.isnan(found[~present]).all()
    assert not mean_excess_recall(everywhere) > 1e-12


@given(hnp.arrays(np.int64, 4, elements=st.integers(0, 50)), hnp.arrays(np.int64, 4, elements=st.integers(1, 50)))
def test_guessing_at_any_share_gains_nothing(true, shares):
    """Predictions that do not depend on the truth: counts are the product of the two."""
    found = excess_recall(np.outer(true, shares))
    np.testing.assert_allclose(found[true > 0], 0, atol=1e-12)


@given(COUNTS)
def test_by_definition_over_leading_axes(counts):
    stack = np.stack([counts, counts.T])
    np.testing.assert_array_equal(excess_recall(stack)[1], excess_recall(counts.T))
    for c in range(4):
        if counts[c].sum():
            expected = counts[c, c] / counts[c].sum() - counts[:, c].sum() / counts.sum()
            assert excess_recall(counts)[c] == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 9), st.integers(1, 400), st.integers(0, 400), st.integers(0, 400))
def test_it_is_what_the_whole_truth_would_say(tenths, hit, missed, invented):
    """Of 10 (hit + missed) real pixels only some tenths are marked; the rest is background in the truth. The excess
    stays Youden's index times one factor for all models, while precision and IoU fall."""
    right = 1000
    whole = 10 * np.array([[right, invented], [missed, hit]])
    kept = np.array([[whole[0, 0], whole[0, 1]], [0, 0]])
    kept[1] = whole[1] * tenths // 10
    kept[0] += whole[1] - kept[1]
    youden = hit / (hit + missed) - invented / (invented + right)
    share = (hit + missed) / (hit + missed + invented + right)
    for counts in (whole, kept):
        assert excess_recall(counts)[1] == pytest.approx((1 - share) * youden, abs=1e-12)
    assert recall(kept)[1] == pytest.approx(recall(whole)[1])
    assert precision(kept)[1] < precision(whole)[1] and iou(kept)[1] < iou(whole)[1]


def test_the_background_is_left_out_of_the_mean():
    counts = np.array([[60, 20, 0], [0, 10, 0], [5, 0, 5]])
    np.testing.assert_allclose(excess_recall(counts), [0.75 - 0.65, 1 - 0.3, 0.5 - 0.05])
    assert mean_excess_recall(counts) == pytest.approx((0.7 + 0.45) / 2)
    assert np.isnan(mean_excess_recall(counts[:1, :1]))
