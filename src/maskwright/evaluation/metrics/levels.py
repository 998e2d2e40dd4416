"""Confusion counts at each level of a class tree.

Where the label of a level follows from the leaf's, its counts are sums of blocks of the leaves' counts, so nothing
has to be looked at twice. Where each level is decided for itself, its counts come from its own masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskwright.core.classes import IGNORE, ClassTree, Level
from maskwright.core.masks import Mask
from maskwright.errors import DataError
from maskwright.evaluation.metrics.confusion import Counts, confusion_matrix


def level_confusion(confusions: Counts, level: Level) -> Counts:
    """Counts of leaves (..., K, K) int64 to those of a level (..., M, M): each cell is the sum of a block, that of the
    leaves below its two classes. Raises DataError when K is not the number of leaves."""
    leaves = len(level.class_of)
    if confusions.shape[-2:] != (leaves, leaves):
        raise DataError(
            f"level {level.number}: counts of shape {confusions.shape} do not belong to {leaves} leaves; "
            "give what confusion_matrix returned for them"
        )
    return level.sums(level.sums(confusions).swapaxes(-1, -2)).swapaxes(-1, -2)


def level_confusions(truth: Mask, found: Sequence[Mask], classes: ClassTree, *, implied: bool) -> list[Counts]:
    """(M, M) int64 counts of one image for each level, top first; the last are those of the leaves (K, K).

    truth: (H, W) leaf indices with `IGNORE`. found: predicted indices (H, W) of each level, top first.
    implied: whether the levels above follow from the last one, which is then all that is looked at.
    """
    leaves = confusion_matrix(truth, found[-1], len(classes), IGNORE)
    if implied:
        return [*(level_confusion(leaves, level) for level in classes.levels[:-1]), leaves]
    above = zip(classes.levels[:-1], found, strict=False)
    return [*(confusion_matrix(level.mask(truth), mask, len(level), IGNORE) for level, mask in above), leaves]


def incoherent_pixels(truth: Mask, found: Sequence[Mask], classes: ClassTree) -> int:
    """Counted pixels whose labels contradict each other: one of them is no child of the label above it.

    truth, found: as for `level_confusions`.
    """
    wrong = np.zeros(truth.shape, np.bool_)
    for upper, lower, level in zip(found, found[1:], classes.levels[1:], strict=False):
        wrong |= np.array(level.parent_of, np.uint8)[lower] != upper
    return int(np.count_nonzero(wrong & (truth != IGNORE)))
