"""What CVAT's two formats share: subsets as splits, image files by their names, and masks cut into parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.base.storage import confine
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.image_files import images_below
from maskwright.core.listing import confine_found
from maskwright.core.patterns import nfc
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.source import Mask, present
from maskwright.errors import DataError

DEFAULT_SUBSET = "default"  # CVAT's name for images without a subset


def split_of(subset: str | None) -> str | None:
    """CVAT's subset as a split: `Validation` is `val`, the default one is none."""
    return None if subset in (None, "", DEFAULT_SUBSET) else SPLIT_NAMES.get(str(subset).lower(), subset)


class ImageFinder:
    """The image files below `root`, or below its folder `images`, found by the names that annotations have for them.

    Files in folders that are called as one of `skip` are no images. DataError when `images` is no folder inside `root`.
    """

    def __init__(self, root: Path, images: str | None, skip: Sequence[str] = ()) -> None:
        self._root = root
        self.folder = confine(root, images, "images") if images else root
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder; give the folder of the images inside {root}")
        self._files: dict[str, list[Path]] = {}
        self._keys: dict[str, list[str]] = {}
        for path in images_below(self.folder):
            if not {*skip}.isdisjoint(path.relative_to(root).parts[:-1]):
                continue
            key = nfc(path.relative_to(self.folder).with_suffix("").as_posix())
            self._files.setdefault(key, []).append(path)
            self._keys.setdefault(key.rpartition("/")[2], []).append(key)

    def find(self, name: str, folders: Sequence[str]) -> Path | None:
        """The file called `name`, with or without its ending, in the first of `folders` that has it; else the only
        one anywhere whose path ends like that. DataError for paths that lead outside."""
        # A name that is too long for a file is that of an image that is not there.
        confine(self.folder, "/".join(part[:60] for part in name.split("/")), "the name of an image")
        stem = nfc(without_ending(name))
        places = [f"{nfc(folder)}/{stem}" if folder else stem for folder in folders]
        elsewhere = [
            key for key in dict.fromkeys(self._keys.get(stem.rpartition("/")[2], [])) if f"/{key}".endswith(f"/{stem}")
        ]
        for key in [*places, *(elsewhere if len(elsewhere) == 1 else [])]:
            fitting = [path for path in self._files.get(key, ()) if _same_ending(path, name)]
            if fitting:
                exact = [path for path in fitting if nfc(path.name) == nfc(PurePosixPath(name).name)]
                return confine_found(self._root, (exact or fitting)[0])
        return None


def without_ending(name: str) -> str:
    """`name` as a path with `/`, without the ending of an image file."""
    path = PurePosixPath(name.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix()


def _same_ending(path: Path, name: str) -> bool:
    ending = PurePosixPath(name).suffix.lower()
    return ending not in IMAGE_SUFFIXES or ending == path.suffix.lower()


def components(mask: Mask, classes: ClassTree) -> Iterator[tuple[int, str, npt.NDArray[np.bool_], int, int]]:
    """Of indices (H, W): (index, class name, its pixels (h, w) bool, their left, their top) for each 8-connected part
    of every class but the background, and of ignored pixels, as `ignore`."""
    values = list(present(mask, classes))
    if (mask == IGNORE).any():
        values.append((IGNORE, "ignore"))
    for value, name in values:
        count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        for part in range(1, count):
            left, top, width, height = (int(number) for number in boxes[part][:4])
            yield value, name, labels[top : top + height, left : left + width] == part, left, top
