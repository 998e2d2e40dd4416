"""Scores from the hit, true and predicted pixels of each class: all of a confusion matrix that the headline needs.

They are a few numbers a class, so thousands of resamples of many runs are a few matrix products. Every function works
over all leading axes at once, by the rules for absent classes of `metrics.scores`, whose results it shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


class Marginals(NamedTuple):
    """Pixels of each class, (..., K) float64: hit (true and predicted), true, and predicted."""

    hit: Floats
    true: Floats
    predicted: Floats

    @classmethod
    def of(cls, confusions: npt.NDArray[np.int64]) -> Marginals:
        """Those of (..., K, K) counts with rows = truth."""
        parts = (np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(-1), confusions.sum(-2))
        return cls(*(part.astype(np.float64) for part in parts))

    def total(self, axis: int = -2) -> Marginals:
        """Summed over an axis, by default that of the images (..., N, K)."""
        return Marginals(*(part.sum(axis) for part in self))


Score: TypeAlias = Callable[[Marginals], Floats]


def iou(counts: Marginals) -> Floats:
    """Of each class: (..., K) -> (..., K), nan where it is neither true nor predicted."""
    return _ratio(counts.hit, counts.true + counts.predicted - counts.hit)


def mIoU(counts: Marginals) -> Floats:
    """Mean IoU over the classes that are true or predicted somewhere: (..., K) -> (...)."""
    return _mean(iou(counts))


def mDice(counts: Marginals) -> Floats:
    """Mean Dice over the same classes."""
    return _mean(_ratio(2 * counts.hit, counts.true + counts.predicted))


def mAcc(counts: Marginals) -> Floats:
    """Mean recall over the classes that have true pixels."""
    return _mean(_ratio(counts.hit, counts.true))


def aAcc(counts: Marginals) -> Floats:
    """Pixel accuracy, all classes together."""
    return _ratio(counts.hit.sum(-1), counts.true.sum(-1))


SCORES: Mapping[str, Score] = {"mIoU": mIoU, "mDice": mDice, "mAcc": mAcc, "aAcc": aAcc}


def _ratio(part: Floats, whole: Floats) -> Floats:
    # Seeds are averaged before, so an absent class may have a rounding error instead of 0.
    ratio = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 1e-6)
    return ratio


def _mean(values: Floats) -> Floats:
    """Over the last axis, of the values that are not nan."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1).astype(np.float64))
