"""Trivial predictors: what a model that looked at no image would score.

They need no masks: predicting one class everywhere moves all true pixels of a confusion matrix into one
column. A model is worth what it adds to them, so their means are over the classes that its own means are over: those
that are true or that it predicts. A class that only the model predicts counts 0 on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskwright.errors import DataError
from maskwright.evaluation.metrics.confusion import Counts
from maskwright.evaluation.metrics.marginals import Floats
from maskwright.evaluation.metrics.scores import Scores, class_counts, dice, iou, scores


def constant_confusions(confusions: Counts, column: int) -> Counts:
    """Counts of predicting the class of `column` at every pixel: (..., K, K) -> (..., K, K) int64.

    Takes the truth from `confusions` and nothing else. Ignored pixels stay uncounted.
    """
    moved = np.zeros_like(confusions)
    moved[..., column] = confusions.sum(axis=-1)
    return moved


def constant_baseline(
    confusion: Counts, names: Sequence[str], predicted_id: int = 0, ids: Sequence[int] | None = None
) -> Scores:
    """Dataset scores of predicting `predicted_id` at every pixel; 0 is "all background".

    confusion: (K, K) int64 of the model, whose classes the means are over; names, ids: as for `scores`. Raises
    DataError when no class has that id.
    """
    known = list(range(len(confusion)) if ids is None else ids)
    if predicted_id not in known:
        raise DataError(f"baseline: no class has id {predicted_id}; known ids are {known}")
    return _beside(confusion, known.index(predicted_id), names, ids)


def most_frequent_baseline(confusion: Counts, names: Sequence[str], ids: Sequence[int] | None = None) -> Scores:
    """Dataset scores of predicting the class with most true pixels everywhere (the first one on a tie).

    confusion: (K, K) int64 of the model, whose classes the means are over; names, ids: as for `scores`. In the result,
    only that class has predicted pixels.
    """
    return _beside(confusion, int(confusion.sum(axis=-1).argmax()), names, ids)


def _beside(confusion: Counts, column: int, names: Sequence[str], ids: Sequence[int] | None) -> Scores:
    constant = constant_confusions(confusion, column)
    _, true, predicted = class_counts(confusion)
    counted = (true > 0) | (predicted > 0)

    def mean(values: Floats) -> float:
        return float(np.nan_to_num(values[counted]).mean()) if counted.any() else float("nan")

    return replace(scores(constant, names, ids), mIoU=mean(iou(constant)), mDice=mean(dice(constant)))
