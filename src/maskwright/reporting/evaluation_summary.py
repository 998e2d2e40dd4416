"""What a page shows of an evaluation: the headline beside what is trivial, the best and the worst images.

Only files are read, so a report needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.base.storage import confine
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.errors import DataError
from maskwright.evaluation.metrics import confusion_matrix, image_scores
from maskwright.evaluation.scoring.evaluation import Evaluation
from maskwright.reporting.pictures import Picture, views
from maskwright.reporting.svg import interval_strip

SCORE_NAMES = {"mIoU": "mean IoU", "mDice": "mean Dice", "mAcc": "mean recall", "aAcc": "pixel accuracy"}
_SHOWN, _CLASSES = 6, 8


@dataclass(frozen=True)
class ImageCard:
    """One image of the best or worst: its record, the Dice of its classes from the lowest up, and its four views,
    or why there are none."""

    record: dict[str, Any]
    dice: list[tuple[str, float]]
    views: list[Picture]
    problem: str = ""


def headline_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row a score: value, interval, its strip, and what each trivial prediction would reach."""
    overall = evaluation.scores.to_dict(evaluation.intervals)["scores"]
    baselines = [baseline.to_dict()["scores"] for baseline in evaluation.trivial.values()]
    rows = []
    for name, meaning in SCORE_NAMES.items():
        score, bars = overall[name], [row[name]["value"] for row in baselines]
        rows.append(
            {
                "name": name,
                "meaning": meaning,
                **score,
                "baselines": bars,
                "strip": interval_strip(**score, baselines=bars),
            }
        )
    return rows


def verdict(evaluation: Evaluation) -> str:
    """One sentence on whether the headline means anything."""
    bar = max(baseline.mIoU for baseline in evaluation.baselines.values())
    value, low = evaluation.scores.mIoU, evaluation.intervals["mIoU"].low
    if value <= bar:
        return f"No better than predicting one class everywhere, which reaches {bar:.3f}."
    if math.isnan(low):
        return f"Above the {bar:.3f} of predicting one class everywhere, but one image allows no interval."
    if low <= bar:
        return f"Above the {bar:.3f} of predicting one class everywhere, but within its own uncertainty of it."
    return f"Above what predicting one class everywhere would reach ({bar:.3f}), with its whole interval."


def best_and_worst(
    evaluation: Evaluation, dataset: Dataset | None, classes: ClassTree
) -> tuple[list[ImageCard], list[ImageCard], int]:
    """Up to 6 images with the highest and 6 with the lowest mean Dice, and how many images were ranked.

    No image is in both. Images in which no pixel counts have no rank.
    """
    counted = [row for row in evaluation.images if row["mDice"] is not None]
    ranked = sorted(counted, key=lambda row: (-row["mDice"], row["sample"]))
    best, worst = ranked[: min(_SHOWN, (len(ranked) + 1) // 2)], ranked[::-1][: min(_SHOWN, len(ranked) // 2)]
    cards = [[_card(row, evaluation, dataset, classes) for row in rows] for rows in (best, worst)]
    return cards[0], cards[1], len(ranked)


def _card(record: dict[str, Any], evaluation: Evaluation, dataset: Dataset | None, classes: ClassTree) -> ImageCard:
    name = record["sample"]
    by_class = zip(classes.names, record["dice"], strict=True)
    dice = sorted(((of, value) for of, value in by_class if value is not None), key=lambda pair: pair[1])[:_CLASSES]
    sample = next((s for s in dataset.samples if s.name == name), None) if dataset else None
    if dataset is None or sample is None:
        return ImageCard(record, dice, [], "the image is not in the dataset at hand")
    try:
        image, truth = dataset.read(sample)
        file = confine(evaluation.folder / "predictions", f"{name}.png", str(evaluation.folder / "images.jsonl"))
        predicted = classes.to_indices(np.asarray(read_mask(file, INDEX, classes).ids), str(file))
        # A picture beside a score must be what was scored.
        same = image_scores(confusion_matrix(truth, predicted, len(classes))).mDice == record["mDice"]
    except DataError as error:
        return ImageCard(record, dice, [], str(error))
    if not same:
        return ImageCard(record, dice, [], "the mask or the prediction is not the one that was scored")
    return ImageCard(record, dice, views(name, image, truth, predicted, classes))
