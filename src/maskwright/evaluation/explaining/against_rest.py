"""Whether a part of the images, pixels or objects is worse than the rest by more than chance.

A table holds what a score is made of, of each image and part: `hit`, `true` and `predicted` pixels of some classes.
The methods are those of `metrics.statistics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.evaluation.metrics import Interval, Marginals
from maskwright.evaluation.metrics.marginals import Floats, Score
from maskwright.evaluation.metrics.statistics import percentile_interval, resampled_table, t_below

Counts = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class AgainstRest:
    """A part against the rest: its `score`, by how much that is below (< 0) or above the score of the rest, and `p`,
    the probability of a part so far below by chance alone (one-sided)."""

    score: Interval
    difference: Interval
    p: float


def compare_with_rest(table: Counts, score: Score, *, pooled: bool = True) -> list[AgainstRest]:
    """Each of P parts against the rest. table: (N, P, 3, C), zeros where an image has nothing of a part.

    The rest are the counts of the other parts together, over the classes that are true both in it and in the part;
    where not `pooled`, their scores are averaged instead. `p` is that of a t test whose standard error is the
    bootstrap's and whose degrees of freedom are those of the side with fewer images: with a dozen images, a normal
    distribution would call too much worse.
    """
    totals, drawn = table.sum(0, dtype=np.int64), resampled_table(table)
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
                sides.append((float(score(Marginals.of_table(one))), score(Marginals.of_table(many))))
        else:
            alone, often = (score(Marginals.of_table(counts)) for counts in (totals, drawn))
            sides = [(float(alone[part]), often[:, part]), (_mean(alone[others]), _mean_of_each(often[:, others]))]
        (value, values), (rest, rests) = sides
        spread = values - rests
        error = float(np.nanstd(spread)) * math.sqrt(fewest / (fewest - 1)) if fewest > 1 else math.nan
        found.append(
            AgainstRest(
                percentile_interval(value, values, int(images[part])),
                percentile_interval(value - rest, spread, fewest),
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
