"""How a poor mask and what a model sees become the mask that the next model learns from: one row a rule.

A rule is a pure function of the poor mask (H, W) uint8, the probabilities (K, H, W) float32 at the same size, the
boxes, the index of the background (None where every class is an object) and a probability `least`. What it cannot tell
becomes `IGNORE`, which is not learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask
from maskwright.labels.refining.boxes import Box, touching_threshold

Probabilities = npt.NDArray[np.float32]
Rule = Callable[[Mask, Probabilities, Sequence[Box], int | None, float], Mask]

# What became of a pixel of the poor mask.
KEPT, CHANGED, LEFT_OUT = 0, 1, 2
_SURE = 0.5  # probability from which on a pixel is the object's


@dataclass(frozen=True)
class Combination:
    """A rule, what it does in a sentence, and its `least` when none is given, with what that is for."""

    rule: Rule
    what: str
    least: float = 0.0
    least_for: str = "not used"


def model(poor: Mask, probabilities: Probabilities, boxes: Sequence[Box], background: int | None, least: float) -> Mask:
    """The most probable class of each pixel."""
    return np.asarray(probabilities.argmax(0), np.uint8)


def confident(
    poor: Mask, probabilities: Probabilities, boxes: Sequence[Box], background: int | None, least: float
) -> Mask:
    """The model's class where its probability is `least` or more, the poor mask's elsewhere."""
    return np.where(probabilities.max(0) >= least, probabilities.argmax(0).astype(np.uint8), poor)


def union(poor: Mask, probabilities: Probabilities, boxes: Sequence[Box], background: int | None, least: float) -> Mask:
    """An object where the poor mask or the model has one; where both do, the model says of which class."""
    found = probabilities.argmax(0).astype(np.uint8)
    return np.where(found == _index(background), poor, found)


def intersection(
    poor: Mask, probabilities: Probabilities, boxes: Sequence[Box], background: int | None, least: float
) -> Mask:
    """An object where both have one of the same class, `IGNORE` where their classes differ, background elsewhere."""
    found, nothing = probabilities.argmax(0).astype(np.uint8), _index(background)
    both = np.where(found == poor, found, IGNORE).astype(np.uint8)
    return np.where((found == nothing) | (poor == nothing), nothing, both).astype(np.uint8)


def box(poor: Mask, probabilities: Probabilities, boxes: Sequence[Box], background: int | None, least: float) -> Mask:
    """Objects inside their boxes only, and touching the sides.

    In a box of a class the pixels of that class are those with a probability of one half or more, among the classes
    that a box allows there and the background. If they do not touch all four sides the threshold is lowered until they
    do, but not below `least`. A box in which nothing is found is ignored as a whole: there is an object, and nobody
    knows where. Outside of all boxes is background.
    """
    nothing = _index(background)
    allowed = np.zeros(probabilities.shape, np.bool_)
    allowed[nothing] = True
    for one in boxes:
        allowed[one.label][one.window] = True
    share = np.where(allowed, probabilities, 0)
    share /= np.maximum(share.sum(0), np.finfo(np.float32).tiny)
    result = np.full(poor.shape, nothing, np.uint8)
    best = np.zeros(poor.shape, np.float32)
    for one in boxes:
        values = share[one.label][one.window]
        threshold = min(_SURE, max(least, touching_threshold(values)))
        inside = values >= threshold
        if not inside.any():
            empty = result[one.window] == nothing
            result[one.window][empty] = IGNORE
            continue
        taken = inside & (values >= best[one.window])
        result[one.window][taken] = one.label
        best[one.window][taken] = values[taken]
    return result


COMBINATIONS: dict[str, Combination] = {
    "box": Combination(
        box,
        "objects inside their boxes, touching the sides; for boxes",
        0.15,
        "lowest threshold at which a side counts as touched",
    ),
    "model": Combination(model, "what the model says; for masks that are no better than hints"),
    "confident": Combination(
        confident,
        "what the model says where it is sure, else the poor mask; for coarse masks",
        0.7,
        "probability from which on the model is sure",
    ),
    "union": Combination(union, "objects of either; for masks that leave objects out"),
    "intersection": Combination(intersection, "objects of both; for masks that are drawn too wide"),
}


def combine(
    poor: Mask,
    probabilities: Probabilities,
    boxes: Sequence[Box],
    background: int | None,
    name: str,
    least: float,
    ignore_below: float | None = None,
) -> tuple[Mask, npt.NDArray[np.uint8]]:
    """The better mask (H, W) uint8 of class indices with `IGNORE`, and what became of each pixel of the poor one
    (H, W) uint8: `KEPT`, `CHANGED` by the model or `LEFT_OUT` as uncertain. Pixels that the poor mask ignores stay
    ignored. With `ignore_below`, pixels whose new class has a smaller probability are left out."""
    found = COMBINATIONS[name].rule(poor, probabilities, boxes, background, least)
    if ignore_below is not None:
        held = np.where(found == IGNORE, 0, found)
        sure = np.take_along_axis(probabilities, held[None].astype(np.intp), 0)[0]
        found = np.where(sure < ignore_below, IGNORE, found)
    found = np.where(poor == IGNORE, IGNORE, found).astype(np.uint8)
    fate = np.where(found == poor, KEPT, np.where(found == IGNORE, LEFT_OUT, CHANGED)).astype(np.uint8)
    return found, fate


def _index(background: int | None) -> int:
    """Rules about objects need something that is none."""
    assert background is not None
    return background


def needs_background(name: str) -> bool:
    """Whether a rule is about objects, and so needs a class that stands for none."""
    return name in ("box", "union", "intersection")
