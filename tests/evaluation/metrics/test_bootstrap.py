"""Intervals against SciPy, against exact enumeration, by coverage, and their edge cases."""

import importlib
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics import aAcc, bootstrap, headline, iou, mIoU

MODULE = importlib.import_module("maskwright.evaluation.metrics.statistics.resampling")


def images(n, seed=0, classes=3, pixels=1000):
    """(N, K, K) counts of images whose quality varies from image to image."""
    rng = np.random.default_rng(seed)
    quality = rng.beta(6, 2, (n, classes))
    errors = (1 - quality[..., None]) / (classes - 1)
    chances = np.where(np.eye(classes, dtype=bool), quality[..., None], errors)
    rows = rng.multinomial(pixels, [0.7, 0.2, 0.1][:classes], n)
    return rng.multinomial(rows, chances)


def test_agrees_with_scipy_within_noise():
    confusions = images(60)
    ours = bootstrap(confusions, mIoU, resamples=5000)
    theirs = stats.bootstrap(
        (np.arange(60),),
        lambda drawn: float(mIoU(confusions[drawn].sum(axis=0))),
        vectorized=False, n_resamples=5000, method="percentile", rng=np.random.default_rng(9),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert ours.value == mIoU(confusions.sum(axis=0))
    assert abs(ours.low - theirs.low) < 0.06 * width and abs(ours.high - theirs.high) < 0.06 * width
    assert ours.low < ours.value < ours.high


def test_converges_to_the_exact_bootstrap_distribution():
    confusions = images(4)
    every = [mIoU(confusions[list(drawn)].sum(axis=0)) for drawn in itertools.product(range(4), repeat=4)]
    exact = np.quantile(every, [0.25, 0.75])
    ours = bootstrap(confusions, mIoU, resamples=20_000, level=0.5)
    np.testing.assert_allclose([ours.low, ours.high], exact, atol=0.05 * np.ptp(every))


def test_covers_the_truth_about_as_often_as_it_claims():
    truth = float(mIoU(images(20_000, seed=99).sum(axis=0)))
    intervals = [bootstrap(images(40, seed), mIoU, resamples=300, level=0.9) for seed in range(200)]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.82 <= covered <= 0.97


def test_seed_decides_and_block_sizes_do_not(monkeypatch):
    confusions = images(25)
    first = headline(confusions, resamples=500)
    assert headline(confusions, resamples=500) == first
    assert headline(confusions, resamples=500, seed=1) != first
    monkeypatch.setattr(MODULE, "BLOCK_BYTES", 8 * 9 * 7)  # 7 images and a few resamples a block
    assert headline(confusions, resamples=500) == first


def test_headline_equals_one_bootstrap_a_score():
    confusions = images(30)
    together = headline(confusions, resamples=400, level=0.8, seed=5)
    assert list(together) == ["aAcc", "mAcc", "mIoU", "mDice"]
    assert together["aAcc"] == bootstrap(confusions, aAcc, resamples=400, level=0.8, seed=5)
    assert together["mIoU"] == bootstrap(confusions, mIoU, resamples=400, level=0.8, seed=5)


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    headline(images(5), resamples=50)
    assert np.array_equal(np.random.get_state()[1], before)


def test_one_class_and_higher_level():
    confusions = images(30)
    narrow = bootstrap(confusions, lambda c: iou(c)[..., 2], level=0.5)
    wide = bootstrap(confusions, lambda c: iou(c)[..., 2], level=0.99)
    assert narrow.value == iou(confusions.sum(axis=0))[2]
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_equal_images_give_no_width_and_one_image_no_interval():
    same = np.repeat(images(1), 10, axis=0)
    interval = bootstrap(same, mIoU)
    assert interval.low == interval.high == interval.value
    single = headline(same[:1])
    assert single["mIoU"].value == interval.value
    assert all(math.isnan(i.low) and math.isnan(i.high) for i in single.values())
    assert single["mIoU"].to_dict() == {"value": interval.value, "low": None, "high": None}


def test_undefined_resamples_are_left_out():
    confusions = np.zeros((4, 2, 2), np.int64)
    confusions[0] = [[3, 1], [0, 0]]  # the other three images are ignored throughout
    interval = bootstrap(confusions, aAcc)
    assert (interval.value, interval.low, interval.high) == (0.75, 0.75, 0.75)
    nothing = bootstrap(confusions[1:], aAcc)
    assert all(math.isnan(v) for v in (nothing.value, nothing.low, nothing.high))


def test_big_counts_do_not_overflow():
    confusions = images(20)
    expected = headline(confusions, resamples=200)
    for name, interval in headline(confusions * 2**40, resamples=200).items():
        assert interval.to_dict() == pytest.approx(expected[name].to_dict(), rel=1e-12)


def test_wrong_input_is_refused():
    confusions = images(3)
    for wrong in (confusions[:0], confusions[0], confusions[:, :2]):
        with pytest.raises(DataError, match=r"\(N, K, K\)"):
            headline(wrong)
    for arguments in ({"resamples": 0}, {"level": 0.0}, {"level": 1.0}, {"level": 95}):
        with pytest.raises(ConfigError, match="resamples >= 1 and 0 < level < 1"):
            bootstrap(confusions, mIoU, **arguments)
    with pytest.raises(ConfigError, match="one value for each matrix"):
        bootstrap(confusions, iou)
