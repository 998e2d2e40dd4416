"""Measures: every number that `evaluate` gives, with how it is aggregated and what an absent class does to it.

A name says its aggregation: `dataset_` sums what was counted over images and divides once, `mean_image_` divides in
each image and averages. The four scores of the contract (aAcc, mAcc, mIoU, mDice) keep the field's names; they are of
the dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from maskwright.base.storage import jsonable
from maskwright.evaluation.metrics.boundary import BoundaryScores
from maskwright.evaluation.metrics.calibration import CALIBRATION
from maskwright.evaluation.metrics.confusion import Counts
from maskwright.evaluation.metrics.marginals import Floats, defined_mean, ratio
from maskwright.evaluation.metrics.scores import Interval, iou_where_true, thresholded_iou
from maskwright.evaluation.metrics.statistics import bootstrap_sums
from maskwright.evaluation.metrics.weak_truth import excess_recall, mean_excess_recall

_DATASET = "dataset: counts summed over images, then divided"
_CLASSES = f"{_DATASET}; then mean over classes"
_IMAGES = "mean over images, class by class; then mean over classes"
_PIXELS = "dataset: every counted pixel weighs the same"
_COST = "left out where it is neither in the truth nor in the prediction; 0 where it is only predicted"
_OUTLINE = "undefined in an image where neither has it or the truth shows no boundary of it; {} where only one has one"
_NO_PART = "has no pixels, and no part"


@dataclass(frozen=True, slots=True)
class About:
    """What a measure is, how it is aggregated, what an absent class does, what is better, and its unit."""

    meaning: str
    aggregation: str
    absent: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = "0..1"


MEASURES = {
    "aAcc": About("share of the pixels that are right", _DATASET, _NO_PART),
    "mAcc": About("recall", _CLASSES, "left out where it is not in the truth"),
    "mIoU": About("intersection over union", _CLASSES, _COST),
    "mDice": About("Dice (F1)", _CLASSES, _COST),
    "mean_image_iou": About(
        "intersection over union",
        "mean over the images whose truth has the class; then mean over classes",
        "an image without it in the truth is left out, even where it is predicted",
    ),
    "mean_image_thresholded_iou": About(
        "share of the thresholds 0.50, 0.55, ... 0.95 that the IoU exceeds (>)", _IMAGES, f"in an image, {_COST}"
    ),
    "dataset_excess_recall": About(
        "recall minus predicted share, for truth that is incomplete; 0 for a class everywhere, nowhere or at random",
        f"{_DATASET}; then mean over all classes but the first (the background)",
        "left out where it is not in the truth",
        unit="-1..1",
    ),
    "mean_image_boundary_f": About(
        "harmonic mean of the shares of predicted and of true boundary that lie within the "
        "tolerance of the other (BF score)",
        _IMAGES,
        _OUTLINE.format(0),
    ),
    "mean_image_nsd": About(
        "share of both boundaries that lies within the tolerance of the other (normalised surface Dice)",
        _IMAGES,
        _OUTLINE.format(0),
    ),
    "mean_image_hd95": About(
        "95th percentile of the distances between boundaries (Hausdorff)",
        _IMAGES,
        _OUTLINE.format("the image's diagonal"),
        "lower",
        "px",
    ),
    "mean_image_assd": About(
        "average distance between boundaries, both ways",
        _IMAGES,
        _OUTLINE.format("the image's diagonal"),
        "lower",
        "px",
    ),
    "dataset_ece": About("expected calibration error of the largest probability", _PIXELS, _NO_PART, "lower"),
    "dataset_mce": About(
        "largest calibration error of a bin of confidences, however few its pixels", _PIXELS, _NO_PART, "lower"
    ),
    "dataset_brier": About("Brier score over all classes", _PIXELS, _NO_PART, "lower", "0..2"),
    "dataset_nll": About("negative log-likelihood of the true class", _PIXELS, _NO_PART, "lower", "nats"),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of the dataset: its value with a 95 % bootstrap interval over images, its value for each class, and how
    many images that is an average of. `classes` is empty where the measure is of no class, `images` where it is of the
    dataset."""

    name: str
    interval: Interval
    classes: tuple[float, ...] = ()
    images: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with what `MEASURES` says about it; undefined is None."""
        return {
            **self.interval.to_dict(),
            "classes": jsonable(self.classes),
            "images": list(self.images),
            **asdict(MEASURES[self.name]),
        }


def measures(confusions: Counts, boundaries: BoundaryScores | None = None) -> dict[str, Measure]:
    """All measures but those of the contract, from (N, K, K) int64 counts, one matrix an image, and if wanted the
    (N, K) scores of the boundaries."""
    found = [
        _of_images("mean_image_iou", iou_where_true(confusions)),
        _of_images("mean_image_thresholded_iou", thresholded_iou(confusions)),
        _excess(confusions),
    ]
    if boundaries is not None:
        names = ("mean_image_boundary_f", "mean_image_nsd", "mean_image_hd95", "mean_image_assd")
        found += [_of_images(name, values) for name, values in zip(names, boundaries, strict=True)]
    return {measure.name: measure for measure in found}


def calibration_measures(sums: Floats) -> dict[str, Measure]:
    """The measures of calibration from (N, B + 1, 3) sums, one an image (see `calibration_sums`)."""

    def columns(total: Floats) -> Floats:
        return np.stack([score(total) for score in CALIBRATION.values()], axis=-1)

    names = [f"dataset_{name}" for name in CALIBRATION]
    return {name: Measure(name, interval) for name, interval in zip(names, bootstrap_sums(sums, columns), strict=True)}


def _of_images(name: str, values: Floats) -> Measure:
    """The mean over images of (N, K) values, left out where they are nan."""
    defined = ~np.isnan(values)
    images = np.stack([np.where(defined, values, 0), defined], axis=1)
    means = _means(images.sum(axis=0))
    interval = bootstrap_sums(images, _column(lambda sums: defined_mean(_means(sums), axis=-1)))[0]
    return Measure(name, interval, tuple(means.tolist()), tuple(defined.sum(axis=0).tolist()))


def _means(sums: Floats) -> Floats:
    """(..., 2, K), sums of values and how many there were, to (..., K)."""
    return ratio(sums[..., 0, :], sums[..., 1, :])


def _excess(confusions: Counts) -> Measure:
    interval = bootstrap_sums(confusions, _column(mean_excess_recall))[0]
    return Measure("dataset_excess_recall", interval, tuple(excess_recall(confusions.sum(axis=0)).tolist()))


def _column(statistic: Callable[[Any], Floats]) -> Callable[[Any], Floats]:
    return lambda sums: statistic(sums)[:, None]
