"""Folders whose images and masks are paired by a table: `labels.csv`, or any CSV with a column of each."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from maskwright.base.storage import confine
from maskwright.core.description import DatasetFile, ImagesSpec
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.image_files import listed_in
from maskwright.data.layouts.encodings import meaning_of
from maskwright.data.layouts.files import Tree, links_of
from maskwright.data.layouts.found import NOTHING_SAID, Answers, Detection
from maskwright.data.layouts.tables import class_tables
from maskwright.errors import DataError

_LARGEST = 1 << 26  # bytes
_NAMING = 0.8  # of the cells of a column name files


def by_table(
    tree: Tree,
    name: str,
    columns: dict[str, str],
    images: str | None = None,
    masks: str | None = None,
    answers: Answers = NOTHING_SAID,
) -> Detection | None:
    """What the table `name` in the folder pairs; `columns` says what those of `image`, `mask` and `split` are called.
    None where it has others."""
    root = tree.root
    rows = _rows(root / name)
    image, mask = columns.get("image", "image"), columns.get("mask", "mask")
    if rows and not {image, mask} <= {*rows[0]}:
        return None
    folder = images or _home(tree, "image", [row[image] for row in rows if row.get(image)])
    mask_folder = masks or _home(tree, "mask", [row[mask] for row in rows if row.get(mask)])
    places = (_place(root, mask_folder, row[mask]) for row in rows if row.get(mask))
    files = [place for place in places if place is not None]
    groups: dict[str, list[str]] = defaultdict(list)
    for path in files:
        groups[path.rpartition("/")[0] + PurePosixPath(path).suffix.lower()].append(path)
    meaning = meaning_of(root, list(groups.values()), class_tables(root), answers=answers)
    reasons = {
        "layout": f"{name} pairs images with masks",
        "images": f"where {name} finds them",
        "masks": f"{len(files)} of {len(rows)} rows name a mask that is there",
    }
    words = Counter(row[columns.get("split", "split")] for row in rows if row.get(columns.get("split", "split")))
    if words:
        reasons["splits"] = ", ".join(f"{word} {count}" for word, count in words.most_common(6))
    file = DatasetFile(
        layout="table",
        table=name,
        columns=columns,
        images=ImagesSpec(folder=folder),
        masks=meaning.masks.model_copy(update={"folder": None if mask_folder == "." else mask_folder}),
        classes=meaning.classes,
        ignore=meaning.ignore,
        links=links_of(root, reasons),
    )
    return Detection(
        file, reasons | meaning.reasons, len(rows), len(files), (), tuple(meaning.unsure), meaning.exact, meaning.shares
    )


def by_any_table(tree: Tree, answers: Answers) -> Detection | None:
    """What a CSV in the folder itself pairs: one column names images, another one masks, perhaps a third the splits."""
    images = [file.path for file in tree.files if file.role != "mask"]
    masks = [file.path for file in tree.files if file.role != "image"]
    for path in listed_in(tree.root)[:200]:
        if path.suffix.lower() != ".csv" or path.is_symlink() or not path.is_file():
            continue
        rows = _rows(path)
        if len(rows) < 2:
            continue
        heads = [head for head in rows[0] if head]
        named = {role: _column(rows, heads, files) for role, files in (("image", images), ("mask", masks))}
        if None in named.values() or named["image"] == named["mask"]:
            continue
        columns = {role: head for role, head in named.items() if head is not None}
        for head in heads:
            words = {row.get(head, "").lower() for row in rows}
            if head not in columns.values() and words <= SPLIT_NAMES.keys():
                columns["split"] = head
                break
        return by_table(tree, path.name, columns, None, None, answers)
    return None


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > _LARGEST:
            return []
        return [
            {
                (key or "").strip(): value.strip().replace("\\", "/")
                for key, value in row.items()
                if isinstance(value, str)
            }
            for row in csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
        ]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _place(root: Path, folder: str, text: str) -> str | None:
    """The path of a file that a table names, in its folder or in that of the dataset; None where none is inside."""
    for name in dict.fromkeys((f"{folder}/{text}", text)):
        try:
            if confine(root, name, "a table").is_file():
                return name
        except DataError:
            continue  # refused, with its line, when the dataset is opened
    return None


def _column(rows: Sequence[dict[str, str]], heads: Sequence[str], files: Sequence[str]) -> str | None:
    """The first column whose cells name files of a role, by their path or a part of it from the end."""
    ends = {"/".join(parts[i:]) for path in files for parts in [path.split("/")] for i in range(len(parts))}
    for head in heads:
        cells = [row[head] for row in rows[:500] if row.get(head)]
        if len(cells) > 1 and sum(cell in ends for cell in cells) >= _NAMING * len(cells):
            return head
    return None


def _home(tree: Tree, role: str, names: Sequence[str]) -> str:
    """The folder in which most of the names are files, of the role if there are several."""
    folders = {
        "/".join(file.folder.split("/")[: i + 1]) for file in tree.files for i in range(file.folder.count("/") + 1)
    }
    known = {file.path: 1 + (file.role == role) for file in tree.files}
    return max(
        sorted({folder for folder in folders if folder} | {"."}),
        key=lambda f: (sum(known.get(n if f == "." else f"{f}/{n}", 0) for n in names[:500]), f == ".", -len(f)),
    )
