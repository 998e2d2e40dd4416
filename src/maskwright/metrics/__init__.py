"""Metrics: confusion counts first, every score from the counts.

counts = np.stack([confusion_matrix(truth, prediction, classes=3) for truth, prediction in pairs])
result = scores(counts.sum(axis=0), names)
result.to_dict(headline(counts))
"""

from maskwright.metrics.baselines import constant_baseline, constant_confusions, most_frequent_baseline
from maskwright.metrics.bootstrap import bootstrap, headline
from maskwright.metrics.confusion import confusion_matrix
from maskwright.metrics.levels import incoherent_pixels, level_confusion, level_confusions
from maskwright.metrics.scores import (
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
)

__all__ = [
    "ClassScores",
    "ImageScores",
    "Interval",
    "Scores",
    "aAcc",
    "bootstrap",
    "confusion_matrix",
    "constant_baseline",
    "constant_confusions",
    "dice",
    "headline",
    "image_scores",
    "incoherent_pixels",
    "iou",
    "level_confusion",
    "level_confusions",
    "mAcc",
    "mDice",
    "mIoU",
    "mean_image_iou",
    "most_frequent_baseline",
    "precision",
    "recall",
    "scores",
]
