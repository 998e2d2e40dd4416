"""CVAT for video 1.1: one XML file with tracks, and the frames of the video as image files.

A track is an object through the frames: a shape for each, of which those with `keyframe="1"` were drawn and the others
interpolated. CVAT writes all of them. Where frames between two of a track are missing, they are interpolated as CVAT
does: corners of boxes, ellipses and polygons move in a straight line, turned boxes along the shorter way; the last
shape of a track that has not left the scene (`outside="1"`) stays until the end. Between polygons of different numbers
of points, and masks, nothing is known here: these frames are not labelled. All of this is counted.

Frames are image files with their number in the name, as CVAT exports them (`images/frame_000012.png`). Where there are
as many files as frames and the numbers are others (many tools begin with 1), or none, their order counts. Sources:
https://docs.cvat.ai/docs/other/xml_format, cvat/apps/dataset_manager/annotation.py (`TrackManager`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine
from maskwright.base.texts import counted, listing
from maskwright.core.findings import Finding, Severity
from maskwright.core.image_files import images_below
from maskwright.core.listing import confine_found
from maskwright.data.formats.cvat import split_of
from maskwright.data.formats.cvat_xml import NO_AREA, SHAPES, CvatDocument, feed, numbers_in, reaches_outside
from maskwright.data.formats.source import AnnotationSet, Item, Label, Mark, note
from maskwright.errors import DataError

_META = frozenset({"size", "start_frame", "frame_filter", "width", "height", "source"})
_BETWEEN = {"box": ("xtl", "ytl", "xbr", "ybr"), "ellipse": ("cx", "cy", "rx", "ry")}
_MAX_FRAME = 10_000_000
_KEYS = ("frame", "outside", "keyframe", "occluded")
Place = tuple[int, str, dict[str, str], bool]  # frame, element, attributes, whether it is outside the scene


@dataclass
class _Track:
    label: str
    places: list[Place] = field(default_factory=list)


class VideoDocument(CvatDocument):
    """What the parser calls for each element of one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.tracks: list[_Track] = []
        self.meta: dict[str, str] = {}
        self.tasks: set[str] = set()
        self.subset: str | None = None
        self._track: _Track | None = None
        self._meta: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        super().start(tag, attributes)
        if self._track is not None and len(self._open) == 3:
            self._place(self._track, tag, attributes)
        elif self._track is not None:
            self.dropped["attribute"] += tag == "attribute"
        elif tag in _META and self._open[1:2] == ["meta"]:
            self._meta = []

    def data(self, text: str) -> None:
        """Text of an element."""
        super().data(text)
        if self._meta is not None:
            self._meta.append(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        super().end(tag)
        if len(self._open) == 1:
            self._track = None
        if self._meta is not None:
            self.meta.setdefault(tag, "".join(self._meta).strip()[:200])
            self._meta = None

    def _start_track(self, attributes: dict[str, str]) -> None:
        self._track = _Track(attributes.get("label", ""))
        self.tasks.add(attributes.get("task_id", ""))
        self.subset = attributes.get("subset", self.subset)
        self.dropped["group"] += attributes.get("group_id", "0") not in ("0", "")
        if self._track.label:
            self.tracks.append(self._track)
        else:
            self.invalid.add("no label (track)", f"track {attributes.get('id', '?')[:20]!r}")

    def _place(self, track: _Track, tag: str, attributes: dict[str, str]) -> None:
        if tag not in SHAPES:
            self.dropped[tag if tag in NO_AREA else "unknown"] += 1
            return
        self.dropped["occluded"] += attributes.get("occluded") == "1"
        frame = attributes.get("frame", "")
        if not (frame.isascii() and frame.isdecimal() and len(frame) < 9 and int(frame) <= _MAX_FRAME):
            return self.invalid.add(f"no number of a frame ({tag})", f"track of {track.label[:40]!r}")
        kept = {key: value for key, value in attributes.items() if key not in _KEYS}
        track.places.append((int(frame), tag, kept, attributes.get("outside") == "1"))

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the frames."""
        height, width = (self._whole(key) or 0 for key in ("height", "width"))
        return (height, width) if 0 < height * width <= MAX_PIXELS else None

    @property
    def frames(self) -> range | None:
        """The numbers of the frames of the task."""
        size, start = self._whole("size"), self._whole("start_frame") or 0
        step = re.fullmatch(r"step\s*=\s*([1-9]\d{0,5})", self.meta.get("frame_filter", ""))
        by = int(step[1]) if step else 1
        return range(start, start + size * by, by) if size else None

    def _whole(self, key: str) -> int | None:
        text = self.meta.get(key, "")
        return int(text) if re.fullmatch("[0-9]{1,8}", text) else None


def detect(root: Path) -> str | None:
    """The XML file that holds tracks as CVAT writes them."""
    found = next(_files(root, 20), None)
    return f"CVAT's tracks of a video in {found.relative_to(root).as_posix()}" if found else None


def _files(root: Path, most: int | None = None) -> Iterator[Path]:
    """The XML files with tracks in `root`, of which `most` are looked at, and each `annotations.xml` in the folders
    in it."""
    below = sorted(path / "annotations.xml" for path in root.glob("[!.]*") if path.is_dir() and not path.is_symlink())
    for path in [*islice(sorted(root.glob("[!.]*.xml")), most), *below]:
        if path.is_file() and _holds_tracks(path):
            yield path


def _holds_tracks(path: Path) -> bool:
    """Whether the first element behind the head of a file of CVAT is a track."""
    try:
        with path.open("rb") as stream:
            block = stream.read(1 << 16)
            if b"<annotations" not in block[:1024]:
                return False
            # The head lists all labels, which may be many.
            for _ in range(256):
                if found := re.search(rb"<(track|image)[\s>]", block):
                    return found[1] == b"track"
                more = stream.read(1 << 16)
                if not more:
                    return False
                block = block[-8:] + more
    except OSError:
        pass
    return False


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """The frames and shapes of the file `annotations`, or of all files with tracks in `root` and the folders in it.

    Boxes are weak, `z_order` decides what lies on top, and a frame without shapes is all background. DataError for
    files that are no such XML, and where the frames are no image files.
    """
    named = confine(root, annotations, "annotations") if annotations else root
    files = [named] if named.is_file() else list(_files(named))
    if not files:
        raise DataError(f'{named}: holds no XML file with tracks; export as "CVAT for video 1.1" and unpack it there')
    labels: dict[str, Label] = {}
    items: list[Item] = []
    notes: list[Finding] = []
    for path in files:
        document = VideoDocument(path)
        feed(confine_found(root, path), document)
        if len(document.tasks) > 1:
            raise DataError(f"{path}: holds the tracks of several tasks; export each of them on its own")
        video = _Video(root, path, images, document)
        items += video.items()
        labels |= {name: label for name, (label, area) in document.labels.items() if area and name not in labels}
        notes += document.notes() + video.notes()
    return AnnotationSet(list(labels.values()), items, notes)


class _Video:
    """The frames of one file."""

    def __init__(self, root: Path, path: Path, images: str | None, document: VideoDocument) -> None:
        self.root, self.path, self.document = root, path, document
        inner = confine(root, images, "images") if images else path.parent / "images"
        self.folder = inner if inner.is_dir() else path.parent
        self.counts: Counter[str] = Counter()
        self.unknown: set[int] = set()
        self.missing: set[int] = set()
        self.files = self._numbered([confine_found(root, file) for file in images_below(self.folder)])
        self.order = sorted(self.files)

    def _numbered(self, files: Sequence[Path]) -> dict[int, Path]:
        """Frame -> its file. DataError where it cannot be told."""
        frames = self.document.frames
        ends = [re.findall("[0-9]+", file.stem) for file in files]
        numbers = [int(end[-1]) if end and len(end[-1]) < 12 else -1 for end in ends]
        unique = -1 not in numbers and len({*numbers}) == len(numbers)
        if files and unique and (frames is None or all(number in frames for number in numbers)):
            return dict(zip(numbers, files, strict=True))
        if frames is not None and len(files) == len(frames):
            self.counts["order"] = len(files)
            return dict(zip(frames, files, strict=True))
        if not files or not unique:
            source = self.document.meta.get("source") or "the video"
            raise DataError(
                f"{self.folder}: {counted(len(files), 'image file{|s}')} whose names do not tell the frames of "
                f"{self.path.name}; save those of {source[:80]} there, by their numbers from 0 (frame_000000.png)"
            )
        self.counts["strange"] = sum(frames is not None and number not in frames for number in numbers)
        return dict(zip(numbers, files, strict=True))

    def items(self) -> Iterator[Item]:
        """An item for each frame with a file."""
        size, frames, split = self.document.size, self.document.frames, split_of(self.document.subset)
        marks: dict[int, list[Mark]] = {}
        for track in self.document.tracks:
            for frame, tag, attributes in self._shown(track):
                if frame not in self.files:
                    self.missing.add(frame)
                elif mark := self._mark(track, frame, tag, attributes, size):
                    marks.setdefault(frame, []).append(mark)
        for frame, file in self.files.items():
            stem = file.relative_to(self.folder).with_suffix("").as_posix()
            task = [] if self.path.parent == self.root else [self.path.parent.name]
            name = "/".join([*filter(None, [split]), *task, stem])
            labelled = frame not in self.unknown and (frames is None or frame in frames)
            yield Item(name, file, self.path, split, size, marks.get(frame, []) if labelled else [], labelled=labelled)

    def _shown(self, track: _Track) -> Iterator[tuple[int, str, dict[str, str]]]:
        """The shapes of a track, frame by frame, with those between the ones that are listed."""
        places = sorted(track.places, key=lambda place: place[0])
        for here, after in zip(places, [*places[1:], None], strict=False):
            frame, tag, attributes, outside = here
            if after is not None and after[0] == frame:
                self.document.invalid.add(
                    "two shapes of a track in one frame, of which the last counts", f"frame {frame}"
                )
                continue
            if outside:
                continue
            yield frame, tag, attributes
            stop = bisect_left(self.order, after[0]) if after is not None else len(self.order)
            for number in self.order[bisect_right(self.order, frame) : stop]:
                if after is None:
                    self.counts["carried"] += 1
                    yield number, tag, attributes
                elif (moved := _between(here, after, (number - frame) / (after[0] - frame))) is not None:
                    self.counts["between"] += 1
                    yield number, tag, moved
                else:
                    self.unknown.add(number)

    def _mark(
        self, track: _Track, frame: int, tag: str, attributes: dict[str, str], size: tuple[int, int] | None
    ) -> Mark | None:
        name = self.files[frame].stem
        try:
            shape = SHAPES[tag](attributes)
            order = int(*numbers_in(attributes, "z_order")) if "z_order" in attributes else 0
        except KeyError as error:
            self.document.invalid.add(f"no {error} ({tag})", name)
            return None
        except (ValueError, OverflowError) as error:
            self.document.invalid.add(f"{error} ({tag})", name)
            return None
        if size is not None and reaches_outside(shape, size):
            self.document.clipped.add(tag, name)
        return Mark(track.label, shape, order, weak=tag == "box")

    def notes(self) -> list[Finding]:
        """What was made, left out or taken for something."""
        place, shown = self.path.relative_to(self.root).as_posix(), listing(map(str, sorted(self.missing)))
        rows = (
            (
                "annotation.interpolated",
                Severity.INFO,
                self.counts["between"],
                "shape{ lies|s lie} between two that are listed and {is|are} interpolated in a straight line",
                "nothing, or export with all frames",
            ),
            (
                "annotation.interpolated",
                Severity.INFO,
                self.counts["carried"],
                "shape{ lies|s lie} behind the last of {its track|their tracks} and {is|are} as that is",
                "mark where an object leaves the scene",
            ),
            (
                "annotation.dropped",
                Severity.WARNING,
                len(self.unknown),
                "frame{ lies|s lie} between masks, or polygons of different numbers of points; not labelled",
                "export with all frames",
            ),
            (
                "annotation.renamed",
                Severity.INFO,
                self.counts["order"],
                "image file{ is|s are} taken for the frames in order, since the numbers are others",
                "nothing, if no frame is missing",
            ),
            (
                "annotation.no_image",
                Severity.WARNING,
                len(self.missing),
                f"frame{{ with shapes has|s with shapes have}} no image file ({shown})",
                "save them, by their numbers",
            ),
            (
                "annotation.conflict",
                Severity.WARNING,
                self.counts["strange"],
                "image file{ has a number that is|s have numbers that are} no frame of the task; not labelled",
                "nothing, if the numbers of the others are right",
            ),
        )
        return [
            note(code, severity, f"{place}: {counted(count, text)}", fix, count=count)
            for code, severity, count, text, fix in rows
            if count
        ]


def _between(here: Place, after: Place, share: float) -> dict[str, str] | None:
    """The attributes of a shape at a share of the way, as CVAT moves it; None where it is not known."""
    (_, tag, start, _), (_, other, end, _) = here, after
    if tag != other or tag not in ("polygon", *_BETWEEN):
        return None
    try:
        if tag == "polygon":
            first, last = _points(start), _points(end)
            if len(first) != len(last):
                return None
            moved = [a + (b - a) * share for a, b in zip(first, last, strict=True)]
            return start | {"points": ";".join(f"{x!r},{y!r}" for x, y in zip(moved[::2], moved[1::2], strict=True))}
        keys = _BETWEEN[tag]
        pairs = zip(keys, numbers_in(start, *keys), numbers_in(end, *keys), strict=True)
        found = start | {key: repr(a + (b - a) * share) for key, a, b in pairs}
        turns = [
            numbers_in(attributes, "rotation")[0] if "rotation" in attributes else 0.0 for attributes in (start, end)
        ]
        turn = (turns[1] - turns[0] + 180) % 360 - 180
        return found | ({"rotation": repr((turns[0] + turn * share) % 360)} if any(turns) else {})
    except (KeyError, ValueError):
        return None


def _points(attributes: Mapping[str, str]) -> list[float]:
    return [float(number) for pair in attributes["points"].strip("; ").split(";") for number in pair.split(",")]
