"""YOLO boxes and polygons: one text file an image, a region a line, coordinates as shares of the image's sides.

`class cx cy width height` is a box, read as a weak region. `class x1 y1 x2 y2 x3 y3 …` is a polygon; so are the four
corners of an oriented box. A confidence and a track id behind them, as predictions have them, are dropped, with a note
(see `yolo_rows`). With `kpt_shape` in the YAML a line is a box with keypoints, which are dropped; without it poses look
like polygons. Pixels count as inside when their centre is, and later lines lie on top.

Folders (`root` is any of them, and names of folders may be in capitals):

- Ultralytics, Roboflow, CVAT: a YAML with `names` and `train`, `val`, `test`, each a folder of images, a text file that
  lists them, or a list of these; the text file lies where the image does, with `labels` for the last `images`;
- darknet, CVAT 1.1: `obj.data` names `obj.names` and the lists of images; text files lie beside the images;
- no list at all: all images, with text files beside them or in `labels`, `annotations`; names in `obj.names`,
  `classes.txt`, `labels.txt` or `_darknet.labels`; folders called train, valid, … are the splits.

Lists were written on another machine: of a path that leads outside, the longest end that exists below the folder is
taken, with a note. An image with an empty text file is background; one without a text file is not labelled (Ultralytics
takes it for background). Sizes come from the images, turned upright by their EXIF orientation. Documents:
https://docs.ultralytics.com/datasets/segment, https://docs.cvat.ai/docs/dataset_management/formats/format-yolo,
https://github.com/AlexeyAB/darknet.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from maskwright.base.storage import confine
from maskwright.base.texts import plural
from maskwright.core.classes import MAX_CLASSES
from maskwright.core.findings import Severity
from maskwright.core.polygons import box_ring
from maskwright.core.regions import Polygon
from maskwright.core.sample import read_header
from maskwright.data.formats import yolo_lists as lists
from maskwright.data.formats.source import AnnotationSet, Item, Kinds, Label, Mark, Occurrences, notes_on
from maskwright.data.formats.yolo_rows import FAR, Row, Rows, numbers_of, row_of, rows_of, settle
from maskwright.data.formats.yolo_writer import BoxWriter, PolygonWriter
from maskwright.errors import DataError

__all__ = ["BoxWriter", "PolygonWriter", "detect_boxes", "detect_polygons", "read"]

_INFO, _WARNING = Severity.INFO, Severity.WARNING
# What reading finds: code, severity, what was seen, what to do. One note each, however often it is seen.
_KINDS: Kinds = {
    "confidence": (
        "annotation.dropped",
        _INFO,
        "line{ ends|s end} with a confidence, which is dropped",
        "nothing, if you trust the predictions",
    ),
    "id": (
        "annotation.dropped",
        _WARNING,
        "line{ ends|s end} with a whole number above 1, as a track id is, which is dropped",
        "nothing, if they come from tracking; else correct the lines",
    ),
    "both": (
        "annotation.dropped",
        _WARNING,
        "line{ ends|s end} with a confidence and a track id, which are dropped",
        "nothing, if they come from tracking; else correct the lines",
    ),
    "unsure": (
        "annotation.conflict",
        _WARNING,
        "line{ ends|s end} with two numbers that may be a confidence and the track id 1; they are read as a corner",
        "if they come from tracking, remove the two numbers",
    ),
    "parity": (
        "annotation.invalid",
        _WARNING,
        "line{ has|s have} one number more than pairs need, unlike other lines of the file; the last one is dropped",
        "correct the lines: a coordinate may be missing",
    ),
    "among": (
        "annotation.conflict",
        _WARNING,
        "box{ stands|es stand} among polygons and {is|are} filled, corners included",
        "draw them as polygons, or say with `boxes` in dataset.yaml how they become masks",
    ),
    "keypoints": (
        "annotation.dropped",
        _WARNING,
        "line{ has keypoints; only its box is|s have keypoints; only their boxes are} kept",
        "nothing, if the boxes are what you want",
    ),
    "line": (
        "annotation.invalid",
        _WARNING,
        "line{ is|s are} no `class cx cy width height` and no polygon; left out",
        "correct the lines, or export again",
    ),
    "far": (
        "annotation.invalid",
        _WARNING,
        "region{ has|s have} coordinates far outside 0..1; left out",
        "divide by the width and height of the image",
    ),
    "empty": (
        "annotation.invalid",
        _WARNING,
        "region{ has|s have} no area inside the image; left out",
        "correct or remove the lines",
    ),
    "image": (
        "annotation.invalid",
        _WARNING,
        "labelled image{ cannot be read, so its size is|s cannot be read, so their sizes are} unknown; "
        "taken as not labelled",
        "save the images again",
    ),
    "clipped": (
        "annotation.clipped",
        _INFO,
        "region{ reaches outside the image and is|s reach outside the image and are} cut off at its edge",
        "nothing, unless they should not",
    ),
    "class": (
        "annotation.renamed",
        _WARNING,
        "region{ has a class number without a name and is|s have a class number without a name and are} called class_N",
        "add the names to data.yaml, obj.names or classes.txt",
    ),
    "same": (
        "annotation.renamed",
        _WARNING,
        "class name{ stands|s stand} for several numbers, which become one class",
        "give the classes different names",
    ),
    "moved": (
        "annotation.renamed",
        _INFO,
        "path{ leads|s lead} elsewhere; what has the same end inside the folder is used",
        "nothing, if the right files were found",
    ),
    "form": (
        "annotation.renamed",
        _INFO,
        "name{ has|s have} another form of Unicode than {its|their} file{|s}, and {is|are} found all the same",
        "rename image and text file alike before the data go to another system or tool",
    ),
    "nc": (
        "annotation.conflict",
        _WARNING,
        "file{ has|s have} an `nc` that is not the number of names; the names count",
        "correct `nc`",
    ),
    "missing": (
        "annotation.no_image",
        _WARNING,
        "listed image{ is not there; it is|s are not there; they are} taken as not labelled",
        "put them back, or name their folder",
    ),
    "folder": (
        "annotation.no_image",
        _WARNING,
        "{folder, list or image is|folders, lists or images are} named and not there, or something else",
        "put them back, or correct the file that names them",
    ),
    "orphan": (
        "annotation.no_image",
        _WARNING,
        "text file{ with regions belongs|s with regions belong} to no image; left out",
        "put the images back, or remove the text files",
    ),
    "twice": (
        "annotation.duplicate",
        _WARNING,
        "image{ is listed again, or shares|s are listed again, or share} a text file with another one; the "
        "first counts",
        "list or keep each image once",
    ),
}
# Kinds that are not about one image.
_NOT_OF_SAMPLES = ("same", "moved", "form", "nc", "folder", "orphan")


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the set in `root`. `annotations` is a YAML file, a `.data` file or the folder of the text files.

    DataError for lists and text files that are no text, and when no image is there.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the images and text files")
    seen: Occurrences = {}
    image_root = confine(root, images, "the folder of images") if images else root
    place = (
        confine(root, annotations, "the annotations") if annotations else lists.yaml_of(root) or lists.darknet_of(root)
    )
    listing, texts = _listing(root, image_root, place, seen)
    if listing.images is not None:
        entries = [(split, image, texts.of(image)) for split, image in listing.images]
    else:
        entries = texts.walk()
        alone = [path for path in texts.others(text for *_, text in entries) if _kind_of(path)]
        seen["orphan"] = [path.relative_to(root).as_posix() for path in alone]
        if alone and not entries:
            raise DataError(
                f"{root}: {plural(len(alone), 'text file')} with regions ({seen['orphan'][0]} for one) and no "
                "images; put the images beside them, or into images/"
            )
    names = listing.names
    if names is None:
        names = lists.names_near(root, [text for *_, text in entries if text]) or {}
    seen["same"] = [name for name, count in Counter(names.values()).items() if count > 1]
    return _source(root, entries, names, listing.keypoints, seen)


def _listing(root: Path, image_root: Path, place: Path | None, seen: Occurrences) -> tuple[lists.Listing, lists.Texts]:
    """What the file at `place` lists, and where text files are: in `place` when it is a folder."""
    if place is not None and place.is_dir():
        return lists.Listing(), lists.Texts(root, image_root, place)
    listing = lists.Listing()
    if place is not None:
        from_file = lists.from_yaml if place.suffix.lower() in lists.YAML else lists.from_darknet
        listing = from_file(root, image_root, place, seen)
    return listing, lists.Texts(root, image_root, None)


def _source(
    root: Path,
    entries: Iterable[tuple[str | None, Path, Path | None]],
    names: dict[int, str],
    keypoints: int,
    seen: Occurrences,
) -> AnnotationSet:
    items: dict[str, Item] = {}
    used: set[Path] = set()
    numbers: set[int] = set()
    files: dict[str, Rows] = {}
    for split, image, text in entries:
        name = lists.name_of(root, image, split)
        again = image in used or text in used
        if name in items and not again:  # of another folder
            name = f"{split}/" * bool(split) + image.relative_to(root).with_suffix("").as_posix()
        if name in items or again:
            seen.setdefault("twice", []).append(name)
            continue
        used |= {image, text} if text else {image}
        if text is not None and text.stem != image.stem:
            seen.setdefault("form", []).append(name)
        items[name] = item = Item(name, image, text or image, split, labelled=False)
        if not os.path.exists(image):
            seen.setdefault("missing", []).append(name)
        elif text is not None:
            lines = list(filter(None, lists.read_lines(text)))
            try:
                item.size = _size(image) if lines else None
            except DataError:
                seen.setdefault("image", []).append(name)
                continue
            item.labelled = True
            files[name] = rows_of(lines)
    seen["line"] = [name for name, file in files.items() for _ in range(file.wrong)]
    if not keypoints:
        seen["unsure"], seen["parity"] = settle(files)
    for name, file in files.items():
        for row in file.rows:
            if (mark := _mark(row, items[name], names, keypoints, seen)) is not None:
                numbers.add(row.number)
                items[name].marks.append(mark)
        file.rows.clear()
    if not keypoints and seen.get("polygons"):
        seen["among"] = seen.pop("boxes", [])
    if items and len(seen.get("missing", ())) == len(items):
        raise DataError(
            f"{root}: none of the {len(items)} listed images is there, {next(iter(items))} for one; "
            "put the images beside their labels"
        )
    labels = names | {number: f"class_{number}" for number in sorted(numbers - set(names))}
    if len(labels) > MAX_CLASSES:
        raise DataError(f"{root}: {len(labels)} classes; at most {MAX_CLASSES} are possible, so merge some")
    return AnnotationSet(
        [Label(label) for label in labels.values()], list(items.values()), notes_on(_KINDS, seen, _NOT_OF_SAMPLES)
    )


def _mark(row: Row, item: Item, names: dict[int, str], keypoints: int, seen: Occurrences) -> Mark | None:
    """The region of a row, or None; `seen` tells why, and what of the row is dropped."""

    def saw(kind: str) -> None:
        seen.setdefault(kind, []).append(item.name)

    assert item.size is not None
    shares = row.coordinates
    if keypoints and 0 <= len(row.shares) - 4 - keypoints <= 2:
        saw("keypoints")
        shares = row.shares[:4]
    elif row.extra:
        saw(row.extra)
    if np.abs(shares).max() > FAR:
        saw("far")
        return None
    height, width = item.size
    if len(shares) == 4:
        size = np.array((width, height), np.float64)
        middle, half = shares[:2] * size, np.maximum(shares[2:], 0) * size / 2
        ring = box_ring(*(middle - half), *(middle + half))
    else:
        ring = shares.reshape(-1, 2) * (width, height)
    # The product of a share is off by some 1e-8 pixels at most: corners of pixels are whole again.
    ring = ring.round(6)
    (left, top), (right, bottom) = ring.min(0).tolist(), ring.max(0).tolist()
    if left >= right or top >= bottom or left >= width or top >= height or right <= 0 or bottom <= 0:
        saw("empty")
        return None
    if min(left, top) < -0.5 or right > width + 0.5 or bottom > height + 0.5:
        saw("clipped")
    if row.number not in names:
        saw("class")
    weak = len(shares) == 4
    seen.setdefault("boxes" if weak else "polygons", []).append(item.name)
    return Mark(names.get(row.number, f"class_{row.number}"), Polygon((ring,)), weak=weak)


def _size(image: Path) -> tuple[int, int]:
    header = read_header(image)
    return header.size[::-1] if header.orientation >= 5 else header.size


def detect_polygons(root: Path) -> str | None:
    """The reason when text files hold polygons."""
    found = _detected(root)
    return found[1] if found and found[0] == "polygons" else None


def detect_boxes(root: Path) -> str | None:
    """The reason when text files hold boxes and no polygons, or a file lists images as YOLO does."""
    found = _detected(root)
    return found[1] if found and found[0] == "boxes" else None


def _detected(root: Path) -> tuple[str, str] | None:
    file = lists.yaml_of(root)
    poses = file is not None and lists.says(file, "kpt_shape")
    kinds = [(kind, path) for path in islice(_some_texts(root), 40) if (kind := _kind_of(path))]
    chosen = next((pair for pair in kinds if pair[0] == "polygons" and not poses), kinds[0] if kinds else None)
    if chosen is not None:
        kind = "boxes" if poses else chosen[0]
        return kind, f"{chosen[1].relative_to(root).as_posix()} holds YOLO {kind}"
    listing = lists.darknet_of(root) or (file if file and lists.says(file, "train|val") else None)
    return ("boxes", f"{listing.name} lists images as YOLO does") if listing else None


def _some_texts(root: Path) -> Iterator[Path]:
    """Text files that are not empty, some of each folder."""
    folders = [root]
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                some = sorted(islice(entries, 5000), key=lambda entry: entry.name)
                texts = [
                    Path(entry.path)
                    for entry in some
                    if entry.name.lower().endswith(".txt")
                    and entry.is_file(follow_symlinks=False)
                    and entry.stat().st_size
                ]
                below = [
                    Path(entry.path)
                    for entry in some
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                ]
        except OSError:
            continue
        yield from texts[:10]
        folders += below[: max(0, 200 - len(folders))]


def _kind_of(path: Path) -> str | None:
    """Whether the first lines of a text file are "boxes" or "polygons"; None when they are neither."""
    head = lists.head(path).decode("utf-8-sig", "replace")
    if len(head) >= lists.HEAD:
        head = head.rstrip("0123456789.e+-")  # of a number that may go on
    found = None
    for line in filter(str.strip, head.splitlines()[:50]):
        if (values := numbers_of(line)) is None:
            return found
        shares = row_of(values).coordinates
        if np.abs(shares).max() > FAR:
            return None
        found = "polygons" if found == "polygons" or len(shares) > 4 else "boxes"
    return found
