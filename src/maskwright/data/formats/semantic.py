"""The common semantic format of OpenVINO, which Datumaro reads too: `images/`, `masks/` and `dataset_meta.json`.

Known variants: masks in the colours of the classes (`segmentation_colors`, RGB) or with their ids; `labels`, a list,
instead of `label_map`; one such folder for each split; images and masks whose names differ by what stands before or
behind a common number (`image_0001.png`, `gt_0001.png`), which other tools are told as prefixes. A label that is
called ignore marks pixels that do not count, unless it is the `background_label`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from maskwright.base.storage import confine, read_json
from maskwright.base.texts import counted, listing
from maskwright.core.classes import MAX_ID
from maskwright.core.description import MASK_ENDINGS
from maskwright.core.findings import Finding, Severity
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.listing import confine_found
from maskwright.core.mask_files import MaskEncoding
from maskwright.core.palette import Colour
from maskwright.data.formats.coco_values import text_of
from maskwright.data.formats.maskfiles import by_key, contents_of, other_kind, voc_colour
from maskwright.data.formats.source import AnnotationSet, Item, Label, note
from maskwright.errors import DataError

META = "dataset_meta.json"
_MAX_META = 16 << 20
# Images and masks with the same number are compared one with another, so a number must not be too common.
_MAX_SAME_NUMBER = 16


def detect(root: Path) -> str | None:
    """The reason why `root` is such a folder, or None."""
    homes = _homes(root)
    if not homes:
        return None
    named = META if homes[0][1] == root else f"{homes[0][1].name}/{META}"
    return f"{named} lies beside images/ and masks/"


def _homes(root: Path) -> list[tuple[str | None, Path]]:
    """(split, folder) of what holds the meta file: `root` itself, or its folders."""

    def is_home(folder: Path) -> bool:
        return (folder / META).is_file() and (folder / "images").is_dir() and (folder / "masks").is_dir()

    if is_home(root):
        return [(None, root)]
    try:
        inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
    return [(SPLIT_NAMES.get(path.name.lower(), path.name), path) for path in inside if is_home(path)]


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the folder. `annotations` names another meta file, `images` another folder of images, inside `root`."""
    homes = _homes(root)
    if annotations is not None or images is not None:
        homes = [(None, root)]
    if not homes:
        raise DataError(f"{root}: no {META} with the folders images and masks beside it; give the folder that has them")
    first, *rest = [confine_found(root, confine(home, annotations or META, str(root))) for _, home in homes]
    meta = read_meta(first)
    for other in rest:
        if read_meta(other) != meta:
            raise DataError(f"{other}: names other classes than {first}; make them the same")

    items: list[Item] = []
    notes: list[Finding] = []
    for split, home in homes:
        pictures, picture_notes = by_key(root, confine(home, images or "images", META))
        masks, mask_notes = by_key(root, home / "masks")
        pairs, pair_notes = _pairs(list(pictures), list(masks))
        notes += picture_notes + mask_notes + pair_notes
        for key, path in pictures.items():
            mask = masks.get(pairs.get(key, ""))
            name = f"{split}/{key}" if split else key
            items.append(Item(name, path, mask or path, split, mask=mask, labelled=mask is not None))
    found = contents_of([item.mask for item in items if item.mask])
    aside = next(
        (
            label
            for label in meta.labels
            if label.name.lower() in ("ignore", "__ignore__", "void") and label.id not in (meta.background, 0)
        ),
        None,
    )
    labels = [label for label in meta.labels if label is not aside]
    encoding = MaskEncoding(found.kind)
    if aside and found.kind == "colour" and aside.colour not in {label.colour for label in labels}:
        encoding = MaskEncoding("colour", ignore_colour=aside.colour)
    return AnnotationSet(labels, items, notes + other_kind(found), encoding, aside.id if aside else None)


@dataclass(frozen=True)
class Meta:
    """What `dataset_meta.json` says: labels with ids and colours, and the id of the background."""

    labels: list[Label]
    background: int | None


def read_meta(path: Path) -> Meta:
    """Reads a `dataset_meta.json`. Colours belong to the entries of `label_map` in their order; without any, those
    of Pascal VOC are meant. DataError for everything else."""
    if path.is_file() and path.stat().st_size > _MAX_META:
        raise DataError(f"{path}: over {_MAX_META >> 20} MiB is no list of classes; is this the right file?")
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds no object with label_map or labels; see the documents of the format")
    names = _names(data, path)
    given = data.get("segmentation_colors") or []
    if not isinstance(given, list) or not (len(given) in (0, len(names)) or len(given) > max(names, default=0)):
        raise DataError(
            f"{path}: segmentation_colors needs one colour for each of the {len(names)} labels; "
            "complete it, or remove it"
        )
    colours = dict(zip(names, given, strict=True)) if len(given) == len(names) else dict(enumerate(given))
    labels = [Label(name, id_, _colour(colours.get(id_), id_, path)) for id_, name in names.items()]
    return Meta(labels, _background(data.get("background_label"), labels))


def _names(data: dict[str, Any], path: Path) -> dict[int, str]:
    in_order, mapped = data.get("labels") or [], data.get("label_map") or {}
    if not isinstance(mapped, dict) or not isinstance(in_order, list):
        raise DataError(f"{path}: label_map is no object or labels is no list; see the documents of the format")
    names: dict[int, str] = {}
    for key, name in ({str(i): name for i, name in enumerate(in_order)} | mapped).items():
        if not key.strip().isdecimal() or len(key) > 6 or int(key) > MAX_ID:
            raise DataError(f"{path}: label_map: {key[:40]!r} is no class id of 0 to {MAX_ID}; correct it")
        if not isinstance(name, str) or text_of(name.strip()) is None:
            raise DataError(f"{path}: the name of class {key} is no text; give it one")
        if int(key) in names or name.strip() in names.values():
            raise DataError(f"{path}: class {key} {name.strip()[:40]!r} stands there twice; ids and names must differ")
        names[int(key)] = name.strip()
    if not names:
        raise DataError(f"{path}: names no classes under label_map or labels; add them")
    return names


def _colour(value: Any, id_: int, path: Path) -> Colour:
    if value is None:
        return voc_colour(id_ % 256)
    if not (
        isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value)
    ):
        raise DataError(
            f"{path}: segmentation_colors: the one of class {id_} is not three numbers of 0 to 255; correct it"
        )
    return value[0], value[1], value[2]


def _background(value: Any, labels: list[Label]) -> int | None:
    """The id, given as a number, as text, or by the name."""
    return next((label.id for label in labels if str(value) in (str(label.id), label.name)), None)


def _pairs(pictures: list[str], masks: list[str]) -> tuple[dict[str, str], list[Finding]]:
    """Mask by image: of the same name, with a usual ending behind it, or else of the same number."""
    pairs = {key: key for key in set(pictures) & set(masks)}
    names = set(masks) - set(pairs)
    pairs |= {
        key: match
        for key in pictures
        if key not in pairs and (match := next((key + ending for ending in MASK_ENDINGS if key + ending in names), ""))
    }
    free_pictures = [key for key in pictures if key not in pairs]
    free_masks = sorted(names - set(pairs.values()))
    notes = []
    if free_pictures and free_masks:
        ends, problem = _common_ends(free_pictures, free_masks)
        if ends is not None:
            numbered = _by_ends(free_pictures, free_masks, *ends)
            pairs |= numbered
            notes.append(
                note(
                    "annotation.renamed",
                    Severity.INFO,
                    counted(
                        len(numbered),
                        "mask{ is paired with its image|s are paired with images} by what their names share, as ",
                    )
                    + f"{' and '.join(next(iter(numbered.items())))}",
                    "rename the masks if this is wrong",
                    count=len(numbered),
                )
            )
        elif problem:
            notes.append(note("annotation.conflict", Severity.WARNING, problem, "give each mask the name of its image"))
    used = set(pairs.values())
    left = [key for key in masks if key not in used]
    if left:
        notes.append(
            note(
                "annotation.no_image",
                Severity.WARNING,
                counted(len(left), "mask{ belongs|s belong} to no image") + f" ({listing(left)})",
                "restore the images, or give each mask the name of its image",
                count=len(left),
            )
        )
    return pairs, notes


Ends = tuple[str, str]


def _split_name(key: str) -> tuple[Ends, str]:
    """What stands before and behind the last number of a name, and the number."""
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", key, re.DOTALL)
    # The number is the last one, so what stands before it must not end in a digit.
    return ((match[1], match[3]), match[2]) if match else ((key, ""), "")


def _common_ends(pictures: list[str], masks: list[str]) -> tuple[tuple[Ends, Ends] | None, str]:
    """The one way in which names of images and of masks with the same number differ; None, with the reason, where
    there are several: a mask on the wrong image does more harm than none."""
    groups: tuple[dict[str, list[Ends]], dict[str, list[Ends]]] = (defaultdict(list), defaultdict(list))
    for keys, group in zip((pictures, masks), groups, strict=True):
        for key in keys:
            ends, number = _split_name(key)
            if number:
                group[number].append(ends)
    votes: Counter[tuple[Ends, Ends]] = Counter()
    for number in groups[0].keys() & groups[1].keys():
        some, others = groups[0][number], groups[1][number]
        if max(len(some), len(others)) > _MAX_SAME_NUMBER:
            return None, f"over {_MAX_SAME_NUMBER} files have the number {number}, so numbers pair no images and masks"
        votes.update(product(some, others))
    if len(votes) == 1:
        return next(iter(votes)), ""
    shown = [f"{a[0]}…{a[1]} with {b[0]}…{b[1]}" for (a, b), _ in votes.most_common(2)]
    return None, f"masks fit several images by their numbers ({' or '.join(shown)}); none was paired" if votes else ""


def _by_ends(pictures: list[str], masks: list[str], of_pictures: Ends, of_masks: Ends) -> dict[str, str]:
    def inner(key: str, ends: Ends) -> str | None:
        long_enough = len(key) > len(ends[0]) + len(ends[1])
        return (
            key[len(ends[0]) : len(key) - len(ends[1])]
            if long_enough and key.startswith(ends[0]) and key.endswith(ends[1])
            else None
        )

    by_inner = {core: key for key in masks if (core := inner(key, of_masks))}
    return {key: by_inner[core] for key in pictures if (core := inner(key, of_pictures)) in by_inner and core}
