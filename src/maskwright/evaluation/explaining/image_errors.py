"""One look at one image: its wrong pixels by kind, as the few counts that are kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.masks import Mask, Pixels
from maskwright.evaluation.explaining.anatomy import dissect
from maskwright.evaluation.explaining.kinds import NAMES
from maskwright.evaluation.explaining.slices import SliceFacts, facts_of

Ints = npt.NDArray[np.int32]
Cells = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Largest:
    """The largest region of a kind in an image: pixels, box (x, y, width, height), and the class indices that most of
    it has and was predicted as."""

    pixels: int
    region: tuple[int, int, int, int]
    true: int
    predicted: int


@dataclass(frozen=True)
class ImageRecord:
    """What is kept of an image of K classes: `facts` for slices; by kind `whole` (5,), pixels of whole objects, and
    (5, K) the pixels `lost` by true and `invented` by predicted class; by kind the largest region; the tolerance."""

    facts: SliceFacts
    whole: Ints
    lost: Ints
    invented: Ints
    largest: list[Largest | None]
    tolerance: float

    @property
    def pixels(self) -> Ints:
        """(5,) wrong pixels by kind."""
        return np.asarray(self.lost.sum(1, dtype=np.int32))


def look_at(
    image: Pixels,
    truth: Mask,
    prediction: Mask,
    classes: int,
    background: int | None = 0,
    tolerance: float | None = None,
) -> tuple[ImageRecord, Cells]:
    """The record of one image, and which cells (C,) of a (5, K, K) table of kind, true and predicted class, flat, hold
    how many pixels (C,), the empty ones left out. Arguments as those of `anatomy.dissect`."""
    anatomy = dissect(image, truth, prediction, background=background, tolerance=tolerance)
    kinds, wrong = anatomy.kinds, anatomy.kinds > 0
    places = ((kinds[wrong].astype(np.int64) - 1) * classes + truth[wrong]) * classes + prediction[wrong]
    cells, pixels = np.unique_counts(places)
    table = np.zeros((len(NAMES), classes, classes), np.int32)
    table.reshape(-1)[cells] = pixels
    whole = np.bincount(kinds[anatomy.whole], minlength=len(NAMES) + 1)[1:].astype(np.int32)
    record = ImageRecord(
        facts_of(image, truth, prediction, anatomy, classes, background),
        whole,
        table.sum(2, dtype=np.int32),
        table.sum(1, dtype=np.int32),
        _largest(kinds, truth, prediction),
        anatomy.tolerance,
    )
    return record, (cells, pixels)


def _largest(kinds: npt.NDArray[np.uint8], truth: Mask, prediction: Mask) -> list[Largest | None]:
    found: list[Largest | None] = [None] * len(NAMES)
    label = cc3d.connected_components(kinds, connectivity=8, out_dtype=np.uint32)
    area = np.bincount(label.reshape(-1))
    kind = np.zeros(len(area), np.uint8)
    kind[label] = kinds
    for code in np.unique(kind[1:]).tolist():
        region = int(np.where(kind == code, area, 0).argmax())
        inside = label == region
        pairs = np.bincount(truth[inside].astype(np.int64) << 8 | prediction[inside])
        true, predicted = divmod(int(pairs.argmax()), 256)
        left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
        found[code - 1] = Largest(int(area[region]), (left, top, width, height), true, predicted)
    return found
