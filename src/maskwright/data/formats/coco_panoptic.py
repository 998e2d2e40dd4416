"""COCO panoptic (https://cocodataset.org/#format-data): the segments of all images in a JSON file, and a PNG for each.

    annotations/panoptic_val2017.json    annotations/panoptic_val2017/000000000139.png    val2017/000000000139.jpg

A pixel belongs to the segment whose id is R + 256 G + 256^2 B; 0 is void and does not count. The class of a segment is
its category, and every pixel that counts has one, so there is no background. A pixel of a segment that the file does
not list is an error, as it is for panopticapi. PNG files are read when a mask is asked for, so memory does not grow
with them. They lie in a folder called as the JSON file, beside it, or where their names say; the images are found as
those of `coco`. Crowds are drawn as other segments are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine
from maskwright.core.classes import MAX_CLASSES, MAX_ID
from maskwright.core.description import FILE_NAME
from maskwright.core.findings import Severity
from maskwright.core.listing import confine_found
from maskwright.data.formats.coco import candidates
from maskwright.data.formats.coco_images import ImageFiles, known_split, last_of, split_of, stem_below, tail_of
from maskwright.data.formats.coco_values import colour_from, is_tree, key_of, text_of, whole
from maskwright.data.formats.contents import ends_of
from maskwright.data.formats.deferred import Segments
from maskwright.data.formats.source import AnnotationSet, Item, Kinds, Label, Mark, Occurrences, notes_on, takeable
from maskwright.errors import DataError

_VOID = "__ignore__"
_NO_GROUP = frozenset({"", "none", "root"})
_ENDS = 1 << 16  # bytes at the beginning and the end of a file that tell what it is
_WARNING, _INFO = Severity.WARNING, Severity.INFO
_KINDS: Kinds = {
    "invalid": (
        "annotation.invalid",
        _WARNING,
        "entr{y has|ies have} no id, no name or no category; left out",
        "correct them and export again",
    ),
    "no_image": (
        "annotation.no_image",
        _WARNING,
        "image{ is|s are} not in the folder",
        "copy them there, or name their folder by `images` in dataset.yaml",
    ),
    "no_png": (
        "annotation.no_image",
        _WARNING,
        "PNG{ of segments is|s of segments are} not in the folder; the image{ is|s are} not labelled",
        "unpack them beside the JSON file, into a folder called like it",
    ),
    "unclear": (
        "annotation.conflict",
        _WARNING,
        "entr{y is|ies are} given twice; the first counts",
        "keep one of each",
    ),
    "unnamed": ("annotation.renamed", _WARNING, "categor{y has|ies have} no name", "complete `categories` in the file"),
    "size": (
        "annotation.conflict",
        _WARNING,
        "image{ has|s have} no size or an impossible one; the file's own counts",
        "correct width and height",
    ),
    "crowd": ("annotation.dropped", _INFO, "crowd{ is|s are} drawn as single segments are", "nothing"),
    "tree": (
        "annotation.conflict",
        _INFO,
        "file{ has|s have} supercategories that make no tree with the categories; not used",
        "nest the classes in dataset.yaml",
    ),
    "other": (
        "annotation.dropped",
        _INFO,
        "JSON file{ is|s are} not of panoptic segments; left out",
        "give the format `coco` to read those of instances in place of the segments",
    ),
}


def detect(root: Path) -> str | None:
    """Why `root` holds panoptic annotations: a JSON file with segments, and one of its PNG files."""
    files: ImageFiles | None = None
    for path in islice(candidates(root), 32):
        text = ends_of(path, _ENDS)
        if b'"segments_info"' not in text and not (b'"isthing"' in text and path.name.startswith("panoptic")):
            continue
        files = files or ImageFiles(root, None)
        names = [name.decode("utf-8", "replace") for name in re.findall(rb'"file_name"\s*:\s*"([^"\\]+\.png)"', text)]
        if any(files.find(name, _places(root, path), True) for name in names[:50] + names[-50:]):
            return f"{path.relative_to(root).as_posix()} holds panoptic segments, and its PNG files are there"
    return None


def _places(root: Path, path: Path) -> list[str]:
    """Folders that the PNG files of a JSON file may lie in, relative to `root`."""
    folder = path.parent.relative_to(root).as_posix().removeprefix(".")
    own = f"{folder}/{path.stem}".removeprefix("/")
    return [own, own.removesuffix("_annotations"), f"{folder}/masks".removeprefix("/"), folder, path.stem, ""]


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the file `annotations`, or all panoptic files in `root` and the folders in it; see `source.AnnotationSet`.

    DataError for files that are not JSON, and when none holds panoptic segments.
    """
    place = confine(root, annotations, FILE_NAME) if annotations else root
    reader = _Reader(root, images)
    files = [place] if place.is_file() else list(candidates(place))
    for path in files:
        if annotations or b'"segments_info"' in ends_of(path, _ENDS) or path.name.startswith("panoptic"):
            reader.add(path)
        else:
            reader.seen.setdefault("other", []).append(path.relative_to(root).as_posix())
    if not reader.files:
        raise DataError(
            f"{place}: none of {len(files)} JSON files holds panoptic segments (`segments_info`); name the right "
            f"one by `annotations` in {FILE_NAME}"
        )
    return reader.source()


def _slim(entry: dict[str, Any]) -> Any:
    """A segment as (id, category, crowd) as soon as it is parsed: the whole of it takes ten times the memory."""
    if "category_id" in entry and "id" in entry and "segments_info" not in entry and "image_id" not in entry:
        return whole(entry["id"]), key_of(entry["category_id"]), entry.get("iscrowd") in (1, "1", True)
    return entry


class _Reader:
    """Joins annotation files into one AnnotationSet."""

    def __init__(self, root: Path, images: str | None) -> None:
        self.root, self.files = root, 0
        self.images = ImageFiles(root, images)
        self.pngs = ImageFiles(root, None) if images else self.images
        self.seen: Occurrences = {}
        self.labels: dict[str, Label] = {}
        self.items: dict[str, Item] = {}

    def tell(self, kind: str, where: str) -> None:
        """One more of a kind of note."""
        self.seen.setdefault(kind, []).append(where[:100])

    def add(self, path: Path) -> None:
        """Reads one file. DataError when it is not JSON."""
        name = path.relative_to(self.root).as_posix()
        try:
            data = json.loads(confine_found(self.root, path).read_bytes(), object_hook=_slim)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: not readable as JSON ({error}); export it again or move it away") from None
        entries = data.get("annotations") if isinstance(data, dict) else None
        if not isinstance(entries, list) or not any(
            isinstance(entry, dict) and "segments_info" in entry for entry in entries
        ):
            return self.tell("other", name)
        self.files += 1
        categories = self._categories(data.get("categories"), name)
        by_image: dict[str, dict[str, Any]] = {}
        for entry in entries:
            key = key_of(entry.get("image_id")) if isinstance(entry, dict) else None
            if key is None or not isinstance(entry.get("segments_info"), list):
                self.tell("invalid", name)
            elif key in by_image:
                self.tell("unclear", f"{name}: annotation of image {key}")
            else:
                by_image[key] = entry
        listed, known = data.get("images"), set()
        for entry in listed if isinstance(listed, list) else []:
            key = key_of(entry.get("id")) if isinstance(entry, dict) else None
            file = text_of(entry.get("file_name")) if isinstance(entry, dict) else None
            if key is None or file is None or not tail_of(file):
                self.tell("invalid", name)
            elif key in known:
                self.tell("unclear", f"{name}: image {key}")
            else:
                known.add(key)
                self._image(path, entry, file, by_image.pop(key, None), categories)
        for key in by_image:
            self.tell("invalid", f"{name}: annotation of image {key}")

    def _categories(self, listed: Any, name: str) -> dict[str, str]:
        """Id -> class."""
        found: dict[str, str] = {}
        for entry in listed if isinstance(listed, list) else []:
            # A category has an id and no category_id, so it is not slim.
            key = key_of(entry.get("id")) if isinstance(entry, dict) else None
            if key is None:
                self.tell("invalid", name)
            elif key in found:
                self.tell("unclear", f"{name}: category {key}")
            else:
                found[key] = self._category(entry, key)
        return found

    def _category(self, entry: dict[str, Any], key: str) -> str:
        label = text_of(entry.get("name"))
        if label is None:
            label = f"category_{key[:40]}"
            self.tell("unnamed", label)
        number, group = whole(entry.get("id")), text_of(entry.get("supercategory")) or ""
        parents = () if group.lower() in _NO_GROUP or group == label else (group,)
        id_ = number if number is not None and 0 <= number <= MAX_ID else None
        before = self.labels.setdefault(label, Label(label, id_, colour_from(entry.get("color")), parents))
        if before.id != id_:
            self.labels[label] = replace(before, id=None)
        return label

    def _image(self, path: Path, entry: dict[str, Any], file: str, annotation: Any, categories: dict[str, str]) -> None:
        place = PurePosixPath(path.relative_to(self.root).as_posix())
        split, word = split_of(place)
        folder = "" if str(place.parent) == "." else str(place.parent)
        bases = self.images.bases(folder, word)
        found, tail = self.images.find(file, bases, True), tail_of(file)
        if found is None:
            self.tell("no_image", file)
            found = takeable([*filter(None, bases[0].split("/")), *tail.split("/")])
        if not word:
            word = next((part for part in found.split("/")[:-1] if known_split(part)), "")
            split, bases = known_split(word), self.images.bases(folder, word)
        stem = stem_below(found, bases)
        name = f"{split}/{stem}" if split else stem
        if name in self.items:
            return self.tell("unclear", name)
        item = Item(name, self.images.path(found, path), path, split, labelled=annotation is not None)
        height, width = whole(entry.get("height")) or 0, whole(entry.get("width")) or 0
        if min(height, width) > 0 and height * width <= MAX_PIXELS:
            item.size = height, width
        else:
            self.tell("size", name)
        if annotation is not None:
            png = text_of(annotation.get("file_name")) or f"{PurePosixPath(last_of(tail)).stem}.png"
            where = self.pngs.find(png, _places(self.root, path), True)
            if where is None or where == found:
                self.tell("no_png", png)
                item.labelled = False
            else:
                item.marks = list(
                    self._marks(self.pngs.path(where, path), annotation["segments_info"], name, categories)
                )
        self.items[name] = item

    def _marks(self, png: Path, segments: list[Any], name: str, categories: dict[str, str]) -> Iterator[Mark]:
        by_class: dict[str, list[int]] = {}
        used: set[int] = {0}
        for segment in segments:
            number, category, crowd = segment if isinstance(segment, tuple) else (None, None, False)
            if number is None or category is None or not 0 < number < 1 << 24:
                self.tell("invalid", name)
                continue
            if number in used:
                self.tell("unclear", f"{name}: segment {number}")
                continue
            used.add(number)
            if crowd:
                self.tell("crowd", name)
            if category not in categories:
                categories[category] = self._category({"id": category}, category)
            by_class.setdefault(categories[category], []).append(number)
        yield Mark(_VOID, Segments(png, (0,), frozenset(used)))
        yield from (Mark(label, Segments(png, tuple(ids))) for label, ids in by_class.items())

    def source(self) -> AnnotationSet:
        """What was read of all files."""
        if len(self.labels) > MAX_CLASSES:
            raise DataError(
                f"{self.root}: {len(self.labels)} categories; at most {MAX_CLASSES} are possible, so merge some"
            )
        labels = list(self.labels.values())
        if not is_tree(labels):
            labels = [replace(label, parents=()) for label in labels]
            self.tell("tree", "supercategory")
        return AnnotationSet(labels, list(self.items.values()), notes_on(_KINDS, self.seen, _KINDS), full=True)
