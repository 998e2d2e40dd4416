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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.dataset import confine_found
from maskwright.core.findings import Finding, Severity
from maskwright.core.palette import Colour, colour_of, from_hex, to_hex
from maskwright.core.polygons import Ring, box_ring, ellipse_ring, painted, simplify
from maskwright.core.regions import MAX_PIXELS, Polygon, Runs, Shape
from maskwright.core.rle import encode_box
from maskwright.core.sample import Sample
from maskwright.core.storage import confine
from maskwright.errors import DataError
from maskwright.formats.cvat_masks import DEFAULT_SUBSET, ImageFinder, components, split_of, without_ending
from maskwright.formats.maskfiles import listed
from maskwright.formats.source import (
    Item,
    Label,
    Mark,
    Mask,
    Source,
    WriteOptions,
    background_of,
    image_suffix,
    note,
    stem_of,
)

# Elements without an area, and types of labels for them.
_NO_AREA = frozenset({"polyline", "points", "cuboid", "skeleton", "tag"})
_MAX_DEPTH = 64  # CVAT's files are up to 8 deep
_FAR = 1_000_000  # pixels from the corner: wrong, not outside
# An ellipse is kept as points, the more the larger it is: a short line must not become megabytes.
_MAX_RADIUS = 10_000
_XML_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def _numbers(attributes: Mapping[str, str], *keys: str) -> list[float]:
    try:
        return [float(attributes[key]) for key in keys]
    except ValueError:
        raise ValueError(f"no numbers in {', '.join(keys)}") from None


def _rotation(attributes: Mapping[str, str]) -> float:
    return _numbers(attributes, "rotation")[0] if "rotation" in attributes else 0.0


def _polygon(attributes: Mapping[str, str]) -> Shape:
    pairs = (pair.split(",") for pair in attributes["points"].strip("; ").split(";"))
    try:
        points = [(float(x), float(y)) for x, y in pairs]
    except ValueError:
        raise ValueError("points that are no pairs of numbers") from None
    if len(points) < 3:
        raise ValueError("fewer than 3 points")
    return Polygon((_near(np.array(points)),))


def _box(attributes: Mapping[str, str]) -> Shape:
    x0, y0, x1, y1 = _numbers(attributes, "xtl", "ytl", "xbr", "ybr")
    if x0 == x1 or y0 == y1:
        raise ValueError("no area")
    return Polygon((_near(box_ring(x0, y0, x1, y1, _rotation(attributes))),))


def _ellipse(attributes: Mapping[str, str]) -> Shape:
    cx, cy, rx, ry = _numbers(attributes, "cx", "cy", "rx", "ry")
    if not (0 < rx <= _MAX_RADIUS and 0 < ry <= _MAX_RADIUS):
        raise ValueError(f"radii outside 0 to {_MAX_RADIUS}")
    return Polygon((_near(ellipse_ring(cx, cy, rx, ry, _rotation(attributes))),))


def _mask(attributes: Mapping[str, str]) -> Shape:
    left, top, width, height = (int(number) for number in _numbers(attributes, "left", "top", "width", "height"))
    if not (abs(left) <= _FAR and abs(top) <= _FAR and 0 < width <= _FAR and 0 < height <= _FAR):
        raise ValueError("a box without area, or far outside")
    try:
        counts = np.array([int(count) for count in attributes["rle"].split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError("run lengths that are no whole numbers") from None
    if not (counts.min() >= 0 and counts.max() <= min(width * height, 2**32 - 1) and counts.sum() == width * height):
        raise ValueError("run lengths that do not fit their box")
    return Runs(counts.astype(np.uint32), box=(left, top, width, height))


_SHAPES: dict[str, Callable[[Mapping[str, str]], Shape]] = {
    "polygon": _polygon, "mask": _mask, "box": _box, "ellipse": _ellipse}


def _near(ring: Ring) -> Ring:
    if not (np.abs(ring) <= _FAR).all():
        raise ValueError("coordinates that are no numbers, or far outside")
    return ring


def _reaches_outside(shape: Shape, size: tuple[int, int]) -> bool:
    if isinstance(shape, Polygon):
        # Two digits are written behind the point.
        (left, top), (right, bottom) = shape.rings[0].min(0) + 0.01, shape.rings[0].max(0) - 0.01
    else:
        assert shape.box is not None
        left, top, right, bottom = *shape.box[:2], shape.box[0] + shape.box[2], shape.box[1] + shape.box[3]
    return bool(left < 0 or top < 0 or right > size[1] or bottom > size[0])


@dataclass
class _Image:
    name: str
    subset: str | None
    size: tuple[int, int] | None
    marks: list[Mark] = field(default_factory=list)

    @property
    def sample(self) -> str:
        """The name of the item: without the ending, behind the split."""
        split, stem = split_of(self.subset), without_ending(self.name)
        return f"{split}/{stem}" if split else stem


class _Tally:
    """Counts by reason, with the samples that they were met in, each once and in order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: dict[str, None] = {}

    def add(self, reason: str, sample: str) -> None:
        self.counts[reason] += 1
        self.samples[sample] = None

    def note(self, code: str, severity: Severity, message: str, fix: str) -> list[Finding]:
        """One finding, or none; `message` may hold {count}, {reasons} and {samples}."""
        if not self.counts:
            return []
        reasons = dict(self.counts.most_common(5))
        samples = list(self.samples)
        text = message.format(count=self.counts.total(), samples=listed(samples),
                              reasons=listed(f"{reason}: {count}" for reason, count in reasons.items()))
        return [note(code, severity, text, fix, samples[0] if len(samples) == 1 else None,
                     count=self.counts.total(), samples=samples[:5], reasons=reasons)]


class _Document:
    """What the parser calls for each element of one file; nothing of the XML itself is kept.

    A document type is refused at its first word, so that no entity is ever declared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels: dict[str, tuple[Label, bool]] = {}  # with whether shapes of it can have an area
        self.images: list[_Image] = []
        self.dropped: Counter[str] = Counter()
        self.invalid, self.clipped = _Tally(), _Tally()
        self._open: list[str] = []
        self._image: _Image | None = None
        self._label: dict[str, str] | None = None
        self._text: list[str] | None = None

    def doctype(self, *_: object) -> None:
        raise DataError(f"{self.path}: has a document type (DOCTYPE), which CVAT does not write and which is not read; "
                        "export it again")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        depth = len(self._open)
        if depth == 0 and tag != "annotations":
            raise DataError(f"{self.path}: starts with <{tag[:40]}>, not with <annotations> as CVAT's files do; "
                            "name the right file")
        if depth == _MAX_DEPTH:
            raise DataError(f"{self.path}: elements are nested more than {_MAX_DEPTH} deep; export it again")
        self._open.append(tag)
        if depth == 1 and tag == "track":
            raise DataError(f"{self.path}: holds the tracks of a video; export it again as \"CVAT for images 1.1\"")
        if depth == 1 and tag == "image":
            self._start_image(attributes)
        elif depth == 2 and self._image:
            self._shape(self._image, tag, attributes)
        elif self._image:
            self.dropped["attribute"] += tag == "attribute"  # anything else is a part of a skeleton
        elif tag == "label" and self._open[-2:] == ["labels", "label"]:
            self._label = {}
        elif self._label is not None and self._open[-2] == "label" and tag in ("name", "color", "type", "parent"):
            self._text = []

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        self._open.pop()
        if len(self._open) == 1:
            self._image = None
        elif self._label is not None and self._text is not None:
            self._label[tag] = "".join(self._text)
            self._text = None
        elif self._label is not None and tag == "label":
            if name := self._label.get("name"):
                area = self._label.get("type") not in _NO_AREA and "parent" not in self._label
                self.labels.setdefault(name, (Label(name, colour=_colour(self._label.get("color", ""))), area))
            self._label = None

    def _start_image(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name", "").replace("\\", "/")
        self._image = _Image(name, attributes.get("subset"), None)
        if not PurePosixPath(name).name or any(character < " " for character in name + (self._image.subset or "")):
            self.invalid.add("no usable name (image)", f"image {attributes.get('id', '?')[:20]!r}")
            return
        self.images.append(self._image)
        try:
            height, width = int(attributes["height"]), int(attributes["width"])
        except (KeyError, ValueError):
            height = width = 0
        if 0 < height * width <= MAX_PIXELS and height > 0:
            self._image.size = height, width
        else:
            self.invalid.add("no usable size (image): that of the file counts", self._image.sample)

    def _shape(self, image: _Image, tag: str, attributes: dict[str, str]) -> None:
        if tag not in _SHAPES:
            self.dropped[tag if tag in _NO_AREA else "unknown"] += 1
            return
        self.dropped["occluded"] += attributes.get("occluded") == "1"
        self.dropped["group"] += attributes.get("group_id", "0") != "0"
        try:
            shape = _SHAPES[tag](attributes)
            order = int(*_numbers(attributes, "z_order")) if "z_order" in attributes else 0
            mark = Mark(attributes["label"], shape, order, weak=tag == "box")
            if not mark.label:
                raise ValueError("an empty label")
        except KeyError as error:
            self.invalid.add(f"no {error} ({tag})", image.sample)
        except (ValueError, OverflowError) as error:
            self.invalid.add(f"{error} ({tag})", image.sample)
        else:
            image.marks.append(mark)
            if image.size and _reaches_outside(shape, image.size):
                self.clipped.add(tag, image.sample)

    def notes(self) -> list[Finding]:
        """One note for each kind of thing that was left out."""
        found = [note("annotation.dropped", _DROPPED[kind][1], f"{count} {_DROPPED[kind][0]} are left out, since masks "
                      "cannot hold them", "draw them as polygons or masks if they are needed", kind=kind, count=count)
                 for kind, count in self.dropped.items() if count]
        found += self.invalid.note(
            "annotation.invalid", Severity.WARNING, "{count} entries cannot be used and are left out ({reasons}; in "
            "{samples})", "correct them in CVAT and export again")
        found += self.clipped.note(
            "annotation.clipped", Severity.INFO, "{count} shapes reach outside their image and are cut off (in "
            "{samples})", "none is needed, unless the images were resized after they were annotated")
        return [replace(finding, message=f"{self.path.name}: {finding.message}") for finding in found]


_DROPPED: dict[str, tuple[str, Severity]] = {
    "polyline": ("lines", Severity.WARNING), "points": ("sets of points", Severity.WARNING),
    "cuboid": ("cuboids", Severity.WARNING), "skeleton": ("skeletons", Severity.WARNING),
    "tag": ("tags of whole images", Severity.WARNING), "attribute": ("attribute values", Severity.INFO),
    "occluded": ("marks of occlusion", Severity.INFO), "group": ("numbers of groups", Severity.INFO),
    "unknown": ("elements of unknown kinds", Severity.WARNING)}


def _colour(text: str) -> Colour | None:
    try:
        return from_hex(text)
    except ValueError:
        return None


def _parse(path: Path) -> _Document:
    document = _Document(path)
    parser = ElementTree.XMLParser(target=document)
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 16):
                parser.feed(block)
            parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path}: not readable as XML ({error}); export it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it or change its mode") from None
    return document


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


def read(root: Path, annotations: str | None, images: str | None) -> Source:
    """The images and shapes of `annotations.xml`, or of all CVAT files in `root`; see `source.Source`.

    Boxes are weak, `z_order` decides what lies on top, an image without shapes is all background. DataError for
    files that are no such XML, and for those of videos.
    """
    named = confine(root, annotations, "annotations") if annotations else root
    files = _files(named) if named.is_dir() else [named]
    if not files:
        raise DataError(f"{named}: holds no XML file of CVAT; export as \"CVAT for images 1.1\" and unpack it there")
    finder = ImageFinder(root, images)
    labels: dict[str, tuple[Label, bool]] = {}
    items: dict[str, Item] = {}
    notes: list[Finding] = []
    twice, renamed, missing = _Tally(), _Tally(), _Tally()
    for path in files:
        document = _parse(confine_found(root, path))
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
    notes += twice.note("annotation.duplicate", Severity.WARNING, "{count} images stand there again ({samples}); the "
                        "first of each counts", "give images of one subset different names")
    notes += renamed.note("annotation.renamed", Severity.INFO, "{count} images differ from another only in the ending, "
                          "which stays in their name ({samples})", "rename them if that matters")
    notes += missing.note("annotation.no_image", Severity.WARNING, "{count} image files are not there ({samples})",
                          "export with images, or name their folder as `images`")
    used = {mark.label for item in items.values() for mark in item.marks}
    empty = [name for name, (_, area) in labels.items() if not area and name not in used]
    if empty:
        notes.append(note("annotation.dropped", Severity.INFO, f"{len(empty)} labels are for shapes without an area "
                          f"({listed(map(repr, empty))}); they are no classes", "none is needed", kind="label",
                          count=len(empty)))
    return Source([label for name, (label, _) in labels.items() if name not in empty], list(items.values()), notes)


def _item(image: _Image, finder: ImageFinder, source: Path) -> Item:
    if image.subset:
        confine(finder.folder, image.subset, str(source))
    folders = [f"images/{image.subset}", image.subset] if image.subset else []
    found = finder.find(image.name, [*folders, "images", ""])
    place = f"images/{image.subset}/{image.name}" if image.subset else f"images/{image.name}"
    path = found or confine(finder.folder, place, str(source))
    return Item(image.sample, path, source, split_of(image.subset), image.size, image.marks)


class Writer:
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
        lines = [f'  <image id="{self._count}" name={_quoted(stem_of(sample) + image_suffix(sample))}{subset} '
                 f'width="{mask.shape[1]}" height="{mask.shape[0]}">']
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
        head = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta>",
                f"    <{kind}>", "      <name>maskwright</name>",
                f"      <subsets>{escape(chr(10).join(subsets))}</subsets>" if any(self._splits) else
                f"      <size>{self._count}</size><mode>annotation</mode>",
                "      <labels>", *(f"        {label}" for label in labels), "      </labels>",
                f"    </{kind}>", "  </meta>\n"]
        with (self._folder / "annotations.xml").open("wb") as stream:
            stream.write("\n".join(head).encode())
            with self._body.open("rb") as body:
                shutil.copyfileobj(body, stream)
            stream.write(b"</annotations>\n")
        self._body.unlink()

    def _masks(self, mask: Mask) -> Iterator[str]:
        for _, name, pixels, left, top in components(mask, self._classes):
            counts, *_, width, height = encode_box(pixels)
            yield (f'    <mask label={_quoted(name)} source="manual" occluded="0" rle="{", ".join(map(str, counts))}" '
                   f'left="{left}" top="{top}" width="{width}" height="{height}" z_order="0"></mask>')

    def _polygons(self, mask: Mask) -> Iterator[str]:
        for order, (value, ring) in enumerate(painted(mask, self._background)):
            name = "ignore" if value == IGNORE else self._classes.names[value]
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in simplify(ring, self._options.tolerance))
            yield (f'    <polygon label={_quoted(name)} source="manual" occluded="0" points="{points}" '
                   f'z_order="{order}"></polygon>')


def _label(name: str, colour: Colour) -> str:
    text = escape(_checked(name), {"\r": "&#13;"})
    return (f"<label><name>{text}</name><color>{to_hex(colour).lower()}</color><type>any</type>"
            "<attributes></attributes></label>")


def _quoted(text: str) -> str:
    return quoteattr(_checked(text))


def _checked(text: str) -> str:
    if not _XML_TEXT.fullmatch(text):
        raise DataError(f"{text!a}: XML cannot hold this name; rename it")
    return text
