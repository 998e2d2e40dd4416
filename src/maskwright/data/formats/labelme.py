"""LabelMe (https://github.com/wkentaro/labelme): one JSON file an image, usually beside it, with a list of shapes.

Read are versions 3 to 5 and what X-AnyLabeling adds: `polygon` (also where a shape of version 3 has no type), `circle`
(its centre and a point on its edge), `mask` (a PNG in a box), and as weak regions `rectangle`, `rotation` and
`oriented_rectangle`. Points and lines cover no pixels and are left out, as are groups, flags and descriptions: all are
counted. Later shapes lie on top. LabelMe itself fills from pixel centre to pixel centre and draws the outline too, half
a pixel more on each side than here, where points are continuous positions and a pixel counts when its centre is inside.

`_background_` is the background, here called `background`, and `__ignore__` pixels that do not count. `labels.txt`
gives the order of the classes. `imagePath` is relative to the JSON file; where it leads outside, nowhere or to no image
(files were moved, it is a path of another machine, or LabelMe 4 wrote the JSON file there), the image of that name, or
of the JSON file's, is taken, with a note: in the folder of images that was named, beside it, or the only one anywhere.
`imageData`, an image inside the JSON file, is not used. Images beside annotated ones and without a JSON file are not
labelled. A folder called train, valid, … is a split.
"""

from __future__ import annotations

import base64
import io
import math
import os
import struct
import zlib
from collections import Counter
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine, read_json
from maskwright.core.classes import MAX_CLASSES
from maskwright.core.findings import Severity
from maskwright.core.folder_names import IMAGE_FOLDERS, MASK_FOLDERS, SPLIT_NAMES
from maskwright.core.image_files import images_below, images_in
from maskwright.core.listing import confine_found
from maskwright.core.polygons import MAX_COORDINATE, Ring, box_ring, ellipse_ring
from maskwright.core.regions import Polygon, Runs, Shape
from maskwright.core.rle import MAX_SIDE, encode_box
from maskwright.core.sample import silence_pillow
from maskwright.data.formats.contents import ends_of
from maskwright.data.formats.labelme_images import find_elsewhere, image_of, inside_of
from maskwright.data.formats.labelme_writer import BACKGROUND, LabelMeWriter
from maskwright.data.formats.source import AnnotationSet, Item, Kinds, Label, Mark, Occurrences, notes_on, takeable
from maskwright.errors import DataError

__all__ = ["LabelMeWriter", "detect", "read"]

_MAX_JSON = 128 << 20
_MAX_SHAPES = 1_000_000
_WEAK = ("rectangle", "rotation", "oriented_rectangle")
_WITHOUT_PIXELS = ("point", "points", "line", "linestrip")
# Keys of a shape that are read, or say only how it is displayed; others are counted where they say something.
_READ = frozenset({"label", "points", "shape_type", "mask", "line_color", "fill_color", "direction"})
_PNG_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_INFO, _WARNING = Severity.INFO, Severity.WARNING
# What reading finds: code, severity, what was seen, what to do. One note each, however often it is seen.
_KINDS: Kinds = {
    "pixels": (
        "annotation.dropped",
        _WARNING,
        "{point or line covers|points and lines cover} no pixels; left out",
        "draw what should count as polygons",
    ),
    "extras": (
        "annotation.dropped",
        _INFO,
        "{group, flag or description is|groups, flags or descriptions are} left out",
        "nothing, unless they mattered",
    ),
    "other": ("annotation.dropped", _INFO, "JSON file{ is|s are} not of LabelMe; left out", "nothing, if they are not"),
    "shape": (
        "annotation.invalid",
        _WARNING,
        "shape{ has|s have} no label, too few points, or what is no number; left out",
        "draw them again",
    ),
    "mask": (
        "annotation.invalid",
        _WARNING,
        "mask{ is|s are} no PNG of the size of the box; left out",
        "draw them again",
    ),
    "type": ("annotation.invalid", _WARNING, "shape{ is|s are} of an unknown type; left out", "draw them as polygons"),
    "size": (
        "annotation.conflict",
        _WARNING,
        "file{ has|s have} an image size that is none; the image's own counts",
        "correct imageHeight and imageWidth",
    ),
    "form": (
        "annotation.renamed",
        _INFO,
        "path{ has|s have} another form of Unicode than {its|their} image{|s}, which {is|are} found all the same",
        "rename image and JSON file alike before the data go to another system or tool",
    ),
    "clipped": (
        "annotation.clipped",
        _INFO,
        "shape{ reaches outside the image and is|s reach outside the image and are} cut off at its edge",
        "nothing, unless they should not",
    ),
    "moved": (
        "annotation.renamed",
        _INFO,
        "file{ has|s have} an imagePath that leads elsewhere or to no image; the image of the same name is used",
        "nothing, if the right images were found",
    ),
    "missing": (
        "annotation.no_image",
        _WARNING,
        "annotated image{ is|s are} not there (what is embedded in JSON files is not used)",
        "put them beside their JSON files, or name their folder",
    ),
    "twice": (
        "annotation.duplicate",
        _WARNING,
        "file{ annotates|s annotate} an image that another one annotates; the first counts",
        "keep one of them",
    ),
}


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads all JSON files of LabelMe below `root`, or in the folder `annotations` (or the one file).

    DataError for a JSON file that cannot be parsed, or whose `shapes` is no list.
    """
    place = confine(root, annotations, "the annotations") if annotations else root
    image_root = confine(root, images, "the folder of images") if images else None
    seen: Occurrences = {}
    extras: Counter[str] = Counter()
    items: dict[str, Item] = {}
    used: set[Path] = set()
    lost: dict[str, PureWindowsPath] = {}
    for file in _json_files(place):
        data = _load(confine_found(root, file))
        if not isinstance(data, dict) or not ("shapes" in data or "imagePath" in data):
            seen.setdefault("other", []).append(file.relative_to(root).as_posix())
            continue
        name, split = _name_of(root, file)
        name = file.relative_to(root).as_posix() if name in items else name
        told = PureWindowsPath(_text(data.get("imagePath") or ""))
        image, stated = image_of(root, file, told, image_root, name, seen)
        if image is None:
            lost[name] = told
            inside = inside_of(file.parent.relative_to(root).parts, told) if told.name else None
            image = root / takeable(inside) if inside else file.with_suffix(".jpg")
        elif not stated:
            seen.setdefault("moved", []).append(name)
        if image in used:
            seen.setdefault("twice", []).append(name)
            lost.pop(name, None)
            continue
        used.add(image)
        items[name] = _item(Item(name, image, file, split), data, seen, extras)
    if lost:
        find_elsewhere(root, image_root, lost, items, used, seen)
    _add_unlabelled(root, image_root, items)
    names = _listed_names(root, place) | dict.fromkeys(mark.label for item in items.values() for mark in item.marks)
    if len(names) > MAX_CLASSES + 1:
        raise DataError(f"{root}: {len(names)} labels; at most {MAX_CLASSES} classes are possible, so merge some")
    seen["extras"] = [key for key, count in extras.most_common() for _ in range(count)]
    return AnnotationSet(
        [Label(name) for name in names], list(items.values()), notes_on(_KINDS, seen, ("extras", "other"))
    )


def _json_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(
        path
        for path in place.rglob("*.json")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(place).parts)
    )


def _load(file: Path) -> Any:
    if os.path.getsize(file) > _MAX_JSON:
        raise DataError(f"{file}: larger than {_MAX_JSON >> 20} MiB; save it without imageData")
    return read_json(file)


def _name_of(root: Path, path: Path) -> tuple[str, str | None]:
    """The path without its ending, and its split, whose folder comes first: the first one, or the one in a folder that
    is usual for images or annotations."""
    folders = list(path.relative_to(root).parts[:-1])
    usual = bool(folders) and folders[0].lower() in (*IMAGE_FOLDERS, *MASK_FOLDERS)
    split = SPLIT_NAMES.get(folders[usual].lower()) if len(folders) > usual else None
    if split is not None:
        del folders[usual]
        folders.insert(0, split)
    return "/".join([*folders, path.stem]), split


def _text(value: object) -> str:
    """Without what no file can hold: half characters, NUL."""
    return str(value).encode("utf-8", "replace").decode().replace("\0", "_").strip()


def _item(item: Item, data: dict[str, Any], seen: Occurrences, extras: Counter[str]) -> Item:
    """`item` with the size and the marks of its JSON file."""
    sides: list[Any] = [data.get("imageHeight"), data.get("imageWidth")]
    if all(_is_number(side) and side >= 1 for side in sides) and sides[0] * sides[1] <= MAX_PIXELS:
        item.size = int(sides[0]), int(sides[1])
    elif sides != [None, None]:
        seen.setdefault("size", []).append(item.name)
    shapes = data.get("shapes") or []
    if not isinstance(shapes, list) or len(shapes) > _MAX_SHAPES:
        raise DataError(f"{item.source}: `shapes` is no list of at most {_MAX_SHAPES} shapes; save it with LabelMe")
    extras["flags of images"] += _says(data.get("flags"))
    for shape in shapes:
        kind, mark = _mark(shape, item.size)
        if mark is not None:
            item.marks.append(mark)
            extras.update(f"{key[:40]!a}"[1:-1] for key, value in shape.items() if key not in _READ and _says(value))
        if kind:
            seen.setdefault(kind, []).append(item.name)
    return item


def _mark(shape: Any, size: tuple[int, int] | None) -> tuple[str | None, Mark | None]:
    """A shape as a region; the first says what is wrong with it, if anything is."""
    if not isinstance(shape, dict):
        return "shape", None
    form = shape.get("shape_type") or "polygon"
    if form in _WITHOUT_PIXELS:
        return "pixels", None
    label = shape.get("label")
    points = _points(shape.get("points"))
    if not isinstance(label, str | int | float) or not (name := _text(label)) or points is None:
        return "shape", None
    try:
        found: Shape
        if form == "mask":
            found = _decode(shape.get("mask"), points)
            left, top, width, height = found.box or (0, 0, 0, 0)
            low, high = np.array([left, top]), np.array([left + width, top + height])
        else:
            ring = _ring(form, points)
            if ring is None:
                return "shape" if form in ("polygon", "circle", *_WEAK) else "type", None
            found, low, high = Polygon((ring,)), ring.min(0), ring.max(0)
    except _PNG_ERRORS:
        return "mask", None
    outside = size is not None and bool((low < -0.5).any() or (high > np.array(size[::-1]) + 0.5).any())
    return "clipped" if outside else None, Mark("background" if name == BACKGROUND else name, found, weak=form in _WEAK)


def _says(value: Any) -> bool:
    """Group 0 says something; what is empty or off does not."""
    return any(value.values()) if isinstance(value, dict) else bool(value) or (value == 0 and value is not False)


def _points(value: Any) -> Ring | None:
    """(P, 2) finite numbers, or None."""
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in value):
        return None
    return np.array(value, np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_COORDINATE


def _ring(form: str, points: Ring) -> Ring | None:
    """The outline of a shape; None for an unknown type, and for a number of points that does not fit."""
    if form == "polygon" or (form in _WEAK and form != "rectangle"):
        return points if len(points) >= 3 else None
    if form == "rectangle" and len(points) in (2, 4):
        return box_ring(*points.min(0), *points.max(0))
    if form == "circle" and len(points) == 2:
        (x, y), (to_x, to_y) = points
        radius = math.hypot(to_x - x, to_y - y)
        return ellipse_ring(x, y, radius, radius)
    return None


def _decode(text: Any, points: Ring) -> Runs:
    """The PNG of a mask, which covers its two points and what is between; one of `_PNG_ERRORS` when it does not."""
    if not isinstance(text, str) or points.shape != (2, 2):
        raise ValueError("no mask")
    (left, top), (right, bottom) = np.floor(points + 0.5).astype(np.int64).tolist()
    width, height = right - left + 1, bottom - top + 1
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ValueError("no box")
    stream = io.BytesIO(base64.b64decode(text))
    silence_pillow()
    with Image.open(stream, formats=("PNG",)) as image:
        if image.size != (width, height) or image.mode not in ("1", "L", "P"):
            raise ValueError("not of this box")
        counts, x, y, columns, rows = encode_box(np.asarray(image) != 0)
    if not columns:
        raise ValueError("empty")
    return Runs(np.array(counts, np.uint32), box=(left + x, top + y, columns, rows))


def _add_unlabelled(root: Path, image_root: Path | None, items: dict[str, Item]) -> None:
    """Images without a JSON file, where those with one are."""
    used = {item.image for item in items.values()}
    folders = sorted({path.parent for path in used})
    found = dict.fromkeys(path for folder in folders for path in images_in(folder))
    found |= dict.fromkeys(images_below(image_root) if image_root else ())
    for path in found:
        if path not in used:
            name, split = _name_of(root, confine_found(root, path))
            name = name if name not in items else name + path.suffix
            items[name] = Item(name, path, path, split, labelled=False)


def _listed_names(root: Path, place: Path) -> dict[str, None]:
    """The classes of `labels.txt`."""
    for folder in dict.fromkeys([place if place.is_dir() else place.parent, root]):
        file = folder / "labels.txt"
        if file.is_file():
            try:
                lines = confine_found(root, file).read_text("utf-8-sig").splitlines()[: 2 * MAX_CLASSES]
            except (OSError, ValueError) as error:
                raise DataError(f"{file}: cannot be read as UTF-8 text ({error}); save it again") from None
            names = [line.strip() for line in lines]
            return {"background" if name == BACKGROUND else name: None for name in names if name}
    return {}


def detect(root: Path) -> str | None:
    """The reason when one of the first JSON files has shapes of an image."""
    folders = [root]
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                some = sorted(
                    (entry for entry in islice(entries, 5000) if not entry.name.startswith(".")),
                    key=lambda entry: entry.name,
                )
            files = [Path(entry.path) for entry in some if entry.name.endswith(".json")]
            below = [Path(entry.path) for entry in some if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for path in files[:5]:
            ends = ends_of(path)
            if b'"shapes"' in ends and any(key in ends for key in (b'"imagePath"', b'"imageHeight"', b'"points"')):
                return f"{path.relative_to(root).as_posix()} holds shapes as LabelMe does"
        folders += below[: max(0, 100 - len(folders))]
    return None
