"""What could be chance: the bootstrap over images for any table of counts, and tests that know how many they are.

A table holds what a score is made of, of each image: `hit`, `true` and `predicted` pixels of some classes, (N, 3, C).
Images are drawn again and not pixels or objects, for those of one image are not independent (see `metrics.bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.evaluation.metrics import Interval, percentiles, resampled_sums
from maskwright.evaluation.metrics.student import t_below

Counts = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Score = Callable[[npt.NDArray[Any]], Floats]

RESAMPLES = 2000


def mean_iou(counts: npt.NDArray[Any]) -> Floats:
    """(..., 3, C) hit, true, predicted -> (...): mean IoU over the classes that are true or predicted, as
    `metrics.mIoU` has it from confusion counts; nan without one."""
    hit, true, predicted = (counts[..., row, :] for row in range(3))
    return _mean_ratio(hit, true + predicted - hit)


def mean_dice(counts: npt.NDArray[Any]) -> Floats:
    """(..., 3, C) -> (...): mean Dice, as `metrics.mDice`."""
    return _mean_ratio(2 * counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :])


def mean_recall(counts: npt.NDArray[Any]) -> Floats:
    """(..., 3, C) -> (...): mean over the classes with true pixels of their share that was hit."""
    return _mean_ratio(counts[..., 0, :], counts[..., 1, :])


def _mean_ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    known = whole > 0
    ratio = np.divide(part, whole, out=np.zeros(whole.shape), where=known)
    number = known.sum(-1)
    return np.asarray(np.divide(ratio.sum(-1), number, out=np.full(number.shape, np.nan), where=number > 0))


def resampled(table: Counts, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """The sums of a table (N, ...) over images drawn with replacement, (resamples, ...) float64.

    Tables of the same N are drawn alike, so that what is made of several of them is paired. Same seed, same result.
    """
    blocks = resampled_sums(table.astype(np.float64), resamples, np.random.default_rng(seed))
    return np.concatenate(list(blocks))


def interval(value: float, drawn: Floats, images: int, level: float = 0.95) -> Interval:
    """The percentile interval of (resamples,) values; one image has none, nor has what is undefined."""
    if images < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    return Interval(value, *percentiles(drawn, level))


@dataclass(frozen=True)
class Comparison:
    """A part against the rest: its `score`, by how much that is below (< 0) or above the score of the rest, and `p`,
    the probability of a part so far below by chance alone (one-sided)."""

    score: Interval
    difference: Interval
    p: float


def compare(table: Counts, score: Score, *, pooled: bool = True) -> list[Comparison]:
    """Each of P parts against the rest. table: (N, P, 3, C), zeros where an image has nothing of a part.

    The rest are the counts of the other parts together, over the classes that are true both in it and in the part;
    where not `pooled`, their scores are averaged instead. `p` is that of a t test whose standard error is the
    bootstrap's and whose degrees of freedom are those of the side with fewer images: with a dozen images, a normal
    distribution would call too much worse.
    """
    totals, drawn = table.sum(0, dtype=np.int64), resampled(table)
    images = (table[:, :, 1].sum(-1) > 0).sum(0)
    found = []
    for part in range(table.shape[1]):
        others = [other for other in range(table.shape[1]) if other != part]
        fewest = int(min(images[part], (table[:, others, 1].sum((1, 2)) > 0).sum()))
        sides: list[tuple[float, Floats]] = []
        if pooled:
            common = (totals[part, 1] > 0) & (totals[others, 1].sum(0) > 0)
            for chosen in ([part], others):
                one, many = (counts[..., chosen, :, :].sum(-3)[..., common] for counts in (totals, drawn))
                sides.append((float(score(one)), score(many)))
        else:
            alone, often = score(totals), score(drawn)
            sides = [(float(alone[part]), often[:, part]), (_mean(alone[others]), _mean_of_each(often[:, others]))]
        (value, values), (rest, rests) = sides
        spread = values - rests
        error = float(np.nanstd(spread)) * math.sqrt(fewest / (fewest - 1)) if fewest > 1 else math.nan
        found.append(
            Comparison(
                interval(value, values, int(images[part])),
                interval(value - rest, spread, fewest),
                _below(value - rest, error, fewest - 1),
            )
        )
    return found


def _mean(values: Floats) -> float:
    return float(_mean_of_each(values[None])[0])


def _mean_of_each(values: Floats) -> Floats:
    """(R, C) -> (R,): means of what is not nan."""
    number = (~np.isnan(values)).sum(1)
    return np.asarray(np.divide(np.nansum(values, 1), number, out=np.full(len(values), np.nan), where=number > 0))


def _below(difference: float, error: float, freedom: int) -> float:
    if math.isnan(difference) or math.isnan(error):
        return math.nan
    if error == 0:
        return 0.0 if difference < 0 else 1.0
    return t_below(difference / error, freedom)
