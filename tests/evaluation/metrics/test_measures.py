"""Measures of datasets: their values by hand, their intervals against SciPy, and what each says about itself."""

import json

import numpy as np
import pytest
from scipy import stats

from maskwright.base.storage import dump_json
from maskwright.errors import DataError
from maskwright.evaluation.metrics import (
    CALIBRATION,
    MEASURES,
    BoundaryScores,
    bootstrap_sums,
    calibration_measures,
    mean_excess_recall,
    mean_image_iou,
    measures,
    thresholded_iou,
)

NAN = np.nan


def images(n=30, seed=0, classes=3):
    """(N, K, K) counts; the last class is in every third image only, and invented in some others."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 20, (n, classes, classes)) + 40 * np.eye(classes, dtype=np.int64)
    counts[np.arange(n) % 3 > 0, -1] = 0
    counts[np.arange(n) % 3 > 1, :, -1] = 0
    return counts


def outlines(values):
    return BoundaryScores(*(np.asarray(values, float) * factor for factor in (1, 0.5, 10, 7)))


def test_means_are_over_images_and_then_over_classes():
    counts = images()
    found = measures(counts)
    assert list(found) == ["mean_image_iou", "mean_image_thresholded_iou", "dataset_excess_recall"]
    np.testing.assert_array_equal(found["mean_image_iou"].classes, mean_image_iou(counts))
    by_class = np.nanmean(thresholded_iou(counts), axis=0)
    measure = found["mean_image_thresholded_iou"]
    np.testing.assert_allclose(measure.classes, by_class)
    assert measure.interval.value == pytest.approx(by_class.mean())
    assert measure.images == (30, 30, 20) and found["mean_image_iou"].images == (30, 30, 10)
    excess = found["dataset_excess_recall"]
    assert excess.interval.value == mean_excess_recall(counts.sum(0)) and excess.images == ()


def test_boundaries_where_they_are_defined():
    found = measures(images(3), outlines([[0.5, NAN, NAN], [1.0, 0.2, NAN], [NAN, 0.4, NAN]]))
    f = found["mean_image_boundary_f"]
    np.testing.assert_allclose(f.classes, [0.75, 0.3, NAN])
    assert f.images == (2, 2, 0) and f.interval.value == pytest.approx(0.525)
    assert found["mean_image_nsd"].interval.value == pytest.approx(0.525 / 2)
    assert found["mean_image_hd95"].interval.value == pytest.approx(5.25)
    assert found["mean_image_assd"].interval.value == pytest.approx(0.525 * 7)
    assert json.loads(dump_json(f.to_dict()))["classes"][2] is None


def test_intervals_of_means_agree_with_scipy():
    values = np.random.default_rng(3).beta(5, 2, (80, 2))
    values[::4, 1] = NAN
    ours = measures(images(80), outlines(np.concatenate([values, np.full((80, 1), NAN)], 1)))["mean_image_boundary_f"]
    theirs = stats.bootstrap(
        (np.arange(80),),
        lambda drawn: float(np.nanmean(values[drawn], axis=0).mean()),
        vectorized=False,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.interval.low - theirs.low) < 0.08 * width and abs(ours.interval.high - theirs.high) < 0.08 * width


def test_calibration_over_the_dataset():
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 50, (6, 4)).astype(float)
    bins = np.stack([pixels, pixels * rng.random((6, 4)), np.floor(pixels * rng.random((6, 4)))], -1)
    last = np.stack([pixels.sum(1), rng.random(6), rng.random(6)], -1)[:, None]
    sums = np.concatenate([bins, last], 1)
    found = calibration_measures(sums)
    assert list(found) == [f"dataset_{name}" for name in CALIBRATION]
    for name, score in CALIBRATION.items():
        interval = found[f"dataset_{name}"].interval
        assert interval.value == score(sums.sum(0)) and interval.low < interval.high
        assert found[f"dataset_{name}"].classes == ()


def test_every_measure_says_how_it_is_aggregated():
    made = {**measures(images(3), outlines(np.ones((3, 3)))), **calibration_measures(np.ones((3, 5, 3)))}
    assert {*made} == {*MEASURES} - {"aAcc", "mAcc", "mIoU", "mDice"}
    for name, about in MEASURES.items():
        assert about.aggregation.startswith("mean over" if name.startswith("mean_image") else "dataset: "), name
        assert about.meaning and about.absent and about.unit
        if name in made:
            assert {"value", "low", "high", "classes", "images", "aggregation", "absent"} <= set(made[name].to_dict())


def test_one_image_has_no_interval():
    for measure in measures(images(1), outlines(np.ones((1, 3)))).values():
        assert measure.interval.value == measure.interval.value and np.isnan(measure.interval.low)


def test_no_image_is_refused():
    with pytest.raises(DataError, match="no images"):
        bootstrap_sums(np.zeros((0, 2)), lambda sums: sums)
