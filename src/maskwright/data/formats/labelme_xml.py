"""LabelMe 3.0 of MIT (http://labelme.csail.mit.edu): one XML file an image, as CVAT and Datumaro write it too.

    Annotations/FOLDER/a.xml    Images/FOLDER/a.jpg    Masks/FOLDER/a_mask_0.png        (or all of them side by side)

An object is a polygon of points `<pt>`, a box where its type says so (weak), or the picture named by `<segm>`, whose
pixels that are not black belong to it (as Datumaro reads it) and which is read when the mask is asked for. Later
objects lie on top. Deleted objects are left out; attributes, parts and occlusion are not used: all are counted. Points
are continuous positions, and a pixel counts when its centre is inside. Images without an XML file are not labelled. A
folder whose name holds the word of a split is one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine, natural
from maskwright.core.classes import MAX_CLASSES
from maskwright.core.findings import Severity
from maskwright.core.listing import confine_found
from maskwright.core.polygons import MAX_COORDINATE, Ring, box_ring
from maskwright.core.regions import Polygon, Shape
from maskwright.data.formats.by_name import NamedImages
from maskwright.data.formats.deferred import Picture
from maskwright.data.formats.source import AnnotationSet, Item, Kinds, Label, Mark, Occurrences, notes_on, takeable
from maskwright.data.formats.vocfiles import read_xml
from maskwright.errors import DataError

_ASIDE = ("masks", "scribbles")
_HEAD = 1 << 16
_INFO, _WARNING = Severity.INFO, Severity.WARNING
_KINDS: Kinds = {
    "deleted": ("annotation.dropped", _INFO, "object{ is|s are} marked as deleted and left out", "nothing"),
    "extras": (
        "annotation.dropped",
        _INFO,
        "{attribute, part or mark of occlusion is|attributes, parts or marks of occlusion are} left out",
        "nothing, unless they mattered",
    ),
    "other": ("annotation.dropped", _INFO, "XML file{ is|s are} not of LabelMe; left out", "nothing, if they are not"),
    "shape": (
        "annotation.invalid",
        _WARNING,
        "object{ has|s have} no name, too few points, or what is no number; left out",
        "draw them again",
    ),
    "mask": (
        "annotation.invalid",
        _WARNING,
        "object{ names a mask file that is|s name mask files that are} not there; left out",
        "put the files back into `Masks`",
    ),
    "size": (
        "annotation.conflict",
        _WARNING,
        "file{ has|s have} an image size that is none; the image's own counts",
        "correct nrows and ncols",
    ),
    "clipped": (
        "annotation.clipped",
        _INFO,
        "object{ reaches outside the image and is|s reach outside the image and are} cut off at its edge",
        "nothing, unless they should not",
    ),
    "missing": (
        "annotation.no_image",
        _WARNING,
        "image{ is|s are} not in the folder",
        "put them beside their XML files or into `Images`, or name their folder",
    ),
    "twice": (
        "annotation.duplicate",
        _WARNING,
        "file{ annotates|s annotate} an image that another one annotates; the first counts",
        "keep one of them",
    ),
}


def detect(root: Path) -> str | None:
    """The first XML file that holds an object as LabelMe writes it: with points or a mask file, and without a box."""
    folders = [root]
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                some = sorted((entry for entry in islice(entries, 5000) if entry.name[0] != "."), key=lambda e: e.name)
            files = [Path(entry.path) for entry in some if entry.name.lower().endswith(".xml") and entry.is_file()]
            folders += [Path(entry.path) for entry in some if entry.is_dir(follow_symlinks=False)][: 100 - len(folders)]
            for path in files[:20]:
                with path.open("rb") as stream:
                    head = stream.read(_HEAD)
                if not re.search(rb"<annotation[\s>]", head[:1024]) or b"<object>" not in head:
                    continue
                if (b"<pt>" in head or re.search(rb"<segm>\s*<", head)) and b"<bndbox>" not in head:
                    return f"{path.relative_to(root).as_posix()} holds objects as LabelMe 3.0 does"
                return None
        except OSError:
            continue
    return None


def _xml_files(place: Path) -> Iterator[Path]:
    for path in sorted(place.rglob("*.xml"), key=natural):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(place).parts):
            yield path


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads all XML files of LabelMe below `root`, or in the folder `annotations` (or the one file).

    DataError for an XML file that cannot be parsed.
    """
    place = confine(root, annotations, "the annotations") if annotations else root
    reader = _Reader(root, images)
    for path in [place] if place.is_file() else _xml_files(place):
        reader.add(confine_found(root, path))
    return reader.source()


class _Reader:
    """Joins the files of all images into one AnnotationSet."""

    def __init__(self, root: Path, images: str | None) -> None:
        self.root = root
        self.images = NamedImages(root, images, _ASIDE)
        self.masks = NamedImages(root, None)
        self.seen: Occurrences = {}
        self.extras: Counter[str] = Counter()
        self.items: dict[str, Item] = {}
        self.used: set[Path] = set()
        self.pictures: set[Path] = set()

    def add(self, path: Path) -> None:
        """Reads one file."""
        place = PurePosixPath(path.relative_to(self.root).as_posix())
        try:
            with path.open("rb") as stream:
                head = stream.read(1024)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); restore it") from None
        if not re.search(rb"<annotation[\s>]", head):
            self.seen.setdefault("other", []).append(str(place))
            return
        document = read_xml(path)
        folder, file = _text(document.findtext("folder")), _text(document.findtext("filename"))
        image = self._image(place, folder, file)
        shown = image or self.root / takeable([*place.parts[:-1], _plain(file) or f"{place.stem}.jpg"])
        name, split = self._name(shown)
        if shown in self.used:
            self.seen.setdefault("twice", []).append(str(place))
            return
        self.used.add(shown)
        if image is None:
            self.seen.setdefault("missing", []).append(name)
        item = Item(name, shown, path, split, self._size(document, name))
        for element in document.iterfind("object"):
            item.marks += self._marks(element, item, folder, place)
        self.items[name] = item

    def _image(self, place: PurePosixPath, folder: str, file: str) -> Path | None:
        """The image of the XML file at `place`: beside it, or in the folder that stands for its own, or else the only
        one of its name."""
        parts = place.parts[:-1]
        mirrored = [
            "/".join("Images" if part.lower() == "annotations" else part for part in parts),
            *map(str, [place.parent]),
        ]
        names = [name for name in (file, place.stem) if name]
        for name in names:
            for above in [*mirrored, folder, ""]:
                found = self.images.find(f"{above}/{name}" if above not in ("", ".") else name)
                exact = [path for path in found if path.parent == self.root] if above == "." else found
                if len(exact) == 1:
                    return exact[0]
        return None

    def _name(self, image: Path) -> tuple[str, str | None]:
        split = self.images.split_of(image)
        return self.images.name_of(image, split, self.items), split

    def _size(self, document: ElementTree.Element, name: str) -> tuple[int, int] | None:
        texts = [_text(document.findtext(f"imagesize/{tag}")) for tag in ("nrows", "ncols")]
        if not any(texts):
            return None
        if all(re.fullmatch("[1-9][0-9]{0,7}", text) for text in texts):
            height, width = map(int, texts)
            if height * width <= MAX_PIXELS:
                return height, width
        self.seen.setdefault("size", []).append(name)
        return None

    def _marks(self, element: ElementTree.Element, item: Item, folder: str, place: PurePosixPath) -> Iterator[Mark]:
        """The regions of an object."""
        if _text(element.findtext("deleted")) == "1":
            self.seen.setdefault("deleted", []).append(item.name)
            return
        for tag, said in (
            ("attributes", bool(_text(element.findtext("attributes")))),
            ("parts", bool(_text(element.findtext("parts/hasparts")))),
            ("occluded", _text(element.findtext("occluded")) == "yes"),
        ):
            self.extras[tag] += said
        label, weak = _text(element.findtext("name")), _text(element.findtext("type")) == "bounding_box"
        shapes: list[Shape] = []
        for polygon in element.iterfind("polygon"):
            ring = _ring(polygon)
            if ring is None:
                label = ""
                break
            if item.size and not (
                ring.min() >= 0 and ring[:, 0].max() <= item.size[1] and ring[:, 1].max() <= item.size[0]
            ):
                self.seen.setdefault("clipped", []).append(item.name)
            shapes.append(Polygon((box_ring(*ring.min(0), *ring.max(0)) if weak else ring,)))
        for segment in element.iterfind("segm"):
            found = self._mask(_text(segment.findtext("mask")), folder, place)
            if found is None:
                self.seen.setdefault("mask", []).append(item.name)
                return
            self.pictures.add(found)
            shapes.append(Picture(found))
        if not label or not shapes:
            self.seen.setdefault("shape", []).append(item.name)
            return
        yield from (Mark(label, shape, weak=weak and isinstance(shape, Polygon)) for shape in shapes)

    def _mask(self, name: str, folder: str, place: PurePosixPath) -> Path | None:
        if not _plain(name):
            return None
        above = "/".join(place.parts[:-1])
        mirrored = "/".join("Masks" if part.lower() == "annotations" else part for part in place.parts[:-1])
        for start in (mirrored, f"Masks/{folder}" if folder else "Masks", f"{above}/Masks".strip("/"), above, ""):
            found = self.masks.find(f"{start}/{name}" if start else name)
            if len(found) == 1:
                return found[0]
        return None

    def source(self) -> AnnotationSet:
        """What was read of all files, with the images that have none."""
        for path in self.images.paths:
            if path not in self.used and self.items:
                name, split = self._name(path)
                if path not in self.pictures:
                    self.items[name] = Item(name, confine_found(self.root, path), path, split, labelled=False)
        names = dict.fromkeys(mark.label for item in self.items.values() for mark in item.marks)
        if len(names) > MAX_CLASSES:
            raise DataError(
                f"{self.root}: {len(names)} labels; at most {MAX_CLASSES} classes are possible, so merge some"
            )
        self.seen["extras"] = list(self.extras.elements())
        notes = notes_on(_KINDS, self.seen, ("extras", "other", "twice"))
        return AnnotationSet([Label(name) for name in names], list(self.items.values()), notes)


def _text(text: str | None) -> str:
    """Without what no file can hold, and not longer than the name of one."""
    return "".join(c for c in (text or "").strip() if c.isprintable())[:255]


def _plain(name: str) -> str:
    """The last part of a path; "" when there is none."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "" if last in (".", "..") else last


def _ring(polygon: ElementTree.Element) -> Ring | None:
    """(P, 2) points; None for fewer than 3, and for those that are no numbers."""
    try:
        points = np.array([[float(point.findtext(axis) or "nan") for axis in "xy"] for point in polygon.iterfind("pt")])
    except ValueError:
        return None
    return points if len(points) >= 3 and bool((np.abs(points) <= MAX_COORDINATE).all()) else None
