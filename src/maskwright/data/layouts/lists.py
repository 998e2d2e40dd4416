"""Which list files of a folder say the splits of its images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskwright.core.image_files import listed_in
from maskwright.core.split_lists import LIST_SUFFIXES, SPLIT_WORDS, Names, read_split_lists
from maskwright.data.layouts.words import SplitWords, tokens
from maskwright.errors import DataError

_FILES = 200
# The share of the entries that have to name an image.
_NAMING = 0.8


def lists_of(root: Path, images: Sequence[tuple[str, Sequence[str]]]) -> tuple[dict[str, str], str]:
    """(split -> file, as `lists` in `dataset.yaml`, and the reason); empty where no file names the images.

    `images`: the path of each inside the folder, and its other names. Images that no list names belong to `train` where
    only the other splits have lists.
    """
    names = Names(images)
    lists: dict[str, str] = {}
    owners: dict[str, str] = {}
    for path in _candidates(root):
        split = _split_of(path)
        try:
            found = read_split_lists(path, split)
        except DataError:
            continue
        for name, entries in found.items():
            meant = [names.find(entry) for entry in entries]
            paths = {image for image in meant if image}
            if not paths or len([m for m in meant if m]) < _NAMING * len(entries) or name in lists:
                continue
            if any(owners.get(image, name) != name for image in paths):
                continue
            owners |= dict.fromkeys(paths, name)
            lists[name] = path.relative_to(root).as_posix()
    if not lists:
        return {}, ""
    files = ", ".join(dict.fromkeys(lists.values()))
    reason = f"{files} name {len(owners)} of {len(images)} images"
    if len(owners) < len(images) and "train" not in lists:
        lists = {"train": "*"} | lists
        reason += "; the others are for training"
    return {split: lists[split] for split in ("train", "val", "test") if split in lists}, reason


def _candidates(root: Path) -> Iterator[Path]:
    places, count = [(root, 0)], 0
    for place, depth in places:
        for path in listed_in(place)[:2000]:
            if path.is_symlink():
                continue
            if path.is_dir() and depth < 3 and len(places) < _FILES:
                places.append((path, depth + 1))
            elif path.suffix.lower() in LIST_SUFFIXES and count < _FILES and path.is_file():
                count += 1
                yield path


def _split_of(path: Path) -> str | None:
    """The one split that the name of a file holds."""
    found = {split for token in tokens(path.stem, SplitWords()) if (split := SPLIT_WORDS.get(token.text.lower()))}
    return next(iter(found)) if len(found) == 1 else None
