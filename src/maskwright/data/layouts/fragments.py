"""Classes that are likely what the drawers left out: fragments along the borders of the other classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt

from maskwright.core.description import DatasetFile
from maskwright.core.mask_files import read_mask
from maskwright.errors import MaskwrightError

Ids = npt.NDArray[np.int64]

_READ = 4  # masks
_SMALL = 4  # pixels of half of the fragments
_MANY = 30  # fragments an image
_BETWEEN = 0.6  # of its pixels lie between two other classes


def fragments(root: Path, paths: Sequence[str], file: DatasetFile) -> list[str]:
    """One line for each class of `file` that is made of many fragments between others, as seen in a few masks."""
    classes = file.class_tree()
    if len(classes) < 3:
        return []
    encoding = file.mask_encoding(classes)
    areas: dict[int, list[int]] = {}
    between: dict[int, list[int]] = {}
    read = 0
    for path in paths[:: max(1, len(paths) // _READ)][:_READ]:
        try:
            ids = read_mask(root / path, encoding, classes, page=0).ids.astype(np.int64)
        except MaskwrightError:
            continue
        read += 1
        for id_ in np.unique(ids).tolist():
            where = ids == id_
            parts = cc3d.connected_components(where, connectivity=4)
            areas.setdefault(id_, []).extend(np.bincount(parts.reshape(-1))[1:].tolist())
            found = between.setdefault(id_, [0, 0])
            found[0] += _touching_two_others(ids, id_, where)
            found[1] += int(where.sum())
    names = {leaf.id: leaf.name for leaf in classes.leaves}
    return [
        f"class {id_} ({names[id_]}) is made of {len(areas[id_])} fragments of {int(np.median(areas[id_]))} pixels in "
        "the median, most of them between two other classes: likely what the drawers left out; if so, give the id to "
        "`ignore` in dataset.yaml and remove the class"
        for id_ in sorted(areas.keys() & names.keys())
        if len(areas[id_]) >= _MANY * read
        and np.median(areas[id_]) <= _SMALL
        and between[id_][0] >= _BETWEEN * between[id_][1]
    ]


def _touching_two_others(ids: Ids, id_: int, where: npt.NDArray[np.bool_]) -> int:
    """How many pixels of `where` (H, W) have two classes other than `id_` in the 5 x 5 pixels around them."""
    padded = np.pad(ids, 2, constant_values=id_)  # what lies outside is no other class
    height, width = ids.shape
    most = np.iinfo(np.int64).max
    low, high = np.full(np.count_nonzero(where), most), np.full(np.count_nonzero(where), -most)
    for y, x in np.ndindex(5, 5):  # one after another: all at once would hold the mask 24 times
        near = padded[y : y + height, x : x + width][where]
        low = np.minimum(low, np.where(near == id_, most, near))
        high = np.maximum(high, np.where(near == id_, -most, near))
    return int((high > low).sum())
