"""`dataset.yaml`: what it may hold, and what that means."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import yaml
from pydantic import Field

from maskwright.base import strictyaml
from maskwright.core.bands import RGB, Bands, Bits
from maskwright.core.classes import BY_RULE, IGNORE_ID, MAX_ID, ClassInfo, ClassTree
from maskwright.core.mask_files import Encoding, Inverted, MaskEncoding, Others
from maskwright.core.palette import colour_of, from_hex
from maskwright.core.regions import BoxRule
from maskwright.core.sample import Exif
from maskwright.errors import ConfigError

FILE_NAME = "dataset.yaml"
# Beside it: all that is ours.
FOLDER = ".maskwright"
# Layouts of image and mask files; every other one is an annotation format.
FOLDER_LAYOUTS = ("split_folders", "flat", "table", "patterns")
# Endings that annotation tools put behind the image's name.
MASK_ENDINGS = ("", "_mask", "_seg", "_label", "_labels", "_gt", "-mask", "_segmentation")


class ImagesSpec(strictyaml.StrictModel):
    """Where images are and whether their EXIF orientation was applied when the masks were drawn."""

    folder: str = "."
    exif: Exif = "apply"
    files: list[str] = Field(default_factory=list, description="patterns, with `layout: patterns`")
    pages: bool = Field(default=False, description="each page of a file is an image, with the same page of its mask")
    channels: int | None = Field(
        default=None, ge=1, le=256, description="bands of every image; left out, all are read as red, green and blue"
    )
    bits: Bits = Field(default=8, description="of a value: 8 or 16")
    range: list[int] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="of 16 bits, the values that mean black and white; [0, 65535] when left out",
    )
    show: list[int] = Field(
        default_factory=list, description="the band that pictures show, or three as red, green and blue; from 1 on"
    )

    @classmethod
    def with_bands(cls, bands: Bands, **given: Any) -> ImagesSpec:
        """That says what every image holds, where it is not 8-bit RGB."""
        if bands != RGB:
            deep = {"range": list(bands.range)} if bands.bits == 16 else {}
            shown = {"show": list(bands.show)} if bands.channels > 1 else {}
            given |= deep | shown | {"channels": bands.channels, "bits": bands.bits}
        return cls(**given)

    def bands(self) -> Bands:
        """What every image holds. Raises ConfigError for what does not fit together."""
        if self.channels is None:
            given = [key for key in ("bits", "range", "show") if key in self.model_fields_set]
            if given:
                raise ConfigError(f"images.{given[0]}: belongs to `channels`; give that too, such as `channels: 1`")
            return RGB
        problems = []
        low, high = self.range or (0, (1 << self.bits) - 1)
        if self.range and self.bits == 8:
            problems.append("images.range: is for `bits: 16`; remove it")
        elif not 0 <= low < high < 1 << self.bits:
            problems.append(f"images.range: give two values of 0 to 65535 in order (given [{low}, {high}])")
        if self.show and (len(self.show) not in (1, 3) or not {*self.show} <= {*range(1, self.channels + 1)}):
            problems.append(f"images.show: give one or three of the bands 1 to {self.channels} (given {self.show})")
        if problems:
            raise ConfigError(problems)
        return Bands.of(self.channels, self.bits, (low, high), tuple(self.show))


class MasksSpec(strictyaml.StrictModel):
    """Where masks are and what their pixel values mean; see `MaskEncoding`."""

    folder: str | None = None
    files: list[str] = Field(default_factory=list, description="patterns, with `layout: patterns`")
    parts: dict[str, int] = Field(
        default_factory=dict, description="text of {class} in a pattern, or a pattern -> class id"
    )
    encoding: Encoding = "index"
    levels: dict[str, int] = Field(default_factory=dict, description="grey value -> class id")
    ignore_colour: str | None = Field(
        default=None, pattern="^#[0-9A-Fa-f]{6}$", description="of pixels that do not count"
    )
    others: Others | None = Field(default=None, description="what becomes of pixels whose value no class has")
    inverted: Inverted | None = Field(default=None, description="which values count in files with white as 0")
    variable: str | None = Field(default=None, description="the array in .mat files")
    channels: str = Field(default="rgb", pattern="^r?g?b?$", description="of colours, those that say the class")


class ClassSpec(strictyaml.StrictModel):
    """A class with an id, or a group with children."""

    id: int | None = Field(default=None, ge=0, le=MAX_ID)
    name: str = Field(min_length=1)
    colour: str | None = Field(default=None, pattern="^#[0-9A-Fa-f]{6}$")
    children: list[ClassSpec] = Field(default_factory=list)


class DatasetFile(strictyaml.StrictModel):
    """The contents of `dataset.yaml`."""

    root: str = "."
    layout: str = Field(
        description="split_folders, flat, table, patterns, or an annotation format: coco, cvat_images, …"
    )
    links: Literal["refuse", "follow"] = Field(
        default="refuse", description="symbolic links that lead out of the dataset, of its image and mask files"
    )
    images: ImagesSpec = ImagesSpec()
    annotations: str | None = Field(default=None, description="their file or folder, where there are several")
    boxes: BoxRule = BoxRule()
    masks: MasksSpec = MasksSpec()
    splits: dict[str, str] = Field(
        default_factory=dict, description="split -> its folder, or its words in patterns (a|b)"
    )
    lists: dict[str, str] = Field(
        default_factory=dict, description="split -> the file that names its images; * for all that no list names"
    )
    left_out: list[str] = Field(default_factory=list, description="patterns of files that are neither image nor mask")
    table: str | None = None
    columns: dict[str, str] = Field(
        default_factory=dict, description="image, mask, split -> what the column of the table is called"
    )
    classes: list[ClassSpec] = Field(min_length=1)
    ignore: int = Field(IGNORE_ID, ge=0, le=MAX_ID)
    background: int | None = Field(
        default=None,
        ge=0,
        le=MAX_ID,
        description=(
            'id of the class that stands for "no object", null where every class is one; where the key is missing, see '
            "`ClassTree`"
        ),
    )

    @property
    def follow(self) -> bool:
        """Whether links may lead outside."""
        return self.links == "follow"

    @property
    def background_id(self) -> int | None:
        """What `background` says, `BY_RULE` where the key is missing."""
        return self.background if "background" in self.model_fields_set else BY_RULE

    def class_tree(self) -> ClassTree:
        """The classes as a tree. Raises ConfigError with everything that is wrong about them."""
        leaves: list[ClassInfo] = []
        problems: list[str] = []

        def walk(specs: Sequence[ClassSpec], parents: tuple[str, ...]) -> None:
            groups = [spec.name for spec in specs if spec.children]
            problems.extend(
                f"classes: the group {name!r} stands twice at one place; put its children together"
                for name in sorted({name for name in groups if groups.count(name) > 1})
            )
            for spec in specs:
                if bool(spec.children) == (spec.id is not None):
                    problems.append(f"classes: {spec.name!r} needs either an id (a class) or children (a group)")
                elif spec.children:
                    if spec.colour:
                        problems.append(f"classes: {spec.name!r} is a group, whose colour is made; remove `colour`")
                    walk(spec.children, (*parents, spec.name))
                elif spec.id is not None:
                    colour = from_hex(spec.colour) if spec.colour else colour_of(len(leaves))
                    leaves.append(ClassInfo(spec.id, spec.name, colour, parents))

        walk(self.classes, ())
        if problems:
            raise ConfigError(problems)
        return ClassTree(tuple(leaves), self.ignore, self.background_id)

    def mask_encoding(self, classes: ClassTree) -> MaskEncoding:
        """The encoding of the mask files. Raises ConfigError when `levels` or `ignore_colour` does not fit it or
        `classes`."""
        levels = {int(grey): id_ for grey, id_ in self.masks.levels.items() if re.fullmatch("[0-9]{1,5}", grey)}
        if len(levels) != len(self.masks.levels) or (self.masks.encoding == "levels") != bool(levels):
            raise ConfigError("masks.levels: give grey value -> class id pairs with `encoding: levels`, and only there")
        if levels and max(levels) > MAX_ID:
            raise ConfigError(f"masks.levels: {max(levels)} is no grey value of 8 or 16 bits; correct it")
        strange = sorted(set(levels.values()) - {*classes.ids, classes.ignore})
        if strange:
            raise ConfigError(f"masks.levels: {strange} are no class ids and not the ignore id; add them to `classes`")
        ignore = from_hex(self.masks.ignore_colour) if self.masks.ignore_colour else None
        taken = {leaf.colour for leaf in classes.leaves}
        if ignore is not None and (self.masks.encoding != "colour" or ignore in taken):
            raise ConfigError("masks.ignore_colour: give a colour that no class has, and only with `encoding: colour`")
        if strange := sorted({*self.masks.parts.values()} - {*classes.ids, classes.ignore}):
            raise ConfigError(f"masks.parts: {strange} are no class ids and not the ignore id; add them to `classes`")
        others = self.masks.others
        if others == "nearest" and self.masks.encoding not in ("levels", "colour"):
            raise ConfigError("masks.others: `nearest` is for levels and colours; give refuse or ignore")
        if self.masks.channels != "rgb" and (self.masks.encoding != "colour" or not self.masks.channels):
            raise ConfigError("masks.channels: name one or two of r, g and b, and only with `encoding: colour`")
        return MaskEncoding(
            self.masks.encoding, levels, ignore, others, self.masks.inverted, self.masks.variable, self.masks.channels
        )


def render(file: DatasetFile, reasons: Mapping[str, str], root: str = ".") -> str:
    """The text of `dataset.yaml`, with each reason (by its key) as a comment."""
    # A comment ends with its line, and YAML holds no control characters: names of folders may hold both.
    notes = {key: "  # " + "".join(c if c.isprintable() else " " for c in reason) for key, reason in reasons.items()}
    by_files = file.layout in FOLDER_LAYOUTS
    lines = [
        "# A Maskwright dataset. Edit the class names; ids are the values in the masks.",
        f"root: {_quoted(root)}",
        f"layout: {file.layout}{notes.get('layout', '')}",
        *([f"links: follow{notes.get('links', '')}"] if file.follow else []),
        f"images:{notes.get('images', '')}",
        *_listed("files", file.images.files, "  "),
        *([] if file.images.files else [f"  folder: {_quoted(file.images.folder)}"]),
        *(["  pages: true"] if file.images.pages else []),
        *_band_lines(file.images, notes.get("channels", "")),
        f"  exif: {file.images.exif}{notes.get('exif', '  # no image has an EXIF rotation; the usual choice')}",
    ]
    if file.annotations:
        lines.append(f"annotations: {_quoted(file.annotations)}")
    if not by_files:
        rule = file.boxes
        lines += [
            "boxes:  # how boxes become masks",
            f"  overlap: {rule.overlap}",
            f"  shrink: {rule.shrink}  # the share by which each side is pulled in",
            f"  outside: {rule.outside}  # of samples that have only boxes",
        ]
    lines.append(f"masks:{notes.get('masks', '')}")
    lines += _listed("files", file.masks.files, "  ")
    if file.masks.parts:
        lines.append("  parts: {" + ", ".join(f"{_quoted(k)}: {id_}" for k, id_ in file.masks.parts.items()) + "}")
    if file.masks.folder:
        lines.append(f"  folder: {_quoted(file.masks.folder)}")
    lines.append(f"  encoding: {file.masks.encoding}{notes.get('encoding', '')}")
    if file.masks.levels:
        lines.append("  levels: {" + ", ".join(f"{grey}: {id_}" for grey, id_ in file.masks.levels.items()) + "}")
    if file.masks.ignore_colour:
        lines.append(f"  ignore_colour: {_quoted(file.masks.ignore_colour)}")
    for key in ("others", "inverted", "variable", "channels"):
        if (value := getattr(file.masks, key)) not in (None, "rgb"):
            lines.append(f"  {key}: {_quoted(value) if key == 'variable' else value}{notes.get(key, '')}")
    for key in ("splits", "lists"):
        if found := getattr(file, key):
            pairs = ", ".join(f"{_key(split)}: {_quoted(text)}" for split, text in found.items())
            lines.append(f"{key}: {{{pairs}}}{notes.get(key, '')}")
    lines += _listed("left_out", file.left_out, "", notes.get("left_out", ""))
    if file.table:
        lines.append(f"table: {_quoted(file.table)}{notes.get('splits', '')}")
    if file.columns:
        pairs = ", ".join(f"{_key(role)}: {_quoted(name)}" for role, name in file.columns.items())
        lines.append(f"columns: {{{pairs}}}")
    lines.append(f"classes:{notes.get('classes', '')}")
    lines += _class_lines(file.classes, "  ")
    lines.append(f"ignore: {file.ignore}{notes.get('ignore', '  # pixels with this value do not count')}")
    if file.background_id != BY_RULE:
        lines.append(
            f"background: {'null' if file.background is None else file.background}"
            f"{notes.get('background', '  # the class that stands for no object')}"
        )
    return "\n".join(lines) + "\n"


def _band_lines(images: ImagesSpec, reason: str) -> Iterator[str]:
    if images.channels is not None:
        yield f"  channels: {images.channels}{reason}"
        yield f"  bits: {images.bits}"
        if images.range:
            yield f"  range: [{images.range[0]}, {images.range[1]}]  # the values of black and white"
        if images.show:
            yield f"  show: {images.show}  # the bands that pictures show, from 1 on"


def _listed(key: str, patterns: Sequence[str], indent: str, reason: str = "") -> list[str]:
    return [f"{indent}{key}:{reason}", *(f"{indent}  - {_quoted(text)}" for text in patterns)] if patterns else []


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z]\w*", text) else _quoted(text)


def _quoted(text: str) -> str:
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize)).rstrip("\n")


def _class_lines(specs: Iterable[ClassSpec], indent: str) -> Iterator[str]:
    for spec in specs:
        if spec.children:
            yield f"{indent}- name: {_quoted(spec.name)}"
            yield f"{indent}  children:"
            yield from _class_lines(spec.children, indent + "    ")
        else:
            yield f"{indent}- {{id: {spec.id}, name: {_quoted(spec.name)}, colour: {_quoted(spec.colour or '')}}}"
