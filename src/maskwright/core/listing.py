"""Lists the image and mask files that a `dataset.yaml` describes, and pairs them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import cast, get_args

from maskwright.base.storage import confine, is_inside
from maskwright.core.description import FILE_NAME, MASK_ENDINGS, DatasetFile
from maskwright.core.findings import Finding
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.image_files import images_below, is_image, listed_in
from maskwright.core.sample import Provenance, Sample, Status
from maskwright.errors import DataError


@dataclass
class Listing:
    """What was found: samples, masks of no image, image files that are not part of the dataset, with where they are
    not named, and folders that were not entered because they are links. `notes` is what else was found."""

    samples: list[Sample]
    orphans: list[Path]
    unlisted: list[Path]
    unlisted_in: str
    links: list[Path]
    notes: list[Finding] = field(default_factory=list)


def from_folders(file: DatasetFile, root: Path) -> Listing:
    """Images and masks of the same name in two folders, with a folder for each split or without."""
    follow = file.follow
    image_root = confine(root, file.images.folder, FILE_NAME, follow)
    mask_root = confine(root, file.masks.folder, FILE_NAME, follow) if file.masks.folder else None
    # A flat layout is one split without a name, whose folder is the image folder itself.
    folders = file.splits if file.layout == "split_folders" else {"": "."}
    samples: list[Sample] = []
    orphans: list[Path] = []
    links: list[Path] = []
    for split, folder in folders.items():
        images = confine(image_root, folder, FILE_NAME, follow)
        if not images.is_dir():
            raise DataError(f"{images}: no such folder; correct `splits` in {FILE_NAME}")
        masks: dict[str, Path] = {}
        if mask_root is not None and (mask_folder := confine(mask_root, folder, FILE_NAME, follow)).is_dir():
            for path in images_below(mask_folder, links, follow):
                key = path.relative_to(mask_folder).with_suffix("").as_posix()
                if key in masks:
                    raise DataError(f"{path}: another mask has the same name ({masks[key].name}); keep one of them")
                masks[key] = confine_found(root, path, follow)
        used = set()
        for path in images_below(images, links, follow):
            key = path.relative_to(images).with_suffix("").as_posix()
            match = next((key + ending for ending in MASK_ENDINGS if key + ending in masks), None)
            used.add(match)
            samples.append(
                Sample(
                    f"{split}/{key}" if split else key,
                    confine_found(root, path, follow),
                    masks[match] if match else None,
                    split or None,
                )
            )
        orphans += [path for key, path in masks.items() if key not in used]
    unlisted = _beside(image_root, folders.values(), mask_root) if file.layout == "split_folders" else []
    return Listing(samples, orphans, unlisted, "in no folder of a split", links)


def _beside(image_root: Path, folders: Iterable[str], mask_root: Path | None) -> list[Path]:
    """Image files in `image_root` that lie in none of `folders`, and are no masks."""
    inside = {(image_root / folder).resolve() for folder in folders} | ({mask_root.resolve()} if mask_root else set())
    found = []
    for path in listed_in(image_root):
        real = path.resolve()
        # What holds one of the folders is not looked through: it may hold anything.
        if any(real.is_relative_to(folder) or folder.is_relative_to(real) for folder in inside):
            continue
        if path.is_dir():
            found += images_below(path)
        elif is_image(path):
            found.append(path)
    return found


# Following links costs more than all the rest of listing a file, and thousands of files share a folder.
_is_inside = lru_cache(1024)(is_inside)


def confine_found(root: Path, path: Path, follow: bool | None = None) -> Path:
    """Refuses a listed file that leads outside `root` through a symbolic link, or whose name is no text. `follow` is
    what `links` in dataset.yaml says of such links, None for files that it is not about."""
    if follow or path == root:
        return _with_text_name(path)
    if not (_is_inside(root, path.parent) and (not path.is_symlink() or is_inside(root, path))):
        other = "" if follow is None else f", or set `links: follow` in {FILE_NAME} if the link is yours"
        raise DataError(f"{path}: leads outside {root} through a symbolic link; copy the file into the dataset{other}")
    return _with_text_name(path)


# Control characters, and undecodable bytes, which are read as surrogates.
_NO_TEXT = re.compile("[\x00-\x1f\ud800-\udfff]")


def _with_text_name(path: Path) -> Path:
    if _NO_TEXT.search(str(path)):
        raise DataError(f"{str(path)!a}: the name holds control characters or is not UTF-8; rename the file")
    return path


def refuse_same_names(samples: Sequence[Sample]) -> None:
    """DataError for two samples of one name, which are then not told apart."""
    first: dict[str, Path] = {}
    for sample in samples:
        if sample.name in first:
            raise DataError(f"{sample.image}: has the same name as {first[sample.name].name}; rename one of them")
        first[sample.name] = sample.image


def from_table(file: DatasetFile, root: Path) -> Listing:
    """`labels.csv`: columns `image`, `mask`, and optionally `split`, `status`, `provenance`; others are not read. In a
    table with other names, `columns` says which are meant."""
    path = confine(root, file.table or "labels.csv", FILE_NAME)
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        columns = [*(rows.fieldnames or ())]
        roles = ("image", "mask", "split", "status", "provenance")
        known = {role: file.columns.get(role, role) for role in roles if not file.columns or role in file.columns}
        if not {known.get("image", "image"), known.get("mask", "mask")} <= {*columns}:
            raise DataError(f"{path}:1: needs the columns image and mask; it has {sorted(columns)}")
        if twice := [name for name in known.values() if columns.count(name) > 1]:
            raise DataError(f"{path}:1: has the column {twice[0]} twice; remove one")
        samples = []
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if None in row:
                raise DataError(f"{where}: has more cells than there are columns; put names that hold commas in quotes")
            cell = dict.fromkeys(roles, "") | {
                role: (row.get(name) or "").strip().replace("\\", "/") for role, name in known.items()
            }
            if file.columns:
                cell["split"] = SPLIT_NAMES.get(cell["split"].lower(), cell["split"])
            if not Path(cell["image"]).name:
                raise DataError(f"{where}: names no image; fill the cell or remove the row")
            status, provenance = cell["status"] or "keep", cell["provenance"] or "hand"
            for column, value, allowed in (
                ("status", status, get_args(Status)),
                ("provenance", provenance, get_args(Provenance)),
            ):
                if value not in allowed:
                    raise DataError(f"{where}: {column} {value!r} is not known; use one of {', '.join(allowed)}")
            image = _table_path(root, file.images.folder, cell["image"], where, file.follow)
            masks = file.masks.folder or ""
            mask = _table_path(root, masks, cell["mask"], where, file.follow) if cell["mask"] else None
            samples.append(
                Sample(
                    Path(cell["image"]).with_suffix("").as_posix(),
                    image,
                    mask,
                    cell["split"] or None,
                    cast(Status, status),
                    cast(Provenance, provenance),
                )
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a UTF-8 table ({error}); save it as CSV") from None
    links: list[Path] = []
    images = confine(root, file.images.folder, FILE_NAME, file.follow)
    used = {sample.image for sample in samples}
    # The folder of the dataset itself may hold any image.
    below = [] if images == root else images_below(images, links, file.follow)
    unlisted = [found for found in below if found not in used]
    return Listing(samples, [], unlisted, f"not in {path.name}", links)


def _table_path(root: Path, folder: str, text: str, where: str, follow: bool) -> Path:
    """A table names files relative to their folder, or to the dataset."""
    inside = confine(root, f"{folder}/{text}" if folder else text, where, follow)
    if not inside.exists() and (direct := confine(root, text, where, follow)).exists():
        inside = direct
    return _with_text_name(inside)
