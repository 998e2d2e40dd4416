"""What masks hold of each class: how many pixels, in how many masks, how large its regions are and how wide.

From these follows what may help a class that a model does not find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.masks import Mask, class_pixels

# Masks of each class whose regions are measured: medians need no more.
_MEASURED = 50
# Widths are counted one by one up to this; what is wider is not narrow.
_WIDEST = 256


@dataclass(frozen=True)
class ClassFacts:
    """A class in M masks: its `pixels`, their `share` of all counted pixels (0..1; 0 without any), the number of
    `images` that have it, and of the masks that were measured the median `size` of its regions (8-connected, in pixels)
    and its median `width` (in pixels; see `widths`), None for a class without pixels."""

    pixels: int
    share: float
    images: int
    size: float | None = None
    width: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassFacts:
        """The inverse of `to_dict`."""
        return cls(**data)


class ClassSurvey:
    """Gathers the facts of K classes mask by mask; the same masks in the same order give the same facts."""

    def __init__(self, classes: int) -> None:
        self.pixels, self.images, self._measured = np.zeros((3, classes), np.int64)
        self._widths = np.zeros((classes, _WIDEST + 1), np.int64)
        self._sizes: list[list[int]] = [[] for _ in range(classes)]

    def add(self, mask: Mask) -> None:
        """Counts a mask (H, W). Its regions are measured while few masks of one of its classes have been."""
        classes = len(self.pixels)
        counts = class_pixels(mask, classes)[:classes]
        there = counts > 0
        self.pixels += counts
        self.images += there
        wanted = np.flatnonzero(there & (self._measured < _MEASURED))
        if not len(wanted):
            return
        self._measured[wanted] += 1
        wide = np.minimum(widths(mask), _WIDEST).astype(np.int64)
        for index in wanted.tolist():
            inside = mask == index
            self._widths[index] += np.bincount(wide[inside], minlength=_WIDEST + 1)
            _, _, found, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
            self._sizes[index] += found[1:, cv2.CC_STAT_AREA].tolist()

    def facts(self) -> list[ClassFacts]:
        """Those of each class."""
        total = max(int(self.pixels.sum()), 1)
        return [
            ClassFacts(
                int(pixels),
                float(pixels / total),
                int(images),
                float(np.median(sizes)) if sizes else None,
                float(np.searchsorted(wide.cumsum(), wide.sum() / 2)) if wide.any() else None,
            )
            for pixels, images, sizes, wide in zip(self.pixels, self.images, self._sizes, self._widths, strict=True)
        ]


def widths(mask: Mask) -> npt.NDArray[np.int32]:
    """(H, W): how wide the region is at each pixel, in pixels: the shorter of the stretches of its class in its row
    and in its column."""
    return np.minimum(_stretches(mask), _stretches(np.ascontiguousarray(mask.T)).T)


def _stretches(mask: Mask) -> npt.NDArray[np.int32]:
    """(H, W): the length of the stretch of equal values in its row that each pixel is in."""
    starts = np.ones(mask.shape, np.bool_)
    starts[:, 1:] = mask[:, 1:] != mask[:, :-1]
    places = np.flatnonzero(starts)
    lengths = np.diff(places, append=mask.size)
    return np.repeat(lengths, lengths).reshape(mask.shape).astype(np.int32)


# --- what helps ------------------------------------------------------------------------------------------

# Below these: a network that halves the image a few times hardly sees it; its errors weigh next to nothing in a mean
# over pixels; most batches do not have it; it cannot be learnt from its examples.
NARROW, SMALL, SELDOM, FEW = 3.0, 0.01, 0.3, 10
# An IoU below which a class counts as not found: a few lucky pixels are none.
MISSED = 0.01


def remedies(names: Sequence[str], facts: Sequence[ClassFacts], images: int, config: Mapping[str, Any]) -> list[str]:
    """What may help classes that are not found, the likeliest first, by what `images` training masks hold of them at
    the model's size, and by the `run.yaml` they were trained with: what it has already is not named again."""
    found = []
    if narrow := [
        (name, one.width) for name, one in zip(names, facts, strict=True) if one.width and one.width < NARROW
    ]:
        which = ", ".join(f"{name!r} is {width:.0f} px wide" for name, width in narrow[:3])
        larger = "data.crop.scale" if config.get("data", {}).get("crop") else "data.image_size"
        found.append(f"a larger {larger} ({which} at the model's size)")
    weighted = any(
        isinstance(term, Mapping) and term.get("class_weights", "none") != "none" for term in _terms(config.get("loss"))
    )
    if not weighted and any(one.share < SMALL for one in facts):
        found.append("class_weights: inverse_root in the loss ce")
    if not config.get("data", {}).get("repeat_rare") and any(one.images < SELDOM * images for one in facts):
        found.append("data.repeat_rare: 0.5")
    if few := [(name, one.images) for name, one in zip(names, facts, strict=True) if one.images < FEW]:
        which = ", ".join(f"{name!r} is in {count}" for name, count in few[:3])
        found.append(f"more labelled images with it ({which} of {images})")
    return [*found, "training for longer"]


def _terms(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
