"""Files that say which image is of which split: a name a line, a column of a table, or lists in JSON and YAML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from maskwright.base.storage import confine
from maskwright.core.description import FILE_NAME
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.patterns import loose, nfc
from maskwright.errors import DataError

LIST_SUFFIXES = frozenset({".txt", ".lst", ".list", ".csv", ".json", ".yaml", ".yml"})
# Words for splits in tables and names of lists; as names of folders some of them are too short to mean one.
SPLIT_WORDS = SPLIT_NAMES | {
    "trn": "train",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "tst": "test",
    "holdout": "test",
}
_LARGEST = 1 << 26  # bytes


def read_split_lists(path: Path, split: str | None = None) -> dict[str, list[list[str]]]:
    """Split -> its entries, each as the texts of one line (an image, perhaps its mask, perhaps more).

    A table with a column of splits, and a document with lists by split, hold several splits; any other file is the list
    of `split`. Empty where it holds nothing of the kind. DataError for a file that cannot be read as text.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: more than {_LARGEST >> 20} MiB, which is no list of images")
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() in (".json", ".yaml", ".yml"):
            found = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
            return _of_document(found)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as a list of images ({error}); correct it") from None
    if path.suffix.lower() == ".csv" and (found := _of_table(text)):
        return found
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    return {split: lines} if split and lines else {}


def _of_document(found: Any) -> dict[str, list[list[str]]]:
    if not isinstance(found, dict):
        return {}
    lists: dict[str, list[list[str]]] = {}
    for key, value in found.items():
        if (split := SPLIT_WORDS.get(str(key).lower())) and isinstance(value, list):
            lists[split] = [[str(entry)] for entry in value if isinstance(entry, str | int)]
    return {split: entries for split, entries in lists.items() if entries}


def _of_table(text: str) -> dict[str, list[list[str]]]:
    """A table with a column whose cells are the words of splits."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        return {}
    width = len(rows[0]) if rows else 0
    body = [row for row in rows[1:] if len(row) == width]
    for column in range(width):
        words = {row[column].strip().lower() for row in body}
        if len(body) > 1 and words and words <= SPLIT_WORDS.keys():
            lists: dict[str, list[list[str]]] = {}
            for row in body:
                cells = [cell.strip() for place, cell in enumerate(row) if place != column and cell.strip()]
                lists.setdefault(SPLIT_WORDS[row[column].strip().lower()], []).append(cells)
            return lists
    return {}


class Names:
    """Finds the image that an entry of a list means: by its path, a part of it from the end, its name or its number."""

    def __init__(self, images: Iterable[tuple[str, Sequence[str]]]) -> None:
        """`images`: the path of each inside the dataset, and other names that it has."""
        self._known: dict[str, str | None] = {}
        for path, others in images:
            for name in dict.fromkeys(form for text in (path, *others) for form in _forms(text)):
                # A name of two images means neither.
                self._known[name] = path if self._known.setdefault(name, path) == path else None

    def find(self, entry: Sequence[str]) -> str | None:
        """The path of the image that one of the first texts of an entry means."""
        for text in entry[:3]:
            for form in _forms(text.replace("\\", "/")):
                if found := self._known.get(form):
                    return found
        return None


def _forms(text: str) -> Iterator[str]:
    path = PurePosixPath(nfc(text))
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        yield tail
        if path.suffix:
            yield tail.removesuffix(path.suffix)
    if parts:
        yield loose(path.stem)


def splits_by_lists(
    root: Path, lists: Mapping[str, str], images: Sequence[tuple[str, Sequence[str]]]
) -> tuple[dict[str, str], dict[str, int]]:
    """(path of an image -> its split, split -> entries that name no image), as `lists` (split -> file, or `*`) say."""
    names, found, lost = Names(images), dict[str, str](), dict[str, int]()
    for split, file in lists.items():
        for entry in read_split_lists(confine(root, file, FILE_NAME), split).get(split, []) if file != "*" else []:
            if path := names.find(entry):
                found[path] = split
            else:
                lost[split] = lost.get(split, 0) + 1
    rest = next((split for split, file in lists.items() if file == "*"), None)
    return found | {path: rest for path, _ in images if rest and path not in found}, lost
