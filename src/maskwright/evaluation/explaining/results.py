"""What `explain` found, typed, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.display import Result
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Finding, summarise
from maskwright.evaluation.explaining.anatomy import LEAST_TOLERANCE
from maskwright.evaluation.explaining.kinds import KINDS
from maskwright.evaluation.explaining.slices import AXES, Slice
from maskwright.evaluation.explaining.text import explanation_text
from maskwright.evaluation.metrics import ClassScores, Interval, Scores, Tolerance, scores


@dataclass(frozen=True)
class ErrorRegion:
    """Touching wrong pixels of one kind in one image: their number, their box (x, y, width, height), and what most of
    them are and were predicted as."""

    sample: str
    pixels: int
    region: tuple[int, int, int, int]
    true: str
    predicted: str


@dataclass(frozen=True)
class KindResult:
    """All wrong pixels of a kind. `share` is of all wrong pixels; `whole` of them belong to whole objects, None where
    that has no meaning; `images` have some.

    `lost` and `invented` (K,) count them by true and by predicted class. `worth` is what fixing all of them, and
    nothing else, adds to mIoU and mDice, `class_worth` (K,) to the IoU of each class (None where it has none).
    `related` counts those that are right at each level above the leaves, the top first. `regions` are the largest.
    """

    name: str
    pixels: int
    share: float
    whole: int | None
    images: int
    lost: list[int]
    invented: list[int]
    worth: dict[str, Interval]
    class_worth: list[float | None]
    related: list[int]
    regions: list[ErrorRegion]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {
            "kind": self.name,
            "meaning": KINDS[self.name].meaning,
            "fix": KINDS[self.name].fix,
            "worth": {name: value.to_dict() for name, value in self.worth.items()},
        }


@dataclass(frozen=True)
class RankedImage:
    """An image with its rank: `dice` is what it was ranked by, `class_dice` (K,) that of each class (None where it is
    neither true nor predicted), `kinds` its wrong pixels by kind."""

    sample: str
    dice: float
    class_dice: list[float | None]
    kinds: dict[str, int]


@dataclass(frozen=True, repr=False)
class Explanation(Result):
    """Why an evaluation scores what it does.

    `confusion` (K, K) int64 is that of the evaluation in `folder`, `kinds` are in the order of `KINDS`. `empty` is the
    index of the class that stands for "no object", None where every class is one. `tolerances` are the smallest and the
    largest tolerance of boundaries in pixels that an image had, `tolerance` the one that was asked for. `best` and
    `worst` are ranked by mean Dice, or by the Dice of the class `by`; no image is in both, and `ranked` have a rank.
    `source` is where the dataset was opened, `page` what was drawn of it, None where nothing was written.
    """

    folder: Path
    split: str
    images: int
    dataset: Dataset
    confusion: npt.NDArray[np.int64]
    empty: int | None
    tolerance: float | None
    tolerances: tuple[float, float]
    kinds: list[KindResult]
    best: list[RankedImage]
    worst: list[RankedImage]
    ranked: int
    by: str | None
    slices: list[Slice]
    findings: list[Finding]
    notes: list[str]
    source: Path = Path()
    page: Path | None = None

    @property
    def classes(self) -> ClassTree:
        """The classes by index."""
        return self.dataset.classes

    @property
    def background(self) -> str | None:
        """The name of the class that stands for "no object"."""
        return None if self.empty is None else self.classes.names[self.empty]

    @property
    def tolerance_rule(self) -> str:
        """The tolerance of boundaries in words."""
        if self.tolerance is not None:
            return f"{self.tolerance:g} px"
        return f"{100 * Tolerance().share:g} % of the image's diagonal, at least {LEAST_TOLERANCE:g} px"

    @property
    def scores(self) -> Scores:
        """The scores of the evaluation."""
        return scores(self.confusion, self.classes.names, self.classes.ids)

    @property
    def wrong(self) -> int:
        """Wrong pixels in all."""
        return sum(kind.pixels for kind in self.kinds)

    @property
    def by_worth(self) -> list[KindResult]:
        """The kinds that occur, those first that gain most if fixed."""
        return sorted((kind for kind in self.kinds if kind.pixels), key=lambda kind: -kind.worth["mIoU"].value)

    def facts(self) -> Mapping[str, object]:
        """For `repr` and notebooks."""
        first = self.by_worth[0] if self.wrong else None
        return {
            "split": self.split,
            "images": self.images,
            "mIoU": self.scores.mIoU,
            "wrong_pixels": self.wrong,
            "start_with": first and first.name,
            "mIoU_gained_if_fixed": first and first.worth["mIoU"].value,
            "findings": len(self.findings),
            "page": self.page and str(self.page),
        }

    def human(self) -> str:
        """The kinds of errors that would gain most first, the worst images, and slices that are worse than the rest."""
        return explanation_text(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `explain`."""
        overall = self.scores
        return {
            "split": self.split,
            "images": self.images,
            "evaluation": str(self.folder),
            "data": str(self.source),
            "background": self.background,
            "tolerance": {
                "rule": self.tolerance_rule,
                "least": self.tolerances[0],
                "most": self.tolerances[1],
                "asked": self.tolerance,
            },
            "pixels": overall.pixels,
            "wrong_pixels": self.wrong,
            "scores": overall.to_dict()["scores"],
            "kinds": [kind.to_dict() for kind in self.kinds],
            "classes": [self._class(index, row) for index, row in enumerate(overall.classes)],
            "axes": {name: {"meaning": axis.meaning, "measure": axis.measure} for name, axis in AXES.items()},
            "slices": [one.to_dict() for one in self.slices],
            "confusion": self.confusion.tolist(),
            "ranked": self.ranked,
            "by": self.by,
            "best": [asdict(one) for one in self.best],
            "worst": [asdict(one) for one in self.worst],
            "findings": [finding.to_dict() for finding in self.findings],
            "summary": summarise(self.findings),
            "notes": self.notes,
        }

    def _class(self, index: int, row: ClassScores) -> dict[str, Any]:
        """A class with its wrong pixels: `lost` are true and were predicted as another one, `invented` the other way
        round. Each wrong pixel is lost to one class and invented for another."""
        return {
            "id": row.id,
            "name": row.name,
            "iou": row.iou,
            "lost": {kind.name: kind.lost[index] for kind in self.kinds},
            "invented": {kind.name: kind.invented[index] for kind in self.kinds},
            "worth": {kind.name: kind.class_worth[index] for kind in self.kinds},
        }
