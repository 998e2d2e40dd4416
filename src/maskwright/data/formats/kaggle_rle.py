"""Tables of run lengths, as Kaggle's competitions have them: a CSV file with a column of images and one of run lengths.

    ImageId,EncodedPixels          id,rle_mask          subject,img,pixels          ImageId_ClassId,EncodedPixels
    0a1b.jpg,1 3 10 5              0a1b,1 3 10 5        1,7,1 3 10 5 (1_7.tif)      0a1b.jpg_2,1 3 10 5

Columns are told by what is in them. Run lengths: pairs of a first pixel, counted from 1 down the columns of the image,
and a length, in ascending order (https://www.kaggle.com/c/airbus-ship-detection/overview/evaluation). Tables that count
along the rows are told by the distance from run to run, which is the length of a row there, where most images are not
square. An empty cell, or -1, says that nothing is there; an image may have several rows, one an object or a class. The
column of images holds names with or without their ending, or names with the class behind them; two columns may make up
a name. Other columns are read where they hold classes, or heights and widths, by their names. Images that no table
names are not labelled. A table whose rows all say the same holds no labels: it is the example of a submission.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import confine, natural
from maskwright.core.classes import MAX_CLASSES, MAX_ID
from maskwright.core.findings import Severity
from maskwright.core.folder_names import MASK_FOLDERS
from maskwright.core.listing import confine_found
from maskwright.core.sample import read_header
from maskwright.data.formats.by_name import NamedImages, split_in
from maskwright.data.formats.deferred import Spans
from maskwright.data.formats.source import AnnotationSet, Item, Kinds, Label, Mark, Occurrences, notes_on
from maskwright.errors import DataError

_NOTHING = frozenset({"", "-1", "nan"})
_RUNS = re.compile(r"\s*[0-9]{1,10}(?:\s+[0-9]{1,10})*\s*", re.ASCII)
_CLASS_WORDS = frozenset({"class", "classes", "label", "category", "type", "defect"})
_SAMPLE, _LONGEST, _TABLES = 2000, 1 << 27, 64
_FOREGROUND = "foreground"
_WHOLE = re.compile("[0-9]{1,5}")
_WARNING, _INFO = Severity.WARNING, Severity.INFO
_KINDS: Kinds = {
    "runs": (
        "annotation.invalid",
        _WARNING,
        "row{ holds|s hold} no run lengths: pairs of a first pixel and a length in ascending order; left out",
        "correct the cells",
    ),
    "row": (
        "annotation.invalid",
        _WARNING,
        "row{ has|s have} no image, no class, or another number of cells; left out",
        "complete them",
    ),
    "size": (
        "annotation.conflict",
        _WARNING,
        "row{ has|s have} a height or width that is none; the image's own counts",
        "correct them",
    ),
    "missing": (
        "annotation.no_image",
        _WARNING,
        "image{ of a table is|s of tables are} not in the folder; left out",
        "copy them there, or name their folder by `images` in dataset.yaml",
    ),
    "unclear": (
        "annotation.conflict",
        _WARNING,
        "name{ fits|s fit} several image files; left out",
        "name the folder of the images by `images` in dataset.yaml",
    ),
    "twice": (
        "annotation.duplicate",
        _WARNING,
        "image{ is|s are} in several tables, of which the last by name counts",
        "name the right table by `annotations` in dataset.yaml",
    ),
    "rows": (
        "annotation.renamed",
        _INFO,
        "table{ counts|s count} pixels along the rows, as the distance from run to run says",
        "nothing, if the masks lie on their objects",
    ),
    "columns": ("annotation.dropped", _INFO, "column{ is|s are} not used", "nothing, if they are no classes"),
    "example": (
        "annotation.dropped",
        _INFO,
        "table{ says|s say} the same of each image, as examples of submissions do; not read",
        "nothing, unless it holds labels",
    ),
}
Row = tuple[int, list[str]]
# Of a row: the name of the image and of the class, None where there is none.
Key = Callable[[list[str]], tuple[str, str | None]]


@dataclass
class _Table:
    """A table whose columns are known: `runs` is the number of the column of run lengths."""

    path: Path
    head: list[str]
    runs: int
    key: Key
    used: set[int]
    classes: int | None
    sides: tuple[int, int] | None
    found: int


@dataclass
class _Entry:
    """What one table says of one image."""

    table: Path
    size: tuple[int, int] | None = None
    marks: list[tuple[str, Spans]] = field(default_factory=list)


def detect(root: Path) -> str | None:
    """The table in `root`, or in a folder in it, that holds run lengths for image files that are there."""
    images: NamedImages | None = None
    for path in _candidates(root):
        try:
            head, rows = _sampled(confine_found(root, path))
        except DataError:
            continue
        column = _column_of_runs(head, rows)
        if column is None or not any(len(row[1][column].split()) > 5 for row in rows if len(row[1]) == len(head)):
            continue
        images = images or NamedImages(root, None, MASK_FOLDERS)
        table = _understood(path, images)
        if table is not None and table.found:
            return f"{path.relative_to(root).as_posix()} holds run lengths in its column {head[column][:40]!r}"
    return None


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """Reads the table `annotations`, or all tables of run lengths in `root` and the folders in it.

    DataError when there is none, or when one cannot be read.
    """
    place = confine(root, annotations, "the annotations") if annotations else root
    files = NamedImages(root, images, MASK_FOLDERS)
    tables = []
    for path in [place] if place.is_file() else _candidates(place):
        table = _understood(confine_found(root, path), files)
        if table is not None:
            tables.append(table)
        elif annotations and place.is_file():
            break
    if not tables:
        raise DataError(
            f"{place}: no CSV file with a column of images and one of run lengths (`1 3 10 5`); give the folder "
            "that holds the table and the images"
        )
    seen: Occurrences = {}
    entries: dict[Path, _Entry] = {}
    for table in tables:
        _read_table(table, files, entries, seen)
    return AnnotationSet(_labels(entries, root), _items(files, entries), notes_on(_KINDS, seen, _KINDS))


def _candidates(root: Path) -> Iterator[Path]:
    """CSV files, in the order of their names."""
    folders = [root, *sorted(path for path in root.glob("[!.]*") if path.is_dir() and not path.is_symlink())]
    found = (path for folder in folders for path in sorted(folder.glob("[!.]*.csv"), key=natural) if path.is_file())
    return islice(found, _TABLES)


@contextmanager
def _long_cells() -> Iterator[None]:
    """Python's own limit, 128 KiB, is that of a mask of some 10,000 runs."""
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _rows(path: Path) -> Iterator[Row]:
    """The lines of a table with their numbers, the head first. DataError where it cannot be read."""
    try:
        with _long_cells(), path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline(1 << 16)
            stream.seek(0)
            rows = csv.reader(stream, delimiter=max(",;\t", key=first.count), strict=True)
            for row in rows:
                if row:
                    yield rows.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a UTF-8 table ({error}); save it as CSV") from None


def _sampled(path: Path) -> tuple[list[str], list[Row]]:
    """The head, and the first rows."""
    rows = list(islice(_rows(path), _SAMPLE + 1))
    return (rows[0][1], rows[1:]) if rows else ([], [])


def pairs_of(cell: str) -> npt.NDArray[np.uint32] | None:
    """(N, 2) of first pixel and length; None where the cell is no list of such, in ascending order."""
    if not _RUNS.fullmatch(cell):
        return None
    numbers = np.fromstring(cell, np.int64, sep=" ")
    if len(numbers) % 2:
        return None
    pairs = numbers.reshape(-1, 2)
    ends = pairs.sum(1)
    if pairs.min() < 1 or ends[-1] > 2 * MAX_PIXELS or (pairs[1:, 0] < ends[:-1]).any():
        return None
    return pairs.astype(np.uint32)


def _column_of_runs(head: Sequence[str], rows: Sequence[Row]) -> int | None:
    """The column in which nearly every cell that is not empty holds run lengths."""
    shares = []
    for column in range(len(head)):
        cells = [row[column] for _, row in rows if len(row) == len(head) and row[column].strip() not in _NOTHING]
        fitting = sum(pairs_of(cell) is not None for cell in cells)
        shares.append(fitting / len(cells) if cells else 0.0)
    best = max(range(len(head)), key=shares.__getitem__, default=None)
    return best if best is not None and len(head) > 1 and shares[best] >= 0.75 else None


def _understood(path: Path, files: NamedImages) -> _Table | None:
    """A table of run lengths with its columns; None for others."""
    head, rows = _sampled(path)
    runs = _column_of_runs(head, rows)
    if runs is None:
        return None
    rows = [row for row in rows if len(row[1]) == len(head)]
    split = split_in(path.stem)
    others = [column for column in range(len(head)) if column != runs]
    names = [{word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)} for text in head]
    by_class = next((column for column in others if len(others) > 1 and names[column] & _CLASS_WORDS), None)
    keys = list(_keys([column for column in others if column != by_class]))
    if by_class is not None:
        keys += _keys(others)

    def found(key: Key) -> int:
        return sum(bool(files.find(name, split)) for name in {key(row)[0] for _, row in rows if key(row)[0].strip()})

    key, used = max(keys, key=lambda entry: found(entry[0]))
    if by_class in used or key(rows[0][1])[1] is not None:
        by_class = None
    sides = [
        next((column for column in others if head[column].strip().lower() == side), None)
        for side in ("height", "width")
    ]
    both = (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None
    used |= {runs, *(both or ())} | ({by_class} if by_class is not None else set())
    return _Table(path, head, runs, key, used, by_class, both, found(key))


def _keys(columns: Sequence[int]) -> Iterator[tuple[Key, set[int]]]:
    """The ways in which columns may name images, the plainest first, with the columns that each takes."""
    for column in columns:
        yield (lambda row, c=column: (row[c], None)), {column}  # type: ignore[misc]
    for column in columns:

        def cut(row: list[str], c: int = column) -> tuple[str, str | None]:
            name, _, behind = row[c].rpartition("_")
            return name, behind

        yield cut, {column}
    for first in columns:
        for second in columns:
            if first != second:
                yield (lambda row, a=first, b=second: (f"{row[a]}_{row[b]}", None)), {first, second}  # type: ignore[misc]


def _read_table(table: _Table, files: NamedImages, entries: dict[Path, _Entry], seen: Occurrences) -> None:
    """Adds what a table says to `entries`."""
    own: dict[Path, _Entry] = {}
    split, place = split_in(table.path.stem), table.path.relative_to(files.root).as_posix()
    said: set[str] = set()
    count = 0
    missing: dict[str, None] = {}
    for line, row in islice(_rows(table.path), 1, None):
        where = f"{place}:{line}"
        if len(row) != len(table.head) or not (name := table.key(row)[0].strip()):
            seen.setdefault("row", []).append(where)
            continue
        count += 1
        cell = row[table.runs].strip()
        if len(said) < 2:
            said.add(cell)
        label = row[table.classes].strip() if table.classes is not None else table.key(row)[1]
        found = files.find(name, split)
        if len(found) != 1:
            shown = name[-80:]
            if shown not in missing:
                missing[shown] = None
                seen.setdefault("unclear" if found else "missing", []).append(shown)
            continue
        entry = own.setdefault(found[0], _Entry(table.path))
        if table.sides is not None and entry.size is None:
            entry.size = _size_of(row, table.sides)
            if entry.size is None:
                seen.setdefault("size", []).append(where)
        if cell in _NOTHING:
            continue
        pairs = pairs_of(cell)
        if pairs is None or label == "":
            seen.setdefault("runs" if pairs is None else "row", []).append(where)
            continue
        entry.marks.append((label or _FOREGROUND, Spans(pairs, f"line {line}")))
    if len(said) == 1 and count > 2:
        seen.setdefault("example", []).append(place)
        return
    seen.setdefault("columns", []).extend(
        f"{place}: {name[:40]}" for column, name in enumerate(table.head) if column not in table.used
    )
    if _along_rows(own):
        seen.setdefault("rows", []).append(place)
        for entry in own.values():
            entry.marks = [(label, Spans(spans.pairs, spans.place, True)) for label, spans in entry.marks]
    seen.setdefault("twice", []).extend(path.name for path in own if path in entries)
    entries |= own


def _size_of(row: Sequence[str], sides: tuple[int, int]) -> tuple[int, int] | None:
    texts = [row[side].strip().removesuffix(".0") for side in sides]
    if not all(_WHOLE.fullmatch(text) for text in texts):
        return None
    height, width = map(int, texts)
    return (height, width) if 0 < height * width <= MAX_PIXELS else None


def _along_rows(entries: dict[Path, _Entry]) -> bool:
    """Whether runs follow each other at the distance of a row, not of a column."""
    votes: Counter[bool] = Counter()
    for path, entry in islice(((path, entry) for path, entry in entries.items() if entry.marks), 50):
        try:
            height, width = entry.size or read_header(path).size
        except DataError:
            continue
        if height != width:
            starts = np.concatenate([spans.pairs[:, 0].astype(np.int64) for _, spans in entry.marks])
            steps = np.diff(starts)
            near_column, near_row = (
                int((np.abs(steps - side) <= abs(height - width) / 2.5).sum()) for side in (height, width)
            )
            votes[False] += near_column
            votes[True] += near_row
    return votes[True] > 20 and votes[True] > 4 * votes[False]


def _labels(entries: dict[Path, _Entry], root: Path) -> list[Label]:
    """The classes, in the order of their numbers and names."""
    names = {label for entry in entries.values() for label, _ in entry.marks}
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"{root}: {len(names)} classes in the tables; at most {MAX_CLASSES} are possible, so merge some"
        )
    if not names:
        return [Label(_FOREGROUND)]
    ordered = sorted(names, key=lambda name: natural(Path(name)))
    return [
        Label(_named(name), int(name) if _WHOLE.fullmatch(name) and int(name) <= MAX_ID else None) for name in ordered
    ]


def _named(label: str) -> str:
    """A number alone is no name."""
    return f"class_{int(label)}" if _WHOLE.fullmatch(label) else label


def _items(files: NamedImages, entries: dict[Path, _Entry]) -> list[Item]:
    items: dict[str, Item] = {}
    for path in files.paths:
        entry = entries.get(path)
        split = files.split_of(path) or (split_in(entry.table.stem) if entry else None)
        name = files.name_of(path, split, items)
        item = Item(
            name, confine_found(files.root, path), entry.table if entry else path, split, labelled=entry is not None
        )
        if entry is not None:
            item.size = entry.size
            item.marks = [Mark(_named(label), spans) for label, spans in entry.marks]
        items[name] = item
    return list(items.values())
