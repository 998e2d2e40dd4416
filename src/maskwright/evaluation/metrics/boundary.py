"""How well outlines agree, per image and class: boundary F, normalised surface Dice, HD95 and average distance.

Boundary. A pixel of a class is on its boundary when one of its four neighbours counts and is of another class. Ignored
pixels (of the truth, in both masks) are neighbours of nothing, and so is what lies beyond the frame of the image:
where an object is cut off, by the frame or by an ignored band, there is no outline to be found. MONAI and others
count the frame, which all predictions get right for nothing.

Distances are Euclidean, from the centre of each boundary pixel to the nearest centre on the other boundary, in
pixels. With P and R the shares of the predicted and of the true boundary that lie within the tolerance of the other:

    f       2 P R / (P + R), the BF score of Csurka et al. (BMVC 2013)
    nsd     the share of both boundaries together, normalised surface Dice (Nikolov et al., arXiv 1809.04430) with
            boundary pixels for its surface elements
    hd95    the larger one of the 95th percentiles of the two sets of distances
    assd    the mean of all distances together

Absent classes. What is compared are boundaries, so it is not enough that a class is there:

    truth                         prediction      f, nsd      hd95, assd
    no pixel of the class         no pixel        undefined   undefined
    no pixel                      some            0           diagonal
    pixels, but no boundary       anything        undefined   undefined
    a boundary                    no boundary     0           diagonal
    a boundary                    a boundary      measured    measured

Undefined is nan and enters no mean. An invented or a missed class costs as much as an error can: the diagonal of the
image is the largest distance in it (BraTS penalises in this way); leaving it out would reward predicting nothing. A
class that fills all that counts, or whose boundary is hidden by ignored pixels, shows nothing to compare with.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.errors import ConfigError
from maskwright.evaluation.metrics.confusion import Mask, check_masks
from maskwright.evaluation.metrics.marginals import Floats

Bools: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far boundaries may lie apart and still agree: `pixels`, or where that is None, `share` of the diagonal of
    each image, 1 pixel at least.

    0.75 % of the diagonal is what Csurka et al. use, and the benchmark of Martin et al. (PAMI 2004) before them. Hand
    drawn outlines are no better than a pixel, so small images get one.
    """

    pixels: float | None = None
    share: float = 0.0075

    @classmethod
    def parse(cls, text: str | float) -> Tolerance:
        """`3` or `"3"` are pixels, `"0.75%"` is a share of the diagonal. ConfigError for anything else."""
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", str(text).strip())
        if not match:
            raise ConfigError(
                f"tolerance: {text!r} is no distance; give pixels, like 2, or a share of the image's "
                "diagonal, like 0.75%"
            )
        number = float(match[1])
        return cls(share=number / 100) if match[2] else cls(pixels=number)

    def of(self, shape: Sequence[int]) -> float:
        """In pixels, for an image of `shape` (H, W)."""
        return self.pixels if self.pixels is not None else max(1.0, self.share * _diagonal(shape))

    def __str__(self) -> str:
        if self.pixels is not None:
            return f"{self.pixels:g} px"
        return f"{100 * self.share:g} % of the image's diagonal, at least 1 px"


class BoundaryScores(NamedTuple):
    """`f` and `nsd` in [0, 1], `hd95` and `assd` in pixels, by class: (K,) float64 each for one image, (N, K) for
    several; nan where undefined."""

    f: Floats
    nsd: Floats
    hd95: Floats
    assd: Floats

    @classmethod
    def stacked(cls, images: Sequence[BoundaryScores]) -> BoundaryScores:
        """(K,) of each of N images to (N, K)."""
        return cls(*(np.stack(column) for column in zip(*images, strict=True)))


def boundary_scores(
    truth: Mask, prediction: Mask, classes: int, tolerance: Tolerance | None = None, ignore: int | None = IGNORE
) -> BoundaryScores:
    """Scores of the boundaries of each class in one image; rules at the top of this module.

    truth, prediction, classes, ignore: as for `confusion_matrix`. tolerance: 0.75 % of the diagonal when left out.
    Raises DataError for masks that `confusion_matrix` refuses for their dtype, shape or size; ids >= K are left to it.
    """
    check_masks(truth, prediction, classes)
    limit = (tolerance or Tolerance()).of(truth.shape)
    counted = np.ones(truth.shape, np.bool_) if ignore is None else truth != ignore
    true, predicted = (_boundaries(mask, counted, classes) for mask in (truth, prediction))
    scores = [
        _one_class(t, p, truth.shape, limit) if t.size and p.size else _one_sided(c, t, truth, prediction, counted)
        for c, (t, p) in enumerate(zip(true, predicted, strict=True))
    ]
    return BoundaryScores(*np.array(scores, np.float64).T)


def _boundaries(mask: Mask, counted: Bools, classes: int) -> list[Places]:
    """The places of the boundary pixels of each class in the flattened mask, ascending."""
    edge = np.zeros(mask.shape, np.bool_)
    rows = (mask[1:] != mask[:-1]) & counted[1:] & counted[:-1]
    edge[1:] |= rows
    edge[:-1] |= rows
    columns = (mask[:, 1:] != mask[:, :-1]) & counted[:, 1:] & counted[:, :-1]
    edge[:, 1:] |= columns
    edge[:, :-1] |= columns
    places = np.flatnonzero(edge)
    owners = mask.reshape(-1)[places]
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(classes + 1))
    return [places[order[a:b]] for a, b in itertools.pairwise(starts)]


def _one_class(true: Places, predicted: Places, shape: tuple[int, ...], limit: float) -> list[float]:
    t, p = np.divmod(true, shape[1]), np.divmod(predicted, shape[1])
    # No distance leaves the box around both boundaries.
    top, left = (min(a.min(), b.min()) for a, b in zip(t, p, strict=True))
    height, width = (max(a.max(), b.max()) + 1 for a, b in zip(t, p, strict=True))
    size = (int(height - top), int(width - left))
    inside = [(rows - top, columns - left) for rows, columns in (t, p)]
    to_predicted, to_true = _distances(inside[0], inside[1], size), _distances(inside[1], inside[0], size)
    found, right = int((to_predicted <= limit).sum()), int((to_true <= limit).sum())
    recall, precision = found / len(true), right / len(predicted)
    f = 2 * precision * recall / (precision + recall) if found or right else 0.0
    nsd = (found + right) / (len(true) + len(predicted))
    hd95 = max(float(np.quantile(to_predicted, 0.95)), float(np.quantile(to_true, 0.95)))
    return [f, nsd, hd95, float((to_predicted.sum() + to_true.sum()) / (len(true) + len(predicted)))]


def _distances(start: tuple[Places, Places], goal: tuple[Places, Places], size: tuple[int, int]) -> Floats:
    """From each pixel of `start` to the nearest of `goal`."""
    elsewhere = np.ones(size, np.uint8)
    elsewhere[goal] = 0
    near = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[start].astype(np.float64)
    # The float32 root of a whole number: rounding its square makes it exact, for a fair comparison with the limit. From
    # 635 pixels on the square may be off by one or two, which is less than 0.002 pixels.
    return np.asarray(np.sqrt(np.rint(near * near)))


def _one_sided(c: int, true: Places, truth: Mask, prediction: Mask, counted: Bools) -> list[float]:
    """The scores where not both have a boundary."""
    if true.size or (not ((truth == c) & counted).any() and ((prediction == c) & counted).any()):
        diagonal = _diagonal(truth.shape)
        return [0.0, 0.0, diagonal, diagonal]
    return [math.nan] * 4


def _diagonal(shape: Sequence[int]) -> float:
    return math.hypot(shape[0], shape[1])
