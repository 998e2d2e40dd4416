"""`dataset.yaml`: what it may hold, and what that means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from maskwright.core import strictyaml
from maskwright.core.classes import MAX_ID, ClassInfo, ClassTree
from maskwright.core.palette import colour_of, from_hex
from maskwright.core.sample import IMAGE_SUFFIXES, Encoding, Exif, MaskEncoding
from maskwright.errors import ConfigError

FILE_NAME = "dataset.yaml"
# Endings that annotation tools put behind the image's name.
MASK_ENDINGS = ("", "_mask", "_seg", "_label", "_labels", "_gt", "-mask", "_segmentation")


class ImagesSpec(strictyaml.StrictModel):
    """Where images are and whether their EXIF orientation was applied when the masks were drawn."""

    folder: str
    exif: Exif = "apply"


class MasksSpec(strictyaml.StrictModel):
    """Where masks are and what their pixel values mean; see `MaskEncoding`."""

    folder: str | None = None
    encoding: Encoding = "index"
    levels: dict[str, int] = Field(default_factory=dict, description="grey value -> class id")


class ClassSpec(strictyaml.StrictModel):
    """A class with an id, or a group with children."""

    id: int | None = Field(None, ge=0, le=MAX_ID)
    name: str = Field(min_length=1)
    colour: str | None = Field(None, pattern="^#[0-9A-Fa-f]{6}$")
    children: list[ClassSpec] = Field(default_factory=list)


class DatasetFile(strictyaml.StrictModel):
    """The contents of `dataset.yaml`."""

    root: str = "."
    layout: Literal["split_folders", "flat", "table"]
    images: ImagesSpec
    masks: MasksSpec = MasksSpec()
    splits: dict[str, str] = Field(default_factory=dict, description="split -> its folder")
    table: str | None = None
    classes: list[ClassSpec] = Field(min_length=1)
    ignore: int = Field(255, ge=0, le=MAX_ID)

    def class_tree(self) -> ClassTree:
        """The classes as a tree. Raises ConfigError with everything that is wrong about them."""
        leaves: list[ClassInfo] = []
        problems: list[str] = []

        def walk(specs: Sequence[ClassSpec], parents: tuple[str, ...]) -> None:
            for spec in specs:
                if bool(spec.children) == (spec.id is not None):
                    problems.append(f"classes: {spec.name!r} needs either an id (a class) or children (a group)")
                elif spec.children:
                    walk(spec.children, (*parents, spec.name))
                elif spec.id is not None:
                    colour = from_hex(spec.colour) if spec.colour else colour_of(len(leaves))
                    leaves.append(ClassInfo(spec.id, spec.name, colour, parents))

        walk(self.classes, ())
        if problems:
            raise ConfigError(problems)
        return ClassTree(tuple(leaves), self.ignore)

    def mask_encoding(self, classes: ClassTree) -> MaskEncoding:
        """The encoding of the mask files. Raises ConfigError when `levels` does not fit it or `classes`."""
        levels = {int(grey): id_ for grey, id_ in self.masks.levels.items() if grey.isdecimal()}
        if len(levels) != len(self.masks.levels) or (self.masks.encoding == "levels") != bool(levels):
            raise ConfigError("masks.levels: give grey value -> class id pairs with `encoding: levels`, and only there")
        strange = sorted(set(levels.values()) - {*classes.ids, classes.ignore})
        if strange:
            raise ConfigError(f"masks.levels: {strange} are no class ids and not the ignore id; add them to `classes`")
        return MaskEncoding(self.masks.encoding, levels)


def images_below(folder: Path) -> list[Path]:
    """Image files below `folder` in the order of their names; hidden files and folders are left out."""
    return sorted(path for path in folder.rglob("*")
                  if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))
