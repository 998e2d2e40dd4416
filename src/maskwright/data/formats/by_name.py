"""Image files found by the names that annotations have for them, and their splits from the words in their folders."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from functools import lru_cache
from pathlib import Path

from maskwright.base.storage import confine
from maskwright.core.folder_names import IMAGE_FOLDERS, SPLIT_NAMES
from maskwright.core.image_files import images_below
from maskwright.core.listing import confine_found
from maskwright.core.patterns import nfc
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.errors import DataError


def split_in(text: str) -> str | None:
    """The split that a word of `text` names, as in `train_v2`; None where none does, or several do."""
    found = {SPLIT_NAMES[word] for word in re.findall("[a-z]+", text.lower()) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def found_as(path: Path) -> Path | None:
    """`path` where it is there; else what differs from it only in the form of Unicode, as names from macOS do: in its
    own name or in those of its folders. None when there is nothing."""
    if os.path.exists(path) or str(path).isascii():
        return path if os.path.exists(path) else None
    folder = found_as(path.parent) if path.parent != path else None
    if folder is None:
        return None
    found = _names_in(folder, os.stat(folder).st_mtime_ns).get(nfc(path.name))
    return folder / found if found is not None else None


@lru_cache(16)
def _names_in(folder: Path, modified: int) -> dict[str, str]:
    """The names in a folder that is no link, by their form NFC."""
    try:
        return {nfc(name): name for name in sorted(os.listdir(folder), reverse=True)}
    except OSError:
        return {}


class NamedImages:
    """The image files below `root`, or below its folder `images`; those in folders called as one of `skip` are none.

    Names are compared in the Unicode form NFC, with `/` between folders and with or without their ending, and lead to
    files that were listed and to no other. DataError when `images` is no folder inside `root`.
    """

    def __init__(self, root: Path, images: str | None, skip: Container[str] = ()) -> None:
        folder = confine(root, images, "the folder of images") if images else root
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder of the images inside {root}")
        self.root = root
        self.paths = [
            path
            for path in images_below(folder)
            if not any(part.lower() in skip for part in path.relative_to(folder).parts[:-1])
        ]
        self._confined: set[Path] = set()
        # Stem -> the folders, from the innermost one on, the ending, and the file.
        self._by_stem: dict[str, list[tuple[tuple[str, ...], str, Path]]] = {}
        for path in self.paths:
            folders = tuple(map(nfc, path.relative_to(root).parts[-2::-1]))
            self._by_stem.setdefault(nfc(path.stem), []).append((folders, path.suffix.lower(), path))

    def find(self, name: str, split: str | None = None) -> list[Path]:
        """The files that `name` may stand for: of several, those in folders of the split."""
        *above, last = nfc(name.strip().replace("\\", "/")).split("/")
        stem, dot, ending = last.rpartition(".")
        ending = dot + ending.lower()
        if not stem or ending not in IMAGE_SUFFIXES:
            stem, ending = last, ""
        inner = tuple(part for part in reversed(above) if part not in ("", ".", ".."))
        found = [
            path
            for folders, suffix, path in self._by_stem.get(stem, ())
            if ending in ("", suffix) and folders[: len(inner)] == inner
        ]
        if len(found) > 1 and split is not None:
            found = [path for path in found if self.split_of(path) == split] or found
        for path in found:
            if path not in self._confined:
                self._confined.add(confine_found(self.root, path))
        return found

    def split_of(self, path: Path) -> str | None:
        """The split that the folders of an image name: the outermost one that does."""
        splits = (split_in(part) for part in path.relative_to(self.root).parts[:-1])
        return next((split for split in splits if split), None)

    def name_of(self, path: Path, split: str | None, taken: Container[str] = ()) -> str:
        """The path without its ending and the folder of images, with the split first, in place of the folder that names
        it; all of the path where that name is `taken`."""
        inner = path.relative_to(self.root)
        folders = list(inner.parts[:-1])
        usual = next((i for i, part in enumerate(folders) if part.lower() in (*IMAGE_FOLDERS, "annotations")), None)
        if usual is not None:
            del folders[usual]
        own = next((i for i, part in enumerate(folders) if split and split_in(part) == split), None)
        if own is not None:
            del folders[own]
        first = [split] if split else []
        name = "/".join([*first, *folders, path.stem])
        return "/".join([*first, inner.as_posix()]) if name in taken else name
