"""The folders and files of Pascal VOC: where they are, and what stands in them. `voc` makes a data set of it."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine
from maskwright.core.classes import BACKGROUND_NAMES, MAX_CLASSES
from maskwright.core.folder_names import MASK_FOLDERS
from maskwright.core.image_files import holds_images
from maskwright.core.listing import confine_found
from maskwright.core.polygons import MAX_COORDINATE
from maskwright.core.regions import Polygon
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.maskfiles import voc_colour
from maskwright.data.formats.source import Label, Mark
from maskwright.errors import ConfigError, DataError

LABEL_MAP = "labelmap.txt"
CLASS_LISTS = ("class_names.txt", "classes.txt", "labels.txt")
IGNORE_LABELS = frozenset({"ignore", "ignored", "__ignore__"})
_CLASS_FOLDERS = ("segmentationclass", "segmentationclasspng", "segmentationclassraw", "segmentationclassnpy")
_MAX_XML, _MAX_LIST = 16 << 20, 256 << 20
_LISTED, _FOLDERS_LISTED, _XML_PEEKED = 2000, 200, 3
_ROOT = re.compile(rb"<annotation[\s>/]")
# What attributes say of most objects, and is not worth a word.
_PLAIN = frozenset({"", "0", "no", "false", "unspecified"})
_READ_TAGS = frozenset({"name", "bndbox", "polygon", "robndbox", "deleted", "type"})
_FILE_TAGS = frozenset({"folder", "filename", "path", "source", "owner", "size", "segmented", "object", "imagesize"})


@dataclass(frozen=True)
class Place:
    """The folders of one data set, None where there is none. `inside` is the root that no file may lie outside of;
    `arrays` are folders of `.npy` masks beside those of pictures, as labelme2voc writes them, which say the same."""

    inside: Path
    home: Path
    images: Path
    xml: Path | None = None
    masks: Path | None = None
    lists: Path | None = None
    arrays: tuple[Path, ...] = ()


def folders_in(folder: Path) -> dict[str, Path]:
    """Folders inside by their name in lower case; none when it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return {}
    return {name.lower(): folder / name for name in reversed(names)}


def _holds_xml(folder: Path) -> bool:
    """Whether one of its first XML files begins as those of VOC do."""
    peeked = 0
    try:
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, _LISTED):
                name = entry.name.lower()
                if name.endswith(".xml") and not name.startswith(".") and peeked < _XML_PEEKED and entry.is_file():
                    peeked += 1
                    with open(entry.path, "rb") as stream:
                        if _ROOT.search(stream.read(1024)):
                            return True
    except OSError:
        return False
    return False


def _usual(root: Path, home: Path) -> Place | None:
    """The folders of `home` when they have the names of VOC."""
    inside = folders_in(home)
    images, xml, lists = (inside.get(name) for name in ("jpegimages", "annotations", "imagesets"))
    if xml is not None and images is None and not _holds_xml(xml):
        xml = None  # many tools have a folder of this name
    folders = [inside[name] for name in _CLASS_FOLDERS if name in inside]
    arrays = tuple(filter(_holds_arrays, folders))
    # Pictures come before arrays, and these before folders of other things.
    masks = next((path for path in folders if holds_images(path, _LISTED)), next(iter((*arrays, *folders)), None))
    if not (xml or masks or (images and lists)):
        return None
    aside = tuple(path for path in arrays if path != masks)
    return Place(root, home, images or inside.get("images") or home, xml, masks, lists, aside)


def _holds_arrays(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(is_array(entry.name) for entry in itertools.islice(entries, _LISTED))
    except OSError:
        return False


def is_array(name: str) -> bool:
    """Whether a file is called as one of NumPy's arrays, and not hidden."""
    return name.lower().endswith(".npy") and not name.startswith(".")


def _homes(root: Path) -> Iterator[Place]:
    """`root` when it has the usual folders, else those up to two levels down that have them."""
    if place := _usual(root, root):
        yield place
        return
    for level in (1, 2):
        folders = [root]
        for _ in range(level):
            folders = [
                child for folder in folders for child in itertools.islice(folders_in(folder).values(), _FOLDERS_LISTED)
            ]
        if places := [place for folder in folders if (place := _usual(root, folder))]:
            yield from places
            return


def _loose(root: Path) -> Place | None:
    """XML files beside the images, in `root` or in the folders in it."""
    inside = folders_in(root)
    if any(map(_holds_xml, [root, *itertools.islice(inside.values(), _FOLDERS_LISTED)])):
        return Place(root, root, root, root)
    return None


def detect(root: Path) -> str | None:
    """The reason why `root` is in this format, or None."""
    place = next(_homes(root), None)
    if place is None:
        place = _loose(root)
        if place is None or _has_mask_folder(root):
            return None
        return "XML files of Pascal VOC lie there"
    usual = place.images.name.lower() == "jpegimages"
    if not usual and (place.xml is None or _has_mask_folder(place.home)):
        return None  # masks without images are CVAT's; a folder of masks says more than boxes
    names = [path.name for path in (place.images if usual else None, place.masks, place.xml, place.lists) if path]
    return f"the folders of Pascal VOC are there: {', '.join(names)}"


def _has_mask_folder(home: Path) -> bool:
    return any(
        holds_images(path, _LISTED)
        for name, path in folders_in(home).items()
        if name in MASK_FOLDERS and name not in _CLASS_FOLDERS
    )


def find_place(root: Path, annotations: str | None, images: str | None) -> Place:
    """The one data set in `root`; see `maskwright.data.formats.voc.read`."""
    given = confine(root, annotations, str(root)) if annotations else None
    if given is not None and not given.is_dir():
        raise DataError(f"{given}: no such folder; correct `annotations`")
    found = list(_homes(root if given is None else given))
    if len(found) > 1:
        names = ", ".join(place.home.relative_to(root).as_posix() for place in found)
        raise ConfigError(f"{root}: holds several data sets ({names}); give the folder of one of them")
    place = found[0] if found else None
    if place is None and given is not None:  # the folder of XML files alone
        place = replace(next(_homes(root), None) or Place(root, root, root), xml=given)
    place = place or _loose(root)
    if place is None:
        raise DataError(
            f"{root}: no folders of Pascal VOC (JPEGImages, SegmentationClass, Annotations); is this the right folder?"
        )
    place = replace(place, inside=root)
    return replace(place, images=confine(root, images, str(root))) if images else place


@dataclass
class Skipped:
    """What is left out of the XML files, counted by kind."""

    dropped: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    spoilt: list[str] = field(default_factory=list)
    clipped: int = 0
    boxes_unused: int = 0


def read_xml(
    path: Path, tag: str = "annotation", most: int = _MAX_XML, whose: str = "Pascal VOC"
) -> ElementTree.Element:
    """The root element of a file, which is called `tag`. DataError for anything else, for more than `most` bytes, and
    for documents with a DTD or entities, which could grow without end."""
    try:
        if path.stat().st_size > most:
            raise DataError(f"{path}: over {most >> 20} MiB is no annotation of one image; is this the right file?")
        data = path.read_bytes()
        # Every encoding that the parser knows has these characters as in ASCII, but for those with zero bytes.
        if b"\0" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise DataError(f"{path}: has a DTD, entities or zero bytes, which are refused; save it as plain UTF-8 XML")
        root = ElementTree.fromstring(data)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not readable as XML ({error}); restore or remove it") from None
    if root.tag != tag:
        raise DataError(f"{path}: begins with <{root.tag[:40]}>, not <{tag}>; is this a file of {whose}?")
    return root


def file_name(root: ElementTree.Element) -> str:
    """What the file says its image is called, or an empty text."""
    return (root.findtext("filename") or "").strip()[:255]


def _number(text: str | None) -> float:
    """NaN for what is missing or no number within `MAX_COORDINATE`."""
    try:
        value = float(text or "nan")
    except ValueError:
        return np.nan
    return value if abs(value) <= MAX_COORDINATE else np.nan


def size_of(root: ElementTree.Element, tally: Skipped) -> tuple[int, int] | None:
    """(height, width) as the file says; None when it does not, or says what no image can have."""
    size = root.find("size")
    if size is None:
        return None
    height, width = _number(size.findtext("height")), _number(size.findtext("width"))
    if height >= 1 and width >= 1 and height * width <= MAX_PIXELS and height % 1 == width % 1 == 0:
        return int(height), int(width)
    tally.dropped["size that no image has"] += 1
    return None


def marks_of(
    root: ElementTree.Element, size: tuple[int, int] | None, tally: Skipped, key: str
) -> tuple[list[Mark], bool]:
    """The objects of a file, and whether all could be used."""
    marks: list[Mark] = []
    sound = True
    for child in root:
        if child.tag not in _FILE_TAGS:
            tally.dropped[f"<{child.tag[:40]}>"] += 1
    for element in root.iterfind("object"):
        if (element.findtext("deleted") or "").strip() == "1":
            tally.dropped["objects marked as deleted"] += 1
            continue
        for child in element:
            if child.tag not in _READ_TAGS and (len(child) or (child.text or "").strip().lower() not in _PLAIN):
                tally.dropped[f"<{child.tag[:40]}>"] += 1
        rings, weak = _rings(element)
        name = (element.findtext("name") or "").strip()
        problem = (
            "without a name"
            if not name
            else "without a box"
            if not rings
            else next((f"with {what}" for ring in rings if (what := _problem(ring))), "")
        )
        if problem:
            tally.invalid[problem] += 1
            tally.spoilt.append(key)
            sound = False
            continue
        label = "ignore" if name.lower() in IGNORE_LABELS else name
        marks += [Mark(label, Polygon((ring,)), weak=weak) for ring in rings]
        tally.clipped += any(_outside(ring, size) for ring in rings)
    return marks, sound


def _rings(element: ElementTree.Element) -> tuple[list[npt.NDArray[np.float64]], bool]:
    """The outlines of an object, or else its box, which is weak."""
    rings = [ring for polygon in element.iterfind("polygon") if len(ring := _polygon(polygon))]
    if rings:
        return rings, False
    box, turned = element.find("bndbox"), element.find("robndbox")
    if turned is not None:
        x, y, width, height, angle = (_number(turned.findtext(tag)) for tag in ("cx", "cy", "w", "h", "angle"))
        corners = np.array([(-width, -height), (width, -height), (width, height), (-width, height)]) / 2
        along, across = np.cos(angle), np.sin(angle)
        return [corners @ np.array([(along, across), (-across, along)]) + (x, y)], True
    if box is None:
        return [], True
    left, top, right, bottom = (_number(box.findtext(tag)) for tag in ("xmin", "ymin", "xmax", "ymax"))
    if right < left or bottom < top:
        left = np.nan
    left, top = left - 1, top - 1
    return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)])], True


def _polygon(element: ElementTree.Element) -> npt.NDArray[np.float64]:
    """(P, 2) points; (0, 2) when there are none."""
    if points := element.findall("pt"):
        return np.array([(_number(point.findtext("x")), _number(point.findtext("y"))) for point in points])
    texts = {child.tag: child.text for child in element}
    found = [
        (_number(texts[f"x{n}"]), _number(texts.get(f"y{n}")))
        for n in itertools.takewhile(lambda n: f"x{n}" in texts, itertools.count(1))
    ]
    # Of the centres of pixels counted from 1, which are half a pixel away from their edges.
    return np.array(found).reshape(-1, 2) - 0.5


def _problem(ring: npt.NDArray[np.float64]) -> str:
    if not np.isfinite(ring).all():
        return "coordinates that are missing, no numbers or in the wrong order"
    return "fewer than 3 points" if len(ring) < 3 else ""


def _outside(ring: npt.NDArray[np.float64], size: tuple[int, int] | None) -> bool:
    height, width = size or (np.inf, np.inf)
    return bool(ring.min() < 0 or ring[:, 0].max() > width or ring[:, 1].max() > height)


def read_lists(root: Path, folder: Path, classes: bool) -> dict[str, list[str]]:
    """Lines of the lists in `folder` by the name of their file. With `classes`, those of single classes are left out
    (`cat_train.txt`, with -1, 0 or 1 behind each name)."""
    files = {
        path.stem: path for path in sorted(folder.glob("*.txt")) if path.is_file() and not path.name.startswith(".")
    }
    found = {}
    for name, path in files.items():
        if classes and any(name.endswith(f"_{other}") for other in files):
            continue
        lines = [
            line
            for text in _text(confine_found(root, path)).splitlines()
            if (line := text.strip()) and not line.startswith("#")
        ]
        if not (classes and lines and all(re.search(r"\s(-1|0|1)$", line) for line in lines)):
            found[name] = lines
    return found


def key_of(line: str, keys: Container[str]) -> str | None:
    """The image that a line names: as it is, in quotes, or as the first of several paths."""
    quoted = re.match(r'"([^"]+)"', line)
    for text in (line, quoted[1] if quoted else "", line.split()[0]):
        if text in keys:
            return text
        path = PurePosixPath(text.replace("\\", "/"))
        if path.suffix.lower() in IMAGE_SUFFIXES:
            parts = path.with_suffix("").parts
            for start in range(len(parts)):
                if (key := "/".join(parts[start:])) in keys:
                    return key
    return None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_LIST:
            raise DataError(f"{path}: over {_MAX_LIST >> 20} MiB is no list of names; is this the right file?")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as UTF-8 text ({error}); save it again") from None


def read_label_map(path: Path) -> list[Label]:
    """The labels of a `labelmap.txt`: their ids are the order of the lines. Without any colours, those of the VOC map
    are meant. DataError with the line for what cannot be read."""
    labels: list[Label] = []
    for number, text in enumerate(_text(path).splitlines(), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        # A name may hold colons itself when all four fields are there.
        name, colour, *_ = [*(line.rsplit(":", 3) if line.count(":") >= 3 else line.split(":")), ""]
        parts = [part.strip() for part in colour.split(",")] if colour.strip() else []
        if (
            not name.strip()
            or len(parts) not in (0, 3)
            or not all(re.fullmatch("[0-9]{1,3}", part) and int(part) <= 255 for part in parts)
        ):
            raise DataError(f"{path}:{number}: is no `label:red,green,blue:parts:actions`; correct the line")
        if len(labels) > MAX_CLASSES + 2:
            raise DataError(f"{path}: over {MAX_CLASSES + 2} labels; at most {MAX_CLASSES} classes are possible")
        if name.strip() in {label.name for label in labels}:
            raise DataError(f"{path}:{number}: the label {name.strip()!r} stands there twice; names must differ")
        rgb = (int(parts[0]), int(parts[1]), int(parts[2])) if parts else None
        labels.append(Label(name.strip(), len(labels), rgb))
    if not labels:
        raise DataError(f"{path}: holds no labels; write one in each line, or remove it")
    if not any(label.colour for label in labels):
        labels = [replace(label, colour=voc_colour(i % 256)) for i, label in enumerate(labels)]
    return labels


def read_class_list(path: Path) -> list[Label]:
    """One name in each line, as labelme2voc writes them; 0 is the background."""
    names = list(dict.fromkeys(line for text in _text(path).splitlines() if (line := text.strip())))
    if names and names[0] == "__ignore__":
        names = names[1:]
    if not names or names[0].lower() not in BACKGROUND_NAMES:
        names = ["background", *names]
    return [Label(name, i, voc_colour(i % 256)) for i, name in enumerate(names)]
