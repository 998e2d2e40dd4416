"""CVAT's segmentation mask 1.1: `labelmap.txt`, `SegmentationClass`, `SegmentationObject` and `ImageSets`.

The masks are PNGs in the colours of the label map; those with a palette are read by its colours too. Known: exports
with images (`JPEGImages`), and without, where images are looked for by name anywhere below the folder; label maps
without a line for the background, which is black, or without colours, which are then those of Pascal VOC; names with
folders; lists that name images without a mask, which are not labelled; masks of indices instead of colours, which CVAT
imports as well. Sources: https://docs.cvat.ai/docs/dataset_management/formats/format-smask,
cvat/apps/dataset_manager/formats/mask.py, and the VOC format of Datumaro, which CVAT uses for it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base.storage import confine
from maskwright.base.texts import counted, listing
from maskwright.core.classes import BACKGROUND_NAMES, IGNORE, MAX_CLASSES, ClassTree
from maskwright.core.findings import Finding, Severity
from maskwright.core.listing import confine_found
from maskwright.core.mask_files import Encoding, MaskEncoding
from maskwright.core.palette import Colour, to_hex
from maskwright.core.sample import Sample, open_image
from maskwright.data.formats.cvat import DEFAULT_SUBSET, ImageFinder, components, split_of, without_ending
from maskwright.data.formats.maskfiles import VOID, FileNames, by_key, voc_colour
from maskwright.data.formats.source import (
    IGNORE_NAMES,
    AnnotationSet,
    Item,
    Label,
    Mask,
    WriteOptions,
    background_of,
    image_suffix,
    note,
    takeable,
)
from maskwright.data.formats.vocfiles import IGNORE_LABELS, LABEL_MAP, folders_in, key_of, read_label_map, read_lists
from maskwright.errors import DataError

_BLACK = (0, 0, 0)
_CLASS, _OBJECT = "SegmentationClass", "SegmentationObject"
_MASKS_READ, _MAX_COLOURS = 64, 4096
_INSTANCES = 255  # as many as the colour map of Pascal VOC tells apart


def detect(root: Path) -> str | None:
    """The label map beside masks in colours. XML files of boxes are Pascal VOC's, and so are masks with a palette or of
    indices when `JPEGImages` lies beside them."""
    inside = folders_in(root)
    if not (root / LABEL_MAP).is_file() or _CLASS.lower() not in inside:
        return None
    if any(inside.get("annotations", root / "Annotations").glob("*.xml")):
        return None
    masks = list(itertools.islice(inside[_CLASS.lower()].rglob("*.png"), 5))
    if not masks or ("jpegimages" in inside and any(_png_kind(path) != "colour" for path in masks)):
        return None
    return f"{LABEL_MAP} and {_CLASS} are there, as CVAT writes them"


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """The masks of `SegmentationClass` with the names and colours of `labelmap.txt`, both in `root` or in its folder
    `annotations`. Images are looked for in the folder `images`, or else everywhere in `root`.

    DataError for a label map that cannot be read.
    """
    home = confine(root, annotations, "annotations") if annotations else root
    inside = folders_in(home)
    if _CLASS.lower() not in inside or not (home / LABEL_MAP).is_file():
        raise DataError(
            f'{home}: holds no {LABEL_MAP} beside {_CLASS}; export as "Segmentation mask 1.1" and unpack it there'
        )
    labels = read_label_map(confine_found(root, home / LABEL_MAP))
    masks, notes = by_key(root, inside[_CLASS.lower()])
    splits, list_notes = _splits(root, inside, masks)
    kind, usable, void, kind_notes = _encoding({key: masks[key] for key in splits if key in masks}, labels)
    notes += list_notes + kind_notes
    if kind == "colour":
        labels, label_notes = _by_colour(labels, void)
        notes += label_notes
    finder = ImageFinder(root, images, (_CLASS, _OBJECT))
    items, missing = [], []
    for key, split in splits.items():
        found = finder.find(key, ["JPEGImages", "images", ""])
        name = key if split is None or key.startswith(f"{split}/") else f"{split}/{key}"
        image = found or confine(finder.folder, takeable(f"JPEGImages/{key}.jpg".split("/")), LABEL_MAP)
        if found is None:
            missing.append(name)
        items.append(Item(name, image, home / LABEL_MAP, split, mask=usable.get(key), labelled=key in usable))
    if missing:
        notes.append(
            note(
                "annotation.no_image",
                Severity.WARNING,
                counted(len(missing), "image{ is|s are} not there") + f" ({listing(missing)})",
                "export with images, or name their folder as `images`",
                count=len(missing),
            )
        )
    if _OBJECT.lower() in inside and any(inside[_OBJECT.lower()].iterdir()):
        notes.append(
            note(
                "annotation.dropped",
                Severity.INFO,
                f"the instances in {_OBJECT} are not read: a mask has classes only",
                "none is needed",
                kind="instances",
            )
        )
    return AnnotationSet(labels, items, notes, MaskEncoding(kind))


def _splits(
    root: Path, inside: Mapping[str, Path], masks: Mapping[str, Path]
) -> tuple[dict[str, str | None], list[Finding]]:
    """Key -> split of the images in the lists, or of all masks when there are no lists; in the order of the keys."""
    folder = folders_in(inside["imagesets"]).get("segmentation") if "imagesets" in inside else None
    lists = read_lists(root, folder, classes=False) if folder else {}
    if not any(lists.values()):
        return dict.fromkeys(masks), []
    found: dict[str, str | None] = {}
    twice = []
    for subset, lines in lists.items():
        for line in lines:
            key = key_of(line, masks) or without_ending(line)
            if any(character < " " for character in key):
                raise DataError(f"{folder}/{subset}.txt: {key[:60]!a} holds control characters; correct the line")
            if key in found:
                twice.append(key)
            found.setdefault(key, split_of(subset))
    notes = []
    if twice:
        notes.append(
            note(
                "annotation.duplicate",
                Severity.WARNING,
                counted(len(twice), "image{ is|s are} listed again") + f" ({listing(twice)}); the first one counts",
                "remove them from the other lists",
                count=len(twice),
            )
        )
    if unlisted := [key for key in masks if key not in found]:
        notes.append(
            note(
                "annotation.dropped",
                Severity.WARNING,
                counted(len(unlisted), "mask{ is in no list and is|s are in no list and are} left out")
                + f" ({listing(unlisted)})",
                "add their names to a list in ImageSets/Segmentation",
                kind="mask",
                count=len(unlisted),
            )
        )
    return dict(sorted(found.items())), notes


def _png_kind(path: Path) -> str:
    """`grey`, `palette` or `colour`, told from the header of a PNG; other files count as colour."""
    try:
        with path.open("rb") as stream:
            head = stream.read(26)
    except OSError:
        return "colour"
    colour_type = head[25] if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 else 2
    return {0: "grey", 3: "palette", 4: "grey"}.get(colour_type, "colour")


def _encoding(
    masks: Mapping[str, Path], labels: Sequence[Label]
) -> tuple[Encoding, dict[str, Path], bool, list[Finding]]:
    """How to read the masks, those that can be read so, whether they hold the colour that VOC has for pixels which do
    not count, and a note on masks that are left out."""
    grey = {key for key, path in masks.items() if _png_kind(path) == "grey"}
    mostly_grey = 2 * len(grey) > len(masks)
    values, colours = _content([path for key, path in masks.items() if (key in grey) is mostly_grey])
    fits_colours = colours <= {VOID, _BLACK, *(label.colour for label in labels)}
    fits_indices = values is not None and values <= {*range(len(labels)), IGNORE}
    if mostly_grey:
        # Masks of nothing but 0 fit both; where a class is grey, its pixels may still come.
        grey_class = any(label.colour not in (None, _BLACK) and len({*(label.colour or ())}) == 1 for label in labels)
        kind: Encoding = "colour" if fits_colours and (grey_class or not fits_indices) else "index"
        others = masks.keys() - grey if kind == "index" else set()
    else:
        kind = "index" if fits_indices and not fits_colours else "colour"
        others = grey if kind == "colour" else set()
    notes = (
        [
            note(
                "annotation.conflict",
                Severity.WARNING,
                f"{len(others)} of {len(masks)} masks are "
                f"{'in colours' if mostly_grey else 'grey'}, unlike the rest, and are left out "
                f"({listing(sorted(others))})",
                "save all masks in one way",
                count=len(others),
            )
        ]
        if others
        else []
    )
    return kind, {key: path for key, path in masks.items() if key not in others}, VOID in colours, notes


def _content(files: Sequence[Path]) -> tuple[set[int] | None, set[Colour | None]]:
    """What up to 64 of the masks hold: stored values (those of RGB when all of it is grey, None when it is not), and
    colours. Unreadable masks are left out: they are found when they are read."""
    values: set[int] = set()
    colours: set[Colour | None] = set()
    real = False
    for path in files[:: len(files) // _MASKS_READ + 1]:
        try:
            with open_image(path) as image:
                if image.mode.startswith("I"):
                    stored = np.unique(np.asarray(image)).tolist()
                    values.update(stored)
                    colours.update((value, value, value) for value in stored)
                    continue
                rgb = np.asarray(image.convert("RGB")).astype(np.int32)
                # Packed into one number each: many times as fast as rows.
                packed = np.unique(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])
                pixels = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1)
                colours.update((red, green, blue) for red, green, blue in pixels[:_MAX_COLOURS].tolist())
                plain = image.mode in ("P", "L", "1")
                real |= not plain and bool((pixels != pixels[:, :1]).any())
                values.update(np.unique(np.asarray(image) if plain else pixels).astype(int).tolist())
        except DataError:
            continue
    return None if real else values, colours


def _by_colour(labels: Sequence[Label], void: bool) -> tuple[list[Label], list[Finding]]:
    """The labels that colours stand for, with black for the background where nothing else is black."""
    notes = []
    found = list(labels)
    if all(label.colour != _BLACK for label in found):
        names = [label.name.lower() for label in found]
        at = next((i for i, name in enumerate(names) if name in BACKGROUND_NAMES), None)
        if at is None and len(found) < MAX_CLASSES:
            found.insert(0, Label("background", None, _BLACK))
        elif at is not None and found[at].colour is None:
            found[at] = replace(found[at], colour=_BLACK)
    at = next((i for i, label in enumerate(found) if label.name.lower() in IGNORE_LABELS), None)
    if at is not None and found[at].name != "ignore":
        notes.append(
            note(
                "annotation.renamed",
                Severity.INFO,
                f"the label {found[at].name!r} is called 'ignore' here: its pixels do not count",
                "rename it in dataset.yaml if it is a class",
            )
        )
        found[at] = replace(found[at], name="ignore")
    elif void and not any(label.colour == VOID or label.name.lower() in IGNORE_NAMES for label in found):
        found.append(Label("ignore", None, VOID))
    if bare := [label.name for label in found if label.colour is None]:
        notes.append(
            note(
                "annotation.dropped",
                Severity.WARNING,
                counted(
                    len(bare),
                    "label{ has no colour, so no mask can hold it, and is|s have no colour, so no mask can "
                    "hold them, and are} left out",
                )
                + f" ({listing(bare)})",
                f"give them colours in {LABEL_MAP}",
                kind="label",
                count=len(bare),
            )
        )
    found = [label for label in found if label.colour is not None]
    first: dict[Colour | None, str] = {}
    same = [label.name for label in found if first.setdefault(label.colour, label.name) != label.name]
    if same:
        notes.append(
            note(
                "annotation.conflict",
                Severity.WARNING,
                counted(len(same), "label{ has|s have} the colour of an earlier one, which gets all of its pixels")
                + f" ({listing(same)})",
                "give them other colours in CVAT and export again",
                count=len(same),
            )
        )
    return [replace(label, id=i) for i, label in enumerate(found)], notes


class CvatMasksWriter:
    """`SegmentationClass` (RGB PNG in the class colours), `SegmentationObject` (8-connected parts in the colours of
    Pascal VOC), `JPEGImages`, `ImageSets/Segmentation` and `labelmap.txt`; see `maskwright.data.formats.source.Writer`.

    Ignored pixels become the label `ignore` in VOC's colour for it. Black is left to the background, as CVAT takes it;
    a class that has one of these colours, or that of another class, gets another one. DataError for class names that
    the label map cannot hold.
    """

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self._folder, self._classes, self._options = folder, classes, options
        for name in classes.names:
            if name != name.strip() or name.startswith("#") or len(name.splitlines()) != 1:
                raise DataError(f"{LABEL_MAP} cannot hold the class name {name!r}; rename the class")
        self._background = background_of(classes)
        colours = _own_colours(classes, self._background)
        self._to_say = [
            f"the colour of {leaf.name!r}: {to_hex(colour)} instead of {to_hex(leaf.colour)}"
            for leaf, colour in zip(classes.leaves, colours, strict=True)
            if colour != leaf.colour
        ]
        self._colours = np.zeros((256, 3), np.uint8)
        self._colours[: len(colours)] = colours
        named_so = "ignore" in classes.names
        self._colours[IGNORE] = colours[classes.names.index("ignore")] if named_so else VOID
        self._labels = list(zip(classes.names, colours, strict=True))
        if self._background is None and len(classes) < MAX_CLASSES:
            self._labels.insert(0, ("background", _BLACK))
        self._ignore_line = not named_so
        self._ignored = False
        self._names = FileNames(split_folders=False)
        self._lists: dict[str, list[str]] = {}

    def image_path(self, sample: Sample) -> str:
        """`JPEGImages/a.jpg`, or `JPEGImages/train_a.jpg` when an earlier sample has that name."""
        return f"JPEGImages/{self._names.of(sample)}{image_suffix(sample)}"

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the masks of class and object; says which names, colours and instances were changed."""
        name = self._names.of(sample)
        objects, said = self._objects(mask)
        self._save(f"{_CLASS}/{name}.png", self._colours[mask])
        self._save(f"{_OBJECT}/{name}.png", _VOC_COLOURS[objects])
        split = re.sub(r"[^\w.-]|^\.", "_", sample.split) if sample.split else DEFAULT_SUBSET
        self._lists.setdefault(split, []).append(name)
        ignored = int(np.count_nonzero(mask == IGNORE))
        self._ignored |= ignored > 0
        if ignored and not self._ignore_line:
            said.append(f"{ignored} px of ignore, now of the class of that name")
        said += self._names.changed(sample) + self._to_say
        self._to_say = []
        return said

    def finish(self) -> None:
        """Writes the lists of splits and the label map."""
        folder = self._folder / "ImageSets" / "Segmentation"
        folder.mkdir(parents=True, exist_ok=True)
        for split, names in self._lists.items():
            (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
        labels = self._labels + ([("ignore", VOID)] if self._ignored and self._ignore_line else [])
        lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in labels]
        (self._folder / LABEL_MAP).write_text("\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n", "utf-8")

    def _objects(self, mask: Mask) -> tuple[Mask, list[str]]:
        """Numbers of the parts (H, W) uint8, 0 for the background."""
        found = np.zeros(mask.shape, np.uint8)
        for number, (_, _, pixels, left, top) in enumerate(components(mask, self._classes), 1):
            if number > _INSTANCES:
                break
            found[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = number
        else:
            return found, []
        found[:] = 0
        values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
        for number, value in enumerate(values[values != self._background], 1):
            found[mask == value] = number
        return found, [f"the instances: over {_INSTANCES}, so each class is one in {_OBJECT}"]

    def _save(self, name: str, pixels: npt.NDArray[np.uint8]) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target, "PNG")


def _own_colours(classes: ClassTree, background: int | None) -> list[Colour]:
    """A colour for each class: its own, unless an earlier one has it or it is set aside."""
    wanted = {VOID, _BLACK, *(leaf.colour for leaf in classes.leaves)}
    spare = (colour for index in itertools.count(1) if (colour := voc_colour(index)) not in wanted)
    taken: set[Colour] = {VOID, _BLACK}
    found = []
    for index, leaf in enumerate(classes.leaves):
        own = leaf.colour not in taken or (index == background and leaf.colour == _BLACK)
        found.append(leaf.colour if own else next(spare))
        taken.add(leaf.colour)
    return found


_VOC_COLOURS = np.array([voc_colour(index) for index in range(256)], np.uint8)
