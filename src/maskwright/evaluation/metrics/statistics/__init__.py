"""What chance does to a score, each method once: resampling and bootstrap over images, intervals, permutation of two
models, Student's t, and the correction of p-values for their number.

`evaluate`, `compare`, `explain` and `decide` all use what stands here.
"""

from maskwright.evaluation.metrics.statistics.bootstrap import bootstrap, bootstrap_sums, headline
from maskwright.evaluation.metrics.statistics.correction import holm
from maskwright.evaluation.metrics.statistics.intervals import percentile_interval, percentiles, quantiles
from maskwright.evaluation.metrics.statistics.resampling import (
    resampled_scores,
    resampled_sums,
    resampled_table,
    widening,
)
from maskwright.evaluation.metrics.statistics.student import t_below, t_within
from maskwright.evaluation.metrics.statistics.swapping import every_swap, swapped

__all__ = [
    "bootstrap",
    "bootstrap_sums",
    "every_swap",
    "headline",
    "holm",
    "percentile_interval",
    "percentiles",
    "quantiles",
    "resampled_scores",
    "resampled_sums",
    "resampled_table",
    "swapped",
    "t_below",
    "t_within",
    "widening",
]
