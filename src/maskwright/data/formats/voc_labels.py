"""The classes of a set of Pascal VOC: from its label map, or from what its masks and XML files hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from maskwright.base.texts import counted, listing
from maskwright.core.classes import IGNORE, MAX_CLASSES
from maskwright.core.findings import Finding, Severity
from maskwright.core.listing import confine_found
from maskwright.core.mask_files import MaskEncoding
from maskwright.data.formats.maskfiles import VOID, MaskContents, voc_colour
from maskwright.data.formats.semantic import META, read_meta
from maskwright.data.formats.source import Item, Label, note
from maskwright.data.formats.vocfiles import (
    CLASS_LISTS,
    IGNORE_LABELS,
    LABEL_MAP,
    Place,
    read_class_list,
    read_label_map,
    read_xml,
)
from maskwright.errors import DataError

VOC_2012 = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_NAMES_READ = 64


def labels_of(
    place: Place, found: MaskContents, masks: bool, items: list[Item], sheets: Mapping[str, Path]
) -> tuple[list[Label], list[Finding]]:
    """The classes, from the first that there is of: a label map, a list of names, the masks or the XML files."""
    marked = sorted({mark.label for item in items for mark in item.marks} - {"ignore"})
    notes: list[Finding] = []
    files = [path for name in (LABEL_MAP, META, *CLASS_LISTS) if (path := place.home / name).is_file()]
    if files:
        path = confine_found(place.inside, files[0])
        labels = (
            read_label_map(path)
            if path.name == LABEL_MAP
            else read_meta(path).labels
            if path.name == META
            else read_class_list(path)
        )
    elif not masks:
        return [Label(name) for name in marked], []
    elif _fits_voc(found, marked, sheets):
        labels = [Label(name, i, voc_colour(i)) for i, name in enumerate(VOC_2012)]
        notes.append(
            note(
                "annotation.renamed",
                Severity.INFO,
                f"no {LABEL_MAP}, but the masks fit the 21 classes of VOC 2012, so their names are taken",
                f"write {LABEL_MAP} if the classes are others",
            )
        )
    else:
        labels = _placeholders(found, place)
        notes.append(
            note(
                "annotation.renamed",
                Severity.WARNING,
                f"no {LABEL_MAP}, and the masks are not those of VOC 2012: the classes have no names",
                f"write {LABEL_MAP}, or give them names in dataset.yaml",
                count=len(labels),
            )
        )
    known = {label.name for label in labels}
    new = [name for name in marked if name not in known]
    if new and masks:
        free = 1 + max((label.id or 0 for label in labels), default=0)
        labels += [Label(name, free + i) for i, name in enumerate(new)]
        notes.append(
            note(
                "annotation.conflict",
                Severity.WARNING,
                counted(
                    len(new),
                    "label{ of XML files is none of the masks' classes and becomes a class|s of XML files "
                    "are none of the "
                    "masks' classes and become classes} of their own",
                )
                + f" ({listing(new)})",
                f"add them to {LABEL_MAP}",
                count=len(new),
            )
        )
    elif new:
        labels += [Label(name, len(labels) + i) for i, name in enumerate(new)]
    return labels, notes


def _fits_voc(found: MaskContents, marked: list[str], sheets: Mapping[str, Path]) -> bool:
    """Whether masks and names are those of VOC 2012: a few ids alone would fit any data set."""
    names = {
        *marked,
        *(
            name
            for path in list(sheets.values())[:_NAMES_READ]
            for element in read_xml(path).iterfind("object")
            if (name := (element.findtext("name") or "").strip())
        ),
    }
    if not names <= {*VOC_2012, *IGNORE_LABELS}:
        return False
    if found.kind == "colour":
        return found.colours <= {VOID, *map(voc_colour, range(len(VOC_2012)))}
    return found.voc_palette and found.values <= {*range(len(VOC_2012)), IGNORE}


def _placeholders(found: MaskContents, place: Place) -> list[Label]:
    colours = sorted(found.colours)
    count = len(colours) if found.kind == "colour" else len(found.values)
    if count > MAX_CLASSES + 2:
        raise DataError(
            f"{place.masks}: the masks hold {count} different values, too many for classes without a "
            f"{LABEL_MAP}; write one"
        )
    if found.kind == "colour":
        return [
            Label("background" if colour == (0, 0, 0) else f"class_{i}", i, colour) for i, colour in enumerate(colours)
        ]
    values = sorted({0, *found.values} - {IGNORE})
    return [Label(f"class_{value}" if value else "background", value, voc_colour(value % 256)) for value in values]


def without_ignore(
    labels: list[Label], found: MaskContents, masks: bool, encoding: MaskEncoding
) -> tuple[list[Label], MaskEncoding, int | None]:
    """Labels without those that mark pixels which do not count, and the colour of such pixels, or their value if it
    is not 255."""
    aside = [
        label for label in labels if label.id != 0 and (label.name.lower() in IGNORE_LABELS or label.colour == VOID)
    ]
    if masks and encoding.kind == "colour":
        labels = [label for label in labels if label not in aside]
        colour = next((label.colour for label in aside if label.colour), VOID)
        taken = colour in {label.colour for label in labels}
        return labels, encoding if taken else replace(encoding, ignore_colour=colour), None
    values = found.grey if found.kind == "colour" else found.values
    used = [label for label in aside if label.id in values] if masks else []
    if used and IGNORE not in values:
        return [label for label in labels if label not in aside], encoding, used[0].id
    return [label for label in labels if label not in aside or label in used], encoding, None
