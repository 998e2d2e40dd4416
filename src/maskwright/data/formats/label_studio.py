"""Label Studio (https://labelstud.io/guide/export): JSON, JSON-MIN, and brush labels as PNG or NumPy files.

Coordinates are percentages of `original_width` and `original_height`; rectangles are weak regions that turn around
their upper left corner, ellipses around their centre. A brush is stored as the packed run lengths of an RGBA picture
(`label_studio_brush` reads them), of which every pixel counts that is not fully transparent. Later regions lie on top.

Of several annotations of one task the one marked as ground truth counts, else the one saved last; cancelled ones,
predictions and drafts do not. A task without any is an image that is not labelled; an annotation without regions is
background. Results on a turned image are left out, since their coordinates are those of the turned one. An image is
found by the longest end of its path: of /data/upload/1/a.jpg, of what follows `?d=` in /data/local-files/, of a URL;
also without the eight letters that Label Studio puts before the name of an uploaded file.

The export of brush labels has a file for each, task-1-annotation-11-by-1-tag-Car-0.png, whose number stands for the
task: the JSON export of the same project beside it says which image that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.core.array_files import read_array
from maskwright.core.findings import Severity
from maskwright.core.image_files import paths_below
from maskwright.core.listing import confine_found
from maskwright.core.regions import Polygon, Shape
from maskwright.core.sample import IMAGE_SUFFIXES, open_image
from maskwright.data.formats.coco_images import ImageFiles, path_in, tail_of
from maskwright.data.formats.coco_values import key_of, text_of
from maskwright.data.formats.contents import all_like, first_like, first_named, load
from maskwright.data.formats.exports import UNNAMED, Entry, joined, name_from, objects, size_of
from maskwright.data.formats.label_studio_brush import decode
from maskwright.data.formats.shapes import bits, box, ellipse, numbers, polygon
from maskwright.data.formats.source import AnnotationSet, Kinds, Occurrences
from maskwright.errors import DataError

_INFO, _WARNING = Severity.INFO, Severity.WARNING
# What is put before the name of a file that was uploaded.
_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
_BRUSH_FILE = re.compile(r"task-(\d+)-annotation-(\d+)-by-[^-]*-(.+)-(\d+)\.(?:png|npy)", re.IGNORECASE)
_TASKS = re.compile(rb'"(annotations|completions|predictions)"\s*:\s*\[')
_TRACES = re.compile(
    rb'"(result|original_width|was_cancelled|completed_by|file_upload|lead_time)"|/data/(upload|local-f)'
)
_MIN = re.compile(rb'"original_width"\s*:')
# What a value that holds such a key is, the first that fits.
_BY_KEY = {"rle": "brush", "points": "polygon", "radiusX": "ellipse", "height": "rectangle"}
KINDS: Kinds = {
    "several": (
        "annotation.conflict",
        _WARNING,
        "image{ has|s have} several annotations; the ground truth counts, or else the one saved last",
        "mark the right one as ground truth in Label Studio, and export again",
    ),
    "cancelled": (
        "annotation.dropped",
        _INFO,
        "annotation{ was cancelled and is|s were cancelled and are} left out",
        "nothing, if they were skipped on purpose",
    ),
    "predictions": (
        "annotation.dropped",
        _INFO,
        "prediction{ is|s are} no annotation{|s} and {is|are} left out",
        "accept them in Label Studio if they should count",
    ),
    "turned": (
        "annotation.dropped",
        _WARNING,
        "region{ was|s were} drawn on a turned image and {is|are} left out",
        "turn the image back in Label Studio, draw again, and export again",
    ),
    "pages": (
        "annotation.dropped",
        _WARNING,
        "task{ shows|s show} several images and {is|are} left out",
        "make a task of each image",
    ),
    "labels": (
        "annotation.conflict",
        _WARNING,
        "region{ has|s have} several labels, of which the first counts",
        "give each region one label",
    ),
    "stray": (
        "annotation.no_image",
        _WARNING,
        "mask{ is|s are} of no task in the JSON file; left out",
        "export the JSON of the same project",
    ),
    "again": (
        "annotation.dropped",
        _INFO,
        "mask file{ is|s are} not read, since the JSON file holds the same regions",
        "nothing",
    ),
}
GENERAL = ("stray", "again", "pages")


def _is_export(ends: bytes) -> bool:
    """Whether a JSON file holds tasks of Label Studio."""
    if not ends.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"[", b"{")) or b'"categories"' in ends:
        return False
    whole = _TASKS.search(ends) and b'"data"' in ends and _TRACES.search(ends)
    return bool(whole or (_MIN.search(ends) and b'"original_height"' in ends))


def detect(root: Path) -> str | None:
    """The reason: a JSON file of tasks."""
    found = first_like(root, (".json",), _is_export)
    return f"{found.relative_to(root).as_posix()} holds tasks of Label Studio" if found else None


def detect_brush(root: Path) -> str | None:
    """The reason: files named as those of the export of brush labels."""
    found = first_named(root, _BRUSH_FILE)
    return f"{found.relative_to(root).as_posix()} is named as Label Studio names brush labels" if found else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the exports below `root`, or in `annotations`; images are looked up below `images`, or else everywhere.

    DataError for files that are not JSON, for a PNG export without its JSON file, and when there is neither.
    """
    seen: Occurrences = {}
    files = ImageFiles(root, images)
    masks = [path for text in paths_below(root) if _BRUSH_FILE.fullmatch((path := root / text).name)]
    exports = all_like(root, annotations, (".json",), _is_export, "Label Studio's tasks", seen, needed=not masks)
    if not exports:
        raise DataError(
            f"{masks[0]}: is a brush label of Label Studio, and its number says a task, not an image; export the same "
            "project as JSON too, put that file beside it, and read the folder again"
        )
    tasks = [_task(path, task) for path in exports for task in _tasks(path)]
    if masks:
        _add_masks(tasks, masks, root, seen)
    for task in tasks:
        if len(task.pictures) > 1:
            seen.setdefault("pages", []).append(f"task {task.number}")
    source = joined(files, [t.entry for t in tasks if len(t.pictures) < 2], [], seen, KINDS, *GENERAL)
    source.items = [item for item in source.items if item.labelled or not _BRUSH_FILE.fullmatch(item.image.name)]
    return source


def _tasks(path: Path) -> Iterator[dict[str, Any]]:
    data = load(path)
    tasks = data if isinstance(data, list) else [data]
    if not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: is no list of Label Studio's tasks; export it as JSON")
    yield from tasks


@dataclass(slots=True)
class _Task:
    """A task with its entry; `pictures` are the names that its regions give to what they were drawn on, `annotation`
    is the number of the annotation that counts."""

    entry: Entry
    number: str | None
    annotation: str | None = None
    has_regions: bool = False
    pictures: set[str] = field(default_factory=set)


def _task(path: Path, task: dict[str, Any]) -> _Task:
    whole = "data" in task
    entry = Entry(path, tuple(_names(task)))
    found = _Task(entry, key_of(task.get("id")))
    if whole:
        annotation = _counting(entry, objects(task.get("annotations") or task.get("completions")))
        entry.meet("predictions", times=len(objects(task.get("predictions"))))
        results = objects(annotation.get("result")) if annotation else []
        found.annotation = key_of(annotation.get("id")) if annotation else None
    else:  # JSON-MIN: a key for each control, with the values alone
        annotation = {} if "annotation_id" in task or "annotator" in task else None
        results = [{**one, "value": one} for value in task.values() for one in _values(value)]
    entry.labelled = annotation is not None
    for kind, result, label in _regions(entry, results):
        if result.get("to_name"):
            found.pictures.add(str(result["to_name"]))
        _add(entry, kind, result, label)
        found.has_regions = True
    return found


def _regions(entry: Entry, results: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(kind, result, label) of what marks an area. A result of the type `labels` says the label of the shape with the
    same id, and may be alone."""
    names = {key_of(one.get("id")): _label(one, entry) for one in results if one.get("type") == "labels"}
    shapes = {key_of(one.get("id")) for one in results if one.get("type") != "labels"}
    for result in results:
        value, said = result.get("value"), str(result.get("type") or "")
        if said == "labels" and key_of(result.get("id")) in shapes:
            continue
        value = value if isinstance(value, dict) else {}
        kind = next((kind for key, kind in _BY_KEY.items() if key in value), "")
        if not kind or "original_width" not in result or said in ("vectorlabels", "vector"):
            entry.meet("type" if "original_width" in result else "extras", said or "result")
            continue
        yield kind, result, _label(result, entry) or names.get(key_of(result.get("id")), UNNAMED)


def _values(value: Any) -> list[dict[str, Any]]:
    return [one for one in objects(value) if "original_width" in one] if isinstance(value, list) else []


def _names(task: dict[str, Any]) -> Iterator[str]:
    """What the image may be called: the one under `image` first, then the others, each with and without its prefix."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    values = [data[key] for key in sorted(data, key=lambda key: key != "image")] if isinstance(data, dict) else []
    texts = [text for value in [*values, task.get("file_upload")] if (text := text_of(value)) and _is_picture(text)]
    for text in texts[:1] + texts[-1:]:
        yield text
        folder, _, last = path_in(text).rpartition("/")
        if _PREFIX.match(last):
            yield f"{folder}/{_PREFIX.sub('', last)}"


def _is_picture(text: str) -> bool:
    return Path(tail_of(text)).suffix.lower() in IMAGE_SUFFIXES


def _counting(entry: Entry, annotations: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The annotation that counts."""
    kept = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    entry.meet("cancelled", times=len(annotations) - len(kept))
    entry.meet("several", times=len(kept) > 1)
    # ISO 8601 in one time zone sorts as text; the last one of equals counts.
    ranked = sorted(
        kept, key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at") or one.get("created_at") or ""))
    )
    return ranked[-1] if ranked else None


def _label(result: dict[str, Any], entry: Entry) -> str:
    """The first label of a result."""
    value = result.get("value")
    for key, labels in value.items() if isinstance(value, dict) else ():
        if key.endswith("labels") and isinstance(labels, list) and labels:
            entry.meet("labels", times=len(labels) > 1)
            return name_from(labels[0])
    return UNNAMED


def _add(entry: Entry, kind: str, result: dict[str, Any], label: str) -> None:
    size = size_of(result.get("original_height"), result.get("original_width"))
    if result.get("image_rotation") not in (None, 0, 0.0):
        entry.meet("turned")
    elif size is None:
        entry.meet("size")
    else:
        entry.size = entry.size or size
        bad = "mask" if kind == "brush" else "shape"
        entry.add(label, partial(_shape, kind, result.get("value"), size), bad, weak=kind == "rectangle")


def _shape(kind: str, value: Any, size: tuple[int, int]) -> Shape | None:
    height, width = size
    if kind == "brush":
        return decode(value.get("rle"), height, width)
    percent = np.array([width, height]) / 100
    if kind == "polygon":
        return Polygon(tuple(ring * percent for ring in polygon(value["points"]).rings))
    x, y = np.array(numbers(value, "x", "y")) * percent
    degrees = numbers({"rotation": 0, **value}, "rotation")[0]
    if kind == "rectangle":
        across, down = np.array(numbers(value, "width", "height")) * percent
        return box(float(x), float(y), float(across), float(down), degrees, corner=True)
    rx, ry = np.array(numbers(value, "radiusX", "radiusY")) * percent
    return ellipse(float(x), float(y), float(rx), float(ry), degrees)


# -- brush labels as PNG files -----------------------------------------------------------------------------------------


def _add_masks(tasks: list[_Task], masks: list[Path], root: Path, seen: Occurrences) -> None:
    """The masks of the PNG export, for tasks whose JSON holds no regions."""
    by_number = {task.number: task for task in tasks}
    for path in masks:
        number, annotation, middle, _ = _parts(path)
        task = by_number.get(number)
        if task is None:
            seen.setdefault("stray", []).append(path.name)
        elif task.has_regions or task.annotation not in (annotation, None):
            seen.setdefault("again", []).append(path.name)
        else:
            task.entry.labelled = True
            # The name of the control comes first; that of the label may hold a hyphen too.
            label = middle.partition("-")[2] or middle
            task.entry.add(name_from(label), partial(_mask, confine_found(root, path)), "mask", errors=(DataError,))


def _parts(path: Path) -> tuple[str, str, str, str]:
    found = _BRUSH_FILE.fullmatch(path.name)
    assert found
    return found[1], found[2], found[3], found[4]


def _mask(path: Path) -> Shape | None:
    if path.suffix.lower() == ".npy":
        pixels = read_array(path) != 0
    else:
        with open_image(path) as image:
            pixels = np.asarray(image.convert("L")) != 0
    if pixels.ndim != 2:
        raise DataError(f"{path}: no mask of one image")
    return bits(pixels) if pixels.any() else None
