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
        around = _neighbours(ids)
        for id_ in np.unique(ids).tolist():
            where = ids == id_
            parts = cc3d.connected_components(where, connectivity=4)
            areas.setdefault(id_, []).extend(np.bincount(parts.reshape(-1))[1:].tolist())
            others = np.where(around == id_, -1, around)[:, where]
            low = np.where(others < 0, np.iinfo(np.int64).max, others).min(0)
            found = between.setdefault(id_, [0, 0])
            found[0] += int((others.max(0) > low).sum())
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


def _neighbours(ids: Ids) -> Ids:
    """(24, H, W): the ids in the 5 x 5 pixels around each; -1 outside."""
    padded = np.pad(ids, 2, constant_values=-1)
    height, width = ids.shape
    places = [(y, x) for y in range(5) for x in range(5) if (y, x) != (2, 2)]
    return np.stack([padded[y : y + height, x : x + width] for y, x in places])
