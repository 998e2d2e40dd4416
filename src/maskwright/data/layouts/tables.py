"""Names and colours of classes from the files that come along: tables, lists, JSON and YAML."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskwright.core.classes import MAX_CLASSES, MAX_ID
from maskwright.core.image_files import listed_in
from maskwright.core.palette import Colour
from maskwright.core.patterns import nfc

_LARGEST = 1 << 20
_FILES = 60
_SUFFIXES = frozenset({".csv", ".txt", ".json", ".yaml", ".yml", ".names"})
_NAMED = re.compile(r"class|code|label|categor|names|palette|colou?r", re.IGNORECASE)
_ROW = re.compile(r"^\s*(?:#?\s*)(.*?)[\s,;:]*\b(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})\b[\s,;:]*(.*)$")
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class Row:
    """One class as a table has it."""

    name: str
    id: int | None = None
    colour: Colour | None = None


@dataclass(frozen=True)
class ClassTable:
    """The classes that a file names; `file` is its path inside the folder."""

    file: str
    rows: tuple[Row, ...]

    @property
    def ids(self) -> dict[int, str]:
        """Names by id: as the file says, else the place in it."""
        if all(row.id is not None for row in self.rows):
            return {row.id: row.name for row in self.rows if row.id is not None}
        return {i: row.name for i, row in enumerate(self.rows)}

    @property
    def colours(self) -> dict[Colour, str]:
        """Names by colour."""
        return {row.colour: row.name for row in self.rows if row.colour is not None}


def class_tables(root: Path) -> list[ClassTable]:
    """The tables in a folder and two levels below it, those that name ids or colours before plain lists."""
    found = []
    for path in _candidates(root):
        try:
            if path.stat().st_size > _LARGEST:
                continue
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        rows = _rows(path, text)
        names = [row.name for row in rows]
        if 1 < len(rows) <= MAX_CLASSES + 1 and len(set(names)) == len(names) and all(names):
            found.append(ClassTable(path.relative_to(root).as_posix(), tuple(rows)))
    return sorted(found, key=lambda table: (not table.colours, table.rows[0].id is None, table.file))


def _candidates(root: Path) -> Iterator[Path]:
    places, count = [(root, 0)], 0
    for place, depth in places:
        for path in listed_in(place)[:400]:
            if path.is_symlink():
                continue
            if path.is_dir() and depth < 2 and len(places) < _FILES:
                places.append((path, depth + 1))
            elif path.suffix.lower() in _SUFFIXES and count < _FILES and path.is_file():
                count += 1
                yield path


def _rows(path: Path, text: str) -> list[Row]:
    try:
        if path.suffix.lower() == ".json":
            return _of_document(json.loads(text))
        if path.suffix.lower() in (".yaml", ".yml"):
            return _of_document(yaml.safe_load(text))
    except (ValueError, RecursionError, yaml.YAMLError):
        return []
    return _of_csv(text) or _of_lines(path, text)


def _of_csv(text: str) -> list[Row]:
    """A table with a header that names its columns: a class with its colour, or with its pixel value."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        return []
    if len(rows) < 2 or len(rows) > MAX_CLASSES + 2:
        return []
    head = [cell.lower().replace("_", " ") for cell in rows[0]]
    name = next(
        (i for i, cell in enumerate(head) if cell in ("name", "class", "label", "class name", "category")), None
    )
    if name is None:
        return []
    colour = [
        next((i for i, cell in enumerate(head) if cell in words), None)
        for words in (("r", "red"), ("g", "green"), ("b", "blue"))
    ]
    value = next(
        (i for i, cell in enumerate(head) if cell in ("pixel value", "value", "id", "index", "class id")), None
    )
    if value is None and None in colour:
        return []
    found = []
    for row in rows[1:]:
        if len(row) != len(head):
            return []
        rgb = _colour([row[i] for i in colour if i is not None]) if None not in colour else None
        id_ = _id(row[value]) if value is not None else None
        if (rgb, id_) == (None, None):
            return []
        found.append(Row(nfc(row[name]), id_, rgb))
    return found


def _of_lines(path: Path, text: str) -> list[Row]:
    """A class a line: with its colour, or by its place in a file that is called after classes."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not (line.startswith("#") and ":" in line)]
    if not lines or len(lines) > MAX_CLASSES + 1:
        return []
    matches = [_ROW.match(line) for line in lines]
    if all(matches):
        found = []
        for match in matches:
            assert match is not None
            rgb = _colour(list(match.group(2, 3, 4)))
            name = match[1].strip(" \t:,;") or match[5].strip(" \t:,;")
            if rgb is None or not name:
                return []
            found.append(Row(nfc(name), None, rgb))
        return _numbered(found)
    if path.suffix.lower() == ".csv" and any("," in line for line in lines):
        return []  # a table of something else
    plain = all(len(line) < 60 and not re.search(r"[/\\.]\w", line) and re.search(r"[^\W\d]", line) for line in lines)
    return [Row(nfc(line)) for line in lines] if plain and _NAMED.search(path.stem) else []


def _numbered(rows: list[Row]) -> list[Row]:
    """Rows whose names begin with different numbers, as `0 void`, with these as ids."""
    found = [re.fullmatch(r"(\d{1,5})[\s,;:]+(.*[^\W\d].*)", row.name) for row in rows]
    ids = [_id(match[1]) for match in found if match]
    if len({*ids} - {None}) < len(rows):
        return rows
    return [Row(match[2], _id(match[1]), row.colour) for row, match in zip(rows, found, strict=True) if match]


def _of_document(found: Any) -> list[Row]:
    """JSON or YAML: names by id, ids by name, names by colour, or a list of classes with name and colour."""
    if isinstance(found, list):
        return _of_entries(found)
    if not isinstance(found, dict):
        return []
    if rows := _of_mapping(found):
        return rows
    for key in ("names", "labels", "classes", "label_map", "categories"):
        inner = found.get(key)
        if isinstance(inner, dict) and (rows := _of_mapping(inner)):
            return rows
        if isinstance(inner, list):
            if all(isinstance(name, str) for name in inner):
                return [Row(nfc(name), i) for i, name in enumerate(inner)]
            if rows := _of_entries(inner):
                return rows
    return []


def _of_mapping(found: dict[Any, Any]) -> list[Row]:
    pairs = list(found.items())
    if not 1 < len(pairs) <= MAX_CLASSES + 1:
        return []
    if all(isinstance(v, str) and _id(k) is not None for k, v in pairs):
        return [Row(nfc(v), _id(k)) for k, v in pairs]
    if all(
        isinstance(k, str) and isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= MAX_ID for k, v in pairs
    ):
        return [Row(nfc(k), v) for k, v in pairs]
    if all(isinstance(k, str) and _HEX.fullmatch(k) and isinstance(v, str) for k, v in pairs):
        return [Row(nfc(v), None, _hex(k)) for k, v in pairs]
    return []


def _of_entries(found: list[Any]) -> list[Row]:
    rows = []
    for entry in found:
        if not isinstance(entry, dict):
            return []
        name = next(
            (entry[key] for key in ("title", "name", "readable", "label") if isinstance(entry.get(key), str)), None
        )
        shade = entry.get("color", entry.get("colour"))
        rgb = None
        if isinstance(shade, str) and _HEX.fullmatch(shade):
            rgb = _hex(shade)
        elif isinstance(shade, list) and len(shade) == 3:
            rgb = _colour([str(part) for part in shade])
        id_ = entry.get("id") if isinstance(entry.get("id"), int) else None
        if name is None or (rgb is None and id_ is None):
            return []
        rows.append(Row(nfc(name), id_ if id_ is not None and 0 <= id_ <= MAX_ID else None, rgb))
    return rows


def _id(text: Any) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,5}", str(text)) and int(text) <= MAX_ID else None


def _hex(text: str) -> Colour:
    return (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))


def _colour(parts: list[str]) -> Colour | None:
    values = [int(part) for part in parts if re.fullmatch(r"[0-9]{1,3}", part.strip())]
    return (values[0], values[1], values[2]) if len(values) == 3 and max(values) <= 255 else None
