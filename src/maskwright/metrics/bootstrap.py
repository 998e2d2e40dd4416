"""Confidence intervals by the percentile bootstrap over images (Efron, 1979).

Images are resampled, not pixels: pixels of one image are far from independent, and resampling them would give
intervals that are much too narrow. A resample draws N images with replacement, sums their confusion counts
and scores the sum, so an interval belongs to the dataset aggregation of `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.confusion import Counts
from maskwright.metrics.scores import HEADLINE, Floats, Interval

Statistic: TypeAlias = Callable[[Counts], Floats]

# Bound for each temporary array whatever N and the number of resamples are (one row of it at least).
_BLOCK_BYTES = 32 << 20


def bootstrap(
    confusions: Counts, statistic: Statistic, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
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

    return _intervals(confusions, as_column, resamples, level, seed)[0]


def headline(confusions: Counts, *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Intervals of aAcc, mAcc, mIoU and mDice over the same resamples; arguments and rules of `bootstrap`."""

    def columns(counts: Counts) -> Floats:
        return np.stack([score(counts) for score in HEADLINE.values()], axis=-1)

    return dict(zip(HEADLINE, _intervals(confusions, columns, resamples, level, seed), strict=True))


def _intervals(confusions: Counts, statistics: Statistic, resamples: int, level: float, seed: int) -> list[Interval]:
    """statistics maps (B, K, K) to (B, S); returns S intervals."""
    if confusions.ndim != 3 or not len(confusions) or confusions.shape[1] != confusions.shape[2]:
        raise DataError(f"bootstrap: expected (N, K, K) with N >= 1, got {confusions.shape}; stack one matrix an image")
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"bootstrap: resamples = {resamples}, level = {level}; give resamples >= 1 and 0 < level < 1")
    values = statistics(confusions.sum(axis=0, keepdims=True))[0].tolist()
    if len(confusions) == 1:
        return [Interval(value, np.nan, np.nan) for value in values]
    sums = _resampled_sums(confusions, resamples, np.random.default_rng(seed))
    drawn = np.concatenate([statistics(block) for block in sums])
    return [Interval(value, *_ends(column, level)) for value, column in zip(values, drawn.T, strict=True)]


def _ends(drawn: Floats, level: float) -> tuple[float, float]:
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high


def _resampled_sums(confusions: Counts, resamples: int, rng: np.random.Generator) -> Iterator[Counts]:
    """Yield blocks (B, K, K) of summed counts, `resamples` matrices in all.

    A resample is a row of weights (how often each image was drawn), so a block of sums is one matrix product.
    It is done in float64, exact for counts below 2**53: neither block sizes nor threads change a result.
    """
    n, k, _ = confusions.shape
    flat = confusions.reshape(n, k * k)
    block = max(1, _BLOCK_BYTES // (8 * max(n, k * k)))
    images = max(1, _BLOCK_BYTES // (8 * k * k))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        cells = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        sums = np.zeros((size, k * k))
        for first in range(0, n, images):
            part = slice(first, first + images)
            sums += weights[:, part] @ flat[part].astype(np.float64)
        yield sums.astype(np.int64).reshape(size, k, k)
