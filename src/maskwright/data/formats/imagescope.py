"""Aperio ImageScope: one XML file an image, of the same name, with layers (`Annotation`) of regions.

Vertices are pixels of the image in full size, as continuous positions. The name of a layer is its class, or else that
of an attribute without a value; where no layer has either, all regions are of one class. One with `NegativeROA="1"`
takes its pixels away from the others of its layer. Of the types, 0 is an outline, 1 a rectangle, which is a weak
region, and 2 an ellipse in its box; arrows and rulers cover no pixels and are left out. Later layers lie on top.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from maskwright.core.findings import Severity
from maskwright.core.polygons import MAX_COORDINATE, Ring
from maskwright.core.regions import Polygon, Shape
from maskwright.core.sample import IMAGE_SUFFIXES, read_header
from maskwright.data.formats.coco_images import ImageFiles
from maskwright.data.formats.contents import all_like, first_like
from maskwright.data.formats.exports import Entry, joined, name_from
from maskwright.data.formats.shapes import box, cut_out, ellipse
from maskwright.data.formats.source import AnnotationSet, Kinds, Occurrences
from maskwright.data.formats.vocfiles import read_xml
from maskwright.errors import DataError

_MAX_XML = 256 << 20
# The attribute that every layer has; others without a value are how some name the class.
_OWN_ATTRIBUTE = "Description"
_OUTLINE, _RECTANGLE, _ELLIPSE = "0", "1", "2"
KINDS: Kinds = {
    "negative": (
        "annotation.invalid",
        Severity.WARNING,
        "region{ takes|s take} pixels away, but the size of the image is not known; left out",
        "put the image beside its XML file",
    ),
    "lines": (
        "annotation.dropped",
        Severity.WARNING,
        "{arrow or ruler covers|arrows and rulers cover} no pixels; left out",
        "draw what should count as outlines",
    ),
}


def _is_imagescope(ends: bytes) -> bool:
    return b"<Annotations" in ends and (b"<Regions" in ends or b"<Vertex" in ends or b"MicronsPerPixel" in ends)


def detect(root: Path) -> str | None:
    """The reason: an XML file of regions with vertices."""
    found = first_like(root, (".xml",), _is_imagescope)
    return f"{found.relative_to(root).as_posix()} holds regions as ImageScope does" if found else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the files of ImageScope below `root`, or in `annotations`; the image of each is the one of the same name.

    DataError for files that are not XML, and when there is none.
    """
    seen: Occurrences = {}
    paths = all_like(root, annotations, (".xml",), _is_imagescope, "ImageScope's regions", seen)
    files = ImageFiles(root, images)
    return joined(files, [_entry(path, files) for path in paths], [], seen, KINDS)


def _entry(path: Path, files: ImageFiles) -> Entry:
    document = read_xml(path, "Annotations", _MAX_XML, "ImageScope")
    names = [path.stem, *(path.stem + ending for ending in sorted(IMAGE_SUFFIXES))]
    names = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    beside = path.relative_to(files.root).as_posix()
    place = next((found for name in names if (found := files.nearest(name, beside))), None)
    entry = Entry(path, (place,) if place else tuple(names))
    for layer in document.iter("Annotation"):
        label, attributes = _named(layer)
        regions = list(layer.iter("Region"))
        holes = [ring for region in regions if _is_negative(region) for ring in _holes(entry, region)]
        size = _size(files.path(place, path)) if holes and place else None
        if holes and size is None:
            entry.meet("negative", times=len(holes))
            holes = []
        for region in regions:
            if not _is_negative(region):
                _add(entry, label, region, holes, size)
        for key in attributes:
            entry.meet("extras", key)
    return entry


def _named(layer: Element) -> tuple[str, list[str]]:
    """The class of a layer, and its attributes that say something else."""
    label, found = name_from(layer.get("Name")), []
    for element in layer.iter("Attribute"):
        key, value = name_from(element.get("Name")), (element.get("Value") or "").strip()
        if value:
            found.append(key[:40] or "attribute")
        elif key and key != _OWN_ATTRIBUTE and not label:
            label = key
    return label, found


def _is_negative(region: Element) -> bool:
    return (region.get("NegativeROA") or "0").strip() not in ("0", "", "false")


def _size(image: Path) -> tuple[int, int] | None:
    try:
        return read_header(image).size
    except DataError:
        return None


def _holes(entry: Entry, region: Element) -> list[Ring]:
    try:
        shape = _shape(region.get("Type") or _OUTLINE, region)
    except ValueError:
        entry.meet("shape")
        return []
    return list(shape.rings)


def _add(entry: Entry, label: str, region: Element, holes: list[Ring], size: tuple[int, int] | None) -> None:
    kind = region.get("Type") or _OUTLINE
    if kind not in (_OUTLINE, _RECTANGLE, _ELLIPSE):
        entry.meet("lines")
    elif holes and size is not None:
        entry.add(label, partial(_without, kind, region, holes, size))
    else:
        entry.add(label, partial(_shape, kind, region), weak=kind == _RECTANGLE)


def _without(kind: str, region: Element, holes: list[Ring], size: tuple[int, int]) -> Shape | None:
    outer = _shape(kind, region).rings[0]
    low, high = outer.min(0), outer.max(0)
    touching = [hole for hole in holes if (hole.min(0) < high).all() and (hole.max(0) > low).all()]
    return cut_out(outer, touching, *size) if touching else Polygon((outer,))


def _shape(kind: str, region: Element) -> Polygon:
    points = np.array([(_number(one.get("X")), _number(one.get("Y"))) for one in region.iter("Vertex")]).reshape(-1, 2)
    if kind == _ELLIPSE or (kind == _RECTANGLE and len(points) == 2):
        if len(points) < 2:
            raise ValueError("no box")
        (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
        if kind == _RECTANGLE:
            return box(x0, y0, x1 - x0, y1 - y0)
        return ellipse((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)
    if len(points) < 3:
        raise ValueError("fewer than 3 points")
    return Polygon((points,))


def _number(text: str | None) -> float:
    value = float(text or "nan")
    if not abs(value) <= MAX_COORDINATE:
        raise ValueError("no number within reason")
    return value
