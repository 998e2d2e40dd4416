"""V7's Darwin JSON, versions 2.0 and 1.0 (https://docs.v7labs.com/reference/darwin-json): one JSON file an image, in
`releases/NAME/annotations`, and the images in `images`, with the folders of the data set.

Read are polygons (all paths together, by the even-odd rule), masks (a layer of run lengths along the rows, whose values
stand for annotations), and as weak regions boxes without an outline. Later annotations lie on top, masks below them.
Tags, lines, keypoints, ellipses and the like are left out, as are the annotations of videos.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.core.findings import Severity
from maskwright.core.regions import Runs, Shape
from maskwright.data.formats.coco_images import ImageFiles
from maskwright.data.formats.coco_values import text_of, whole
from maskwright.data.formats.contents import all_like, first_like, load
from maskwright.data.formats.exports import Entry, inside, joined, name_from, objects, size_of
from maskwright.data.formats.shapes import box, numbers, polygon, row_runs
from maskwright.data.formats.source import AnnotationSet, Kinds, Occurrences
from maskwright.errors import DataError

_INFO, _WARNING = Severity.INFO, Severity.WARNING
# Keys beside the shape that are read or say nothing about pixels.
_PLAIN = frozenset({"id", "name", "slot_names", "bounding_box", "annotators", "reviewers", "ranges", "keyframe"})
_SHAPES = ("polygon", "complex_polygon", "bounding_box", "mask", "raster_layer")
_EXTRAS = ("attributes", "instance_id", "text", "properties", "directional_vector", "inference", "hidden_areas")
KINDS: Kinds = {
    "frames": (
        "annotation.dropped",
        _WARNING,
        "annotation{ is|s are} of a video, and left out",
        "export the frames as images",
    ),
    "slots": (
        "annotation.dropped",
        _WARNING,
        "annotation{ is|s are} of another slot than the first, and left out",
        "export one image an item",
    ),
    "layer": (
        "annotation.invalid",
        _WARNING,
        "mask{ is|s are} named in no layer, or the layer is damaged; left out",
        "export again",
    ),
}


def _is_darwin(ends: bytes) -> bool:
    if b'"annotations"' not in ends or b'"images"' in ends:
        return False
    new = b'"item"' in ends and (b'"slots"' in ends or b'"version"' in ends)
    old = (b'"image"' in ends and b'"original_filename"' in ends) or b'"workview_url"' in ends
    return new or old


def detect(root: Path) -> str | None:
    """The reason: a JSON file of one image with annotations, as V7 writes it."""
    found = first_like(root, (".json",), _is_darwin)
    return f"{found.relative_to(root).as_posix()} holds annotations as V7's Darwin does" if found else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the files of Darwin below `root`, or in `annotations`; images are looked up by their path and name.

    DataError for files that are not JSON, for one without a list of annotations, and when there is none.
    """
    seen: Occurrences = {}
    paths = all_like(root, annotations, (".json",), _is_darwin, "Darwin's annotations", seen)
    return joined(ImageFiles(root, images), map(_entry, paths), [], seen, KINDS)


def _entry(path: Path) -> Entry:
    data = load(path)
    listed = inside(data, "annotations")
    if not isinstance(listed, list):
        raise DataError(f"{path}: has no list of annotations; export it from V7 again")
    item = inside(data, "item") or inside(data, "image")
    slots = objects(inside(item, "slots"))
    first: dict[str, Any] = slots[0] if slots else item if isinstance(item, dict) else {}
    size = size_of(first.get("height"), first.get("width"))
    entry = Entry(path, tuple(_names(item, slots)), size)
    slot = first.get("slot_name")
    entries = objects(listed)
    entry.meet("shape", times=len(listed) - len(entries))
    layers = [one["raster_layer"] for one in entries if isinstance(one.get("raster_layer"), dict)]
    masks = {str(one.get("id")): name_from(one.get("name")) for one in entries if "mask" in one}
    for layer in layers:
        _add_layer(entry, layer, masks, size)
    entry.meet("layer", times=len(masks))
    for one in entries:
        others = one.get("slot_names")
        if "frames" in one:
            entry.meet("frames")
        elif slot and isinstance(others, list) and others and slot not in others:
            entry.meet("slots")
        elif "mask" not in one and "raster_layer" not in one:
            _add(entry, one)
    return entry


def _names(item: Any, slots: list[dict[str, Any]]) -> list[str]:
    """What the image may be called; a file is saved with the ending of its source."""
    folder = (text_of(inside(item, "path")) or "").replace("\\", "/").strip("/")
    told = [text_of(inside(item, key)) for key in ("name", "original_filename", "filename")]
    told += [text_of(source.get("file_name")) for source in objects(slots[0].get("source_files"))] if slots else []
    texts = [text for text in dict.fromkeys(told) if text]
    return [
        place for text in texts for place in ([f"images/{folder}/{text}", f"{folder}/{text}"] if folder else [text])
    ]


def _add(entry: Entry, one: dict[str, Any]) -> None:
    label = name_from(one.get("name"))
    for key in _EXTRAS:
        entry.meet("extras", key, times=bool(one.get(key)))
    if "polygon" in one or "complex_polygon" in one:
        entry.add(label, partial(_polygon, one.get("polygon", one.get("complex_polygon"))))
        return
    others = [key for key in one if key not in (*_PLAIN, *_EXTRAS)]
    if others:
        entry.meet("type" if others[0] != "tag" else "extras", others[0][:40])
    elif "bounding_box" in one:
        entry.add(label, partial(_box, one["bounding_box"]), weak=True)
    else:
        entry.meet("type", "annotation")


def _polygon(value: Any) -> Shape:
    if isinstance(inside(value, "paths"), list):
        return polygon(*value["paths"])
    path = inside(value, "path")
    # Of a complex polygon it is a list of paths.
    nested = isinstance(path, list) and bool(path) and isinstance(path[0], list)
    more = inside(value, "additional_paths")
    return polygon(*(path if nested else [path]), *(more if isinstance(more, list) else []))


def _box(value: Any) -> Shape:
    return box(*numbers(value, "x", "y", "w", "h"))


def _add_layer(entry: Entry, layer: dict[str, Any], masks: dict[str, str], size: tuple[int, int] | None) -> None:
    """The masks of one layer; takes those that it names out of `masks`."""
    mapping = layer.get("mask_annotation_ids_mapping")
    values = {key: whole(value) for key, value in mapping.items()} if isinstance(mapping, dict) else {}
    for key, value in values.items():
        if key in masks and value is not None and size is not None:
            entry.add(masks.pop(key), partial(_mask, layer.get("dense_rle"), value, size), "mask", order=-1)


def _mask(dense: Any, value: int, size: tuple[int, int]) -> Runs | None:
    """The pixels of one value: the layer lists a value and how often it follows, again and again."""
    try:
        pairs = np.array(dense, np.int64).reshape(-1, 2)
    except (OverflowError, TypeError):
        raise ValueError("no list of numbers") from None
    values, lengths = pairs[:, 0], pairs[:, 1]
    total = size[0] * size[1]
    if not isinstance(dense, list) or not len(pairs) or lengths.min() < 0 or lengths.max() > total:
        raise ValueError("no run lengths of this image")
    if lengths.sum() != total:
        raise ValueError("another number of pixels than the image has")
    return row_runs(lengths, values == value, size[1])
