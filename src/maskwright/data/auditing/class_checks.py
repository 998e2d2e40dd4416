"""Checks of classes: which occur where, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from maskwright.base.texts import listing
from maskwright.core.findings import Observation
from maskwright.data.auditing.statistics import SplitStatistics
from maskwright.data.auditing.survey import Survey

# A class with fewer pixels than this part of the most frequent one is drowned by it without class weights.
_DROWNED = 1 / 200
# A class in fewer training images than this is learnt from hardly more than examples.
_FEW_IMAGES = 5


def _absent(part: SplitStatistics) -> set[int]:
    return set(np.flatnonzero(part.class_pixels == 0).tolist())


def _classes(
    survey: Survey, indices: Iterable[int], message: str, fix: str, split: str | None = None, **evidence: Any
) -> Iterator[Observation]:
    names = [survey.dataset.classes.names[i] for i in sorted(indices)]
    if names:
        yield Observation(f"{message}: {listing(names, 8)}", fix, split=split, evidence={"classes": names, **evidence})


def class_absent(survey: Survey) -> Iterator[Observation]:
    """Classes without a pixel anywhere."""
    if survey.statistics.total.labelled:
        yield from _classes(
            survey,
            _absent(survey.statistics.total),
            "classes without a pixel in any mask",
            "remove them from `classes` in dataset.yaml, or label some images with them",
        )


def class_not_in_train(survey: Survey) -> Iterator[Observation]:
    """Classes that are scored but cannot be learnt."""
    train = survey.statistics.splits.get("train")
    if train and train.labelled:
        yield from _classes(
            survey,
            _absent(train) - _absent(survey.statistics.total),
            "classes that occur, but not in train",
            "move images containing these classes into train: a model cannot learn what it never sees",
            "train",
        )


def class_not_in_split(survey: Survey) -> Iterator[Observation]:
    """Classes that occur in train but not in another split."""
    splits = survey.statistics.splits
    if "train" in splits:
        for name in splits:
            if name not in ("", "train") and splits[name].labelled:
                yield from _classes(
                    survey,
                    _absent(splits[name]) - _absent(splits["train"]),
                    f"classes of train without a pixel in {name}",
                    f"their scores on {name} are undefined: move images containing these classes into {name}",
                    name,
                )


def class_imbalance(survey: Survey) -> Iterator[Observation]:
    """Classes that the most frequent one drowns."""
    part, names = survey.statistics.training, survey.dataset.classes.names
    rare = np.flatnonzero((part.class_pixels > 0) & (part.class_pixels < part.class_pixels.max() * _DROWNED)).tolist()
    return _classes(
        survey,
        rare,
        f"classes with less than 1/{round(1 / _DROWNED)} of the pixels of {names[int(part.class_pixels.argmax())]!r}",
        "use Dice beside cross entropy, set `class_weights: inverse_frequency`, or label more of them",
        shares={names[i]: float(part.shares[i]) for i in rare},
    )


def class_rare_images(survey: Survey) -> Iterator[Observation]:
    """Classes in a handful of the training images; where these are a handful themselves, every class would be."""
    part, names = survey.statistics.training, survey.dataset.classes.names
    rare = np.flatnonzero((part.class_images > 0) & (part.class_images < _FEW_IMAGES)).tolist()
    if part.labelled >= _FEW_IMAGES:
        yield from _classes(
            survey,
            rare,
            f"classes in fewer than {_FEW_IMAGES} of {part.labelled} training images",
            "label more images with them: what varies between images cannot be learnt from so few",
            images={names[i]: int(part.class_images[i]) for i in rare},
        )
