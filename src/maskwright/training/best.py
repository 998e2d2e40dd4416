"""The score that chooses which checkpoint of a run is kept as its best, and when it has stopped getting better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.strictyaml import did_you_mean
from maskwright.config import BestConfig
from maskwright.core.classes import ClassTree, Level
from maskwright.core.dataset import Dataset
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics import aAcc, dice, iou, precision, recall
from maskwright.evaluation.metrics.marginals import defined_mean

# Of each class: (K, K) counts -> (K,). A mean is over the classes that have the score, as in `evaluate`.
_OF_CLASSES = {
    "iou": iou,
    "mIoU": iou,
    "dice": dice,
    "mDice": dice,
    "recall": recall,
    "mAcc": recall,
    "precision": precision,
}


_USUAL = BestConfig()


@dataclass(frozen=True)
class Best:
    """`config` for the classes of a dataset: the place of its level in what `validate` counts, of its class there, and
    of the class that is left out of the mean, if any."""

    config: BestConfig = _USUAL
    level: int = -1
    of_class: int | None = None
    without: int | None = None

    @classmethod
    def of(cls, config: BestConfig | None, classes: ClassTree) -> Best:
        """ConfigError for a level or a class that there is not, and for a background where there is none."""
        if config is None:
            return cls()
        number = config.level or classes.depth
        if number > classes.depth:
            raise ConfigError(
                f"train.best.level: {number}, but the classes have {classes.depth} "
                f"level{'s' * (classes.depth > 1)}; give at most that, or leave it out"
            )
        level = classes.levels[number - 1]
        known = level.classes
        if config.class_ is not None and config.class_ not in known.names:
            raise ConfigError(f"train.best.class: {config.class_!r} is not a class" + _instead(config, classes, level))
        if config.without_background and known.background is None:
            raise ConfigError("train.best.without_background: no class is the background; remove it")
        return cls(
            config,
            number - 1,
            None if config.class_ is None else known.names.index(config.class_),
            known.background if config.without_background else None,
        )

    @property
    def usual(self) -> bool:
        """Whether it is the mean IoU of the leaves."""
        return str(self) == str(_USUAL)

    def __str__(self) -> str:
        return str(self.config)

    def value(self, confusions: Sequence[npt.NDArray[np.int64]], loss: float) -> float:
        """The score from the counts (M, M) of each level and the validation loss. What is undefined is 0: the precision
        of a class that is never predicted."""
        counts, score = confusions[self.level], self.config.score
        if score == "loss":
            return loss
        if score == "aAcc":
            return float(aAcc(counts))
        values = _OF_CLASSES[score](counts)
        if self.of_class is None:
            others = values if self.without is None else np.delete(values, self.without)
            found = float(defined_mean(others, axis=-1))
        else:
            found = float(values[self.of_class])
        return 0.0 if math.isnan(found) else found

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value is better than the best one so far."""
        return than is None or (value < than if self.config.lower_is_better else value > than)

    def require_pixels(self, dataset: Dataset, samples: Sequence[Sample], pixels: Sequence[int]) -> None:
        """DataError when no validation pixel is of what the score is about, so that it never could be judged. `pixels`
        (K,) are those at the model's size, where small objects may have vanished."""
        if self.of_class is None and self.without is None:
            return
        level = dataset.classes.levels[self.level]
        wanted = {*range(len(level))} - {self.without} if self.of_class is None else {self.of_class}

        def there(counts: npt.NDArray[Any]) -> bool:
            return any(level.sums(counts)[i] for i in wanted if i is not None)

        if there(np.asarray(pixels)):
            return
        for sample in samples:
            mask = dataset.read_mask(sample)
            if there(np.bincount(mask.reshape(-1), minlength=256)[: len(dataset.classes)]):
                return
        what = "class but the background" if self.of_class is None else repr(self.config.class_)
        raise DataError(
            f"{dataset.root}: train.best is {self}, but no validation pixel is of {'any ' * (self.of_class is None)}"
            f"{what}, so it could never be judged; choose another score, or make other splits (`maskwright split`)"
        )


def _instead(config: BestConfig, classes: ClassTree, level: Level) -> str:
    """Where a class is that a level has not."""
    others = [one.number for one in classes.levels if config.class_ in one.classes.names]
    if others:
        return f" of level {level.number}; it is one of level {others[0]}: add `level: {others[0]}`"
    return did_you_mean(config.class_ or "", level.classes.names)


BY_MIOU = Best()
