"""Pascal VOC: `JPEGImages`, `SegmentationClass`, `Annotations`, `ImageSets` and `labelmap.txt`.

Known variants: the folder one or two levels down (`VOCdevkit/VOC2012`); palette masks (indices are ids in the order of
the label map, 255 does not count) and RGB ones, as CVAT and Datumaro write them, with `labelmap.txt`
(`label:color_rgb:parts:actions`), their `dataset_meta.json` or the `class_names.txt` of labelme2voc, whose arrays
(`.npy`) are read where there are no pictures of them; lists of names or
of paths; images of any ending, in folders too; XML files alone, beside their images (Roboflow: `train`, `valid`,
`test`) or in `annotations/`. An image with a mask is labelled by it, otherwise by its XML file.

Boxes count pixels from 1 and include both ends, as the development kit says, so (xmin, ymin, xmax, ymax) spans
xmin - 1 to xmax; tools that count from 0 are thus off by up to a pixel, and nothing in a file tells. Outlines that
some tools add (`<polygon>` with x1, y1, x2, …, of pixel centres counted from 1; `<pt>` as in the old LabelMe) and
turned boxes (`<robndbox>`) are read, instance masks (`<segm>`, `SegmentationObject`) and attributes are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from maskwright.base.texts import counted, listing
from maskwright.core.classes import ClassTree
from maskwright.core.findings import Finding, Severity
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.listing import confine_found
from maskwright.core.mask_files import INDEX, MaskEncoding, read_mask
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.maskfiles import by_key, contents_of, other_kind
from maskwright.data.formats.source import AnnotationSet, Item, note
from maskwright.data.formats.voc_labels import VOC_2012, labels_of, without_ignore
from maskwright.data.formats.voc_writer import VocWriter
from maskwright.data.formats.vocfiles import (
    Place,
    Skipped,
    detect,
    file_name,
    find_place,
    folders_in,
    key_of,
    marks_of,
    read_lists,
    read_xml,
    size_of,
)
from maskwright.errors import DataError

__all__ = ["VOC_2012", "VocWriter", "detect", "read"]

# Lists that say nothing about training or validation.
_NO_SPLIT = frozenset({"trainval", "default", "all"})
_ARRAYS_READ = 16
_NO_CLASSES = ClassTree.flat(["any"])  # stored indices are read without looking at classes


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the data set in `root`. `annotations` names its folder, or that of the XML files, and `images` that of
    the images, inside `root`. DataError for files that cannot be parsed, ConfigError where there are several."""
    place = find_place(root, annotations, images)
    pictures, notes = by_key(root, place.images)
    masks: dict[str, Path] = {}
    if place.images == place.home:
        pictures = {key: path for key, path in pictures.items() if not key.lower().startswith("segmentation")}
    if place.masks is not None:
        masks, mask_notes = by_key(root, place.masks)
        if not masks:
            masks, mask_notes = by_key(root, place.masks, arrays=True)
        notes += mask_notes
        for folder in place.arrays:
            notes += _note_arrays(by_key(root, folder, arrays=True)[0], masks, folder, place.masks)
    sheets, sheet_notes = _sheets(root, place, pictures)
    notes += sheet_notes
    items, tally = _items(place, pictures, masks, sheets)
    notes += _missing(items, pictures)
    if place.lists is not None:
        notes += _give_splits(items, root, place.lists)
    for item in items:
        part, _, rest = item.name.partition("/")
        if item.split is None and rest and part.lower() in SPLIT_NAMES:
            item.split = SPLIT_NAMES[part.lower()]
            item.name = f"{item.split}/{rest}"

    found = contents_of(list(masks.values()))
    labels, label_notes = labels_of(place, found, bool(masks), items, sheets)
    encoding = MaskEncoding(found.kind)
    if found.kind == "colour" and found.grey and not found.colours <= {label.colour for label in labels}:
        encoding = MaskEncoding("index")  # ids that were saved as RGB
    labels, encoding, ignore = without_ignore(labels, found, bool(masks), encoding)
    return AnnotationSet(labels, items, notes + label_notes + other_kind(found) + _tally_notes(tally), encoding, ignore)


def _note_arrays(arrays: Mapping[str, Path], masks: Mapping[str, Path], folder: Path, used: Path) -> list[Finding]:
    """Says that arrays are passed over, and whether the first of them hold what the masks do."""
    differ = []
    both = [key for key in arrays if key in masks][:_ARRAYS_READ]
    for key in both:
        try:
            first, second = (read_mask(path, INDEX, _NO_CLASSES).ids for path in (arrays[key], masks[key]))
        except DataError:
            continue  # colours, or -1 for what does not count: not the same values, and no contradiction
        if not np.array_equal(first, second):
            differ.append(key)
    if differ:
        return [
            note(
                "annotation.conflict",
                Severity.WARNING,
                f"{folder.name}: {counted(len(differ), 'array{ is not what its mask|s are not what their masks}')} in "
                f"{used.name} {'is' if len(differ) == 1 else 'are'}, of {len(both)} compared; the masks count "
                f"({listing(differ)})",
                f"look which are right, and move {folder.name} or {used.name} away",
                count=len(differ),
            )
        ]
    unread = counted(len(arrays), ".npy file{ is|s are} not read")
    return [
        note(
            "annotation.dropped",
            Severity.INFO,
            f"{folder.name}: {unread}: the masks are those in {used.name}",
            "nothing: labelme2voc writes both",
            count=len(arrays),
        )
    ]


def _sheets(root: Path, place: Place, pictures: Mapping[str, Path]) -> tuple[dict[str, Path], list[Finding]]:
    """XML files by the key of their image: of the same relative name, or the only image of that name, or of the name
    that the file states."""
    if place.xml is None:
        return {}, []
    files = sorted(
        path
        for path in place.xml.rglob("*")
        if path.suffix.lower() == ".xml"
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(place.xml).parts)
    )
    by_stem: dict[str, list[str]] = {}
    for key in pictures:
        by_stem.setdefault(PurePosixPath(key).name, []).append(key)
    found: dict[str, Path] = {}
    twice = []
    own = {path: path.relative_to(place.xml).with_suffix("").as_posix() for path in files}
    # Those that need no guess come first.
    for path in sorted(files, key=lambda path: (own[path] not in pictures, own[path])):
        confine_found(root, path)
        key = own[path]
        if key not in pictures:
            stems = [path.stem] if path.stem in by_stem else [PureWindowsPath(file_name(read_xml(path))).stem]
            fitting = by_stem.get(stems[0], [])
            key = fitting[0] if len(fitting) == 1 and fitting[0] not in found else key
        if key in found:
            twice.append(path.name)
        else:
            found[key] = path
    return found, [
        note(
            "annotation.duplicate",
            Severity.WARNING,
            counted(
                len(twice),
                "XML file{ is about an image that another one is about, and is|s are about an image that "
                "another one is about, and are} not read",
            )
            + f" ({listing(twice)})",
            "merge or remove them",
            count=len(twice),
        )
    ] if twice else []


def _items(
    place: Place, pictures: Mapping[str, Path], masks: Mapping[str, Path], sheets: Mapping[str, Path]
) -> tuple[list[Item], Skipped]:
    tally = Skipped()
    items = []
    for key in sorted({*pictures, *masks, *sheets}):
        mask, sheet = masks.get(key), sheets.get(key)
        image = pictures.get(key)
        if mask is not None or sheet is None:
            tally.boxes_unused += sheet is not None
            image = image or place.images / f"{key}.jpg"
            items.append(Item(key, image, mask or image, mask=mask, labelled=mask is not None))
            continue
        root = read_xml(sheet)
        size = size_of(root, tally)
        marks, sound = marks_of(root, size, tally, key)
        if image is None:
            ending = PureWindowsPath(file_name(root)).suffix.lower()
            image = place.images / f"{key}{ending if ending in IMAGE_SUFFIXES else '.jpg'}"
        items.append(Item(key, image, sheet, size=size, marks=marks, labelled=bool(marks) or sound))
    return items, tally


def _missing(items: list[Item], pictures: Mapping[str, Path]) -> list[Finding]:
    names = [item.name for item in items if item.name not in pictures]
    return (
        [
            note(
                "annotation.no_image",
                Severity.WARNING,
                counted(
                    len(names), "{mask or XML file belongs|masks or XML files belong} to an image that is not there"
                )
                + f" ({listing(names)})",
                "restore the images, or remove the masks and XML files",
                count=len(names),
            )
        ]
        if names
        else []
    )


def _tally_notes(tally: Skipped) -> list[Finding]:
    notes = []
    if tally.boxes_unused:
        notes.append(
            note(
                "annotation.dropped",
                Severity.INFO,
                counted(
                    tally.boxes_unused,
                    "XML file{ is not used, since its image has a mask|s are not used, since their images have masks}",
                ),
                "remove the masks if the boxes are to count",
                count=tally.boxes_unused,
            )
        )
    if tally.dropped:
        text = ", ".join(f"{count} {kind}" for kind, count in tally.dropped.most_common(8))
        notes.append(
            note(
                "annotation.dropped",
                Severity.INFO,
                f"left out of the XML files: {text}",
                "a mask cannot hold them",
                count=tally.dropped.total(),
            )
        )
    if tally.invalid:
        text = ", ".join(f"{count} {kind}" for kind, count in tally.invalid.most_common(8))
        notes.append(
            note(
                "annotation.invalid",
                Severity.WARNING,
                f"objects that cannot be used: {text} (in {listing(dict.fromkeys(tally.spoilt))})",
                "draw them again",
                tally.spoilt[0] if len(set(tally.spoilt)) == 1 else None,
                count=tally.invalid.total(),
            )
        )
    if tally.clipped:
        notes.append(
            note(
                "annotation.clipped",
                Severity.INFO,
                counted(
                    tally.clipped,
                    "object{ reaches outside its image, and is|s reach outside their image, and are} cut "
                    "off at its border",
                ),
                "none is needed",
                count=tally.clipped,
            )
        )
    return notes


def _give_splits(items: list[Item], root: Path, folder: Path) -> list[Finding]:
    """Sets `split` from the lists of `Segmentation`, or of `Main` for images that those lack."""
    inside = folders_in(folder)
    keys = {item.name: item for item in items}
    notes: list[Finding] = []
    no_split: set[str] = set()
    for task in ("segmentation", "main"):
        if task not in inside:
            continue
        lists = read_lists(root, inside[task], classes=task == "main")
        given: dict[str, str] = {}
        conflicts, unknown = set(), []
        for name in sorted(lists, key=_rank):
            split = SPLIT_NAMES.get(name.lower(), name)
            for line in lists[name]:
                key = key_of(line, keys)
                if key is None:
                    unknown.append(line)
                elif name.lower() in _NO_SPLIT:
                    no_split.add(key)
                elif given.setdefault(key, split) != split and name.lower() in SPLIT_NAMES:
                    conflicts.add(key)
        for key, split in given.items():
            keys[key].split = keys[key].split or split
        if conflicts:
            notes.append(
                note(
                    "annotation.conflict",
                    Severity.WARNING,
                    f"ImageSets/{inside[task].name}: {counted(len(conflicts), 'image{ is|s are} in several splits')} "
                    f"({listing(sorted(conflicts))}); the first of train, val, test counts",
                    "remove them from all lists but one",
                    count=len(conflicts),
                )
            )
        if unknown:
            notes.append(
                note(
                    "annotation.no_image",
                    Severity.WARNING,
                    f"ImageSets/{inside[task].name}: "
                    + counted(len(unknown), "line{ names|s name} no image of this folder")
                    + f" ({listing(line[:60] for line in unknown)})",
                    "restore the images, or remove the lines",
                    count=len(unknown),
                )
            )
    open_ = sorted(key for key in no_split if keys[key].split is None)
    if open_ and "trainval" in {name for task in inside.values() for name in _names_of(task)}:
        notes.append(
            note(
                "annotation.dropped",
                Severity.INFO,
                counted(
                    len(open_),
                    "image{ is in trainval.txt only, so it has|s are in trainval.txt only, so they have} no split",
                )
                + f" ({listing(open_)})",
                "split the data set",
                count=len(open_),
            )
        )
    return notes


def _rank(name: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    split = SPLIT_NAMES.get(name.lower(), "")
    return order.index(split) if split in order else len(order), name


def _names_of(folder: Path) -> list[str]:
    return [path.stem.lower() for path in folder.glob("*.txt")]
