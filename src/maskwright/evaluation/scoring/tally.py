"""Tally: what is counted of each image of an evaluation, so that all scores can be made of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.core.classes import ClassTree
from maskwright.core.masks import Mask
from maskwright.evaluation.metrics import (
    BoundaryScores,
    Tolerance,
    boundary_scores,
    calibration_sums,
    incoherent_pixels,
    level_confusions,
)


@dataclass(frozen=True)
class Counted:
    """What was counted of N images: `confusions` (N, M, M) int64 of each level of `classes`, top first, the leaves'
    last; the (N, M) scores of `boundaries` of each level within a `tolerance`, and the (N, B + 1, 3) sums of the
    `calibration`, where these were asked for; `incoherent` pixels have labels that contradict each other."""

    classes: ClassTree
    confusions: Sequence[npt.NDArray[np.int64]]
    incoherent: int = 0
    tolerance: Tolerance | None = None
    boundaries: Sequence[BoundaryScores] = ()
    calibration: npt.NDArray[np.float64] | None = None


class Tally:
    """Counts of N images that are added one after the other; its memory grows by their counts and not by their pixels.

    Boundaries are scored with a `tolerance` only, calibration is counted when probabilities are given. Pixels whose
    labels contradict each other are counted where the levels are not `implied` by the leaves.
    """

    def __init__(self, classes: ClassTree, *, implied: bool = True, tolerance: Tolerance | None = None) -> None:
        self.classes = classes
        self.implied = implied
        self.tolerance = tolerance
        self._incoherent = 0
        self._counts: list[list[npt.NDArray[np.int64]]] = []
        self._boundaries: list[list[BoundaryScores]] = []
        self._calibration: list[npt.NDArray[np.float64]] = []

    def add(self, truth: Mask, found: Sequence[Mask], probabilities: npt.NDArray[np.float32] | None = None) -> None:
        """Counts one image. truth: (H, W) leaf indices with `IGNORE`; found: the predicted indices of each level, top
        first; probabilities: (K, H, W) of the leaves."""
        self._counts.append(level_confusions(truth, found, self.classes, implied=self.implied))
        if not self.implied:
            self._incoherent += incoherent_pixels(truth, found, self.classes)
        if self.tolerance is not None:
            self._boundaries.append(
                [
                    boundary_scores(level.mask(truth), mask, len(level), self.tolerance)
                    for level, mask in zip(self.classes.levels, found, strict=True)
                ]
            )
        if probabilities is not None:
            self._calibration.append(calibration_sums(truth, probabilities))

    @property
    def counted(self) -> Counted:
        """All that was counted so far."""
        return Counted(
            self.classes,
            [np.stack(level) for level in zip(*self._counts, strict=True)],
            self._incoherent,
            self.tolerance,
            [BoundaryScores.stacked(level) for level in zip(*self._boundaries, strict=True)],
            np.stack(self._calibration) if self._calibration else None,
        )
