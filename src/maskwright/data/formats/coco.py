"""COCO instances (https://cocodataset.org/#format-data): `annotations/instances_{split}.json`, `images/{split}/`.

Read as well: Roboflow (`train/_annotations.coco.json` beside its images, with a category that only is the group of the
others), CVAT and Datumaro (`instances_default.json` has no split), Label Studio (`result.json`; Windows separators,
`..` and URLs in names), the official files (`instances_train2017.json`, with captions and keypoints beside it), and
single files of any name. `coco_file` reads one file, `coco_values` knows the ways to write a region, `coco_images` the
ways to name an image, `coco_writer` says what is written and why. Lists may be dictionaries by id.

The polygons of a region are joined, not cut out of each other, as pycocotools does it. Later regions lie on top of
earlier ones, crowds below single objects. A region without an outline is its box, and weak. An image that is listed
in two files of one split has the regions of both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from re import compile

from maskwright.base.storage import confine
from maskwright.base.texts import counted, listing
from maskwright.core.description import FILE_NAME
from maskwright.core.findings import Finding, Severity
from maskwright.core.listing import confine_found
from maskwright.data.formats.coco_file import CocoFile, shown
from maskwright.data.formats.coco_images import ImageFiles
from maskwright.data.formats.coco_values import is_tree, slim
from maskwright.data.formats.coco_writer import CocoWriter
from maskwright.data.formats.source import AnnotationSet, Item, Label, note
from maskwright.errors import DataError

__all__ = ["CocoWriter", "detect", "read"]

# Files beside the instances that hold no regions of classes, by how their names begin.
_OTHER_TASKS = ("captions_", "labels_", "panoptic_", "image_info_")
_TOKENS = compile(rb'"(images|annotations|categories|licenses|supercategory|file_name|image_id|category_id)"\s*:')


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
    reader = Reader(ImageFiles(root, images))
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


class Reader:
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
        file = shown(path.relative_to(self.images.root).as_posix())
        self.notes.append(
            note(
                "annotation.dropped",
                Severity.INFO,
                f"{file}: not read: {why}",
                "nothing, unless it should be",
                file=file,
            )
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
        file = CocoFile(self, path)
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
                Severity.INFO,
                f"the category {shown(label.name)!r} has no regions and is "
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
                        Severity.INFO,
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
                Severity.INFO,
                "image{ is|s are} in a file without a split too, of which those with a split count",
                "nothing, if the files say the same",
            ),
            (
                divided,
                Severity.WARNING,
                "image{ is|s are} in the files of several splits, and a sample in each",
                "keep each in one of them, or a score says too much",
            ),
        ):
            if found:
                message = f"{counted(len(found), text)} ({listing(map(shown, found))})"
                self.notes.append(
                    note("annotation.duplicate", severity, message, fix, count=len(found), where=found[:20])
                )
