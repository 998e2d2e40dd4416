"""Differences of the three ways with their intervals, held against a computation of their own, and the verdict."""

import numpy as np
import pytest
import scipy.stats

import maskwright.evaluation.metrics as metrics
from maskwright.evaluation.metrics import Interval
from maskwright.labels.deciding.estimating import PAIRS, WAYS, WayDifference, choose_way, way_differences, way_scores

PIXELS = 1000


def repeat(rng, images=8, shift=(0.0, 0.0, 0.0), luck=0.0, noise=0.05):
    """Counts of two classes for the three ways: images differ in difficulty, ways by `shift`, `luck` and `noise`."""
    hard = rng.normal(0.7, 0.1, images)
    found = {}
    for way, moved in zip(WAYS, shift, strict=True):
        right = (hard + moved + rng.normal(0, luck) + rng.normal(0, noise, images)).clip(0.05, 0.95)
        right = np.round(right * PIXELS).astype(np.int64)
        wrong = PIXELS - right
        found[way] = np.stack([np.stack([right, wrong], 1), np.stack([wrong, right], 1)], 1)
    return found


def expected(repeats, first, second, draws=4000):
    """The interval: mean of the differences, and the largest of three variances."""

    def apart(one, a, b, chosen):
        return metrics.mIoU(one[a][chosen].sum(-3)) - metrics.mIoU(one[b][chosen].sum(-3))

    rng = np.random.default_rng(9)
    own = {pair: np.array([apart(one, *pair, slice(None)) for one in repeats]) for pair in PAIRS}
    images = []
    for one in repeats:
        count = len(one["keep"])
        drawn = apart(one, first, second, rng.integers(count, size=(draws, count)))
        images.append(np.var(drawn) * count / (count - 1))
    variance, freedom = np.mean(images), len(repeats[0]["keep"]) - 1
    if len(repeats) > 1:
        between = {pair: np.var(values, ddof=1) for pair, values in own.items()}
        variance = max(variance, between[first, second], np.mean([*between.values()]))
        freedom = 2 * (len(repeats) - 1)
    mean, reach = own[first, second].mean(), scipy.stats.t.ppf(0.975, freedom) * (variance / len(repeats)) ** 0.5
    return mean, mean - reach, mean + reach


@pytest.mark.parametrize(("repeats", "luck", "noise"), [(1, 0, 0.05), (2, 0.1, 0.01), (3, 0.1, 0.01), (4, 0, 0.1)])
def test_intervals_are_those_of_another_computation(rng, repeats, luck, noise):
    counts = [repeat(rng, images, (0, 0.02, 0.05), luck, noise) for images in range(7, 7 + repeats)]
    found = way_differences(counts, resamples=4000)
    assert [(one.first, one.second) for one in found] == list(PAIRS)
    for one in found:
        mean, low, high = expected(counts, one.first, one.second)
        assert one.value.value == pytest.approx(mean, abs=1e-12)
        assert one.value.low == pytest.approx(low, abs=0.03 * (high - low))
        assert one.value.high == pytest.approx(high, abs=0.03 * (high - low))
    assert way_differences(counts, resamples=4000) == found


def test_scores_and_differences_are_those_of_each_repeat(rng):
    counts = [repeat(rng, shift=(0, 0.02, 0.05)) for _ in range(3)]
    found = way_scores(counts)
    assert found["repair"] == pytest.approx([float(metrics.mIoU(one["repair"].sum(0))) for one in counts])
    for one in way_differences(counts, resamples=50):
        assert one.repeats == pytest.approx(np.subtract(found[one.first], found[one.second]))


def test_a_clear_difference_is_seen_and_chance_is_not(rng):
    clear = way_differences([repeat(rng, 12, (0, 0.03, 0.15), 0.005, 0.01) for _ in range(3)], resamples=200)
    assert choose_way(clear) == "repair" and all(one.significant for one in clear[1:])
    verdicts = [
        choose_way(way_differences([repeat(rng, 8, luck=0.03) for _ in range(3)], resamples=100)) for _ in range(200)
    ]
    assert verdicts.count("keep") >= 185  # 200 times equal ways


def found(**values):
    """Differences by the first letters of their ways: + is clear of 0 above, - below, 0 holds it."""
    ends = {"+": Interval(0.02, 0.01, 0.03), "-": Interval(-0.02, -0.03, -0.01), "0": Interval(0.0, -0.01, 0.01)}
    return [WayDifference(first, second, ends[values[first[0] + second[0]]], []) for first, second in PAIRS]


@pytest.mark.parametrize(
    ("ek", "rk", "re", "verdict"),
    [
        ("0", "0", "0", "keep"),
        ("-", "0", "0", "keep"),
        ("0", "0", "+", "keep"),
        ("-", "-", "0", "keep"),
        ("-", "0", "+", "keep"),
        ("+", "+", "0", "exclude"),
        ("+", "0", "0", "exclude"),
        ("+", "0", "-", "exclude"),
        ("0", "+", "0", "repair"),
        ("0", "+", "+", "repair"),
        ("-", "+", "+", "repair"),
        ("+", "+", "+", "repair"),
    ],
)
def test_the_verdict_is_the_least_effort_that_is_shown_to_pay(ek, rk, re, verdict):
    assert choose_way(found(ek=ek, rk=rk, re=re)) == verdict
