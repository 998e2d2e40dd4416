"""How many objects a mask has: components of each class, which hang together over edges and corners."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE

Mask = npt.NDArray[np.uint8]
# Pixels that are labelled at once: of a large image, numbers for all of them would take four times its memory.
_PIXELS = 1 << 24


def component_counts(mask: Mask, classes: int, pixels: int = _PIXELS) -> npt.NDArray[np.int64]:
    """(K,): the 8-connected components of each of the `classes` in a mask (H, W) of their indices; ignored pixels are
    none. Rows of about `pixels` pixels are labelled at once; the result does not depend on it."""
    found = ComponentCounts(classes)
    step = max(1, pixels // max(1, mask.shape[1]))
    for top in range(0, len(mask), step):
        found.add(mask[top : top + step])
    return found.counts


class ComponentCounts:
    """The `counts` (K,) of `component_counts`, of a mask whose rows are added from the top."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros(classes, np.int64)
        # The last row: numbers of its components, from 1 on, the same where they hang together above; and its classes.
        self._above: tuple[npt.NDArray[np.int64], Mask] | None = None

    def add(self, rows: Mask) -> None:
        """The next rows (h, W), one or more."""
        labels, owners = _labelled(rows)
        self.counts += np.bincount(owners[1:], minlength=len(self.counts))[: len(self.counts)]
        before = int(self._above[0].max()) if self._above else 0
        first, last = (
            np.where(row > 0, row + before, 0) for row in (labels[0].astype(np.int64), labels[-1].astype(np.int64))
        )
        parents = np.arange(before + len(owners))  # of each component, one that it hangs together with, or itself
        for upper, lower in _touching(self._above[0], first, self._above[1], rows[0]) if self._above else ():
            one, other = _root(parents, upper), _root(parents, lower)
            if one != other:
                parents[max(one, other)] = min(one, other)
                self.counts[owners[lower - before]] -= 1
        numbers, places = np.unique(last, return_inverse=True)
        roots = np.array([_root(parents, number) for number in numbers.tolist()])
        _, again = np.unique(np.append(0, roots), return_inverse=True)  # 0, no component, stays 0
        self._above = again[1:][places].reshape(-1), rows[-1].copy()


def _labelled(mask: Mask) -> tuple[npt.NDArray[np.uint32], Mask]:
    """(h, w) numbers of the components, 0 where ignored, and the class of each by number."""
    own = mask + np.uint8(1)  # which makes 0, no component, of those that are ignored
    found: Any = cc3d.connected_components(own, connectivity=8, out_dtype=np.uint32)
    labels: npt.NDArray[np.uint32] = found.reshape(mask.shape)
    owners = np.full(int(labels.max(initial=0)) + 1, IGNORE, np.uint8)
    owners[labels.reshape(-1)] = mask.reshape(-1)
    owners[0] = IGNORE
    return labels, owners


def _touching(
    above: npt.NDArray[np.int64], below: npt.NDArray[np.int64], upper: Mask, lower: Mask
) -> list[tuple[int, int]]:
    """The pairs of components, of a row and the one below it, of one class that touch over an edge or a corner."""
    found = set()
    width = len(above)
    for shift in (-1, 0, 1):
        own, other = slice(max(0, shift), width + min(0, shift)), slice(max(0, -shift), width + min(0, -shift))
        same = (upper[own] == lower[other]) & (above[own] > 0)
        found |= set(zip(above[own][same].tolist(), below[other][same].tolist(), strict=True))
    return sorted(found)


def _root(parents: npt.NDArray[np.int64], number: int) -> int:
    while parents[number] != number:
        parents[number] = number = int(parents[parents[number]])
    return number
