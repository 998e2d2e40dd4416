"""One annotation file of COCO: its categories, images and regions, and what is to be noted about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.texts import counted
from maskwright.core.classes import MAX_ID
from maskwright.core.findings import Finding, Severity
from maskwright.core.patterns import nfc
from maskwright.core.regions import Polygon, Runs, Shape
from maskwright.data.formats.coco_images import known_split, last_of, split_of, stem_below, tail_of
from maskwright.data.formats.coco_values import box_of, colour_from, key_of, parts_of, shape_of, text_of, whole
from maskwright.data.formats.source import Item, Label, Mark, note

if TYPE_CHECKING:
    from maskwright.data.formats.coco import Reader

_NO_GROUP = frozenset({"", "none", "root"})
_MAX_DEPTH = 8
_USED_KEYS = frozenset({"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"})
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


class CocoFile:
    """One annotation file: its ids, and what is to be noted about it."""

    def __init__(self, reader: Reader, path: Path) -> None:
        self.all, self.path = reader, path
        place = PurePosixPath(path.relative_to(reader.images.root).as_posix())
        self.name = shown(str(place))
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
            common = {shown(reason): number for reason, number in reasons.most_common(6)}
            listed = "; ".join(f"{reason} ({number})" for reason, number in common.items())
            more = "; …" if len(reasons) > len(common) else ""
            where = f"; first in {', '.join(map(shown, samples[:3]))}" if samples else ""
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


def shown(text: str) -> str:
    """Words of a file as part of a message."""
    return text if len(text) <= 200 else text[:199] + "…"
