"""The layouts with the images in one folder and the masks in another one, by the same names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.core.description import MASK_ENDINGS, DatasetFile
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.listing import from_folders
from maskwright.data.layouts.files import File
from maskwright.errors import ConfigError, DataError


def two_folders(file: DatasetFile) -> tuple[str, str, dict[str, str]] | None:
    """(folder of images, folder of masks, splits) where each split is a folder in both, and names are the same."""
    if file.left_out or file.images.pages or file.masks.parts or file.lists:
        return None
    images = {text.rpartition(".")[0] for text in file.images.files}
    masks = {_without_ending(text.rpartition(".")[0]) for text in file.masks.files}
    image, mask = next(iter(images)), next(iter(masks))
    if len(images) != 1 or len(masks) != 1 or mask is None or re.search(r"\{class\}|\{object\}|\*", mask):
        return None
    first, second = image.split("/"), mask.split("/")
    tail = 0
    while tail < min(len(first), len(second)) and first[-1 - tail] == second[-1 - tail]:
        tail += 1
    common = first[len(first) - tail :]
    splits = dict(file.splits)
    if not common or (splits and common[0] != "{split}") or "{split}" in "".join(common[1:]):
        return None
    if any(not re.fullmatch(r"\{[0-9]+\}|[^{}*]+", part) for part in common[bool(splits) :]):
        return None
    folder, below = ("/".join(parts[: len(parts) - len(common)]) or "." for parts in (first, second))
    if "{" in folder + below or "*" in folder + below or any("|" in words for words in splits.values()):
        return None
    return (folder, below, splits) if folder != below else None


def _without_ending(pattern: str) -> str | None:
    """A pattern of masks without the usual ending behind the name; None where it has another one."""
    ending = next((ending for ending in MASK_ENDINGS if pattern.endswith("}" + ending)), None)
    return None if ending is None else pattern[: len(pattern) - len(ending)]


def same_pairs(root: Path, file: DatasetFile, pairs: dict[str, list[tuple[str, Any, Any]]]) -> bool:
    """Whether `file` lists the same images with the same masks."""
    try:
        listing = from_folders(file, root)
    except (DataError, ConfigError):
        return False
    found = {sample.image: sample.mask for sample in listing.samples}
    return found == {root / image: root / masks[0][0] if masks else None for image, masks in pairs.items()}


def folders_of(files: Sequence[File]) -> tuple[dict[str, str], str]:
    """(splits, folder) of images without masks."""
    folders = [file.folder.split("/") if file.folder else [] for file in files]
    common = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    folder = "/".join(common) or "."
    below = {parts[len(common)] if len(parts) > len(common) else "" for parts in folders}
    if below and all(name.lower() in SPLIT_NAMES for name in below):
        found = {SPLIT_NAMES[name.lower()]: name for name in sorted(below)}
        if len(found) == len(below):
            return {split: found[split] for split in ("train", "val", "test") if split in found}, folder
    return {}, folder


def other_files(root: Path) -> str:
    """What else lies in a folder."""
    found: Counter[str] = Counter()
    for number, path in enumerate(root.rglob("*")):
        if number > 20000:
            break
        if path.is_file():
            found[path.suffix.lower() or "without ending"] += 1
    return ", ".join(f"{n} {ending}" for ending, n in found.most_common(5)) or "no files"
