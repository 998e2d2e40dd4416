"""VGG Image Annotator (https://www.robots.ox.ac.uk/~vgg/software/via): one JSON or CSV file of all images.

Read are what versions 1 and 2 export (`via_region_data.json`, or the same as a table where there is no JSON file), the
projects of version 2 (`_via_img_metadata`) and of version 3. Points are continuous positions. Circles and ellipses are
outlines, rectangles weak regions; points and lines cover no pixels and are left out. Later regions lie on top. Images
without a region are not labelled: VIA lists every image that was loaded.

Regions have attributes that the user has named. The one that all regions of the project share is the class; of several
the one called class, label, name, category or type; else the reader asks for one of these names.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.core.findings import Severity
from maskwright.core.regions import Polygon, Shape
from maskwright.data.formats.coco_images import ImageFiles
from maskwright.data.formats.coco_values import text_of
from maskwright.data.formats.contents import all_like, first_like, load
from maskwright.data.formats.exports import UNNAMED, Entry, inside, joined, name_from, objects
from maskwright.data.formats.shapes import box, ellipse, numbers, pairs_ring
from maskwright.data.formats.source import AnnotationSet, Kinds, Label, Occurrences
from maskwright.errors import DataError

# Attributes that are taken for the class where there are several, in lower case.
CLASS_NAMES = ("class", "classes", "class_name", "label", "labels", "name", "category", "type", "object")
_VERSION_2 = re.compile(rb'"shape_attributes"|"region_attributes"')
_TABLE = b"region_shape_attributes"
_PROJECT_3 = re.compile(rb'"vid_list"|"data_format_version"\s*:\s*"3')
_LINES = ("point", "polyline", "line")
# Of version 3, by the number that comes first.
_SHAPES_3 = {1: "point", 2: "rect", 3: "circle", 4: "ellipse", 5: "line", 6: "polyline", 7: "polygon"}
_INFO, _WARNING = Severity.INFO, Severity.WARNING
KINDS: Kinds = {
    "several": (
        "annotation.conflict",
        _WARNING,
        "region{ has|s have} several classes, of which the first counts",
        "give each region one class",
    ),
    "bare": (
        "annotation.dropped",
        _INFO,
        "image{ has|s have} not one region, and {is|are} taken as not labelled",
        "nothing, if they were not annotated",
    ),
    "frames": (
        "annotation.dropped",
        _WARNING,
        "region{ is|s are} of a moment of a video, and left out",
        "export the frames as images",
    ),
}


def _is_via(ends: bytes) -> bool:
    return bool(_VERSION_2.search(ends)) or (bool(_PROJECT_3.search(ends)) and b'"fid_list"' in ends)


def _is_table(ends: bytes) -> bool:
    return _TABLE in ends.partition(b"\n")[0]


def detect(root: Path) -> str | None:
    """The reason: a file with regions as VIA writes them."""
    found = first_like(root, (".json",), _is_via) or first_like(root, (".csv",), _is_table)
    return f"{found.relative_to(root).as_posix()} holds regions as VIA does" if found else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the files of VIA below `root`, or in `annotations`; images are looked up beside them, below `images`, or
    else everywhere.

    DataError for files that are neither JSON nor a table, for attributes that leave open which one is the class, and
    when no file is of VIA.
    """
    seen: Occurrences = {}
    paths = all_like(root, annotations, (".json",), _is_via, "VIA's regions", seen, needed=False)
    paths = paths or all_like(root, annotations, (".csv",), _is_table, "VIA's regions", seen)
    files = [(path, data) for path in paths for data in [_loaded(path)] if isinstance(data, dict)]
    found = [(path, image) for path, data in files for image in _images(data)]
    attribute = _class_attribute(root, [region for _, (_, regions) in found for _, region, _ in regions])
    listed = [name for _, data in files for name in _options(data, attribute)]
    entries = [_entry(root, path, name, regions, attribute) for path, (name, regions) in found]
    others = Counter(key for _, (_, regions) in found for _, region, _ in regions for key in region if key != attribute)
    seen["extras"] = [str(key)[:40] for key, count in others.most_common() for _ in range(count)]
    labels = [Label(name) for name in dict.fromkeys(listed)]
    return joined(ImageFiles(root, images), entries, labels, seen, KINDS)


def _loaded(path: Path) -> Any:
    """A JSON file; or a table, whose cells hold JSON, as the JSON of the same regions."""
    if path.suffix.lower() != ".csv":
        return load(path)
    data: dict[str, dict[str, Any]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.DictReader(stream):
                # Version 1 puts a # before the first name.
                name = row.get("filename") or row.get("#filename")
                image = data.setdefault(str(name), {"filename": name, "regions": []})
                shape = json.loads(row.get(_TABLE.decode()) or "{}")
                if shape:  # images without a region have a row of their own
                    said = json.loads(row.get("region_attributes") or "{}")
                    image["regions"].append({"shape_attributes": shape, "region_attributes": said})
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{path}: not readable as VIA's table ({error}); export it as JSON instead") from None
    return data


# (shape, attributes, is of a video) of each region of an image, and the name of the image.
_Region = tuple[Any, dict[str, Any], bool]
_Image = tuple[Any, list[_Region]]


def _images(data: dict[str, Any]) -> Iterator[_Image]:
    if isinstance(data.get("metadata"), dict) and isinstance(data.get("file"), dict):
        yield from _images_of_3(data)
        return
    for image in objects(data.get("_via_img_metadata", data)):
        if "regions" in image or "filename" in image:
            regions = objects(image.get("regions"))
            yield (
                image.get("filename"),
                [(one.get("shape_attributes"), _dict(one.get("region_attributes")), False) for one in regions],
            )


def _images_of_3(data: dict[str, Any]) -> Iterator[_Image]:
    """Of a project of version 3: each view shows files, and metadata lie on views."""
    named = {key: _dict(value) for key, value in _dict(data.get("attribute")).items()}
    regions: dict[str, list[_Region]] = {}
    for one in objects(data["metadata"]):
        if one.get("xy"):
            said = {}
            for key, value in _dict(one.get("av")).items():
                attribute = named.get(key, {})
                said[name_from(attribute.get("aname")) or key] = _dict(attribute.get("options")).get(str(value), value)
            regions.setdefault(str(one.get("vid")), []).append((_shape_of_3(one["xy"]), said, bool(one.get("z"))))
    for key, view in _dict(data.get("view")).items():
        for number in (inside(view, "fid_list") or [])[:1] if isinstance(inside(view, "fid_list"), list) else []:
            file = _dict(data["file"].get(str(number)))
            yield text_of(file.get("src")) or file.get("fname"), regions.get(key, [])


def _shape_of_3(xy: Any) -> Any:
    """As version 2 says it."""
    if not isinstance(xy, list) or not xy:
        return None
    name, rest = _SHAPES_3.get(xy[0] if isinstance(xy[0], int) else 0, "shape"), xy[1:]
    keys = {"rect": ("x", "y", "width", "height"), "circle": ("cx", "cy", "r"), "ellipse": ("cx", "cy", "rx", "ry")}
    if name == "polygon":
        return {"name": name, "all_points_x": rest[::2], "all_points_y": rest[1::2]}
    return {"name": name, **dict(zip(keys.get(name, ()), rest, strict=False))}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _class_attribute(root: Path, regions: list[dict[str, Any]]) -> str | None:
    """The attribute that is the class; None when regions have none."""
    said = Counter(key for region in regions for key, value in region.items() if _value(value)[0])
    if len(said) < 2:
        return next(iter(said), None)
    usual = [key for name in CLASS_NAMES for key in said if str(key).lower() == name]
    if usual:
        return usual[0]
    first = ", ".join(f"{str(key)[:40]!a} ({count})" for key, count in said.most_common(5))
    raise DataError(
        f"{root}: the regions of VIA have several attributes ({first}), and none is called class or "
        "the like; rename the one that is the class to `class` in VIA, and export again"
    )


def _value(value: Any) -> tuple[str, bool]:
    """The class that a value says, and whether it says several: a text, or ticks by their names."""
    if isinstance(value, dict):
        ticked = [name for key, on in value.items() if on is True and (name := name_from(key))]
        return ticked[0] if ticked else UNNAMED, len(ticked) > 1
    return name_from(value), False


def _options(data: dict[str, Any], attribute: str | None) -> Iterator[str]:
    """The classes that a project offers, in its order: the values shown in version 3, the keys in version 2."""
    options = inside(data, "_via_attributes", "region", attribute or "", "options")
    yield from (name for key in _dict(options) if (name := name_from(key)))
    for one in objects(data.get("attribute")):
        if attribute is not None and name_from(one.get("aname")) == attribute:
            yield from (name for value in _dict(one.get("options")).values() if (name := name_from(value)))


def _entry(root: Path, path: Path, name: Any, regions: list[_Region], attribute: str | None) -> Entry:
    text = text_of(name) or ""
    folder = path.parent.relative_to(root).as_posix()
    entry = Entry(path, (text,) if folder == "." or not text else (f"{folder}/{text}", text), labelled=bool(regions))
    entry.meet("bare", times=not regions)
    for shape, said, moment in regions:
        label, several = _value(said.get(attribute)) if attribute is not None else (UNNAMED, False)
        kind = inside(shape, "name")
        if moment:
            entry.meet("frames")
        elif kind in _LINES:
            entry.meet("type", kind)
        else:
            entry.meet("several", times=several)
            entry.add(label, partial(_shape, kind, shape), weak=kind == "rect")
    return entry


def _shape(kind: Any, value: Any) -> Shape:
    if kind == "polygon":
        return Polygon((pairs_ring(value.get("all_points_x"), value.get("all_points_y")),))
    if kind == "rect":
        return box(*numbers(value, "x", "y", "width", "height"))
    if kind == "circle":
        x, y, radius = numbers(value, "cx", "cy", "r")
        return ellipse(x, y, radius, radius)
    if kind == "ellipse":
        x, y, rx, ry, theta = numbers({"theta": 0, **value}, "cx", "cy", "rx", "ry", "theta")
        return ellipse(x, y, rx, ry, math.degrees(theta))
    raise ValueError("no shape")
