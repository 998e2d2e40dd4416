"""Candidates for a wrong label: objects of the label and of the prediction that belong together, in numbers.

A candidate is a connected region of one class in the label, in the prediction of models that have not seen the image,
or in both. Its features say how the two differ (size, place, shape), how sure the models are where they differ, and
what the image's own edges say. They are free of units, so that candidates of all sizes can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask
from maskwright.labels.suspecting.colours import Look, sides

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# A is the region in the label, B in the prediction, both of the candidate's class; "extra" is A without B, "lost" is B
# without A.
FEATURES: dict[str, str] = {
    "iou": "IoU of A and B",
    "growth": "(A - B) / (A + B)",
    "extra": "share of extra pixels in A or B",
    "lost": "share of lost pixels in A or B",
    "support": "mean probability of the class in A",
    "against_extra": "1 - mean probability of the class in the extra pixels",
    "for_lost": "mean probability of the class in the lost pixels",
    "most_for_lost": "highest probability of the class in the lost pixels",
    "soft_iou": "IoU of A and the probability of the class",
    "shift": "distance of the centres of A and B, over the root of the area",
    "taken": "share of A that is predicted to be of another class but the background",
    "given": "share of B that is labelled as another class but the background",
    "solid_label": "area of A over that of its hull",
    "solid_prediction": "area of B over that of its hull",
    "rough_label": "log of A's outline over that of a disc of its area",
    "rough_prediction": "log of B's outline over that of a disc of its area",
    "boxed": "area of A over that of its smallest rectangle",
    "elliptic": "IoU of A and the ellipse with its centre and spread",
    "corners": "log of the corners of A's outline, drawn within 2 % of its length",
    "edge_label": "log of the image's edges on A's outline over those of the whole image",
    "edge_prediction": "log of the image's edges on B's outline over those of the whole image",
    "edge_ratio": "log of the image's edges where only B has an outline over those where only A has",
    "colours_apart": "how differently A and B and their surroundings are coloured (see `colours`)",
    "colour_extra": "mean of the colours' log ratio in the extra pixels",
    "colour_lost": "mean of the colours' log ratio in the lost pixels",
    "colour_rim": "mean of the colours' log ratio at the rim of A, inside",
    "colour_ring": "mean of the colours' log ratio around A, outside",
    "evidence": "log likelihood ratio of prediction and label in the pixels where they differ, over the area",
    "band_extra": "extra pixels over the length of the outline",
    "band_lost": "lost pixels over the length of the outline",
    "area": "log of the share of the image",
    "doubt": "mean of 1 - the highest probability, in A or B",
    "doubt_between": "mean of 1 - the highest probability, where label and prediction differ",
    "no_label": "1 where A is empty",
    "no_prediction": "1 where B is empty",
    "border": "1 where the region touches the border of the image",
    "class_seen": "highest probability of the class in the whole image, but for ignored pixels",
    "unlike": "share of the image's pixels where label and prediction differ",
    "softmin": "`softmin` of the whole image",
}
_LEAST_SHARE, _LEAST_PIXELS = 0.0012, 12  # of the image, for a region that is looked at
_FLOOR = 1 / 255  # a probability is not known better
_TEMPERATURE = 0.1
_ROOM = 2  # pixels around a region
_AROUND = 0.35  # of the root of a region's area: how far its surroundings reach
_RIM = 0.06  # of that root: how wide rim and ring are
_SQUARE = np.ones((3, 3), np.uint8)


def softmin(label: Mask, probabilities: Floats) -> float:
    """How well a label (H, W) agrees with probabilities (K, H, W), 0..1: the mean of those of the labelled classes over
    the pixels that are not ignored, where low ones count most (Lad and Mueller, 2023, with their temperature of 0.1); 1
    where all are ignored."""
    known = label != IGNORE
    values = of_label(label, probabilities)[known].astype(np.float64)
    weights = np.exp((1 - values) / _TEMPERATURE)
    return float((values * weights).sum() / weights.sum()) if len(values) else 1.0


def of_label(label: Mask, probabilities: Floats) -> Floats:
    """(H, W): the probability of each pixel's labelled class, that of the first class where it is ignored."""
    place = np.where(label == IGNORE, 0, label)[None].astype(np.int64)
    return np.asarray(np.take_along_axis(probabilities, place, 0)[0])


@dataclass(frozen=True)
class Candidate:
    """A region in an image of the model's size. index: class index; x, y: its upper left corner; inside, differing
    (h, w): its pixels, and those of them where label and prediction differ; features (F,) as in `FEATURES`."""

    index: int
    x: int
    y: int
    inside: Bools
    differing: Bools
    features: Floats

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns in the image."""
        return slice(self.y, self.y + self.inside.shape[0]), slice(self.x, self.x + self.inside.shape[1])


def candidates(label: Mask, probabilities: Floats, look: Look, background: int | None) -> list[Candidate]:
    """The candidates of an image: label (H, W) class indices, probabilities (K, H, W), its `look`. Ignored pixels
    are in none. Regions of the `background` class are what lies between the others, and are no candidates."""
    return [*_Image(label, probabilities, look, background).candidates()]


def feature_rows(found: Sequence[Candidate]) -> Floats:
    """The features (M, F) of candidates."""
    return np.array([candidate.features for candidate in found], np.float32).reshape(-1, len(FEATURES))


class _Image:
    def __init__(self, label: Mask, probabilities: Floats, look: Look, background: int | None) -> None:
        known = label != IGNORE
        self.label, self.probabilities, self.background = label, probabilities, background
        self.predicted = np.where(known, probabilities.argmax(0), IGNORE).astype(np.uint8)
        self.edge, self.mean_edge, self.groups = look.edge, float(look.edge.mean()) + 1e-6, look.groups
        self.highest = probabilities.max(0)
        self.seen = [float(one[known].max(initial=0.0)) for one in probabilities]
        own = of_label(label, probabilities)
        self.ratio = np.log(np.maximum(self.highest, _FLOOR)) - np.log(np.maximum(own, _FLOOR))
        self.softmin = softmin(label, probabilities)
        self.unlike = float(np.count_nonzero(known & (label != self.predicted)) / label.size)

    def candidates(self) -> Iterator[Candidate]:
        least = max(_LEAST_PIXELS, _LEAST_SHARE * self.label.size)
        for index in range(len(self.probabilities)):
            here = (self.label == index) | (self.predicted == index)
            if index == self.background or not here.any():
                continue
            labels = cc3d.connected_components(here, connectivity=8, out_dtype=np.uint32)
            boxes = cc3d.statistics(labels)["bounding_boxes"]
            area = np.bincount(labels.reshape(-1))
            for place in range(1, len(area)):
                if area[place] >= least:
                    window = self._wider(boxes[place][:2])
                    yield self._candidate(index, window, labels[window] == place)

    def _wider(self, window: tuple[slice, slice], room: int = _ROOM) -> tuple[slice, slice]:
        """With room for the outlines, where the image has it."""
        rows, columns = (
            slice(max(0, part.start - room), min(part.stop + room, size))
            for part, size in zip(window, self.label.shape, strict=True)
        )
        return rows, columns

    def _candidate(self, index: int, window: tuple[slice, slice], inside: Bools) -> Candidate:
        a, b = (self.label[window] == index) & inside, (self.predicted[window] == index) & inside
        differing = a != b
        values = self._features(index, window, inside, a, b)
        assert len(values) == len(FEATURES)
        return Candidate(index, window[1].start, window[0].start, inside, differing, np.array(values, np.float32))

    def _features(self, index: int, window: tuple[slice, slice], inside: Bools, a: Bools, b: Bools) -> list[float]:
        probability, edge = self.probabilities[index][window], self.edge[window]
        doubt = 1 - self.highest[window]
        extra, lost = a & ~b, b & ~a
        size_a, size_b, size = (float(np.count_nonzero(part)) for part in (a, b, inside))
        soft, all_soft = float(probability[a].sum()), float(probability[inside].sum())
        outline_a, outline_b = _outline(a), _outline(b)
        only_a, only_b = outline_a & ~_grown(outline_b), outline_b & ~_grown(outline_a)
        length = max(1.0, float(outline_a.sum() + outline_b.sum()) / (2 if size_a and size_b else 1))
        shape_a, shape_b = _shape(a), _shape(b)
        others = self.predicted[window][extra], self.label[window][lost]
        taken, given = (float(np.count_nonzero((part != self.background) & (part != IGNORE))) for part in others)
        shift = float(np.hypot(*(_centre(a) - _centre(b)))) / np.sqrt(size) if size_a and size_b else 0.0
        sides_apart = np.count_nonzero(only_a) > 4 and np.count_nonzero(only_b) > 4
        return [
            (size_a + size_b - size) / size,
            (size_a - size_b) / (size_a + size_b),
            extra.sum() / size,
            lost.sum() / size,
            _mean(probability, a, 0.5),
            1 - _mean(probability, extra, 1.0),
            _mean(probability, lost, 0.0),
            float(probability[lost].max(initial=0.0)),
            soft / max(size_a + all_soft - soft, 1.0),
            shift,
            taken / max(size_a, 1.0),
            given / max(size_b, 1.0),
            shape_a.solid,
            shape_b.solid,
            shape_a.rough,
            shape_b.rough,
            shape_a.boxed,
            shape_a.elliptic,
            shape_a.corners,
            np.log(_mean(edge, outline_a, self.mean_edge) / self.mean_edge + 1e-3),
            np.log(_mean(edge, outline_b, self.mean_edge) / self.mean_edge + 1e-3),
            np.log((edge[only_b].mean() + 0.5) / (edge[only_a].mean() + 0.5)) if sides_apart else 0.0,
            *self._colours(index, window, a, b),
            float(self.ratio[window][extra | lost].sum()) / size,
            extra.sum() / length,
            lost.sum() / length,
            np.log(size / self.label.size),
            _mean(doubt, inside, 0.0),
            _mean(doubt, extra | lost, 0.0),
            float(size_a == 0),
            float(size_b == 0),
            float(self._at_border(window, inside)),
            self.seen[index],
            self.unlike,
            self.softmin,
        ]

    def _colours(self, index: int, window: tuple[slice, slice], a: Bools, b: Bools) -> list[float]:
        """The features of colours, which need more of the surroundings than the others; 0 where there is too little."""
        room = max(4, round(_AROUND * float(np.sqrt(max(a.sum(), b.sum())))))
        wide = self._wider(window, room)
        top, left = (outer.start - inner.start for outer, inner in zip(window, wide, strict=True))
        shape = tuple(part.stop - part.start for part in wide)
        label, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        label[top : top + a.shape[0], left : left + a.shape[1]] = a
        prediction[top : top + b.shape[0], left : left + b.shape[1]] = b
        both = label & prediction
        core = both if both.any() else label | prediction
        near = cv2.dilate(label | prediction, _SQUARE, iterations=2)
        known = self.label[wide] != IGNORE
        outside = known & (near == 0) & (self.label[wide] != index) & (self.predicted[wide] != index)
        inner = cv2.erode(core, _SQUARE, iterations=2)
        inside = (inner if inner.sum() >= _LEAST_PIXELS else core) > 0
        if min(np.count_nonzero(inside), np.count_nonzero(outside)) < _LEAST_PIXELS:
            return [0.0] * 5
        found = sides(self.groups[wide], inside, outside)
        width = max(2, round(_RIM * float(np.sqrt(label.sum()))))
        rim = (label > 0) & (cv2.erode(label, _SQUARE, iterations=width) == 0)
        ring = known & (label == 0) & (cv2.dilate(label, _SQUARE, iterations=width) > 0)
        parts = (label > prediction), (prediction > label), rim, ring
        return [found.apart, *(_mean(found.ratio, part, 0.0) for part in parts)]

    def _at_border(self, window: tuple[slice, slice], inside: Bools) -> bool:
        rows, columns = window
        height, width = self.label.shape
        return bool(
            (rows.start == 0 and inside[0].any())
            or (rows.stop == height and inside[-1].any())
            or (columns.start == 0 and inside[:, 0].any())
            or (columns.stop == width and inside[:, -1].any())
        )


@dataclass(frozen=True)
class _Shape:
    solid: float
    rough: float
    boxed: float
    elliptic: float
    corners: float


def _shape(region: Bools) -> _Shape:
    """What `FEATURES` says of the shape of a region (H, W); neutral values for one of a few pixels."""
    area = float(np.count_nonzero(region))
    if area < 5:
        return _Shape(1.0, 0.0, 1.0, 1.0, 0.0)
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = np.concatenate(outlines)
    hull = max(cv2.contourArea(cv2.convexHull(points)), area / 2)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    _, sides, _ = cv2.minAreaRect(points)
    places = np.argwhere(region).astype(np.float64)
    places -= places.mean(0)
    spread = places.T @ places / area + 0.1 * np.eye(2)
    # An even ellipse ends at twice its spread.
    within = np.count_nonzero(np.einsum("ij,jk,ik->i", places, np.linalg.inv(spread), places) <= 4)
    ellipse = 4 * np.pi * float(np.sqrt(np.linalg.det(spread)))
    largest = max(outlines, key=cv2.contourArea)
    corners = len(cv2.approxPolyDP(largest, max(1.0, 0.02 * cv2.arcLength(largest, True)), True))
    return _Shape(
        min(1.2, area / hull),
        float(np.log(max(length, 1.0) / (2 * np.sqrt(np.pi * area)))),
        min(1.2, area / ((sides[0] + 1) * (sides[1] + 1))),
        within / (ellipse + area - within),
        float(np.log(corners)),
    )


def _outline(region: Bools) -> Bools:
    return np.asarray(region & (cv2.erode(region.astype(np.uint8), _SQUARE) == 0))


def _grown(region: Bools) -> Bools:
    return np.asarray(cv2.dilate(region.astype(np.uint8), _SQUARE) > 0)


def _centre(region: Bools) -> npt.NDArray[np.float64]:
    return np.asarray(np.argwhere(region).mean(0))


def _mean(values: Floats, where: Bools, otherwise: float) -> float:
    return float(values[where].mean()) if where.any() else otherwise
