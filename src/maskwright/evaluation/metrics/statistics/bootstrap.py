"""Confidence intervals by the percentile bootstrap over images (Efron, 1979).

A resample draws N images with replacement (see `resampling`), sums what was counted in each and scores the
sum. With confusion counts, an interval belongs to the dataset aggregation of `scores`; with values of images and
whether they are defined, to a mean over images (see `measures`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics.confusion import Counts
from maskwright.evaluation.metrics.marginals import Floats
from maskwright.evaluation.metrics.scores import HEADLINE, Interval
from maskwright.evaluation.metrics.statistics.intervals import percentiles
from maskwright.evaluation.metrics.statistics.resampling import RESAMPLES, Sums, resampled_sums

Statistic: TypeAlias = Callable[[Sums], Floats]


def bootstrap(
    confusions: Counts, statistic: Statistic, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of one statistic.

    confusions: (N, K, K) int64, one matrix an image.
    statistic: maps (B, K, K) int64 counts to (B,) float64, like the functions of `scores`;
        for one class: `lambda c: iou(c)[..., 1]`.
    level: confidence in (0, 1). seed: same seed, same interval, whatever the number of threads.

    Resamples in which the statistic is undefined (nan) are left out. N = 1 gives low = high = nan: every
    resample is that image again, and an interval of width 0 would claim certainty where nothing is known.
    A class that only few images show is missing from some resamples, which then average fewer classes.
    Raises DataError for no images or another shape, ConfigError for other arguments out of range.
    """

    def as_column(counts: Counts) -> Floats:
        values = np.asarray(statistic(counts), np.float64)
        if values.shape != counts.shape[:1]:
            raise ConfigError(
                f"bootstrap: the statistic gave shape {values.shape} for {len(counts)} matrices; "
                "return one value for each matrix"
            )
        return values[:, None]

    return bootstrap_sums(_stacked(confusions), as_column, resamples=resamples, level=level, seed=seed)[0]


def headline(
    confusions: Counts, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of aAcc, mAcc, mIoU and mDice over the same resamples; arguments and rules of `bootstrap`."""

    def columns(counts: Counts) -> Floats:
        return np.stack([score(counts) for score in HEADLINE.values()], axis=-1)

    intervals = bootstrap_sums(_stacked(confusions), columns, resamples=resamples, level=level, seed=seed)
    return dict(zip(HEADLINE, intervals, strict=True))


def bootstrap_sums(
    images: Sums, statistics: Statistic, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    """Percentile intervals of S statistics over the same resamples; rules and other arguments of `bootstrap`.

    images: (N, ...) integers or float64, what was counted in each image.
    statistics: maps sums over images (B, ...) to (B, S) float64.
    """
    if not len(images):
        raise DataError("bootstrap: no images; give what was counted in one or more")
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"bootstrap: resamples = {resamples}, level = {level}; give resamples >= 1 and 0 < level < 1")
    values = statistics(images.sum(axis=0, keepdims=True))[0].tolist()
    if len(images) == 1:
        return [Interval(value, np.nan, np.nan) for value in values]
    sums = resampled_sums(images, resamples, np.random.default_rng(seed))
    drawn = np.concatenate([statistics(block) for block in sums])
    return [Interval(value, *percentiles(column, level)) for value, column in zip(values, drawn.T, strict=True)]


def _stacked(confusions: Counts) -> Counts:
    if confusions.ndim != 3 or not len(confusions) or confusions.shape[1] != confusions.shape[2]:
        raise DataError(f"bootstrap: expected (N, K, K) with N >= 1, got {confusions.shape}; stack one matrix an image")
    return confusions
