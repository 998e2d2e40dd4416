"""Labelbox's export (https://docs.labelbox.com/reference/export-image-annotations): NDJSON, one image a line, or the
same as a JSON list.

Read are polygons, and as weak regions boxes. Masks stand there as addresses on a server, from which nothing is fetched:
they are counted, and where there is nothing else the reader says what to do. Points, lines and classifications are left
out. Of several labels of one image (consensus) the one that was saved last counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.core.findings import Severity
from maskwright.core.regions import Shape
from maskwright.data.formats.coco_images import ImageFiles
from maskwright.data.formats.coco_values import text_of
from maskwright.data.formats.contents import all_like, first_like, load
from maskwright.data.formats.exports import Entry, inside, joined, name_from, objects, size_of
from maskwright.data.formats.shapes import box, numbers, polygon
from maskwright.data.formats.source import AnnotationSet, Kinds, Occurrences
from maskwright.errors import DataError

_ENDINGS = (".ndjson", ".jsonl", ".json")
_INFO, _WARNING = Severity.INFO, Severity.WARNING
KINDS: Kinds = {
    "address": (
        "annotation.dropped",
        _WARNING,
        "mask{ is|s are} only an address on Labelbox's server, from which nothing is fetched; left out",
        "download them as PNG files with Labelbox's SDK, or draw polygons",
    ),
    "several": (
        "annotation.conflict",
        _WARNING,
        "image{ has|s have} several labels; the one that was saved last counts",
        "choose one in Labelbox, and export again",
    ),
    "frames": (
        "annotation.dropped",
        _WARNING,
        "label{ is|s are} of a video, and left out",
        "export the frames as images",
    ),
}


def _is_labelbox(ends: bytes) -> bool:
    return b'"data_row"' in ends and (b'"projects"' in ends or b'"media_attributes"' in ends)


def detect(root: Path) -> str | None:
    """The reason: a file of data rows."""
    found = first_like(root, _ENDINGS, _is_labelbox)
    return f"{found.relative_to(root).as_posix()} holds data rows of Labelbox" if found else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the exports below `root`, or in `annotations`; images are looked up by `external_id` and by the end of
    their address.

    DataError for lines that are not JSON, when every region is a mask that is only an address, and when there is no
    export.
    """
    seen: Occurrences = {}
    paths = all_like(root, annotations, _ENDINGS, _is_labelbox, "Labelbox's data rows", seen)
    entries = [_entry(path, row) for path in paths for row in _rows(path)]
    if not any(entry.marks for entry in entries) and any(
        kind == "address" for entry in entries for kind, _ in entry.met
    ):
        raise DataError(
            f"{paths[0]}: its masks are only addresses on Labelbox's server, from which nothing is fetched; download "
            "them as PNG files with Labelbox's SDK, one folder of images and one of masks, and read these"
        )
    return joined(ImageFiles(root, images), entries, [], seen, KINDS)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == ".json" and _starts_a_list(path):
        yield from objects(load(path))
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number}: not readable as JSON ({error}); export it again") from None
            if isinstance(row, dict) and row:
                yield row


def _starts_a_list(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[")


def _entry(path: Path, row: dict[str, Any]) -> Entry:
    told = (inside(row, "data_row", "external_id"), inside(row, "data_row", "row_data"))
    media = inside(row, "media_attributes")
    entry = Entry(
        path,
        tuple(text for text in map(text_of, told) if text),
        size_of(inside(media, "height"), inside(media, "width")),
        labelled=False,
    )
    projects = objects(row.get("projects"))
    labels = [label for project in projects for label in objects(inside(project, "labels"))]
    entry.meet("several", times=len(labels) > 1)
    if not labels:
        return entry
    label = max(
        labels,
        key=lambda one: str(
            inside(one, "label_details", "updated_at") or inside(one, "label_details", "created_at") or ""
        ),
    )
    entry.labelled = True
    entry.meet("frames", times=isinstance(inside(label, "annotations", "frames"), dict))
    entry.meet("extras", "classifications", times=len(objects(inside(label, "annotations", "classifications"))))
    for one in objects(inside(label, "annotations", "objects")):
        _add(entry, one)
    return entry


def _add(entry: Entry, one: dict[str, Any]) -> None:
    label = name_from(one.get("name")) or name_from(one.get("value"))
    entry.meet("extras", "classifications", times=bool(one.get("classifications")))
    if "polygon" in one:
        entry.add(label, partial(_polygon, one["polygon"]))
    elif "bounding_box" in one:
        entry.add(label, partial(_box, one["bounding_box"]), weak=True)
    elif "mask" in one or "composite_mask" in one:
        entry.meet("address")
    else:
        entry.meet("type", text_of(one.get("annotation_kind")) or "object")


def _polygon(value: Any) -> Shape:
    return polygon(value)


def _box(value: Any) -> Shape:
    left, top, width, height = numbers(value, "left", "top", "width", "height")
    return box(left, top, width, height)
