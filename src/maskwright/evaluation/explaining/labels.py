"""Error regions where the label rather than the model is likely wrong, by what the image itself shows.

Without models that have never seen an image, and without probabilities, two pieces of evidence are at hand, and an
error region (labelled t, predicted p) is suspect only when both speak against its label:

- *Colour*: the region looks like the pixels around it on which label and prediction agree to be p, not like those on
  which they agree to be t.
- *Edges*: the outline of the prediction runs along edges of the image, that of the label does not; or both are the
  same.

This is weak, and careful rather than complete. Of label errors that were planted beyond the tolerance, 98 % of the
pixels were found in scenes of plain colours, but 34 % on photographs of steel, 16 % on those of skin and 42 % on faces;
of planted model errors 0 %, 0 %, 0.9 % and 0.1 % were called label errors. Of the pixels by which hurried and careful
labels of 50 faces differ it called 22 % suspect with the hurried ones as labels, and 8 % with the careful ones.

It finds nothing where classes do not differ in colour, or where the image holds no agreed pixel of one of them; it
believes a model that was taken in by a look-alike; it cannot see which side is right within the tolerance of
boundaries, so regions that are mostly boundary are left alone. `bench/explain.py` measures it. Models trained on other
folds say far more.
"""

from __future__ import annotations

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.edges import edge_strength, smoothed
from maskwright.core.masks import Mask, Pixels

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_REGIONS = 32  # the largest ones of an image that are looked at
_LEAST = 30  # pixels of a region, and of each agreed neighbourhood, to have a colour
_DIFFERENT = 8.0  # CIELAB between two classes that can be told apart by colour; 2.3 is just noticeable
_LIKE = 0.75  # from the colour of t (0) to that of p (1)
_SHARP = 1.5  # times as strong an edge


def suspect_labels(
    image: Pixels, truth: Mask, prediction: Mask, counted: Bools, wrong: Bools, outline: Bools, reach: float
) -> Bools:
    """(H, W) bool: the pixels of suspect regions.

    image: (H, W, 3) uint8 RGB; truth, prediction: (H, W) class indices; counted, wrong, outline: (H, W), the pixels
    that count, those of them that are wrong, and those of them that are boundary; reach: the tolerance in pixels.
    """
    result = np.zeros(truth.shape, np.bool_)
    pairs = np.where(wrong, truth.astype(np.uint16) << 8 | prediction, 0).astype(np.uint16)  # never 0 where t is not p
    label = cc3d.connected_components(pairs, connectivity=8, out_dtype=np.uint32)
    area = np.bincount(label.reshape(-1))
    rim = np.bincount(label[outline], minlength=len(area))
    area[0] = 0
    chosen = np.flatnonzero((area >= _LEAST) & (2 * rim < area))
    if not chosen.size:
        return result
    look = _Look(image, truth, prediction, counted & ~wrong, reach)
    for region in chosen[np.argsort(-area[chosen], kind="stable")][:_REGIONS].tolist():
        inside = label == region
        if look.against_the_label(inside):
            result |= inside
    return result


class _Look:
    """Colours and edges of one image, with its masks. `agreed` (H, W): counted pixels that are right."""

    def __init__(self, image: Pixels, truth: Mask, prediction: Mask, agreed: Bools, reach: float) -> None:
        self.lab = smoothed(np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32))
        self.edge = edge_strength(self.lab)
        self.truth, self.prediction, self.agreed = truth, prediction, agreed
        self.outlines = _outline(truth), _outline(prediction)
        self.margin = max(8, round(4 * reach))

    def against_the_label(self, inside: Bools) -> bool:
        """Whether both pieces of evidence speak against the label of a region (H, W)."""
        left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
        window = (
            slice(max(0, top - self.margin), top + height + self.margin),
            slice(max(0, left - self.margin), left + width + self.margin),
        )
        row, column = np.unravel_index(int(inside.argmax()), inside.shape)
        pair = int(self.truth[row, column]), int(self.prediction[row, column])
        return self._colour(inside, window, *pair) and self._edges(inside[window], window)

    def _colour(self, inside: Bools, window: tuple[slice, slice], true: int, told: int) -> bool:
        as_true, as_told = self._agreed(true, window), self._agreed(told, window)
        if as_true is None or as_told is None:
            return False
        apart = as_told - as_true
        distance = float(np.linalg.norm(apart))
        if distance < _DIFFERENT:
            return False
        own = np.median(self.lab[inside], axis=0) - as_true
        return float(own @ apart) / distance**2 >= _LIKE

    def _agreed(self, index: int, window: tuple[slice, slice]) -> Floats | None:
        """The median colour (3,) of the agreed pixels of a class in the window, or else in the image."""
        for part in (window, (slice(None), slice(None))):
            here = self.agreed[part] & (self.truth[part] == index)
            if np.count_nonzero(here) >= _LEAST:
                return np.asarray(np.median(self.lab[part][here], axis=0), np.float32)
        return None

    def _edges(self, inside: Bools, window: tuple[slice, slice]) -> bool:
        """The outlines are compared where they part; where one of the two has none, with what is around. Where they are
        the same (a wrong class), edges say nothing against either."""
        rim = _grown(inside)
        true, told = (outline[window] & rim for outline in self.outlines)
        edge = self.edge[window]
        around = float(edge.mean())
        at_true = _mean(edge, true & ~_grown(told))
        at_told = _mean(edge, told & ~_grown(true))
        if at_told is None:
            return at_true is None or at_true < _SHARP * around
        return at_told >= _SHARP * (around if at_true is None else at_true)


def _outline(mask: Mask) -> Bools:
    """(H, W): pixels with a neighbour of another class above, below, left or right."""
    result = np.zeros(mask.shape, np.bool_)
    down, across = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    result[1:] |= down
    result[:-1] |= down
    result[:, 1:] |= across
    result[:, :-1] |= across
    return result


def _grown(mask: Bools) -> Bools:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _mean(values: Floats, where: Bools) -> float | None:
    """None for fewer than 5 pixels."""
    return float(values[where].mean()) if np.count_nonzero(where) >= 5 else None
