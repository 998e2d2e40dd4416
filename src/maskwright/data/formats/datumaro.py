"""Datumaro's JSON, which CVAT exports too: `annotations/SUBSET.json` and `images/SUBSET/`
(https://openvinotoolkit.github.io/datumaro/latest/docs/data-formats/datumaro_format.html).

Read are polygons, masks (run lengths as COCO packs them), ellipses in their box, and as weak regions boxes and turned
boxes. Regions of a higher `z_order` lie on top, later ones on top of earlier ones. Labels, captions, points and lines
are left out, as are attributes. A subset is a split, but `default`, which says that there is none.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from maskwright.core.findings import Severity
from maskwright.core.palette import Colour
from maskwright.core.regions import Polygon, Shape
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.coco_images import ImageFiles, known_split
from maskwright.data.formats.coco_values import colour_from, shape_of, slim, text_of, whole
from maskwright.data.formats.contents import all_like, first_like, load
from maskwright.data.formats.exports import Entry, inside, joined, name_from, objects, size_of
from maskwright.data.formats.shapes import box, ellipse, flat_ring, listed
from maskwright.data.formats.source import AnnotationSet, Kinds, Label, Occurrences
from maskwright.errors import DataError

_INFO, _WARNING = Severity.INFO, Severity.WARNING
KINDS: Kinds = {
    "group": (
        "annotation.dropped",
        _INFO,
        "label{ has|s have} a parent, which is not used",
        "nest the classes in dataset.yaml",
    ),
    "order": (
        "annotation.conflict",
        _WARNING,
        "z_order{| values} that {is|are} no whole number; taken as 0",
        "correct it",
    ),
}


def _is_datumaro(ends: bytes) -> bool:
    return (
        (b'"items"' in ends and b'"categories"' in ends and b'"annotations"' in ends)
        or (b'"dm_format_version"' in ends)
        or (b'"categories"' in ends and b'"label"' in ends and b'"labels"' in ends and b'"info' in ends)
    )


def detect(root: Path) -> str | None:
    """The reason: a JSON file of items with annotations."""
    found = first_like(root, (".json",), _is_datumaro)
    return f"{found.relative_to(root).as_posix()} holds items of Datumaro" if found else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the files of Datumaro below `root`, or in `annotations`; images are looked up in `images`, or else
    everywhere.

    DataError for files that are not JSON, for one without items, and when there is none.
    """
    seen: Occurrences = {}
    paths = all_like(root, annotations, (".json",), _is_datumaro, "Datumaro's items", seen)
    labels: dict[str, Label] = {}
    entries = []
    for path in paths:
        data = load(path, slim)
        items = inside(data, "items")
        if not isinstance(items, list):
            raise DataError(f"{path}: has no list of items; export it again")
        names = _labels(data, labels, seen)
        entries += [_entry(path, item, names) for item in objects(items)]
        seen.setdefault("noname", []).extend([path.name] * (len(items) - len(objects(items))))
    return joined(ImageFiles(root, images), entries, list(labels.values()), seen, KINDS, "group")


def _labels(data: Any, labels: dict[str, Label], seen: Occurrences) -> list[str]:
    """The names by their ids; adds to the labels of all files."""
    colours: dict[int, Colour] = {}
    for entry in objects(inside(data, "categories", "mask", "colormap")):
        colour, number = colour_from([entry.get(key) for key in "rgb"]), whole(entry.get("label_id"))
        if colour and number is not None:
            colours[number] = colour
    listed = inside(data, "categories", "label", "labels")
    names = []
    for number, entry in enumerate(listed if isinstance(listed, list) else []):
        name = name_from(inside(entry, "name")) or f"label_{number}"
        names.append(name)
        labels.setdefault(name, Label(name, colour=colours.get(number)))
        if text_of(inside(entry, "parent")):
            seen.setdefault("group", []).append(name)
    return names


def _entry(path: Path, item: dict[str, Any], names: list[str]) -> Entry:
    subset = path.stem
    split = None if subset == "default" else known_split(subset) or subset
    media = item.get("image") if isinstance(item.get("image"), dict) else item.get("media")
    told, number = text_of(inside(media, "path")), text_of(item.get("id"))
    # An id is the path without the ending.
    texts = [told] if told else [f"{number}{ending}" for ending in sorted(IMAGE_SUFFIXES)] if number else []
    places = [place for text in texts for place in (f"images/{subset}/{text}", text)]
    size = inside(media, "size")
    entry = Entry(path, tuple(places), size_of(*size) if isinstance(size, list) and len(size) == 2 else None, split)
    for one in objects(item.get("annotations")):
        _add(entry, one, names)
    return entry


def _add(entry: Entry, one: dict[str, Any], names: list[str]) -> None:
    kind = text_of(one.get("type")) or "annotation"
    if kind not in _SHAPES:
        entry.meet("type" if kind in _LINES else "extras", kind)
        return
    number = whole(one.get("label_id"))
    label = names[number] if number is not None and 0 <= number < len(names) else ""
    order = whole(one.get("z_order") or 0)
    if order is None or abs(order) > 1 << 31:
        entry.meet("order")
        order = 0
    for key, value in (one["attributes"] if isinstance(one.get("attributes"), dict) else {}).items():
        entry.meet("extras", str(key)[:40], times=value not in (None, False, "", 0))
    entry.add(label, partial(_SHAPES[kind], one), "mask" if kind == "mask" else "shape", order, kind in _WEAK)


def _polygon(one: dict[str, Any]) -> Shape:
    return Polygon((flat_ring(one.get("points")),))


def _mask(one: dict[str, Any]) -> Shape:
    if not isinstance(one.get("rle"), dict):
        raise ValueError("no run lengths")
    return shape_of(one["rle"])


def _box(one: dict[str, Any]) -> Shape:
    return box(*listed(one.get("bbox"), 4))


def _turned(one: dict[str, Any]) -> Shape:
    x, y, width, height, degrees = listed(one.get("bbox", one.get("points")), 5)
    return box(x - width / 2, y - height / 2, width, height, degrees)


def _ellipse(one: dict[str, Any]) -> Shape:
    x0, y0, x1, y1 = listed(one.get("points"), 4)
    return ellipse((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)


_SHAPES = {"polygon": _polygon, "mask": _mask, "bbox": _box, "rotated_bbox": _turned, "ellipse": _ellipse}
_WEAK = ("bbox", "rotated_bbox")
_LINES = ("points", "polyline", "cuboid_2d", "cuboid_3d", "skeleton")
