"""What formats share that store masks as image files: which files there are, what their pixels mean, and the names
and colours of new ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maskwright.base.texts import counted, listing
from maskwright.core.classes import MAX_CLASSES, ClassTree
from maskwright.core.findings import Finding, Severity
from maskwright.core.image_files import images_below, paths_below
from maskwright.core.listing import confine_found
from maskwright.core.mask_files import ARRAY_SUFFIXES, INDEX, Encoding, read_mask
from maskwright.core.palette import Colour, colour_of
from maskwright.core.sample import Sample, open_image, read_image
from maskwright.data.formats.source import note, stem_of
from maskwright.errors import DataError

_HEADERS_READ, _MASKS_READ, _MAX_COLOURS = 400, 64, 4096
_NO_CLASSES = ClassTree.flat(["any"])  # stored indices are read without looking at classes
_EDGES = re.compile(r'(?:^|(?<=/))[.#"\s]+|[\x00-\x1f\\]|\s+(?=/|$)')


def voc_colour(index: int) -> Colour:
    """The colour of `index` 0..255 in the map of Pascal VOC: its bits, three at a time, go to red, green and blue,
    highest first (`VOClabelcolormap` of the development kit)."""
    channels = [sum((index >> 3 * step + channel & 1) << 7 - step for step in range(3)) for channel in range(3)]
    return channels[0], channels[1], channels[2]


VOID = voc_colour(255)


@dataclass(frozen=True)
class MaskContents:
    """What some of the masks hold: the kind of most of them, how many are of the other kind (`others` of `seen`), the
    `values` of index masks or the `colours` of colour masks, and whether there are palettes of Pascal VOC."""

    kind: Encoding
    seen: int
    others: int
    values: frozenset[int]
    colours: frozenset[Colour]
    voc_palette: bool

    @property
    def grey(self) -> frozenset[int]:
        """The grey values when no colour mask has real colours: indices that were saved as RGB."""
        real = any(len({*colour}) > 1 for colour in self.colours)
        return frozenset() if real else frozenset(red for red, _, _ in self.colours)


def contents_of(files: Sequence[Path]) -> MaskContents:
    """Looks at the headers of up to 400 masks and at the pixels of up to 64. Unreadable ones are left out: they are
    found when they are read."""
    by_kind: dict[Encoding, list[Path]] = {"index": [], "colour": []}
    first = [part for index in range(21) for part in voc_colour(index)]
    palettes = False
    for path in _spread(files, _HEADERS_READ):
        if path.suffix.lower() in ARRAY_SUFFIXES:
            by_kind["index"].append(path)
            continue
        try:
            with open_image(path) as image:
                by_kind["colour" if image.mode in ("RGB", "RGBA") else "index"].append(path)
                palettes |= image.mode == "P" and (image.getpalette() or [])[: len(first)] == first
        except DataError:
            continue
    kind: Encoding = "colour" if len(by_kind["colour"]) > len(by_kind["index"]) else "index"
    values: set[int] = set()
    colours: set[Colour] = set()
    for path in _spread(by_kind[kind], _MASKS_READ):
        try:
            if kind == "index":
                values.update(np.unique(read_mask(path, INDEX, _NO_CLASSES).ids).tolist())
            else:
                colours.update(_colours(path))
        except DataError:
            continue
    seen = sum(map(len, by_kind.values()))
    return MaskContents(kind, seen, seen - len(by_kind[kind]), frozenset(values), frozenset(colours), palettes)


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    chosen = np.unique(np.linspace(0, len(files) - 1, min(len(files), count)).astype(int))
    return [files[i] for i in chosen]


def _colours(path: Path) -> list[Colour]:
    rgb = read_image(path, "ignore").astype(np.uint32)
    packed = np.unique(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])[:_MAX_COLOURS].tolist()
    return [(value >> 16, value >> 8 & 255, value & 255) for value in packed]


def other_kind(found: MaskContents) -> list[Finding]:
    """A note when masks of both kinds lie together."""
    if not found.others:
        return []
    other = "colours" if found.kind == "index" else "class ids"
    return [
        note(
            "annotation.conflict",
            Severity.WARNING,
            f"{found.others} of {found.seen} masks hold {other}, unlike the rest, so they cannot be read",
            "save all masks in one way",
            count=found.others,
        )
    ]


def by_key(root: Path, folder: Path, arrays: bool = False) -> tuple[dict[str, Path], list[Finding]]:
    """Image files below `folder`, or its `.npy` files, by their relative name without the ending, and a note on names
    that occur twice."""
    found: dict[str, Path] = {}
    twice = []
    if arrays:
        files = [folder / path for path in paths_below(folder) if path.lower().endswith(".npy")]
    else:
        files = images_below(folder)
    for path in files:
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            twice.append(path.name)
        else:
            found[key] = confine_found(root, path)
    notes = (
        [
            note(
                "annotation.duplicate",
                Severity.WARNING,
                f"{folder.name}: "
                + counted(
                    len(twice),
                    "file{ has the name of another one, but for the ending, and is|s have the name of "
                    "another one, but for the ending, and are} not read",
                )
                + f" ({listing(twice)})",
                "remove or rename them",
                count=len(twice),
            )
        ]
        if twice
        else []
    )
    return found, notes


class FileNames:
    """Names for the files of samples, without endings: unique even where upper and lower case are the same, and free
    of what lists and tables take for something else (leading dots, `#` and quotes, spaces at the ends)."""

    def __init__(self, split_folders: bool) -> None:
        self.split_folders = split_folders
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, sample: Sample) -> str:
        """`train/a/b` with folders of splits, else `a/b`, or `train_a/b` when another sample has that name."""
        if sample.name not in self._names:
            name, other = self._wanted(sample)
            if name.casefold() in self._taken:
                name = other
            number = 2
            while name.casefold() in self._taken:
                name, number = f"{other}_{number}", number + 1
            self._taken.add(name.casefold())
            self._names[sample.name] = name
        return self._names[sample.name]

    def changed(self, sample: Sample) -> list[str]:
        """A sentence when the file cannot have the name of its sample, the same for all with their split before it."""
        name, plain = self.of(sample), stem_of(sample)
        if name in (plain, f"{sample.split}/{plain}"):
            return []
        shown = f"{sample.split}_…" if name == f"{sample.split}_{plain}" else name
        return [f"the name: its files are called {shown!r}"]

    def _wanted(self, sample: Sample) -> tuple[str, str]:
        stem = _EDGES.sub("_", stem_of(sample))
        split = re.sub(r"[^\w.-]|^\.", "_", sample.split) if sample.split else None
        if split and self.split_folders:
            return f"{split}/{stem}", f"{split}/{stem}"
        return stem, f"{split}_{stem}" if split else stem


def with_own_colours(classes: ClassTree, *reserved: Colour) -> ClassTree:
    """The same classes, but a colour that an earlier class or `reserved` has is exchanged for one that none has."""
    wanted = {leaf.colour for leaf in classes.leaves}
    spare = (colour for i in range(4 * MAX_CLASSES) if (colour := colour_of(i)) not in wanted | {*reserved})
    taken = {*reserved}
    leaves = []
    for leaf in classes.leaves:
        colour = next(spare) if leaf.colour in taken else leaf.colour
        while colour in taken:
            colour = next(spare)
        taken.add(colour)
        leaves.append(replace(leaf, colour=colour))
    return replace(classes, leaves=tuple(leaves))
