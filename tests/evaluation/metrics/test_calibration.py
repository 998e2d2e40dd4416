"""Calibration against a float64 loop, torchmetrics and scikit-learn, and by what must hold for any probabilities."""

import json
import math
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

import rounding
from maskwright.errors import DataError
from maskwright.evaluation.metrics import CALIBRATION, brier, calibration_sums, ece, mce, nll, reliability

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peer's own imports warn of is not ours to fix
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error


def made(seed, classes=4, shape=(13, 17), ignored=0.2, sharpness=2.0):
    """Truth drawn at random from the probabilities' own distribution, some of it ignored."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(classes, *shape))
    p = np.exp(logits) / np.exp(logits).sum(0)
    truth = (rng.random(shape) > p.cumsum(0)).sum(0).clip(0, classes - 1).astype(np.uint8)
    truth[rng.random(shape) < ignored] = 255
    return truth, p.astype(np.float32)


def by_loop(truth, probabilities, bins):
    """The definitions at the top of calibration.py, in plain Python."""
    table = [[0, 0.0, 0] for _ in range(bins)]
    squares, surprise, n = 0.0, 0.0, 0
    for y, x in np.ndindex(truth.shape):
        if truth[y, x] == 255:
            continue
        p = [float(v) for v in probabilities[:, y, x]]
        row = table[min(int(np.float32(max(p)) * bins), bins - 1)]
        row[0] += 1
        row[1] += max(p)
        row[2] += p[truth[y, x]] == max(p)
        squares += sum((v - (c == truth[y, x])) ** 2 for c, v in enumerate(p))
        surprise -= math.log(max(p[truth[y, x]], 2.0**-126))
        n += 1
    if not n:
        return dict.fromkeys(CALIBRATION, math.nan)
    gaps = [(count, abs(right / count - confidence / count)) for count, confidence, right in table if count]
    return {
        "ece": sum(count * gap for count, gap in gaps) / n,
        "mce": max(gap for _, gap in gaps),
        "brier": squares / n,
        "nll": surprise / n,
    }


@given(
    st.integers(0, 10**6),
    st.integers(2, 6),
    st.sampled_from([1, 2, 10, 15]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.1, 2.0, 30.0]),
)
def test_equals_a_loop_over_pixels(seed, classes, bins, ignored, sharpness):
    truth, p = made(seed, classes, (5, 6), ignored, sharpness)
    sums, expected = calibration_sums(truth, p, bins), by_loop(truth, p, bins)
    for name, score in CALIBRATION.items():
        np.testing.assert_allclose(
            score(sums), expected[name], rtol=1e-5, atol=rounding.apart(classes + 4), err_msg=name
        )


@pytest.mark.parametrize("seed", range(3))
def test_torchmetrics_and_scikit_learn_agree(seed):
    truth, p = made(seed)
    sums = calibration_sums(truth, p)
    tensors = torch.from_numpy(p)[None], torch.from_numpy(truth.astype(np.int64))[None]
    for score, norm in ((ece, "l1"), (mce, "max")):
        theirs = multiclass_calibration_error(*tensors, num_classes=4, n_bins=15, norm=norm, ignore_index=255)
        assert score(sums) == pytest.approx(float(theirs), rel=1e-4)
    kept = truth != 255
    y, flat = truth[kept], p[:, kept].T.astype(np.float64)
    flat /= flat.sum(1, keepdims=True)
    assert nll(sums) == pytest.approx(sklearn.metrics.log_loss(y, flat, labels=range(4)), rel=1e-5)
    assert brier(sums) == pytest.approx(
        sum(sklearn.metrics.brier_score_loss(y == c, flat[:, c]) for c in range(4)), rel=1e-5
    )


@given(st.integers(0, 10**6))
def test_sums_of_parts_are_the_sums_of_the_whole(seed):
    truth, p = made(seed, shape=(6, 8))
    parts = calibration_sums(truth[:2], p[:, :2]) + calibration_sums(truth[2:], p[:, 2:])
    each = rounding.apart(4 + 4)  # the squares of four classes and four operations more, in float32
    np.testing.assert_allclose(parts, calibration_sums(truth, p), rtol=1e-6, atol=each * truth.size)


@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_order_of_classes_does_not_matter(seed, order):
    truth, p = made(seed, shape=(5, 6))
    table = np.full(256, 255, np.uint8)
    table[order] = np.arange(4)
    np.testing.assert_allclose(
        calibration_sums(table[truth], p[list(order)]),
        calibration_sums(truth, p),
        rtol=1e-5,
        atol=rounding.apart(4 + 4) * truth.size,
    )


def test_honest_probabilities_are_calibrated_and_sharpened_ones_are_not():
    truth, honest = made(0, shape=(400, 400))
    boasting = honest**3 / (honest**3).sum(0)
    good, bad = calibration_sums(truth, honest), calibration_sums(truth, boasting)
    assert ece(good) < 0.01 < 0.1 < ece(bad)
    assert nll(good) < nll(bad) and brier(good) < brier(bad)
    assert mce(good) >= ece(good)


def test_perfect_and_wrong_certainty():
    truth = np.array([[0, 1, 255]], np.uint8)
    sure = np.array([[[1, 0, 1]], [[0, 1, 0]]], np.float32)
    sums = calibration_sums(truth, sure)
    assert [float(score(sums)) for score in CALIBRATION.values()] == [0, 0, 0, 0]
    wrong = calibration_sums(truth, sure[::-1])
    assert [float(score(wrong)) for score in (ece, mce, brier)] == [1, 1, 2]
    assert nll(wrong) == pytest.approx(126 * math.log(2))  # finite


def test_a_table_says_where_the_confidence_lies():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    p = np.array([[[0.85, 0.85, 0.55, 0.6]], [[0.15, 0.15, 0.45, 0.4]]], np.float32)
    table = reliability(calibration_sums(truth, p, bins=10))
    assert [row.pixels for row in table] == [0, 0, 0, 0, 0, 1, 0, 0, 2, 0]
    used = [row for row in table if row.pixels]
    assert [(row.confidence, row.accuracy) for row in used] == [(pytest.approx(0.55), 0), (pytest.approx(0.85), 1)]
    assert (used[0].low, used[0].high) == (0.5, 0.6)
    json.dumps([row.to_dict() for row in used], allow_nan=False)


def test_without_a_counted_pixel_all_is_undefined():
    sums = calibration_sums(np.full((2, 2), 255, np.uint8), np.full((3, 2, 2), 1 / 3, np.float32))
    assert all(math.isnan(score(sums)) for score in CALIBRATION.values())
    assert all(math.isnan(row.accuracy) for row in reliability(sums))


def test_what_is_no_probability_is_refused():
    truth, p = made(0)
    broken = p.copy()
    broken[:, 3, 3] = np.nan
    truth[3, 3] = 0
    for wrong in (np.log(p), 2 * p, broken):
        with pytest.raises(DataError, match="no probabilities that sum to 1 over the classes; apply softmax"):
            calibration_sums(truth, wrong)
    with pytest.raises(DataError, match=r"expected probabilities \(K, 13, 17\), got \(4, 13, 16\)"):
        calibration_sums(truth, p[..., :-1])
    with pytest.raises(DataError, match="the truth has the index 7, and there are 4 classes"):
        calibration_sums(np.where(truth == 0, np.uint8(7), truth), p)
