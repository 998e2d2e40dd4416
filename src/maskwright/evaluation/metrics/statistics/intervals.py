"""From draws to the ends of an interval."""

from __future__ import annotations

import math

import numpy as np

from maskwright.evaluation.metrics.marginals import Floats
from maskwright.evaluation.metrics.scores import Interval


def quantiles(drawn: Floats, low: float, high: float) -> tuple[float, float]:
    """Two quantiles (shares from 0 to 1) of (B,) draws, without those that are nan; nan where none is left."""
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return np.nan, np.nan
    first, last = np.quantile(drawn, [low, high]).tolist()
    return first, last


def percentiles(drawn: Floats, level: float = 0.95) -> tuple[float, float]:
    """The ends of the middle share `level` of (B,) draws; rules of `quantiles`."""
    return quantiles(drawn, (1 - level) / 2, (1 + level) / 2)


def percentile_interval(value: float, drawn: Floats, images: int, level: float = 0.95) -> Interval:
    """The percentile interval of (B,) draws; one image has none, nor has what is undefined."""
    if images < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    return Interval(value, *percentiles(drawn, level))
