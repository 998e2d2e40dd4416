"""The elements of CVAT's XML: shapes, labels and images, parsed as a stream and never trusted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol
from xml.etree import ElementTree

import numpy as np

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.texts import counted, listing
from maskwright.core.findings import Finding, Severity
from maskwright.core.palette import Colour, from_hex
from maskwright.core.polygons import Ring, box_ring, ellipse_ring
from maskwright.core.regions import Polygon, Runs
from maskwright.data.formats.cvat import split_of, without_ending
from maskwright.data.formats.source import Label, Mark, note
from maskwright.errors import DataError

# Elements without an area, and types of labels for them.
NO_AREA = frozenset({"polyline", "points", "cuboid", "skeleton", "tag"})
_MAX_DEPTH = 64  # CVAT's files are up to 8 deep
_FAR = 1_000_000  # pixels from the corner: wrong, not outside
_PAIRS = re.compile(r"[^,;]*,[^,;]*(?:;[^,;]*,[^,;]*)*+")
# An ellipse is kept as points, the more the larger it is: a short line must not become megabytes.
_MAX_RADIUS = 10_000


def numbers_in(attributes: Mapping[str, str], *keys: str) -> list[float]:
    """The values of `keys`; KeyError for one that is missing, ValueError for one that is no number."""
    try:
        return [float(attributes[key]) for key in keys]
    except ValueError:
        raise ValueError(f"no numbers in {', '.join(keys)}") from None


def _rotation(attributes: Mapping[str, str]) -> float:
    return numbers_in(attributes, "rotation")[0] if "rotation" in attributes else 0.0


def _polygon(attributes: Mapping[str, str]) -> Polygon | Runs:
    text = attributes["points"].strip("; ")
    try:
        if not _PAIRS.fullmatch(text):
            raise ValueError
        points = [*map(float, text.replace(";", ",").split(","))]
    except ValueError:
        raise ValueError("points that are no pairs of numbers") from None
    if len(points) < 6:
        raise ValueError("fewer than 3 points")
    return Polygon((_near(np.array(points).reshape(-1, 2)),))


def _box(attributes: Mapping[str, str]) -> Polygon | Runs:
    x0, y0, x1, y1 = numbers_in(attributes, "xtl", "ytl", "xbr", "ybr")
    if x0 == x1 or y0 == y1:
        raise ValueError("no area")
    return Polygon((_near(box_ring(x0, y0, x1, y1, _rotation(attributes))),))


def _ellipse(attributes: Mapping[str, str]) -> Polygon | Runs:
    cx, cy, rx, ry = numbers_in(attributes, "cx", "cy", "rx", "ry")
    if not (0 < rx <= _MAX_RADIUS and 0 < ry <= _MAX_RADIUS):
        raise ValueError(f"radii outside 0 to {_MAX_RADIUS}")
    return Polygon((_near(ellipse_ring(cx, cy, rx, ry, _rotation(attributes))),))


def _mask(attributes: Mapping[str, str]) -> Polygon | Runs:
    left, top, width, height = (int(number) for number in numbers_in(attributes, "left", "top", "width", "height"))
    if not (abs(left) <= _FAR and abs(top) <= _FAR and 0 < width <= _FAR and 0 < height <= _FAR):
        raise ValueError("a box without area, or far outside")
    try:
        counts = np.array([int(count) for count in attributes["rle"].split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError("run lengths that are no whole numbers") from None
    if not (counts.min() >= 0 and counts.max() <= min(width * height, 2**32 - 1) and counts.sum() == width * height):
        raise ValueError("run lengths that do not fit their box")
    return Runs(counts.astype(np.uint32), box=(left, top, width, height))


# What draws an element with an area; ValueError and KeyError say what is wrong with it.
SHAPES: dict[str, Callable[[Mapping[str, str]], Polygon | Runs]] = {
    "polygon": _polygon,
    "mask": _mask,
    "box": _box,
    "ellipse": _ellipse,
}


def _near(ring: Ring) -> Ring:
    if not np.abs(ring).max() <= _FAR:  # NaN is never smaller
        raise ValueError("coordinates that are no numbers, or far outside")
    return ring


def reaches_outside(shape: Polygon | Runs, size: tuple[int, int]) -> bool:
    """Whether a part of it lies outside an image of (height, width)."""
    if isinstance(shape, Polygon):
        # Two digits are written behind the point.
        (left, top), (right, bottom) = shape.rings[0].min(0).tolist(), shape.rings[0].max(0).tolist()
        left, top, right, bottom = left + 0.01, top + 0.01, right - 0.01, bottom - 0.01
    else:
        assert shape.box is not None
        left, top, right, bottom = *shape.box[:2], shape.box[0] + shape.box[2], shape.box[1] + shape.box[3]
    return bool(left < 0 or top < 0 or right > size[1] or bottom > size[0])


@dataclass
class Image:
    """An `<image>`: its name and subset as they stand there, its (height, width), and what is drawn on it."""

    name: str
    subset: str | None
    size: tuple[int, int] | None
    marks: list[Mark] = field(default_factory=list)

    @property
    def sample(self) -> str:
        """The name of the item: without the ending, behind the split."""
        split, stem = split_of(self.subset), without_ending(self.name)
        return f"{split}/{stem}" if split else stem


class ReasonCounts:
    """Counts by reason, with the samples that they were met in, each once and in order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: dict[str, None] = {}

    def add(self, reason: str, sample: str) -> None:
        """One more for `reason`, met in `sample`."""
        self.counts[reason] += 1
        self.samples[sample] = None

    def note(self, code: str, severity: Severity, message: str, fix: str) -> list[Finding]:
        """One finding, or none; `message` stands behind the number (see `texts.counted`) and may hold {reasons} and
        {samples}."""
        if not self.counts:
            return []
        reasons = dict(self.counts.most_common(5))
        samples = list(self.samples)
        text = counted(self.counts.total(), message).format(
            samples=listing(samples), reasons=listing(f"{reason}: {count}" for reason, count in reasons.items())
        )
        return [
            note(
                code,
                severity,
                text,
                fix,
                samples[0] if len(samples) == 1 else None,
                count=self.counts.total(),
                samples=samples[:5],
                reasons=reasons,
            )
        ]


class Target(Protocol):
    """What an XML parser calls."""

    def doctype(self, *_: object) -> None:
        """A document type."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def data(self, text: str) -> None:
        """Text of an element."""

    def end(self, tag: str) -> None:
        """An element ends."""


class CvatDocument:
    """What the parser calls for each element of one file; nothing of the XML itself is kept.

    A document type is refused at its first word, so that no entity is ever declared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels: dict[str, tuple[Label, bool]] = {}  # with whether shapes of it can have an area
        self.images: list[Image] = []
        self.dropped: Counter[str] = Counter()
        self.invalid, self.clipped = ReasonCounts(), ReasonCounts()
        self._open: list[str] = []
        self._image: Image | None = None
        self._label: dict[str, str] | None = None
        self._text: list[str] | None = None

    def doctype(self, *_: object) -> None:
        """Refuses the document."""
        raise DataError(
            f"{self.path}: has a document type (DOCTYPE), which CVAT does not write and which is not read; "
            "export it again"
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        depth = len(self._open)
        if depth == 0 and tag != "annotations":
            raise DataError(
                f"{self.path}: starts with <{tag[:40]}>, not with <annotations> as CVAT's files do; name the right file"
            )
        if depth == _MAX_DEPTH:
            raise DataError(f"{self.path}: elements are nested more than {_MAX_DEPTH} deep; export it again")
        self._open.append(tag)
        if depth == 1 and tag == "track":
            self._start_track(attributes)
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
        """Text of an element."""
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        self._open.pop()
        if len(self._open) == 1:
            self._image = None
        elif self._label is not None and self._text is not None:
            self._label[tag] = "".join(self._text)
            self._text = None
        elif self._label is not None and tag == "label":
            if name := self._label.get("name"):
                area = self._label.get("type") not in NO_AREA and "parent" not in self._label
                self.labels.setdefault(name, (Label(name, colour=_colour(self._label.get("color", ""))), area))
            self._label = None

    def _start_track(self, attributes: dict[str, str]) -> None:
        raise DataError(f"{self.path}: holds the tracks of a video; give the format `cvat_video`")

    def _start_image(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name", "").replace("\\", "/")
        self._image = Image(name, attributes.get("subset"), None)
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

    def _shape(self, image: Image, tag: str, attributes: dict[str, str]) -> None:
        if tag not in SHAPES:
            self.dropped[tag if tag in NO_AREA else "unknown"] += 1
            return
        self.dropped["occluded"] += attributes.get("occluded") == "1"
        self.dropped["group"] += attributes.get("group_id", "0") != "0"
        try:
            shape = SHAPES[tag](attributes)
            order = int(*numbers_in(attributes, "z_order")) if "z_order" in attributes else 0
            mark = Mark(attributes["label"], shape, order, weak=tag == "box")
            if not mark.label:
                raise ValueError("an empty label")
        except KeyError as error:
            self.invalid.add(f"no {error} ({tag})", image.sample)
        except (ValueError, OverflowError) as error:
            self.invalid.add(f"{error} ({tag})", image.sample)
        else:
            image.marks.append(mark)
            if image.size and reaches_outside(shape, image.size):
                self.clipped.add(tag, image.sample)

    def notes(self) -> list[Finding]:
        """One note for each kind of thing that was left out."""
        fixes = {Severity.WARNING: "draw them as polygons or masks if they are needed"}
        found = [
            note(
                "annotation.dropped",
                severity,
                counted(count, what + " {is|are} left out, since masks cannot hold {it|them}"),
                fixes.get(severity, "nothing, if they are not needed"),
                kind=kind,
                count=count,
            )
            for kind, count in self.dropped.items()
            if count
            for what, severity in [_DROPPED[kind]]
        ]
        found += self.invalid.note(
            "annotation.invalid",
            Severity.WARNING,
            "entr{y cannot be used and is|ies cannot be used and are} left out ({reasons}; in {samples})",
            "correct them in CVAT and export again",
        )
        found += self.clipped.note(
            "annotation.clipped",
            Severity.INFO,
            "shape{ reaches outside its image and is|s reach outside their image and are} cut off (in {samples})",
            "none is needed, unless the images were resized after they were annotated",
        )
        return [replace(finding, message=f"{self.path.name}: {finding.message}") for finding in found]


_DROPPED: dict[str, tuple[str, Severity]] = {
    "polyline": ("line{|s}", Severity.WARNING),
    "points": ("set{|s} of points", Severity.WARNING),
    "cuboid": ("cuboid{|s}", Severity.WARNING),
    "skeleton": ("skeleton{|s}", Severity.WARNING),
    "tag": ("tag{ of a whole image|s of whole images}", Severity.WARNING),
    "attribute": ("attribute value{|s}", Severity.INFO),
    "occluded": ("mark{|s} of occlusion", Severity.INFO),
    "group": ("number{ of a group|s of groups}", Severity.INFO),
    "unknown": ("element{ of an unknown kind|s of unknown kinds}", Severity.WARNING),
}


def _colour(text: str) -> Colour | None:
    try:
        return from_hex(text)
    except ValueError:
        return None


def parse(path: Path) -> CvatDocument:
    """One annotation file. DataError for files that are no XML of CVAT."""
    document = CvatDocument(path)
    feed(path, document)
    return document


def feed(path: Path, document: Target) -> None:
    """Parses a file into `document`. DataError for files that are no XML."""
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
