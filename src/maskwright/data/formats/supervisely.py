"""Supervisely (https://developer.supervisely.com/getting-started/supervisely-annotation-format): a project with
`meta.json`, and for each dataset of it a folder with `img/NAME` and `ann/NAME.json`.

A bitmap is a PNG (compressed once more by zlib, or not) whose first pixel is at `origin`. Points of polygons and
rectangles are pixels, not positions between them: as Supervisely's SDK draws its masks, a polygon covers the pixels
that its edges pass, too, without what its interiors cover, and a rectangle its last column and row. Rectangles are
weak regions. Later objects lie on top.

Datasets may lie in `datasets` of another one. A dataset called train, valid, … is a split; the names of others stay in
front of the names of the images. Masks that Supervisely has drawn (`masks_machine`, `masks_human`) are not read.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.findings import Severity
from maskwright.core.listing import confine_found
from maskwright.core.palette import Colour, from_hex
from maskwright.core.regions import Deferred, Runs, Shape, Window
from maskwright.data.formats.coco_images import ImageFiles
from maskwright.data.formats.coco_values import text_of
from maskwright.data.formats.contents import all_like, first_like, load
from maskwright.data.formats.exports import Entry, inside, joined, name_from, objects, size_of
from maskwright.data.formats.shapes import PNG_ERRORS, bits, box, inflated, listed, picture, ring
from maskwright.data.formats.source import AnnotationSet, Kinds, Label, Occurrences
from maskwright.errors import DataError

# Pixels from the corner: wrong, not outside.
_FAR = 1_000_000
# Files beside the datasets that hold no objects.
_BESIDE = ("meta.json", "key_id_map.json", "obj_class_to_machine_color.json", "dataset_stats.json")
_SIZE = (b'"size"', b'"objects"', b'"height"')
KINDS: Kinds = {
    "tags": (
        "annotation.dropped",
        Severity.INFO,
        "tag{ says|s say} what no mask can hold",
        "nothing, if it is not needed",
    )
}


def _is_annotation(ends: bytes) -> bool:
    return all(word in ends for word in _SIZE) and b'"shapes"' not in ends


def detect(root: Path) -> str | None:
    """The reason: JSON files of objects in a folder called `ann`."""
    found = first_like(root, (".json",), _is_annotation)
    if found is None or found.parent.name != "ann":
        return None
    return f"{found.relative_to(root).as_posix()} holds objects as Supervisely does"


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the datasets below `root`, or in `annotations`; images are looked up in `img` beside `ann`, else below
    `images`, or everywhere.

    DataError for files that are not JSON, for one without its size and objects, and when there is none.
    """
    seen: Occurrences = {}
    paths = all_like(root, annotations, (".json",), _is_annotation, "Supervisely's objects", seen)
    seen["unread"] = [name for name in seen.get("unread", []) if not name.endswith(_BESIDE)]
    metas = [path for folder in _above(root, paths) for path in [folder / "meta.json"] if path.is_file()]
    classes = [one for path in metas for one in objects(inside(load(confine_found(root, path)), "classes"))]
    labels = [Label(name, colour=_colour(one.get("color"))) for one in classes if (name := name_from(one.get("title")))]
    # Old objects leave their kind to their class.
    kinds = {name_from(one.get("title")): text_of(one.get("shape")) or "" for one in classes}
    entries = (_entry(root, path, kinds) for path in paths)
    return joined(ImageFiles(root, images), entries, labels, seen, KINDS, "tags")


def _above(root: Path, paths: list[Path]) -> list[Path]:
    """The folders that annotation files are in, and those above them up to `root`."""
    found: dict[Path, None] = {root: None}
    for folder in dict.fromkeys(path.parent for path in paths):
        found |= dict.fromkeys(above for above in folder.parents if above.is_relative_to(root))
    return list(found)


def _colour(text: Any) -> Colour | None:
    try:
        return from_hex(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _entry(root: Path, path: Path, kinds: dict[str, str]) -> Entry:
    data = load(path)
    listed = inside(data, "objects")
    if not isinstance(listed, list):
        raise DataError(f"{path}: has no list of objects; export the project from Supervisely again")
    home = path.parent.parent.relative_to(root).as_posix()
    # Old projects name the files without the ending of the image.
    name = path.name[: -len(".json")]
    names = [f"{home}/img/{name}", *(f"{home}/img/{name}{ending}" for ending in _endings(path, name))]
    size = size_of(inside(data, "size", "height"), inside(data, "size", "width"))
    entry = Entry(path, tuple(name.removeprefix("./") for name in names), size)
    entry.meet("tags", times=len(objects(inside(data, "tags"))))
    if size is None:
        entry.meet("size")
    for one in objects(listed):
        _add(entry, one, kinds)
    entry.meet("shape", times=len(listed) - len(objects(listed)))
    return entry


def _endings(path: Path, name: str) -> Iterator[str]:
    """Of the files in `img` that are called as the annotation file is."""
    if not (path.parent.parent / "img" / name).exists():
        for other in sorted((path.parent.parent / "img").glob("*")):
            if other.stem == name:
                yield other.suffix


def _add(entry: Entry, one: dict[str, Any], kinds: dict[str, str]) -> None:
    label = name_from(one.get("classTitle"))
    kind = text_of(one.get("geometryType")) or text_of(one.get("shape")) or kinds.get(label)
    kind = "bitmap" if one.get("bitmap") else kind if kind not in (None, "", "any") else "object"
    entry.meet("tags", times=len(objects(one.get("tags"))))
    if kind == "bitmap":
        entry.add(label, partial(_bitmap, one.get("bitmap")), "mask", errors=PNG_ERRORS)
    elif kind == "polygon":
        parts = objects(one["parts"]) if isinstance(one.get("parts"), list) else [one.get("points")]
        before = len(entry.marks)
        entry.add(label, partial(_polygon, parts))
        entry.meet("clipped", times=any(_reaches_out(mark.shape, entry.size) for mark in entry.marks[before:]))
    elif kind == "rectangle":
        entry.add(label, partial(_rectangle, inside(one, "points", "exterior")), weak=True)
    else:
        entry.meet("type", kind)


def _bitmap(value: Any) -> Runs | None:
    data, origin = inside(value, "data"), inside(value, "origin")
    left, top = (int(side) for side in listed(origin, 2))
    if not isinstance(data, str):
        raise ValueError("no bitmap")
    if max(abs(left), abs(top)) > _FAR:
        raise ValueError("far outside")
    raw = base64.b64decode(data)
    packed = not raw.startswith(b"\x89PNG")
    pixels = picture(inflated(raw) if packed else raw)
    if pixels.ndim == 2:
        marked = pixels != 0
    elif packed and pixels.shape[2] == 4:
        marked = pixels[..., 3] != 0
    elif not packed:
        marked = (pixels != 0).any(2)
    else:
        raise ValueError("colours without transparency")
    return bits(marked, left, top) if marked.any() else None


def _rectangle(points: Any) -> Shape:
    if not isinstance(points, list) or len(points) != 2:
        raise ValueError("no two corners")
    (x0, y0), (x1, y1) = (listed(point, 2) for point in points)
    return box(min(x0, x1), min(y0, y1), abs(x1 - x0) + 1, abs(y1 - y0) + 1)


# The pixels of an exterior, and of each of its interiors, (P, 2) int32.
_Rings = tuple[npt.NDArray[np.int32], list[npt.NDArray[np.int32]]]


@dataclass(frozen=True, slots=True)
class Filled(Deferred):
    """Polygons as OpenCV fills them, which is how Supervisely draws: each its exterior without its interiors."""

    parts: tuple[_Rings, ...]

    def window(self, height: int, width: int) -> Window:
        """The part of an image (H, W) that holds it."""
        # OpenCV cuts lines at the edge of its canvas, which moves their pixels: none may leave it but with the image.
        points = np.concatenate([ring for exterior, interiors in self.parts for ring in (exterior, *interiors)])
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        left, top = max(0, min(left, width)), max(0, min(top, height))
        right, bottom = max(left, min(right + 1, width)), max(top, min(bottom + 1, height))
        found = np.zeros((bottom - top, right - left), np.bool_)
        for exterior, interiors in self.parts if found.size else ():
            canvas = np.zeros(found.shape, np.uint8)
            cv2.fillPoly(canvas, [exterior], 1, offset=(-left, -top))
            if interiors:
                cv2.fillPoly(canvas, interiors, 0, offset=(-left, -top))
            found |= canvas != 0
        return found, top, left

    def content(self) -> str:
        """The points."""
        return repr([[ring.tolist() for ring in (exterior, *interiors)] for exterior, interiors in self.parts])


def _reaches_out(shape: Shape, size: tuple[int, int] | None) -> bool:
    if size is None or not isinstance(shape, Filled):
        return False
    points = np.concatenate([exterior for exterior, _ in shape.parts])
    return bool(points.min() < 0 or (points.max(0) >= size[::-1]).any())


def _polygon(parts: list[Any]) -> Shape:
    checked = map(_part, parts)
    return Filled(tuple((_pixels(exterior), list(map(_pixels, interiors))) for exterior, interiors in checked))


def _part(value: Any) -> tuple[Any, list[Any]]:
    interiors = inside(value, "interior") or []
    if not isinstance(interiors, list):
        raise ValueError("interiors that are no list")
    return inside(value, "exterior"), interiors


def _pixels(points: Any) -> npt.NDArray[np.int32]:
    found = np.rint(ring(points))
    if (np.abs(found) > _FAR).any():
        raise ValueError("far outside")
    return found.astype(np.int32)
