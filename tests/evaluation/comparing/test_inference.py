"""Intervals, tests and verdicts, held against closed forms and counted on simulated comparisons."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import scipy.stats

import maskwright.evaluation.metrics as reference
from maskwright.evaluation.comparing.inference import Inference, infer
from maskwright.evaluation.metrics.marginals import SCORES, Marginals
from maskwright.evaluation.metrics.statistics import every_swap, resampled_scores, swapped

aAcc, mIoU = Marginals.aAcc, Marginals.mIoU

SIZE = 1000


def counts(rng, images=12, classes=4):
    found = rng.integers(0, 50, (images, classes, classes))
    found[:, 1] = 0  # a class that is only predicted
    found[:, 3] = found[:, :, 3] = 0  # and one that is nowhere
    return found


def accuracy(values: np.ndarray) -> Marginals:
    """A model that has these shares (N,) of the pixels of equally large images right: aAcc is then their mean."""
    right = np.round(np.asarray(values) * SIZE)
    zero = np.zeros_like(right)
    return Marginals(np.stack([right, zero], 1), np.stack([zero + SIZE, zero], 1), np.stack([right, SIZE - right], 1))


def test_scores_are_those_of_the_metrics(rng):
    found = counts(rng)
    marginals = Marginals.of(found)
    for name, score in SCORES.items():
        np.testing.assert_allclose(score(marginals), getattr(reference, name)(found), rtol=1e-12)
        np.testing.assert_allclose(score(marginals.total()), getattr(reference, name)(found.sum(0)), rtol=1e-12)
    np.testing.assert_allclose(marginals.iou(), reference.iou(found), rtol=1e-12)


def test_a_resample_is_the_score_of_the_drawn_images(rng):
    """By the spread of a mean, which is known, and by draws that are the same for every run."""
    values = rng.normal(0.7, 0.1, 40).clip(0, 1)
    drawn = resampled_scores([accuracy(values), accuracy(values), accuracy(values - 0.1)], aAcc, 4000, 0)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert drawn[0].mean() == pytest.approx(values.mean(), abs=0.003)
    assert drawn[0].std() == pytest.approx(values.std() / 40**0.5, rel=0.06)


def test_swaps_of_few_images_are_all_of_them(rng):
    first, second = counts(rng, 5), counts(rng, 5)
    second[:, 0, 0] += first.sum((1, 2)) - second.sum((1, 2))  # equal truth
    for k in range(1, 4):
        second[:, k] = first[:, k]
    second[:, 0, 0] += first[:, 0].sum(1) - second[:, 0].sum(1)
    found = swapped([(Marginals.of(first), Marginals.of(second))], mIoU, 5000, 0)[0]
    expected = []
    for flips in product([False, True], repeat=4):
        flip = np.array([*flips, False])[:, None, None]
        one, other = np.where(flip, second, first), np.where(flip, first, second)
        expected.append(reference.mIoU(one.sum(0)) - reference.mIoU(other.sum(0)))
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-12)
    assert every_swap(13, 5000) and not every_swap(14, 5000)


def test_the_test_is_the_exact_permutation_test(rng):
    a, b = np.round(rng.uniform(0.5, 0.8, (2, 10)), 3)
    b += 0.02
    (d,) = infer([[accuracy(a)], [accuracy(b)]], aAcc).differences
    expected = scipy.stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert d.p == d.p_corrected == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("images", [6, 12, 60])
def test_intervals_of_a_mean_are_those_of_students_t(rng, images):
    a, b = rng.normal(0.7, 0.05, (2, images)).clip(0, 1)
    found = infer([[accuracy(a)], [accuracy(b)]], aAcc, resamples=20_000)
    d = found.differences[0]
    sign = 1 if d.first == 0 else -1
    for value, sample in ((found.scores[0], a), (d.value, sign * (a - b))):
        half = scipy.stats.t.ppf(0.975, images - 1) * sample.std(ddof=1) / images**0.5
        assert value.value == pytest.approx(sample.mean(), abs=1e-3)
        assert (value.high - value.low) / 2 == pytest.approx(half, rel=0.12)


def test_seeds_are_a_variance_component(rng):
    """Seeds that move whole models apart, on images that hardly differ: the t-test of the seeds' means."""
    shifts = [[0.0, 0.04, 0.08, 0.05], [0.1, 0.12, 0.19, 0.15]]
    noise = rng.normal(0, 0.002, (2, 4, 30))
    entries = [[accuracy(0.6 + shift + noise[e, s]) for s, shift in enumerate(own)] for e, own in enumerate(shifts)]
    found = infer(entries, aAcc, resamples=20_000)
    means = [[float(aAcc(one.total())) for one in own] for own in entries]
    pooled = np.mean([np.var(own, ddof=1) for own in means])
    assert found.seeds.freedom == 6 and found.seeds.pooled == pytest.approx(pooled, rel=0.01)
    (d,) = found.differences
    # The entry that varies more has its own variance, so p is at least that of the test with a common one.
    least = scipy.stats.ttest_ind(*means).pvalue
    assert least * 0.9 < d.p < least * 2 and d.first == 1
    assert d.value.value == pytest.approx(np.mean(means[1]) - np.mean(means[0]))


def test_seeds_that_err_on_other_images_only_add_nothing(rng):
    entries = [[accuracy(rng.normal(0.7, 0.1, 40).clip(0, 1)) for _ in range(3)] for _ in range(6)]
    found = infer(entries, aAcc)
    assert found.seeds.pooled < 0.3 * 0.1**2 / 40


def test_an_entry_without_repetition_varies_as_the_others():
    apart = [accuracy(np.full(20, 0.6 + shift)) for shift in (0.0, 0.06)]
    alone = [accuracy(np.full(20, 0.7))]
    found = infer([apart, apart, alone], aAcc)
    assert found.seeds.variances == pytest.approx([0.06**2 / 2] * 3)
    assert all(d.verdict == "not distinguishable" for d in found.differences)
    without = infer([apart[:1], alone], aAcc)
    assert without.seeds.freedom == 0 and without.differences[0].verdict == "better"


def test_one_image_tells_nothing():
    found = infer([[accuracy(np.array([0.9]))], [accuracy(np.array([0.1]))]], aAcc)
    (d,) = found.differences
    assert d.value.value == pytest.approx(0.8) and math.isnan(d.value.low) and math.isnan(found.scores[0].low)
    assert (d.p, d.verdict) == (1.0, "not distinguishable")


def test_the_same_predictions_are_not_distinguishable(rng):
    one = Marginals.of(counts(rng))
    (d,) = infer([[one], [one]], mIoU).differences
    assert (d.value.value, d.value.low, d.value.high, d.p, d.verdict) == (0, 0, 0, 1, "not distinguishable")


def test_the_same_arguments_give_the_same_result(rng):
    entries = [[Marginals.of(counts(rng)) for _ in range(2)] for _ in range(2)]
    for entry in entries:
        entry[:] = [one._replace(true=entries[0][0].true) for one in entry]
    assert infer(entries, mIoU).differences == infer(entries, mIoU).differences


def compared(rng, images, seeds, sd, better=0.0, entries=2) -> Inference:
    hard = rng.normal(0.7, 0.12, images)
    return infer(
        [
            [
                accuracy((hard + better * (e == 0) + rng.normal(0, sd) + rng.normal(0, 0.05, images)).clip(0, 1))
                for _ in range(seeds)
            ]
            for e in range(entries)
        ],
        aAcc,
        resamples=400,
    )


@pytest.mark.parametrize(
    ("images", "seeds", "sd", "entries"), [(10, 1, 0, 2), (30, 1, 0, 2), (30, 3, 0.02, 2), (30, 1, 0, 6)]
)
def test_equal_entries_are_seldom_told_apart(rng, images, seeds, sd, entries):
    """At most 5 % of 200, and what chance adds to that (the 99.5 % point of the binomial law). bench/compare.py counts
    more of them, on counts like those of real masks."""
    wrong = sum(
        any(d.verdict != "not distinguishable" for d in compared(rng, images, seeds, sd, entries=entries).differences)
        for _ in range(200)
    )
    assert wrong <= scipy.stats.binom.ppf(0.995, 200, 0.05)


def test_what_differs_is_seen(rng):
    assert sum(compared(rng, 30, 1, 0, 0.06).differences[0].verdict == "better" for _ in range(50)) >= 45
    assert sum(compared(rng, 30, 4, 0.01, 0.06).differences[0].verdict == "better" for _ in range(50)) >= 45


def test_the_best_of_equals_owes_it_to_luck(rng):
    found = compared(rng, 20, 1, 0, entries=8)
    assert 0.001 < found.optimism < 0.05
    clear = infer([[accuracy(np.full(20, 0.9))], [accuracy(np.full(20, 0.2))]], aAcc)
    assert clear.optimism == pytest.approx(0)
