"""What a format's reader returns and its writer gets: the nouns that all formats share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskwright.base.texts import counted
from maskwright.core.bands import RGB, Bands
from maskwright.core.classes import ClassTree
from maskwright.core.description import ClassSpec
from maskwright.core.findings import Finding, Severity
from maskwright.core.mask_files import INDEX, MaskEncoding
from maskwright.core.palette import Colour, colour_of, to_hex
from maskwright.core.regions import Shape
from maskwright.core.sample import IMAGE_SUFFIXES, Exif, Sample

Mask = npt.NDArray[np.uint8]

# Names that stand for pixels that do not count, in lower case.
IGNORE_NAMES = frozenset({"ignore", "ignored", "__ignore__", "void"})

# What listing and reading find, by code. An audit is complete only together with these.
NOTES: dict[str, str] = {
    "layout.unsure": "what a folder without dataset.yaml holds was understood in one of several ways",
    "image.unlisted": "image files lie beside the folders of the splits, or are not in labels.csv",
    "image.linked": "folders are symbolic links, which are not entered",
    "annotation.unknown_label": "regions have a label that is no class in dataset.yaml",
    "annotation.invalid": "regions cannot be used: no numbers, too few points, run lengths that do not fit",
    "annotation.no_image": "annotations name image files that are not there",
    "annotation.conflict": "two statements about the same thing disagree",
    "annotation.duplicate": "the same image or entry stands there twice",
    "annotation.dropped": "something is there that a mask cannot hold: tags, attributes, points, instances",
    "annotation.interpolated": "shapes were made between those that are given, as the tool that drew them does",
    "annotation.clipped": "regions reach outside their image and are cut off",
    "annotation.renamed": "names or paths were changed to be read",
}


@dataclass(frozen=True)
class Label:
    """A class as the annotations declare it; `id` is None where the format has none, or none that is a pixel value."""

    name: str
    id: int | None = None
    colour: Colour | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A shape with the name of its class. Marks of a higher `order` lie on top; `weak` ones are boxes around an
    object, not its outline."""

    label: str
    shape: Shape
    order: int = 0
    weak: bool = False


@dataclass(slots=True)
class Item:
    """One image of an annotation set: `name` is unique, without the ending, with `/` between folders (begin it with
    `split/` where the format keeps splits apart); `image` need not exist; `size` is (height, width) as the
    annotation says. It is labelled by `marks`, or by the file `mask`; with neither it is not labelled, and
    `labelled` with no marks is an image of nothing but background."""

    name: str
    image: Path
    source: Path
    split: str | None = None
    size: tuple[int, int] | None = None
    marks: list[Mark] = field(default_factory=list)
    mask: Path | None = None
    labelled: bool = True


@dataclass
class AnnotationSet:
    """An annotation set as read. Classes that marks name and `labels` lacks are added behind them, with a finding.

    `notes` say what was left out or taken for something. `ignore` is the pixel value of `encoding` masks that does
    not count, when the format has one. `full` says that marks cover every pixel that counts, so that there is no
    background unless a label is called so.
    """

    labels: list[Label]
    items: list[Item]
    notes: list[Finding] = field(default_factory=list)
    encoding: MaskEncoding = INDEX
    ignore: int | None = None
    full: bool = False


def note(
    code: str, severity: Severity, message: str, fix: str, sample: str | None = None, **evidence: object
) -> Finding:
    """A finding of a reader; `code` is one of `NOTES`."""
    assert code in NOTES, code
    return Finding(code, severity, message, fix, sample, evidence=evidence)


# What a reader met, by kind: the samples, files or names that it met it in, in order and as often as it did.
Occurrences = dict[str, list[str]]
# How a reader words each kind: code, severity, what stands behind the number (for `texts.counted`), and what to do.
Kinds = Mapping[str, tuple[str, Severity, str, str]]


def notes_on(kinds: Kinds, seen: Occurrences, general: Container[str] = ()) -> list[Finding]:
    """One finding for each kind that was seen, with the count and the first three; kinds in `general` are not about
    samples."""
    found = []
    for kind, (code, severity, message, fix) in kinds.items():
        if counts := Counter(seen.get(kind, ())):
            first = ", ".join(f"{name} ({n})" if n > 1 else name for name, n in islice(counts.items(), 3))
            sample = next(iter(counts)) if len(counts) == 1 and kind not in general else None
            found.append(
                note(
                    code,
                    severity,
                    f"{counted(counts.total(), message)} ({first}{', …' * (len(counts) > 3)})",
                    fix,
                    sample,
                    count=counts.total(),
                    where=list(counts)[:20],
                )
            )
    return found


@dataclass(frozen=True)
class WriteOptions:
    """`tolerance`: how far a polygon may leave the outline of its mask, in pixels; 0 keeps every corner.
    `polygons`: outlines where the format could also hold exact masks. `quality`: of JPEG masks, 1..100. `exif`: as
    `Dataset.exif`, and `bands` as `Dataset.bands`, for formats whose folder says it. `in_place`: images stay where they
    are, so that COCO and LabelMe call them as they are called there."""

    tolerance: float = 0.0
    polygons: bool = False
    quality: int = 95
    exif: Exif = "apply"
    bands: Bands = RGB
    in_place: bool = False


class Writer(Protocol):
    """Writes one annotation set into an empty folder, sample by sample, so that memory does not grow with masks.

    Made by `writer(folder, classes, options)`. A writer does not copy images: it says where they belong.
    """

    def image_path(self, sample: Sample) -> str:
        """Where the image of `sample` belongs, relative to the folder, with `/` and the image's own ending."""

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the mask (H, W) uint8 of class indices with `IGNORE`; returns what of it was dropped, in words."""

    def finish(self) -> None:
        """Writes what comes last: lists, class names, the common file."""


def background_of(classes: ClassTree) -> int | None:
    """The index of the class that stands for pixels without a region: the background, unless it is only assumed."""
    return None if classes.background_assumed else classes.background


def takeable(parts: Iterable[str]) -> str:
    """A path of the parts of one that leads to no file: no file system takes parts of any length and number."""
    return "/".join(part[-60:] for part in [*parts][-32:])


def stem_of(sample: Sample) -> str:
    """The sample's name without the split before it."""
    return sample.name.removeprefix(f"{sample.split}/") if sample.split else sample.name


def image_suffix(sample: Sample) -> str:
    """`.jpg`, in lower case; `.png` where the image is no file of its own that others read."""
    suffix = sample.image.suffix.lower()
    return suffix if suffix in IMAGE_SUFFIXES and sample.page is None else ".png"


def kept_name(sample: Sample) -> str:
    """What its image is called where it lies, below the folders that are part of the sample's name."""
    return "/".join([*stem_of(sample).split("/")[:-1], sample.image.name])


def present(mask: Mask, classes: ClassTree) -> Iterator[tuple[int, str]]:
    """(index, name) of the classes that occur in `mask`; background and `IGNORE` are left out."""
    counts = np.bincount(mask.reshape(-1), minlength=256)
    background = background_of(classes)
    for index, name in enumerate(classes.names):
        if counts[index] and index != background:
            yield index, name


def nested(numbered: Sequence[tuple[Label, int]]) -> list[ClassSpec]:
    """Specs as a tree: labels with the same parent stand together in it."""

    def build(entries: list[tuple[tuple[str, ...], ClassSpec]]) -> list[ClassSpec]:
        found: list[ClassSpec] = []
        groups: dict[str, list[tuple[tuple[str, ...], ClassSpec]]] = {}
        for parents, spec in entries:
            if not parents:
                found.append(spec)
                continue
            if parents[0] not in groups:
                groups[parents[0]] = []
                found.append(ClassSpec(name=parents[0]))
            groups[parents[0]].append((parents[1:], spec))
        return [
            ClassSpec(name=spec.name, children=build(groups[spec.name])) if spec.id is None else spec for spec in found
        ]

    return build(
        [
            (label.parents, ClassSpec(id=number, name=label.name, colour=to_hex(label.colour or colour_of(k))))
            for k, (label, number) in enumerate(numbered)
        ]
    )


def describe(classes: ClassTree) -> list[ClassSpec]:
    """The classes as `dataset.yaml` holds them."""
    return nested([(Label(leaf.name, leaf.id, leaf.colour, leaf.parents), leaf.id) for leaf in classes.leaves])
