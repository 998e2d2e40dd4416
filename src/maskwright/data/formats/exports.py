"""What readers of the exports of annotation tools share: values as they write them, and images joined into a set.

A reader makes an `Entry` of each image that it reads about, with its marks and what was met on the way. `joined` finds
the image files, names the samples, and counts what was left out in `COMMON` words and those of the reader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maskwright.base.limits import MAX_PIXELS
from maskwright.core.classes import MAX_CLASSES
from maskwright.core.findings import Severity
from maskwright.core.folder_names import IMAGE_FOLDERS
from maskwright.core.image_files import images_in
from maskwright.core.regions import Polygon, Runs, Shape
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.coco_images import ImageFiles, known_split, path_in, tail_of
from maskwright.data.formats.coco_values import whole
from maskwright.data.formats.source import AnnotationSet, Item, Kinds, Label, Mark, Occurrences, notes_on, takeable
from maskwright.errors import DataError

# Of marks that no class is said of.
UNNAMED = ""
REGION = "region"
_INFO, _WARNING = Severity.INFO, Severity.WARNING
# What every reader may meet; kinds of `GENERAL` are told with names of things, not of images.
GENERAL = ("type", "extras", "region", "unread", "broken")
COMMON: Kinds = {
    "type": (
        "annotation.dropped",
        _WARNING,
        "region{ is of a kind that marks|s are of kinds that mark} no area here, and {is|are} left out",
        "draw what should count as polygons",
    ),
    "extras": (
        "annotation.dropped",
        _INFO,
        "attribute{ says|s say} what no mask can hold",
        "nothing, if it is not needed",
    ),
    "unread": (
        "annotation.dropped",
        _INFO,
        "file{ holds|s hold} something else than annotations of this format; left out",
        "nothing, if they do not belong here",
    ),
    "broken": (
        "annotation.invalid",
        _WARNING,
        "file{ is|s are} empty or of another kind than {its|their} ending says; left out",
        "export them again, or remove them",
    ),
    "shape": (
        "annotation.invalid",
        _WARNING,
        "region{ has|s have} too few points, no area, or what is no number; left out",
        "draw them again",
    ),
    "mask": (
        "annotation.invalid",
        _WARNING,
        "mask{ is|s are} damaged or of another size than the image; left out",
        "draw them again",
    ),
    "nothing": ("annotation.dropped", _INFO, "mask{ marks|s mark} no pixel; left out", "nothing"),
    "unnamed": ("annotation.invalid", _WARNING, "region{ has|s have} no class; left out", "give them a class"),
    "region": (
        "annotation.renamed",
        _INFO,
        f"region{{ has|s have}} no class, as all the others; the class is called {REGION} here",
        "rename it in dataset.yaml",
    ),
    "noname": (
        "annotation.invalid",
        _WARNING,
        "entr{y names|ies name} no image; left out",
        "correct them in the annotation tool and export again",
    ),
    "missing": (
        "annotation.no_image",
        _WARNING,
        "image{ is|s are} not in the folder",
        "copy them there, or name their folder by `images` in dataset.yaml",
    ),
    "moved": (
        "annotation.renamed",
        _INFO,
        "image{ is|s are} found by name, not at the place that is given",
        "nothing, if the right images were found",
    ),
    "twice": (
        "annotation.duplicate",
        _WARNING,
        "image{ is|s are} annotated twice; the first one counts",
        "keep one of each",
    ),
    "same": (
        "annotation.renamed",
        _INFO,
        "image{ has|s have} the name of another one, and a number behind it here",
        "rename them if that matters",
    ),
    "size": (
        "annotation.conflict",
        _WARNING,
        "image{ has|s have} a size that is none; the file's own counts",
        "correct it in the annotation file",
    ),
    "clipped": (
        "annotation.clipped",
        _INFO,
        "region{ reaches outside the image and is|s reach outside the image and are} cut off at its edge",
        "nothing, if it is a matter of a pixel or two",
    ),
    "box": (
        "annotation.dropped",
        _INFO,
        "region{ is|s are} only a box, which is filled",
        "see `boxes` in dataset.yaml for how",
    ),
    "empty": (
        "annotation.conflict",
        _INFO,
        "annotated image{ has|s have} no region that can be used, and {is|are} taken as background",
        "leave them out of the annotations if they are not labelled yet",
    ),
}


# -- values ------------------------------------------------------------------------------------------------------------


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, or among the values of an object; nothing for all else."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [entry for entry in values if isinstance(entry, dict)]


def inside(value: Any, *keys: str) -> Any:
    """`value[key][key]…`, None where there is no such thing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def name_from(value: Any) -> str:
    """The name of a class: text, or a number as text; `UNNAMED` for all else. Half characters and control characters
    are replaced."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UNNAMED
    text = str(value).encode("utf-8", "replace").decode()
    return "".join(c if c >= " " else "_" for c in text).strip()[:200]


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """(height, width) where they are whole numbers of an image that can be read."""
    rows, columns = whole(height), whole(width)
    fits = rows is not None and columns is not None and min(rows, columns) > 0 and rows * columns <= MAX_PIXELS
    return (rows, columns) if fits and rows and columns else None


# -- images ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Entry:
    """What an annotation file (`source`) says of one image. `names` are paths or names that its image may have, the
    likeliest first; `split` is what the file itself says. `met` are kinds of `Kinds` with the thing that they are told
    by, which is the image where it is empty."""

    source: Path
    names: tuple[str, ...]
    size: tuple[int, int] | None = None
    split: str | None = None
    marks: list[Mark] = field(default_factory=list)
    labelled: bool = True
    met: list[tuple[str, str]] = field(default_factory=list)

    def meet(self, kind: str, thing: str = "", times: int = 1) -> None:
        """Counts what was met."""
        self.met += [(kind, thing)] * times

    def add(
        self,
        label: str,
        make: Callable[[], Shape | None],
        bad: str = "shape",
        order: int = 0,
        weak: bool = False,
        errors: tuple[type[Exception], ...] = (ValueError,),
    ) -> None:
        """A mark of the shape that `make` returns; where it raises one of `errors`, the kind `bad` was met, and
        where it returns None, `nothing`."""
        try:
            shape = make()
        except errors:
            self.meet(bad)
            return
        if shape is None:
            self.meet("nothing")
        else:
            self.marks.append(Mark(label, shape, order, weak))
            self.meet("box", times=weak)


def joined(
    files: ImageFiles, entries: Iterable[Entry], labels: Sequence[Label], seen: Occurrences, kinds: Kinds, *general: str
) -> AnnotationSet:
    """The annotation set of all entries. `seen` holds what was met outside of them, `kinds` the reader's own words,
    `general` those of its kinds that are told with names of things. Images beside annotated ones are not labelled.

    DataError for more labels than there can be classes.
    """
    items: dict[tuple[str | None, str], Item] = {}
    names: set[str] = set()
    for entry in entries:
        place, moved = _place(files, entry)
        if place is None:
            seen.setdefault("noname", []).append(entry.source.relative_to(files.root).as_posix())
            continue
        split, name = _split_and_name(place, entry.split)
        before = items.get((split, place))
        if before is not None and (before.labelled or not entry.labelled):
            seen.setdefault("twice", []).append(before.name)
            continue
        if before is None:
            name = _unique(name, names, seen)
        item = items[split, place] = Item(
            before.name if before else name,
            files.path(place, entry.source),
            entry.source,
            split,
            entry.size,
            entry.marks,
            labelled=entry.labelled,
        )
        _tell(item, entry, moved, seen)
    _name_unnamed(list(items.values()), seen)
    _check_labels(files.root, labels, list(items.values()))
    _add_unlabelled(files, items, names, seen)
    return AnnotationSet(list(labels), list(items.values()), notes_on({**COMMON, **kinds}, seen, (*GENERAL, *general)))


def _place(files: ImageFiles, entry: Entry) -> tuple[str | None, str]:
    """Where the image is or would be, and whether it was `moved` there or is `missing`."""
    names = [name for name in entry.names if tail_of(name)]
    for name in names:
        if (place := path_in(name)) in files:
            return place, ""
    for name in names:
        if found := files.nearest(name, entry.source.relative_to(files.root).as_posix()):
            exact = f"/{found}".endswith("/" + path_in(name).removeprefix("./").lstrip("/"))
            return found, "" if exact else "moved"
    return (takeable(tail_of(names[0]).split("/")), "missing") if names else (None, "")


def _split_and_name(place: str, split: str | None) -> tuple[str | None, str]:
    """The split that the folders tell, unless one is given, and the path without the ending, that split and the first
    folder with a usual name for images; the split comes first."""
    *folders, last = place.split("/")
    stem, ending = os.path.splitext(last)
    stem = stem if ending.lower() in IMAGE_SUFFIXES else last
    for number, folder in enumerate(folders):
        word = known_split(folder)
        if (split is None and word) or (split is not None and split in (word, folder)):
            split = split or word
            del folders[number]
            break
    for number, folder in enumerate(folders):
        if folder.lower() in IMAGE_FOLDERS:
            del folders[number]
            break
    return split, "/".join([*([split] if split else []), *folders, stem])


def _unique(name: str, names: set[str], seen: Occurrences) -> str:
    found, number = name, 1
    while found in names:
        number += 1
        found = f"{name}-{number}"
    if number > 1:
        seen.setdefault("same", []).append(found)
    names.add(found)
    return found


def _tell(item: Item, entry: Entry, moved: str, seen: Occurrences) -> None:
    met = [*entry.met, *([(moved, "")] if moved else [])]
    if item.size is not None:
        met += [("clipped", "") for mark in item.marks if _outside(mark.shape, item.size)]
    if entry.labelled and not item.marks:
        met.append(("empty", ""))
    for kind, thing in met:
        seen.setdefault(kind, []).append(thing or item.name)


def _outside(shape: Shape, size: tuple[int, int]) -> bool:
    """Whether it reaches further out than rounding can."""
    if isinstance(shape, Runs):
        left, top, width, height = shape.box or (0, 0, 0, 0)
        return left < 0 or top < 0 or left + width > size[1] or top + height > size[0]
    if not isinstance(shape, Polygon):
        return False  # not known before it is drawn
    low, high = shape.rings[0].min(0), shape.rings[0].max(0)
    return bool((low < -0.01).any() or high[0] > size[1] + 0.01 or high[1] > size[0] + 0.01)


def _name_unnamed(items: list[Item], seen: Occurrences) -> None:
    """Where no region has a class, all are of one; where only some have none, these are left out."""
    marks = [mark for item in items for mark in item.marks]
    named = any(mark.label != UNNAMED for mark in marks)
    for item in items:
        bare = sum(mark.label == UNNAMED for mark in item.marks)
        if bare:
            seen.setdefault("unnamed" if named else "region", []).extend([item.name] * bare)
            item.marks = [
                mark if mark.label != UNNAMED else replace(mark, label=REGION)
                for mark in item.marks
                if mark.label != UNNAMED or not named
            ]


def _check_labels(root: Path, labels: Sequence[Label], items: list[Item]) -> None:
    found = {label.name for label in labels} | {mark.label for item in items for mark in item.marks}
    if len(found) > MAX_CLASSES + 1:
        raise DataError(f"{root}: {len(found)} labels; at most {MAX_CLASSES} classes are possible, so merge some")


def _add_unlabelled(
    files: ImageFiles, items: dict[tuple[str | None, str], Item], names: set[str], seen: Occurrences
) -> None:
    """Images without an entry, in the folders of those with one."""
    used = {item.image for item in items.values()}
    for folder in sorted({path.parent for path in used}):
        for path in images_in(folder):
            place = path.relative_to(files.root).as_posix()
            if path in used or place not in files:
                continue
            split, name = _split_and_name(place, None)
            name = _unique(name, names, seen)
            items[split, place] = Item(name, files.path(place, path), path, split, labelled=False)
