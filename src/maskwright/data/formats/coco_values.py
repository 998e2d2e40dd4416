"""Values in COCO files as tools write them: texts, whole numbers, ids, colours, and regions as shapes.

A region is a list of polygons (each a flat list of x and y, or pairs), one flat list, run lengths as a list, as the
packed string, or as the text that Python makes of packed bytes, or nothing, when there is only a box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from maskwright.base.limits import MAX_PIXELS
from maskwright.core.palette import Colour
from maskwright.core.polygons import MAX_COORDINATE, box_ring
from maskwright.core.regions import Polygon, Runs, Shape
from maskwright.core.rle import unpack_counts
from maskwright.data.formats.source import Label


def text_of(value: Any) -> str | None:
    """Text that is not empty and holds no control characters or halves of characters, else None."""
    if not isinstance(value, str) or any(c < " " or "\ud800" <= c <= "\udfff" for c in value):
        return None
    return value or None


def whole(value: Any) -> int | None:
    """A whole number, in whichever of three ways it is written, else None."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def key_of(value: Any) -> str | None:
    """An id as text: there are tools that write it as a number here and as text there."""
    if type(value) is int:  # nearly always
        return str(value)
    number = None if isinstance(value, str) else whole(value)
    return str(number) if number is not None else text_of(value)


def colour_from(value: Any) -> Colour | None:
    """Three numbers 0..255, else None."""
    numbers = [whole(part) for part in value] if isinstance(value, list) else []
    channels = [number for number in numbers if number is not None and 0 <= number <= 255]
    return (channels[0], channels[1], channels[2]) if len(channels) == len(numbers) == 3 else None


def slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Makes arrays of a region's lists of numbers as soon as they are parsed: the lists take four times the memory."""
    parts = entry.get("segmentation")
    if isinstance(parts, list):
        nested = not parts or isinstance(parts[0], (list, dict))
        entry["segmentation"] = [_array(part) for part in (parts if nested else [parts])]
    if "counts" in entry:
        entry["counts"] = _array(entry["counts"])
    return entry


def _array(values: Any) -> Any:
    """A list of numbers as an array; None for a list of other things; all else as it is."""
    if not isinstance(values, list):
        return values
    try:
        found = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    return found if found.dtype.kind in "iuf" else None


def parts_of(segmentation: Any) -> list[Any]:
    """The parts of a region in an entry that went through `slim`, each for `shape_of`; none when it has no outline."""
    parts = segmentation if isinstance(segmentation, list) else [] if segmentation is None else [segmentation]
    if len(parts) > 2 and all(isinstance(part, np.ndarray) and part.shape == (2,) for part in parts):
        return [np.stack(parts)]  # one polygon, as pairs
    return [part for part in parts if (part.size if isinstance(part, np.ndarray) else part != {})]


def shape_of(part: Any) -> Shape:
    """ValueError says in a few words of what kind the part is that cannot be used."""
    if isinstance(part, dict):
        return _runs(part.get("counts"), part.get("size"))
    if not isinstance(part, np.ndarray) or part.ndim > 2 or (part.ndim == 2 and part.shape[1] != 2) or part.size % 2:
        raise ValueError("polygons that are no list of x and y")
    if part.size < 6:
        raise ValueError("polygons of fewer than 3 points")
    ring = part.reshape(-1, 2).astype(np.float64)
    if not np.abs(ring).max() <= MAX_COORDINATE:  # NaN is never smaller
        raise ValueError("polygons with coordinates that are not finite or far too large")
    return Polygon((ring,))


def _runs(counts: Any, size: Any) -> Runs:
    height, width = map(whole, size) if isinstance(size, list) and len(size) == 2 else (None, None)
    if not height or not width or min(height, width) < 0 or height * width > MAX_PIXELS:
        raise ValueError("run lengths without a size, or with an impossible one")
    if isinstance(counts, str):
        if re.fullmatch("b'.*'|b\".*\"", counts, re.DOTALL):
            counts = counts[2:-1].replace("\\\\", "\\")
        try:
            counts = np.array(unpack_counts(counts), np.int64)
        except ValueError:
            raise ValueError("run lengths whose text is damaged") from None
    if not isinstance(counts, np.ndarray) or counts.ndim != 1 or counts.dtype.kind not in "iu" or not counts.size:
        raise ValueError("run lengths that are no list of whole numbers")
    # Each is bounded before they are summed, so that the sum cannot run over.
    if counts.min() < 0 or counts.max() > height * width or counts.sum() != height * width:
        raise ValueError("run lengths that do not fit their size")
    return Runs(counts.astype(np.uint32), (height, width))


def box_of(value: Any) -> Polygon:
    """[left, top, width, height] as a shape; ValueError as in `shape_of`."""
    box = _array(value)
    if not isinstance(box, np.ndarray) or box.shape != (4,):
        raise ValueError("regions with neither an outline nor a box")
    left, top, width, height = box.astype(np.float64).tolist()
    # NaN makes every comparison false.
    if not (all(abs(number) <= MAX_COORDINATE / 2 for number in (left, top, width, height)) and min(width, height) > 0):
        raise ValueError("boxes without an area, or of numbers that are not finite or far too large")
    return Polygon((box_ring(left, top, left + width, top + height),))


def is_tree(labels: Iterable[Label]) -> bool:
    """Whether each group stands in one place only, and none is called like a class."""
    places: dict[str, tuple[str, ...]] = {}
    once = all(
        places.setdefault(group, label.parents[:depth]) == label.parents[:depth]
        for label in labels
        for depth, group in enumerate(label.parents)
    )
    return once and not places.keys() & {label.name for label in labels}
