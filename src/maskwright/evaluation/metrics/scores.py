"""Scores from confusion counts: overall, per class, per image, and vectorised over any leading axes.

Aggregation. `scores` is the DATASET aggregation: counts are summed over all images and then divided once, so
every pixel weighs the same. `image_scores`, `mean_image_iou` and `thresholded_iou` divide inside each image first.

Absent classes. A class has `true` pixels in the truth and `predicted` pixels in the prediction:

    true   predicted   IoU, Dice   recall      precision
    0      0           undefined   undefined   undefined    left out of mIoU, mDice, mAcc
    0      > 0         0           undefined   0            counts as 0 in mIoU, mDice; left out of mAcc
    > 0    0           0           0           undefined    counts as 0 in mIoU, mDice, mAcc
    > 0    > 0         ratio       ratio       ratio        counts

Undefined is nan in arrays and null in JSON, never 0 or 1. An invented class costs its full share of mIoU and
mDice: otherwise hallucinating would be free. mmsegmentation's IoUMetric has the same rule; others differ:
- torchmetrics' multiclass scores: the same macro IoU and Dice, but 0 for undefined values in the class
  list, and an invented class counts as recall 0 in macro recall.
- scikit-learn with `labels=` all classes: undefined values are 0 and count in every mean.
- MONAI's compute_iou is per image; a class without true pixels is left out even when it is invented
  (`ignore_empty=True`, the default), or an absent class scores 1 (`ignore_empty=False`).

Ignored pixels are in no cell of a confusion matrix, so they enter no figure here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from maskwright.errors import DataError
from maskwright.evaluation.metrics.confusion import Counts
from maskwright.evaluation.metrics.marginals import Floats, Marginals, defined_mean, ratio


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the ends of its confidence interval; nan where undefined."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """JSON form; undefined is None."""
        return {"value": _json(self.value), "low": _json(self.low), "high": _json(self.high)}


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class over the dataset. Scores and shares are in [0, 1] or nan; shares are of counted pixels."""

    id: int
    name: str
    iou: float
    dice: float
    precision: float
    recall: float
    true_pixels: int
    predicted_pixels: int
    true_share: float
    predicted_share: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a dataset; `pixels` is the number of counted (not ignored) pixels."""

    aAcc: float
    mAcc: float
    mIoU: float
    mDice: float
    classes: tuple[ClassScores, ...]
    pixels: int

    def to_dict(self, intervals: Mapping[str, Interval] | None = None) -> dict[str, Any]:
        """JSON form: `pixels`, `scores` (name -> value, low, high) and `classes`; undefined is None.

        intervals: what `bootstrap.headline` returned; without it low and high are None.
        """
        unknown = Interval(math.nan, math.nan, math.nan)
        overall = {}
        for name in HEADLINE:
            interval = (intervals or {}).get(name, unknown)
            overall[name] = Interval(getattr(self, name), interval.low, interval.high).to_dict()
        rows = [{key: _json(value) for key, value in asdict(row).items()} for row in self.classes]
        return {"pixels": self.pixels, "scores": overall, "classes": rows}


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Scores of one image, by the same rule for absent classes; `iou`, `dice` and `thresholded_iou` hold one value a
    class."""

    aAcc: float
    mAcc: float
    mIoU: float
    mDice: float
    iou: tuple[float, ...]
    dice: tuple[float, ...]
    thresholded_iou: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form; undefined is None."""
        overall = {name: _json(getattr(self, name)) for name in HEADLINE}
        return overall | {name: [_json(v) for v in getattr(self, name)] for name in ("iou", "dice", "thresholded_iou")}


def scores(confusion: Counts, names: Sequence[str], ids: Sequence[int] | None = None) -> Scores:
    """Dataset scores from the (K, K) int64 sum of all images' confusion matrices.

    names, ids: K each, in the order of the rows; ids default to 0..K-1.
    Raises DataError when the matrix is not square or the numbers of names, ids and classes differ.
    """
    confusion = _one(confusion)
    ids = range(len(confusion)) if ids is None else ids
    if not len(names) == len(ids) == len(confusion):
        raise DataError(f"scores: {len(names)} names and {len(ids)} ids for {len(confusion)} classes; give one of each")
    _, true, predicted = class_counts(confusion)
    pixels = int(confusion.sum())
    columns = (iou(confusion), dice(confusion), precision(confusion), recall(confusion), true, predicted,
               ratio(true, pixels), ratio(predicted, pixels))  # fmt: skip
    rows = zip(ids, names, *(column.tolist() for column in columns), strict=True)
    return Scores(
        aAcc=float(aAcc(confusion)),
        mAcc=float(mAcc(confusion)),
        mIoU=float(mIoU(confusion)),
        mDice=float(mDice(confusion)),
        classes=tuple(ClassScores(*row) for row in rows),
        pixels=pixels,
    )


def image_scores(confusion: Counts) -> ImageScores:
    """Scores of one image from its (K, K) int64 confusion matrix. Raises DataError when it is not square."""
    confusion = _one(confusion)
    return ImageScores(
        aAcc=float(aAcc(confusion)),
        mAcc=float(mAcc(confusion)),
        mIoU=float(mIoU(confusion)),
        mDice=float(mDice(confusion)),
        iou=tuple(iou(confusion).tolist()),
        dice=tuple(dice(confusion).tolist()),
        thresholded_iou=tuple(thresholded_iou(confusion).tolist()),
    )


def mean_image_iou(confusions: Counts) -> Floats:
    """Mean IoU of each class over the images whose TRUTH has it: (N, K, K) int64 -> (K,) in [0, 1].

    Small objects weigh as much as large ones. Images without a true pixel of the class do not count, even
    where it is predicted; nan for a class that no image has.
    """
    return defined_mean(iou_where_true(confusions), axis=0)


def iou_where_true(confusions: Counts) -> Floats:
    """IoU of each class, nan also where it has no true pixel: (..., K, K) -> (..., K); see `mean_image_iou`."""
    return np.where(class_counts(confusions)[1] > 0, iou(confusions), np.nan)


# Each function below takes (..., K, K) int64 counts and works over all leading axes at once. They raise
# DataError when the last two axes differ, and return float64 in [0, 1], or nan by the rule at the top.


def iou(confusions: Counts) -> Floats:
    """Intersection over union (Jaccard) of each class: (..., K, K) -> (..., K)."""
    return class_counts(confusions).iou()


def dice(confusions: Counts) -> Floats:
    """Dice coefficient (F1) of each class: (..., K, K) -> (..., K)."""
    return class_counts(confusions).dice()


def thresholded_iou(confusions: Counts, absent: float = math.nan) -> Floats:
    """Share of the thresholds 0.50, 0.55, ... 0.95 that the IoU of each class exceeds: (..., K, K) -> (..., K).

    It belongs to single images: give (N, K, K) and average. Exceeds means >, as in the TGS Salt Identification
    challenge, whose score this is with the class as the one object of an image. It is decided in whole numbers: an IoU
    of exactly 0.55 passes one threshold.
    absent: the value of a class that is neither true nor predicted in the image; that challenge gives 1.
    """
    hit, true, predicted = class_counts(confusions)
    union = true + predicted - hit
    passed = 20 * hit[..., None] > np.arange(10, 20) * union[..., None]
    return np.where(union > 0, passed.mean(axis=-1), absent)


def precision(confusions: Counts) -> Floats:
    """Share of the predicted pixels of each class that are right: (..., K, K) -> (..., K)."""
    return class_counts(confusions).precision()


def recall(confusions: Counts) -> Floats:
    """Share of the true pixels of each class that are found: (..., K, K) -> (..., K)."""
    return class_counts(confusions).recall()


def aAcc(confusions: Counts) -> Floats:
    """Pixel accuracy, all classes together: (..., K, K) -> (...); nan without a counted pixel."""
    return class_counts(confusions).aAcc()


def mAcc(confusions: Counts) -> Floats:
    """Mean recall over the classes that have true pixels: (..., K, K) -> (...)."""
    return class_counts(confusions).mAcc()


def mIoU(confusions: Counts) -> Floats:
    """Mean IoU over the classes that are true or predicted somewhere: (..., K, K) -> (...)."""
    return class_counts(confusions).mIoU()


def mDice(confusions: Counts) -> Floats:
    """Mean Dice over the classes that are true or predicted somewhere: (..., K, K) -> (...)."""
    return class_counts(confusions).mDice()


HEADLINE = {"aAcc": aAcc, "mAcc": mAcc, "mIoU": mIoU, "mDice": mDice}


def class_counts(confusions: Counts) -> Marginals:
    """Pixels of each class that are hit, true and predicted: (..., K) int64 each."""
    confusions = _square(confusions)
    return Marginals(np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(axis=-1), confusions.sum(axis=-2))


def _one(confusion: Counts) -> Counts:
    confusion = _square(confusion)
    if confusion.ndim != 2:
        raise DataError(f"scores: expected one (K, K) matrix, got shape {confusion.shape}; sum or pick an image first")
    return confusion


def _square(confusions: Counts) -> Counts:
    whole = np.issubdtype(confusions.dtype, np.integer)  # normalised matrices have lost the pixels
    if not whole or confusions.ndim < 2 or confusions.shape[-1] != confusions.shape[-2]:
        raise DataError(
            f"scores: expected integer counts (..., K, K), got {confusions.dtype} {confusions.shape}; "
            "pass what confusion_matrix returned"
        )
    return confusions.astype(np.int64, copy=False)


def _json(value: Any) -> Any:
    """JSON has no nan: undefined becomes null."""
    return None if isinstance(value, float) and math.isnan(value) else value
