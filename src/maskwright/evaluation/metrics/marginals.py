"""Scores from the hit, true and predicted pixels of each class: all that a score needs of a confusion matrix.

They are a few numbers a class, so thousands of resamples of many runs are a few matrix products. Every score works over
all leading axes at once, is a share in [0, 1], or nan by the rule for absent classes in `metrics.scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[Any]

# Averaged over seeds, an absent class may have a rounding error instead of 0 pixels.
_LEAST_PIXELS = 1e-6


class Marginals(NamedTuple):
    """Pixels of each class, (..., K) integers or float64: hit (true and predicted), true, and predicted."""

    hit: Numbers
    true: Numbers
    predicted: Numbers

    @classmethod
    def of(cls, confusions: npt.NDArray[np.int64]) -> Marginals:
        """Those of (..., K, K) counts with rows = ground truth, as float64: exact below 2**53 pixels."""
        parts = (np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(-1), confusions.sum(-2))
        return cls(*(part.astype(np.float64) for part in parts))

    @classmethod
    def of_table(cls, table: Numbers) -> Marginals:
        """Those of a table (..., 3, K), whose rows are hit, true and predicted."""
        return cls(*(table[..., row, :] for row in range(3)))

    def total(self, axis: int = -2) -> Marginals:
        """Summed over an axis, by default that of the images (..., N, K)."""
        return Marginals(*(part.sum(axis) for part in self))

    def iou(self) -> Floats:
        """Of each class: (..., K), nan where it is neither true nor predicted."""
        return ratio(self.hit, self.true + self.predicted - self.hit, _LEAST_PIXELS)

    def dice(self) -> Floats:
        """Of each class: (..., K), nan where it is neither true nor predicted."""
        return ratio(2 * self.hit, self.true + self.predicted, _LEAST_PIXELS)

    def precision(self) -> Floats:
        """Of each class: (..., K), nan where it is not predicted."""
        return ratio(self.hit, self.predicted, _LEAST_PIXELS)

    def recall(self) -> Floats:
        """Of each class: (..., K), nan where it is not true."""
        return ratio(self.hit, self.true, _LEAST_PIXELS)

    def mIoU(self) -> Floats:
        """Mean IoU over the classes that are true or predicted somewhere: (...)."""
        return defined_mean(self.iou(), axis=-1)

    def mDice(self) -> Floats:
        """Mean Dice over the same classes: (...)."""
        return defined_mean(self.dice(), axis=-1)

    def mAcc(self) -> Floats:
        """Mean recall over the classes that have true pixels: (...)."""
        return defined_mean(self.recall(), axis=-1)

    def aAcc(self) -> Floats:
        """Pixel accuracy, all classes together: (...)."""
        return ratio(self.hit.sum(-1), self.true.sum(-1), _LEAST_PIXELS)


Score: TypeAlias = Callable[[Marginals], Floats]
SCORES: Mapping[str, Score] = {
    "mIoU": Marginals.mIoU,
    "mDice": Marginals.mDice,
    "mAcc": Marginals.mAcc,
    "aAcc": Marginals.aAcc,
}


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike, least: float = 0.0) -> Floats:
    """part / whole, nan where whole is not above `least`."""
    part, whole = np.broadcast_arrays(part, whole)
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > least)
    return result


def defined_mean(values: Floats, axis: int) -> Floats:
    """Mean over the values that are not nan; nan (without numpy's warning) when there is none."""
    return ratio(np.nansum(values, axis=axis), np.count_nonzero(~np.isnan(values), axis=axis))
