"""COCO instances (https://cocodataset.org/#format-data): `annotations/instances_{split}.json`, `images/{split}/`.

Read as well: Roboflow (`train/_annotations.coco.json` beside its images, with a category that only is the group of the
others), CVAT and Datumaro (`instances_default.json` has no split), Label Studio (`result.json`; Windows separators,
`..` and URLs in names), the official files (`instances_train2017.json`, with captions and keypoints beside it), and
single files of any name. `coco_values` knows the ways to write a region, `coco_images` the ways to name an image,
`coco_writer` says what is written and why. Lists may be dictionaries by id.

The polygons of a region are joined, not cut out of each other, as pycocotools does it. Later regions lie on top of
earlier ones, crowds below single objects. A region without an outline is its box, and weak. An image that is listed
in two files of one split has the regions of both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from re import compile
from typing import Any

import numpy as np

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine
from maskwright.base.texts import counted, listing
from maskwright.core.classes import MAX_ID
from maskwright.core.description import FILE_NAME
from maskwright.core.findings import Finding, Severity
from maskwright.core.listing import confine_found
from maskwright.core.patterns import nfc
from maskwright.core.regions import Polygon, Runs, Shape
from maskwright.data.formats.coco_images import ImageFiles, known_split, last_of, split_of, stem_below, tail_of
from maskwright.data.formats.coco_values import (
    box_of,
    colour_from,
    is_tree,
    key_of,
    parts_of,
    shape_of,
    slim,
    text_of,
    whole,
)
from maskwright.data.formats.coco_writer import CocoWriter
from maskwright.data.formats.source import AnnotationSet, Item, Label, Mark, note
from maskwright.errors import DataError

__all__ = ["CocoWriter", "detect", "read"]

# Files beside the instances that hold no regions of classes, by how their names begin.
_OTHER_TASKS = ("captions_", "labels_", "panoptic_", "image_info_")
_NO_GROUP = frozenset({"", "none", "root"})
_MAX_DEPTH = 8
_USED_KEYS = frozenset({"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"})
_TOKENS = compile(rb'"(images|annotations|categories|licenses|supercategory|file_name|image_id|category_id)"\s*:')
# Of each kind of note: its code, severity, what was seen, and what to do.
_INFO, _WARNING = Severity.INFO, Severity.WARNING
_KINDS: dict[str, tuple[str, Severity, str, str]] = {
    "invalid": (
        "annotation.invalid",
        _WARNING,
        "entr{y|ies} cannot be used and {is|are} left out",
        "correct them in the annotation tool and export again",
    ),
    "duplicate": ("annotation.duplicate", _WARNING, "entr{y is|ies are} given twice", "keep one of each"),
    "no_image": (
        "annotation.no_image",
        _WARNING,
        "image{ is|s are} not in the folder",
        "copy them there, or name their folder by `images` in dataset.yaml",
    ),
    "unnamed": ("annotation.renamed", _WARNING, "entr{y has|ies have} no name", "complete `categories` in the file"),
    "empty": (
        "annotation.conflict",
        _WARNING,
        "image{ is|s are} listed, but not one region in {it|them}",
        "leave the file out if they are not labelled yet; they are taken as background",
    ),
    "conflict": (
        "annotation.conflict",
        _WARNING,
        "size{ does|s do} not fit",
        "check whether the images were resized after they were labelled",
    ),
    "differ": ("annotation.conflict", _WARNING, "disagreement{|s} about categories", "name each in one way"),
    "clipped": (
        "annotation.clipped",
        _INFO,
        "region{ reaches outside its image and is|s reach outside their image and are} cut off there",
        "nothing, if it is a matter of a pixel or two",
    ),
    "box": (
        "annotation.dropped",
        _INFO,
        "region{ has|s have} no outline, only a box, which is filled",
        "see `boxes` in dataset.yaml for how",
    ),
    "renamed": ("annotation.renamed", _INFO, "name{ is|s are} not used as written", "check what they stand for"),
    "dropped": (
        "annotation.dropped",
        _INFO,
        "entr{y says|ies say} what no mask can hold",
        "nothing, if it is not needed",
    ),
}


def detect(root: Path) -> str | None:
    """Why the folder `root` holds COCO annotations, told from the names of JSON files or their first 4 KiB; or None."""
    for path in islice(candidates(root), 32):
        name = path.relative_to(root).as_posix()
        if _is_named_so(path):
            return f"{name} is there"
        try:
            with path.open("rb") as stream:
                seen = {token.decode() for token in _TOKENS.findall(stream.read(4096))}
        except OSError:
            continue
        # Other tools' files may hold two of the words, but hardly these.
        if len(seen) > 1 and seen & {"images", "image_id", "supercategory"}:
            return f"{name} holds {', '.join(sorted(seen))}"
    return None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the annotation files below `root`: the file or those of the folder `annotations`, else those in folders
    where one is named like COCO's, else all in `root` and the folders in it. Images are looked up below `images`, or
    else everywhere.

    Raises DataError for files that are not JSON, and when none holds images and annotations.
    """
    if annotations is None:
        files = list(candidates(root))
        chosen = {path.parent for path in files if _is_named_so(path)}
        files = [path for path in files if not chosen or path.parent in chosen]
    else:
        place = confine(root, annotations, FILE_NAME)
        files = [place] if place.is_file() else list(_in_folder(place))
    reader = _Reader(ImageFiles(root, images))
    names = {path.name for path in files}
    for path in files:
        if path.name.startswith(_OTHER_TASKS):
            reader.skip(path, "its name says that it holds no instances")
        elif path.name.startswith("person_keypoints_") and path.name.replace("person_keypoints", "instances") in names:
            reader.skip(path, "the instances beside it are the same regions")
        else:
            reader.add(path)
    if not reader.files:
        raise DataError(
            f"{root}: none of {len(files)} JSON files holds COCO images and annotations; "
            f"name the right one by `annotations` in {FILE_NAME}"
        )
    return reader.source()


def candidates(root: Path) -> Iterator[Path]:
    """The JSON files in `root` and in the folders in it."""
    if root.is_dir():
        yield from _in_folder(root)
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and not folder.name.startswith("."):
                yield from _in_folder(folder)


def _in_folder(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*.json")) if path.is_file() and not path.name.startswith("."))


def _is_named_so(path: Path) -> bool:
    return path.name.startswith("instances_") or path.name.endswith(".coco.json")


class _Reader:
    """Joins annotation files into one AnnotationSet."""

    def __init__(self, images: ImageFiles) -> None:
        self.images = images
        self.files = 0
        self.notes: list[Finding] = []
        self.labels: dict[str, Label] = {}
        self.groups: dict[str, str] = {}  # class -> its supercategory
        self.items: dict[tuple[str | None, str], Item] = {}  # by split and path of the image
        self.names: set[str] = set()

    def skip(self, path: Path, why: str) -> None:
        """Notes that a file is not read."""
        file = _shown(path.relative_to(self.images.root).as_posix())
        self.notes.append(
            note("annotation.dropped", _INFO, f"{file}: not read: {why}", "nothing, unless it should be", file=file)
        )

    def add(self, path: Path) -> None:
        """Reads one file. Raises DataError when it is not JSON."""
        try:
            data = json.loads(confine_found(self.images.root, path).read_bytes(), object_hook=slim)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: not readable as JSON ({error}); export it again or move it away") from None
        for key in ("images", "annotations") if isinstance(data, dict) else ():
            if isinstance(data.get(key), dict) and data[key]:  # by their ids
                data[key] = list(data[key].values())
        if not isinstance(data, dict) or not all(isinstance(data.get(k), list) for k in ("images", "annotations")):
            return self.skip(path, "it has no lists of images and annotations")
        entries = [entry for entry in data["annotations"] if isinstance(entry, dict)]
        if entries and not any("category_id" in entry for entry in entries):
            return self.skip(path, "its annotations name no category")
        self.files += 1
        file = _File(self, path)
        file.add_categories(data.get("categories"))
        file.add_images(data["images"])
        for entry in data["annotations"]:
            file.add_annotation(entry)
        if not entries:
            for item in file.items.values():
                file.tally("empty", "images without regions", item.name)
        self.notes += file.findings()

    def source(self) -> AnnotationSet:
        """What was read of all files."""
        self._compare_splits()
        used = {mark.label for item in self.items.values() for mark in item.marks}
        labels = list(self.labels.values())
        # Roboflow's first category is the group of the others. As a class it would be one that is never seen.
        heads = [
            label
            for label in labels
            if label.name not in used
            and self.groups[label.name].lower() == "none"
            and label.name in self.groups.values()
        ]
        self.notes += [
            note(
                "annotation.dropped",
                _INFO,
                f"the category {_shown(label.name)!r} has no regions and is "
                "the group of the others, as Roboflow writes it; it is no class",
                "nothing",
            )
            for label in heads
        ]
        if not is_tree(labels):
            labels = [replace(label, parents=()) for label in labels]
            if not heads:
                self.notes.append(
                    note(
                        "annotation.conflict",
                        _INFO,
                        "supercategories make no tree with the categories and are not used",
                        "nest the classes in dataset.yaml",
                    )
                )
        names = {label.name for label in heads}
        return AnnotationSet(
            [label for label in labels if label.name not in names], list(self.items.values()), self.notes
        )

    def _compare_splits(self) -> None:
        """Of images that are in several splits: one without a split is that of a file of all images."""
        places: dict[str, list[str | None]] = {}
        for split, place in self.items:
            places.setdefault(place, []).append(split)
        several = {place: splits for place, splits in places.items() if len(splits) > 1}
        whole = [place for place, splits in several.items() if None in splits]
        for place in whole:
            del self.items[None, place]
        divided = [place for place, splits in several.items() if len(splits) - (None in splits) > 1]
        for found, severity, text, fix in (
            (
                whole,
                _INFO,
                "image{ is|s are} in a file without a split too, of which those with a split count",
                "nothing, if the files say the same",
            ),
            (
                divided,
                _WARNING,
                "image{ is|s are} in the files of several splits, and a sample in each",
                "keep each in one of them, or a score says too much",
            ),
        ):
            if found:
                message = f"{counted(len(found), text)} ({listing(map(_shown, found))})"
                self.notes.append(
                    note("annotation.duplicate", severity, message, fix, count=len(found), where=found[:20])
                )


class _File:
    """One annotation file: its ids, and what is to be noted about it."""

    def __init__(self, reader: _Reader, path: Path) -> None:
        self.all, self.path = reader, path
        place = PurePosixPath(path.relative_to(reader.images.root).as_posix())
        self.name = _shown(str(place))
        self.folder = "" if str(place.parent) == "." else str(place.parent)
        self.split, self.word = split_of(place)
        self.categories: dict[str, str] = {}  # id -> name
        self.items: dict[str, Item] = {}  # by image id
        self.ids: set[str] = set()
        self.reasons: dict[str, Counter[str]] = {}  # by kind of note
        self.samples: dict[str, dict[str, None]] = {}  # the first ones, by kind of note

    def tally(self, kind: str, reason: str, sample: str | None = None) -> None:
        """Counts for the one note of this kind."""
        self.reasons.setdefault(kind, Counter())[reason] += 1
        samples = self.samples.setdefault(kind, {})
        if sample is not None and len(samples) < 4:
            samples[sample] = None

    def findings(self) -> Iterator[Finding]:
        """The notes."""
        for kind, (code, severity, seen, fix) in _KINDS.items():
            if kind not in self.reasons:
                continue
            reasons, samples = self.reasons[kind], list(self.samples[kind])
            common = {_shown(reason): number for reason, number in reasons.most_common(6)}
            listed = "; ".join(f"{reason} ({number})" for reason, number in common.items())
            more = "; …" if len(reasons) > len(common) else ""
            where = f"; first in {', '.join(map(_shown, samples[:3]))}" if samples else ""
            yield note(
                code,
                severity,
                f"{self.name}: {counted(reasons.total(), seen)}: {listed}{more}{where}",
                fix,
                samples[0] if len(samples) == 1 and kind not in ("no_image", "renamed") else None,
                file=self.name,
                count=reasons.total(),
                reasons=common,
            )

    def add_categories(self, listed: Any) -> None:
        """`categories`, which may be missing."""
        for entry in listed if isinstance(listed, list) else []:
            key = key_of(entry.get("id")) if isinstance(entry, dict) else None
            if key is None:
                self.tally("invalid", "categories without an id")
            elif key in self.categories:
                self.tally("duplicate", "category ids, of which the first counts")
            else:
                self.add_category(entry, key)

    def add_category(self, entry: dict[str, Any], key: str) -> None:
        """One category, as a label of the whole set."""
        given, labels = entry.get("name"), self.all.labels
        name = str(given) if isinstance(given, int) and not isinstance(given, bool) else text_of(given)
        if name is None:
            name = f"category_{key}"
            self.tally("unnamed", f"category, called {name} now")
        number, group = whole(entry.get("id")), text_of(entry.get("supercategory")) or ""
        parents = entry.get("parents")
        if not isinstance(parents, list) or len(parents) > _MAX_DEPTH or not all(map(text_of, parents)):
            parents = [] if group.lower() in _NO_GROUP or group == name else [group]
        label = Label(
            name,
            number if number is not None and 0 <= number <= MAX_ID else None,
            colour_from(entry.get("color")),
            tuple(parents),
        )
        before = labels.setdefault(name, label)
        self.all.groups.setdefault(name, group)
        if before.id != label.id:
            self.tally("differ", f"ids of {name}, which is known by its name")
            labels[name] = replace(labels[name], id=None)
        if before.parents != label.parents:
            self.tally("differ", f"supercategories of {name}, which has none now")
            labels[name] = replace(labels[name], parents=())
        self.categories[key] = name

    def add_images(self, listed: list[Any]) -> None:
        """`images`, as items of the whole set."""
        names = [text_of(entry.get("file_name")) or "" if isinstance(entry, dict) else "" for entry in listed]
        lasts = Counter(last_of(tail_of(name)) for name in names)
        for entry, name in zip(listed, names, strict=True):
            key = key_of(entry.get("id")) if isinstance(entry, dict) else None
            if key is None or not tail_of(name):
                self.tally("invalid", "images without an id or a file name")
            elif key in self.items:
                self.tally("duplicate", "image ids, of which the first counts", self.items[key].name)
            else:
                self.items[key] = self._item(entry, name, lasts[last_of(tail_of(name))] == 1)

    def _item(self, entry: dict[str, Any], name: str, alone: bool) -> Item:
        images, split, word = self.all.images, self.split, self.word
        bases = images.bases(self.folder, word)
        place, tail = images.find(name, bases, alone), tail_of(name)
        if place is None:
            self.tally("no_image", "missing", name)
            place = tail if any(base and tail.startswith(base + "/") for base in bases) else f"{bases[0]}/{tail}"
        elif not nfc(f"/{place}").endswith("/" + nfc(name.removeprefix("./"))):
            self.tally("renamed", "file names of another place or system", name)
        elif last_of(place) != last_of(tail):
            self.tally("renamed", "file names in another form of Unicode than the files", name)
        if not word:  # then the folders of the image may tell
            word = next((part for part in place.split("/")[:-1] if known_split(part)), "")
            split, bases = known_split(word), images.bases(self.folder, word)
        if (split, place) in self.all.items:
            self.tally("duplicate", "images, whose regions are put together", self.all.items[split, place].name)
            return self.all.items[split, place]
        stem = stem_below(place, bases)
        sample = wanted = f"{split}/{stem}" if split else stem
        number = 1
        while sample in self.all.names:
            number += 1
            sample = f"{wanted}-{number}"
        if number > 1:
            self.tally("renamed", "names that are another image's", sample)
        self.all.names.add(sample)
        height, width = whole(entry.get("height")) or 0, whole(entry.get("width")) or 0
        size = (height, width) if min(height, width) > 0 and height * width <= MAX_PIXELS else None
        if size is None:
            self.tally("conflict", "images of no size or an impossible one, for which the file's own is used", sample)
        item = Item(sample, images.path(place, self.path), self.path, split, size)
        self.all.items[split, place] = item
        return item

    def add_annotation(self, entry: Any) -> None:
        """One of `annotations`, as marks of its item."""
        item = self.items.get(key_of(entry.get("image_id")) or "") if isinstance(entry, dict) else None
        if item is None:
            return self.tally("invalid", "regions of images that are not listed")
        own, category = key_of(entry.get("id")), key_of(entry.get("category_id"))
        if own in self.ids:
            self.tally("duplicate", "annotation ids, all of which are drawn", item.name)
        elif own is not None:
            self.ids.add(own)
        if category is None or len(category) > 100:
            return self.tally("invalid", "regions without a category", item.name)
        if category not in self.categories:
            self.add_category({"id": entry["category_id"]}, category)
        for key, value in entry.items():
            # `slim` makes arrays of run lengths, wherever they stand.
            if key not in _USED_KEYS and (value.size if isinstance(value, np.ndarray) else value):
                self.tally("dropped", key, item.name)
        order = -1 if entry.get("iscrowd") in (1, "1") else 0
        if order:
            self.tally("dropped", "crowds, drawn below single objects", item.name)
        parts = parts_of(entry.get("segmentation"))
        for part in parts or [entry.get("bbox")]:
            try:
                shape = shape_of(part) if parts else box_of(part)
            except ValueError as error:
                self.tally("invalid", str(error), item.name)
                continue
            if not parts:
                self.tally("box", "boxes", item.name)
            if item.size is not None:
                self._check_size(shape, item, item.size)
            item.marks.append(Mark(self.categories[category], shape, order, not parts))

    def _check_size(self, shape: Shape, item: Item, size: tuple[int, int]) -> None:
        if isinstance(shape, Runs) and shape.size != size:
            self.tally("conflict", "run lengths of another size than their image", item.name)
        if isinstance(shape, Polygon):
            ring = shape.rings[0]
            right, bottom = ring.max(0).tolist()
            if right > size[1] or bottom > size[0] or ring.min() < 0:
                self.tally("clipped", "shapes", item.name)


def _shown(text: str) -> str:
    """Words of a file as part of a message."""
    return text if len(text) <= 200 else text[:199] + "…"
