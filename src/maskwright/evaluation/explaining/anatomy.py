"""The wrong pixels of one image, each of one kind: what `kinds` says in words, as pixels.

Objects are 8-connected pixels of one class. An object was *found as* a class when at least a quarter of its counted
pixels were predicted as that class. A displacement of a small object by more than about half its size is therefore no
matter of outlines, but a miss beside a false alarm.

For geometry (objects, distances) ignored pixels belong to the nearest label, so that a band of them around an object,
as some datasets have, does not part it from its background. They are never wrong themselves.

The split into kinds follows what TIDE (Bolya et al., ECCV 2020) does for boxes; the two-sided rule for boundaries is
our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask, Pixels
from maskwright.evaluation.explaining.kinds import BOUNDARY, CONFUSED, HALLUCINATED, LABEL_SUSPECT, MISSED
from maskwright.evaluation.explaining.labels import suspect_labels
from maskwright.evaluation.metrics import Tolerance

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FOUND = 0.25  # share of an object
LEAST_TOLERANCE = 2.0  # pixels


def tolerance_of(shape: tuple[int, ...]) -> float:
    """The tolerance of boundaries in pixels in an image (H, W): that of the measures of `evaluate`, 0.75 % of its
    diagonal, but 2 at least."""
    return max(LEAST_TOLERANCE, Tolerance().of(shape))


@dataclass(frozen=True)
class Objects:
    """The true objects of an image: `label` (H, W) from 1 on; by label (M + 1,), of which 0 is none: `index`, the
    class, and `area`, the counted pixels."""

    label: npt.NDArray[np.uint32]
    index: Ints
    area: Ints

    @classmethod
    def of(cls, truth: Mask, counted: Bools) -> Objects:
        """Those of indices (H, W) without `IGNORE`."""
        label = object_labels(truth)
        index = np.zeros(int(label.max(initial=0)) + 1, np.int64)
        index[label] = truth
        return cls(label, index, np.bincount(label[counted], minlength=len(index)))

    def share(self, where: Bools) -> npt.NDArray[np.float64]:
        """(M + 1,) of the counted pixels of each object those in `where` (H, W), which holds only counted ones."""
        return np.bincount(self.label[where], minlength=len(self.area)) / np.maximum(self.area, 1)


def object_labels(mask: Mask) -> npt.NDArray[np.uint32]:
    """(H, W) labels from 1 on of the 8-connected pixels of one class, every class an object."""
    return np.asarray(cc3d.connected_components(mask.astype(np.uint16) + 1, connectivity=8, out_dtype=np.uint32))


@dataclass(frozen=True)
class Anatomy:
    """`kinds` (H, W) uint8: 0 where the prediction is right or nothing counts, else 1 + the place in `kinds.NAMES`.
    `whole` (H, W): missed and hallucinated pixels of whole objects. `objects` are the true ones, `found` (M + 1,) tells
    which of them were found as what they are. `tolerance` is in pixels."""

    kinds: npt.NDArray[np.uint8]
    whole: Bools
    objects: Objects
    found: Bools
    tolerance: float


def dissect(
    image: Pixels, truth: Mask, prediction: Mask, *, background: int | None = 0, tolerance: float | None = None
) -> Anatomy:
    """The kind of every wrong pixel. image: (H, W, 3) uint8 RGB; truth, prediction: (H, W) class indices, with `IGNORE`
    in the truth only.

    `background` is the index of the class that stands for "no object", None where every class is an object.
    `tolerance` in pixels is `tolerance_of` the image when left out.
    """
    reach = tolerance_of(truth.shape) if tolerance is None else tolerance
    counted = truth != IGNORE
    wrong = counted & (truth != prediction)
    objects = Objects.of(filled(truth), counted)
    found = objects.share(counted & ~wrong) >= FOUND
    kinds = np.zeros(truth.shape, np.uint8)
    whole = np.zeros(truth.shape, np.bool_)
    if wrong.any():
        case = _Case(filled(truth), prediction, counted, wrong, objects, found, background, reach)
        outline, whole = case.outline()
        kinds[case.missed], kinds[case.invented], kinds[case.confused] = MISSED, HALLUCINATED, CONFUSED
        kinds[outline] = BOUNDARY
        kinds[suspect_labels(image, case.truth, prediction, counted, wrong, outline, reach)] = LABEL_SUSPECT
        whole &= (kinds == MISSED) | (kinds == HALLUCINATED)
    return Anatomy(kinds, whole, objects, found, reach)


def filled(truth: Mask) -> Mask:
    """Indices (H, W) with the nearest class in place of `IGNORE`; index 0 where there is none at all."""
    ignored = truth == IGNORE
    if not ignored.any():
        return truth
    if ignored.all():
        return np.zeros_like(truth)
    _, nearest = cv2.distanceTransformWithLabels(
        ignored.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros(int(nearest.max()) + 1, np.uint8)
    values[nearest[~ignored]] = truth[~ignored]
    return values[nearest]


def near(mask: Bools, reach: float) -> Bools:
    """(H, W) bool: pixels with one of `mask` at most `reach` pixels away, from centre to centre.

    Half a pixel is allowed beside it: that is how well an outline on a grid is known."""
    if not mask.any():
        return mask
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= reach + 0.5)


class _Case:
    """One image with its wrong pixels, parted by what was taken for what."""

    def __init__(
        self,
        truth: Mask,
        prediction: Mask,
        counted: Bools,
        wrong: Bools,
        objects: Objects,
        found: Bools,
        background: int | None,
        reach: float,
    ) -> None:
        self.truth, self.prediction, self.counted, self.objects = truth, prediction, counted, objects
        self.background, self.reach, self.found = background, reach, found
        empty, told = truth == background, prediction == background
        self.missed, self.invented, self.confused = wrong & told, wrong & empty, wrong & ~told & ~empty

    def outline(self) -> tuple[Bools, Bools]:
        """Boundary pixels, and those of whole objects that are missed or hallucinated, (H, W) bool each."""
        outline, whole = np.zeros(self.truth.shape, np.bool_), np.zeros(self.truth.shape, np.bool_)
        for part, look in (
            (self.missed, self._too_small),
            (self.invented, self._too_large),
            (self.confused, self._between),
        ):
            if part.any():
                look(outline, whole)
        return outline, whole

    def _too_small(self, outline: Bools, whole: Bools) -> None:
        """An object is found when anything was found where it is, of whatever class: its outline is another matter."""
        something = self.prediction != self.background
        there = (self.objects.share(self.counted & something) >= FOUND)[self.objects.label]
        outline |= self.missed & there & near(self.truth == self.background, self.reach) & near(something, self.reach)
        whole |= self.missed & ~there

    def _too_large(self, outline: Bools, whole: Bools) -> None:
        """What was found has a counterpart when it covers some of an object that was found as its class."""
        beyond = near(self.prediction == self.background, self.reach)
        predicted = object_labels(self.prediction)
        has = np.zeros(int(predicted.max()) + 1, np.bool_)
        solid = self.objects.index != self.background
        for index in np.unique(self.prediction[self.invented]).tolist():
            told = self.prediction == index
            mates = (solid & (self.objects.share(self.counted & told) >= FOUND))[self.objects.label]
            has[predicted[mates & told]] = True
            outline |= self.invented & told & beyond & near(mates, self.reach)
        whole |= self.invented & ~has[predicted]

    def _between(self, outline: Bools, whole: Bools) -> None:
        """Two objects that touch were both found as what they are, and the border between them is off."""
        found = self.found[self.objects.label]

        @cache
        def near_true(index: int) -> Bools:
            return near(found & (self.truth == index), self.reach)

        @cache
        def near_predicted(index: int) -> Bools:
            return near(self.prediction == index, self.reach)

        here = self.confused & found
        for pair in np.unique(self.truth[here].astype(np.int64) << 8 | self.prediction[here]).tolist():
            true, told = divmod(pair, 256)
            outline |= here & (self.truth == true) & (self.prediction == told) & near_true(told) & near_predicted(true)
