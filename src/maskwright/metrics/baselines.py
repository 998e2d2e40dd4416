"""Trivial predictors: what a model that looked at no image would score.

They need no masks: predicting one class everywhere moves all true pixels of a confusion matrix into one
column. A model is worth what it adds to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskwright.errors import DataError
from maskwright.metrics.confusion import Counts
from maskwright.metrics.scores import Scores, scores


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

    confusion: (K, K) int64; names, ids: as for `scores`. Raises DataError when no class has that id.
    """
    known = list(range(len(confusion)) if ids is None else ids)
    if predicted_id not in known:
        raise DataError(f"baseline: no class has id {predicted_id}; known ids are {known}")
    return scores(constant_confusions(confusion, known.index(predicted_id)), names, ids)


def most_frequent_baseline(confusion: Counts, names: Sequence[str], ids: Sequence[int] | None = None) -> Scores:
    """Dataset scores of predicting the class with most true pixels everywhere (the first one on a tie).

    confusion: (K, K) int64; names, ids: as for `scores`. In the result, only that class has predicted pixels.
    """
    return scores(constant_confusions(confusion, int(confusion.sum(axis=-1).argmax())), names, ids)
