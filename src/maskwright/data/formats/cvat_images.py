"""CVAT for images 1.1: one `annotations.xml` with the shapes of all images, and the images beside it.

Known: exports of a task or a job (images in `images/`), of a project (`subset` on every image, images in
`images/<subset>/`), without images, of several tasks (one XML file each), and frames of videos, which are named
without an ending. Coordinates are those of `maskwright.core.regions`: (0, 0) is the upper left corner of the first
pixel. Sources: https://docs.cvat.ai/docs/other/xml_format, cvat/apps/dataset_manager/formats/cvat.py.

What is written can be imported into a task of CVAT. Imported as a whole project, CVAT (2.x) takes polygons but
leaves `<mask>` out: write with `polygons` for that.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape, quoteattr

from maskwright.base.storage import confine
from maskwright.base.texts import counted, listing
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.findings import Finding, Severity
from maskwright.core.listing import confine_found
from maskwright.core.palette import Colour, colour_of, to_hex
from maskwright.core.polygons import painted, simplify
from maskwright.core.rle import encode_box
from maskwright.core.sample import Sample
from maskwright.data.formats.cvat import DEFAULT_SUBSET, ImageFinder, components, split_of
from maskwright.data.formats.cvat_xml import Image, ReasonCounts, parse
from maskwright.data.formats.source import (
    AnnotationSet,
    Item,
    Label,
    Mask,
    WriteOptions,
    background_of,
    image_suffix,
    note,
    stem_of,
    takeable,
)
from maskwright.errors import DataError

# What XML 1.0 can hold.
_XML_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def _looks_right(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError:
        return False
    return b"<annotations" in head and (b"<version>1." in head or b"<meta>" in head)


def _files(folder: Path) -> list[Path]:
    """`annotations.xml`, or else every XML file of the folder that looks like CVAT's."""
    usual = folder / "annotations.xml"
    return [usual] if usual.is_file() else sorted(path for path in folder.glob("*.xml") if _looks_right(path))


def detect(root: Path) -> str | None:
    """The XML files that look like CVAT's."""
    files = [path.name for path in _files(root) if _looks_right(path)]
    return f"CVAT's annotations in {', '.join(files[:3])}" if files else None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """The images and shapes of `annotations.xml`, or of all CVAT files in `root`; see `source.AnnotationSet`.

    Boxes are weak, `z_order` decides what lies on top, an image without shapes is all background. DataError for
    files that are no such XML, and for those of videos.
    """
    named = confine(root, annotations, "annotations") if annotations else root
    files = _files(named) if named.is_dir() else [named]
    if not files:
        raise DataError(f'{named}: holds no XML file of CVAT; export as "CVAT for images 1.1" and unpack it there')
    finder = ImageFinder(root, images)
    labels: dict[str, tuple[Label, bool]] = {}
    items: dict[str, Item] = {}
    notes: list[Finding] = []
    twice, renamed, missing = ReasonCounts(), ReasonCounts(), ReasonCounts()
    for path in files:
        document = parse(confine_found(root, path))
        for image in document.images:
            item = _item(image, finder, path)
            if item.name in items and items[item.name].image != item.image:
                # Only the ending differs: it is then part of the name.
                item.name += PurePosixPath(image.name).suffix
                renamed.add("same name", item.name)
            if item.name in items:
                twice.add("same name", item.name)
                continue
            items[item.name] = item
            if not item.image.is_file():
                missing.add("missing", item.name)
        labels |= {name: entry for name, entry in document.labels.items() if name not in labels}
        notes += document.notes()
    notes += twice.note(
        "annotation.duplicate",
        Severity.WARNING,
        "image{ is|s are} listed again ({samples}); the first of each counts",
        "give images of one subset different names",
    )
    notes += renamed.note(
        "annotation.renamed",
        Severity.INFO,
        "image{ differs from another only in the ending, which stays in its name|s differ from another "
        "only in the ending, which stays in their names} ({samples})",
        "rename them if that matters",
    )
    notes += missing.note(
        "annotation.no_image",
        Severity.WARNING,
        "image file{ is|s are} not there ({samples})",
        "export with images, or name their folder as `images`",
    )
    used = {mark.label for item in items.values() for mark in item.marks}
    empty = [name for name, (_, area) in labels.items() if not area and name not in used]
    if empty:
        notes.append(
            note(
                "annotation.dropped",
                Severity.INFO,
                counted(
                    len(empty),
                    "label{ is for shapes without an area and is no class|s are for shapes without an area "
                    "and are no classes}",
                )
                + f" ({listing(map(repr, empty))})",
                "none is needed",
                kind="label",
                count=len(empty),
            )
        )
    return AnnotationSet(
        [label for name, (label, _) in labels.items() if name not in empty], list(items.values()), notes
    )


def _item(image: Image, finder: ImageFinder, source: Path) -> Item:
    if image.subset:
        confine(finder.folder, image.subset, str(source))
    folders = [f"images/{image.subset}", image.subset] if image.subset else []
    found = finder.find(image.name, [*folders, "images", ""])
    place = f"images/{image.subset}/{image.name}" if image.subset else f"images/{image.name}"
    path = found or confine(finder.folder, takeable(place.split("/")), str(source))
    return Item(image.sample, path, source, split_of(image.subset), image.size, image.marks)


class CvatImagesWriter:
    """`annotations.xml` with `<mask>` elements, one for each connected part, which is exact; or with `polygons`,
    filled one over the other, exact at tolerance 0. Ignored pixels get the label `ignore`.

    Samples with a split are written as a project with subsets, others as a task. DataError for names that XML
    cannot hold.
    """

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self._folder, self._classes, self._options = folder, classes, options
        self._background = background_of(classes)
        self._labels = [_label(leaf.name, leaf.colour) for leaf in classes.leaves]
        # Shapes come before the subsets are known, which stand at the head of the file.
        self._body = folder / "annotations.xml.part"
        self._body.touch()
        self._splits: set[str | None] = set()
        self._count, self._ignored = 0, False

    def image_path(self, sample: Sample) -> str:
        """`images/<split>/<name>`; DataError when that leads outside."""
        path = "/".join(filter(None, ("images", sample.split, stem_of(sample) + image_suffix(sample))))
        confine(self._folder, path, sample.name)
        return path

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Appends the shapes; nothing is dropped."""
        subset = f" subset={_quoted(sample.split)}" if sample.split else ""
        lines = [
            f'  <image id="{self._count}" name={_quoted(stem_of(sample) + image_suffix(sample))}{subset} '
            f'width="{mask.shape[1]}" height="{mask.shape[0]}">'
        ]
        lines += self._polygons(mask) if self._options.polygons else self._masks(mask)
        with self._body.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write("\n".join([*lines, "  </image>\n"]))
        self._splits.add(sample.split)
        self._count += 1
        self._ignored |= bool((mask == IGNORE).any())
        return []

    def finish(self) -> None:
        """Puts the labels and subsets before the shapes."""
        labels = list(self._labels)
        if self._ignored and "ignore" not in self._classes.names:
            labels.append(_label("ignore", colour_of(len(labels))))
        subsets = sorted(split or DEFAULT_SUBSET for split in self._splits)
        kind = "project" if any(self._splits) else "task"
        head = [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<annotations>",
            "  <version>1.1</version>",
            "  <meta>",
            f"    <{kind}>",
            "      <name>maskwright</name>",
            f"      <subsets>{escape(chr(10).join(subsets))}</subsets>"
            if any(self._splits)
            else f"      <size>{self._count}</size><mode>annotation</mode>",
            "      <labels>",
            *(f"        {label}" for label in labels),
            "      </labels>",
            f"    </{kind}>",
            "  </meta>\n",
        ]
        with (self._folder / "annotations.xml").open("wb") as stream:
            stream.write("\n".join(head).encode())
            with self._body.open("rb") as body:
                shutil.copyfileobj(body, stream)
            stream.write(b"</annotations>\n")
        self._body.unlink()

    def _masks(self, mask: Mask) -> Iterator[str]:
        for _, name, pixels, left, top in components(mask, self._classes):
            counts, *_, width, height = encode_box(pixels)
            yield (
                f'    <mask label={_quoted(name)} source="manual" occluded="0" rle="{", ".join(map(str, counts))}" '
                f'left="{left}" top="{top}" width="{width}" height="{height}" z_order="0"></mask>'
            )

    def _polygons(self, mask: Mask) -> Iterator[str]:
        for order, (value, ring) in enumerate(painted(mask, self._background)):
            name = "ignore" if value == IGNORE else self._classes.names[value]
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in simplify(ring, self._options.tolerance))
            yield (
                f'    <polygon label={_quoted(name)} source="manual" occluded="0" points="{points}" '
                f'z_order="{order}"></polygon>'
            )


def _label(name: str, colour: Colour) -> str:
    text = escape(_checked(name), {"\r": "&#13;"})
    return (
        f"<label><name>{text}</name><color>{to_hex(colour).lower()}</color><type>any</type>"
        "<attributes></attributes></label>"
    )


def _quoted(text: str) -> str:
    return quoteattr(_checked(text))


def _checked(text: str) -> str:
    if not _XML_TEXT.fullmatch(text):
        raise DataError(f"{text!a}: XML cannot hold this name; rename it")
    return text
