"""Metrics: confusion counts first, every score from the counts. What a number means stands in `MEASURES`.

counts = np.stack([confusion_matrix(truth, prediction, classes=3) for truth, prediction in pairs])
result = scores(counts.sum(axis=0), names)
result.to_dict(headline(counts))
further = measures(counts)
"""

from maskwright.evaluation.metrics.baselines import constant_baseline, constant_confusions, most_frequent_baseline
from maskwright.evaluation.metrics.boundary import BoundaryScores, Tolerance, boundary_scores
from maskwright.evaluation.metrics.calibration import (
    CALIBRATION,
    Bin,
    brier,
    calibration_sums,
    ece,
    mce,
    nll,
    reliability,
)
from maskwright.evaluation.metrics.confusion import confusion_matrix
from maskwright.evaluation.metrics.levels import incoherent_pixels, level_confusion, level_confusions
from maskwright.evaluation.metrics.marginals import Marginals
from maskwright.evaluation.metrics.measures import MEASURES, About, Measure, calibration_measures, measures
from maskwright.evaluation.metrics.scores import (
    ClassScores,
    ImageScores,
    Interval,
    Scores,
    aAcc,
    dice,
    image_scores,
    iou,
    mAcc,
    mDice,
    mean_image_iou,
    mIoU,
    precision,
    recall,
    scores,
    thresholded_iou,
)
from maskwright.evaluation.metrics.statistics import bootstrap, bootstrap_sums, headline, holm
from maskwright.evaluation.metrics.weak_truth import excess_recall, mean_excess_recall

__all__ = [
    "CALIBRATION",
    "MEASURES",
    "About",
    "Bin",
    "BoundaryScores",
    "ClassScores",
    "ImageScores",
    "Interval",
    "Marginals",
    "Measure",
    "Scores",
    "Tolerance",
    "aAcc",
    "bootstrap",
    "bootstrap_sums",
    "boundary_scores",
    "brier",
    "calibration_measures",
    "calibration_sums",
    "confusion_matrix",
    "constant_baseline",
    "constant_confusions",
    "dice",
    "ece",
    "excess_recall",
    "headline",
    "holm",
    "image_scores",
    "incoherent_pixels",
    "iou",
    "level_confusion",
    "level_confusions",
    "mAcc",
    "mDice",
    "mIoU",
    "mce",
    "mean_excess_recall",
    "mean_image_iou",
    "measures",
    "most_frequent_baseline",
    "nll",
    "precision",
    "recall",
    "reliability",
    "scores",
    "thresholded_iou",
]
