"""What fixing a kind of error would gain, from counts alone.

Every wrong pixel is in one cell of the confusion matrix, off its diagonal. Fixing the prediction moves it along its
row to the diagonal, fixing the label along its column. So the scores after fixing are exact, without a mask: the
tests fix the pixels themselves and score again, with the same result.

IoU does not add up: what two kinds gain together is in general not the sum of what each gains alone, since the
gain of each depends on what is left of the others. All of them together give 1.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.evaluation.explaining.kinds import LABEL_SUSPECT, NAMES
from maskwright.evaluation.metrics.confusion import Counts


def fixed(confusion: npt.NDArray[Any], errors: npt.NDArray[Any], kind: str) -> Counts:
    """Counts (K, K) after all `errors` (K, K) of a kind are fixed: the label where that is suspect, else the
    prediction."""
    diagonal = errors.sum(0 if _label(kind) else 1)
    return np.asarray(confusion - errors + np.diag(diagonal), np.int64)


def fixed_counts(
    counts: npt.NDArray[Any], lost: npt.NDArray[Any], invented: npt.NDArray[Any], kind: str
) -> npt.NDArray[Any]:
    """The same from condensed counts (..., 3, K), hit, true and predicted: `lost` (..., K) are the errors of the kind
    by true class, `invented` (..., K) by predicted class."""
    right = invented if _label(kind) else lost
    hit, true, predicted = (counts[..., row, :] for row in range(3))
    return np.stack([hit + right, true - lost + right, predicted - invented + right], -2)


def _label(kind: str) -> bool:
    return kind == NAMES[LABEL_SUSPECT - 1]
