"""Tally: what is counted of each image of an evaluation, so that all scores can be made of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence

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


class Tally:
    """Counts of N images that are added one after the other; its memory grows by their counts and not by their pixels.

    `confusions` has (N, M, M) int64 for each level of `classes`, top first, the leaves' last. With a `tolerance`,
    `boundaries` has the (N, M) scores of boundaries for each level. `calibration` has (N, B + 1, 3) sums when
    probabilities were given. `incoherent` counts pixels whose labels contradict each other, where levels are not
    `implied` by the leaves.
    """

    def __init__(self, classes: ClassTree, *, implied: bool = True, tolerance: Tolerance | None = None) -> None:
        self.classes = classes
        self.implied = implied
        self.tolerance = tolerance
        self.incoherent = 0
        self._counts: list[list[npt.NDArray[np.int64]]] = []
        self._boundaries: list[list[BoundaryScores]] = []
        self._calibration: list[npt.NDArray[np.float64]] = []

    def add(self, truth: Mask, found: Sequence[Mask], probabilities: npt.NDArray[np.float32] | None = None) -> None:
        """Counts one image. truth: (H, W) leaf indices with `IGNORE`; found: the predicted indices of each level, top
        first; probabilities: (K, H, W) of the leaves."""
        self._counts.append(level_confusions(truth, found, self.classes, implied=self.implied))
        if not self.implied:
            self.incoherent += incoherent_pixels(truth, found, self.classes)
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
    def confusions(self) -> list[npt.NDArray[np.int64]]:
        """(N, M, M) of each level."""
        return [np.stack(level) for level in zip(*self._counts, strict=True)]

    @property
    def boundaries(self) -> list[BoundaryScores]:
        """(N, M) scores of each level, or nothing."""
        return [BoundaryScores.stacked(level) for level in zip(*self._boundaries, strict=True)]

    @property
    def calibration(self) -> npt.NDArray[np.float64] | None:
        """(N, B + 1, 3)."""
        return np.stack(self._calibration) if self._calibration else None
