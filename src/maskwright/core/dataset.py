"""Dataset: a folder of samples described by its `dataset.yaml`."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args, overload

import numpy as np
import numpy.typing as npt

from maskwright.base.display import Display, data_frame
from maskwright.base.storage import confine, dump_json, is_inside
from maskwright.base.strictyaml import did_you_mean
from maskwright.base.texts import plural
from maskwright.core.classes import ClassTree
from maskwright.core.description import FILE_NAME, MASK_ENDINGS, DatasetFile
from maskwright.core.findings import Finding, Severity
from maskwright.core.hashes import file_hash, file_hashes
from maskwright.core.image_files import images_below, is_image, listed_in
from maskwright.core.sample import (
    INDEX,
    Exif,
    MaskEncoding,
    MaskPixels,
    Provenance,
    Sample,
    Status,
    Tell,
    read_header,
    read_image,
    read_mask,
)
from maskwright.errors import DataError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Dataset(Display):
    """Samples with their classes. Reading is lazy: nothing is decoded until a sample is asked for.

    It is a sequence of its samples, excluded ones too: `len(ds)`, `for sample in ds`, `ds[0]`, `ds[:10]`, and
    `ds["name"]` for the sample of that name (KeyError when there is none).

    `orphans` are mask files that belong to no image. `notes` are findings from the reading of annotation files:
    what was left out, and what was taken for what. `home` is the folder of `dataset.yaml` and of all that is ours, None
    where there is no place for that.
    """

    name: str
    root: Path
    classes: ClassTree
    samples: tuple[Sample, ...]
    encoding: MaskEncoding = INDEX
    exif: Exif = "apply"
    orphans: tuple[Path, ...] = ()
    notes: tuple[Finding, ...] = ()
    home: Path | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @overload
    def __getitem__(self, which: int | str) -> Sample: ...

    @overload
    def __getitem__(self, which: slice) -> tuple[Sample, ...]: ...

    def __getitem__(self, which: int | str | slice) -> Sample | tuple[Sample, ...]:
        if not isinstance(which, str):
            return self.samples[which]
        if which not in self._by_name:
            raise KeyError(f"{self.root}: no sample is called {which!r}{did_you_mean(which, self._by_name)}")
        return self._by_name[which]

    @cached_property
    def _by_name(self) -> dict[str, Sample]:
        return {sample.name: sample for sample in self.samples}

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        splits = ", ".join(f"{split or 'no split'} {len(samples)}" for split, samples in self.splits.items())
        return {
            "name": self.name,
            "samples": len(self),
            "excluded": sum(sample.status == "exclude" for sample in self.samples) or None,
            "without mask": sum(not sample.labelled for sample in self.samples) or None,
            "splits": splits if {*self.splits} - {""} else None,
            "classes": ", ".join(self.classes.names),
            "root": self.root,
        }

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each sample: `name`, `split`, `status`, `provenance`, `image`, `mask` (paths as text; None where
        there is no split or no file of its own). SetupError without pandas."""
        return data_frame(
            {
                "name": sample.name,
                "split": sample.split,
                "status": sample.status,
                "provenance": sample.provenance,
                "image": str(sample.image),
                "mask": str(sample.mask) if sample.mask else None,
            }
            for sample in self.samples
        )

    @cached_property
    def splits(self) -> dict[str, list[Sample]]:
        """Usable samples by split, excluded ones left out; "" holds those without a split."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            if sample.status != "exclude":
                found.setdefault(sample.split or "", []).append(sample)
        return found

    def require_contrast(self) -> None:
        """DataError for a dataset of one class: probabilities over one class are 1 everywhere, whatever is learnt."""
        if len(self.classes) < 2:
            raise DataError(
                f"{self.root}: has one class, {self.classes.names[0]!r}, and a model tells classes apart; "
                "give what lies around it a class of its own in dataset.yaml, such as background"
            )

    def read_image(self, sample: Sample, tell: Tell | None = None) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; `tell` is shown the opened file."""
        return read_image(sample.image, self.exif, tell)

    def read_mask_pixels(self, sample: Sample, tell: Tell | None = None) -> MaskPixels:
        """Class ids as stored, with the count of pixels that had to be moved to the nearest value; `tell` is shown the
        opened file, if there is one."""
        if sample.mask is not None:
            return read_mask(sample.mask, INDEX if sample.edited else self.encoding, self.classes, tell)
        if sample.drawing is None:
            raise DataError(f"{sample.image}: has no mask; add one or exclude the sample")
        height, width = sample.drawing.size or self.image_size(sample)
        try:
            ids, hidden = sample.drawing.render(height, width)
        except ValueError as error:
            raise DataError(
                f"{sample.drawing.source}: {sample.name}: {error}; draw it again or exclude the sample"
            ) from None
        return MaskPixels(ids, hidden=hidden)

    def image_size(self, sample: Sample) -> tuple[int, int]:
        """(height, width) of the image as read, told from its header."""
        header = read_header(sample.image)
        return header.size[::-1] if self.exif == "apply" and header.orientation >= 5 else header.size

    def read_mask(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 class indices with `IGNORE`. DataError for unknown ids."""
        return self.classes.to_indices(self.read_mask_pixels(sample).ids, f"{sample.label_file}")

    def read(self, sample: Sample) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Image (H, W, 3) and mask (H, W). DataError when their sizes differ."""
        image, mask = self.read_image(sample), self.read_mask(sample)
        if image.shape[:2] != mask.shape:
            sizes = f"is {mask.shape[1]}x{mask.shape[0]} but the image {sample.image.name} is {image.shape[1]}x"
            raise DataError(f"{sample.label_file}: {sizes}{image.shape[0]}; draw it again or exclude the sample")
        return image, mask

    def file_hashes(self, spare: Path | None = None) -> dict[Path, str]:
        """The hash of every image and mask file (see `hashes.file_hash`); of those that have not changed, from the
        cache in `home`, or in the folder `spare` where `home` cannot be written to. DataError for one that cannot be
        read."""
        files = [file for sample in self.samples for file in (sample.mask, sample.image) if file]
        return file_hashes(files, self.home, spare)

    def version(self, known: Mapping[Path, str] | None = None) -> str:
        """Content hash (BLAKE2b, 32 hex digits) of classes, encoding, splits, statuses and every file's bytes.

        `known` are hashes of image and mask files (see `hashes.file_hash`) that were read already; without it, they are
        those of `file_hashes`.
        """
        hashes = self.file_hashes() if known is None else known
        digest = hashlib.blake2b(digest_size=16)
        # The role of the background changes no mask.
        head: list[Any] = [self.classes.to_dict(role=False), self.encoding.kind, dict(self.encoding.levels), self.exif]
        if self.encoding.ignore_colour is not None:
            head.append(self.encoding.ignore_colour)
        digest.update(dump_json(head).encode())
        for sample in self.samples:
            image, mask = hashes.get(sample.image) or file_hash(sample.image), None
            if sample.mask:
                mask = hashes.get(sample.mask) or file_hash(sample.mask)
            elif sample.drawing:
                mask = sample.drawing.digest()
            record = [sample.name, sample.split, sample.status, sample.provenance, image, mask]
            digest.update(dump_json(record).encode())
        return digest.hexdigest()


def build(file: DatasetFile, root: Path, name: str) -> Dataset:
    """Lists the files that `file` describes under `root`, pairs them and checks every path."""
    classes = file.class_tree()
    encoding = file.mask_encoding(classes)
    listing = _from_table(file, root) if file.layout == "table" else _from_folders(file, root)
    if not listing.samples:
        raise DataError(f"{root}: no images found in {file.images.folder!r}; check `images` in {FILE_NAME}")
    refuse_same_names(listing.samples)
    samples = tuple(sorted(listing.samples, key=lambda sample: sample.name))
    return Dataset(
        name, root, classes, samples, encoding, file.images.exif, tuple(listing.orphans), tuple(_left_out(listing))
    )


@dataclass
class _Listing:
    """What was found: samples, masks of no image, image files that are not part of the dataset, with where they are
    not named, and folders that were not entered because they are links."""

    samples: list[Sample]
    orphans: list[Path]
    unlisted: list[Path]
    unlisted_in: str
    links: list[Path]


def _left_out(listing: _Listing) -> Iterator[Finding]:
    for code, paths, noun, what, fix in (
        (
            "image.unlisted",
            listing.unlisted,
            "image file",
            f"{listing.unlisted_in} and left out",
            "add them there, or move them away",
        ),
        (
            "image.linked",
            listing.links,
            "folder",
            "not entered, because of symbolic links",
            "copy their files into the dataset",
        ),
    ):
        if paths:
            first = ", ".join(path.name for path in paths[:3]) + ", …" * (len(paths) > 3)
            verb = "is" if len(paths) == 1 else "are"
            yield Finding(
                code,
                Severity.WARNING,
                f"{plural(len(paths), noun)} {verb} {what} ({first})",
                fix,
                evidence={"count": len(paths), "files": [str(path) for path in paths[:20]]},
            )


def _from_folders(file: DatasetFile, root: Path) -> _Listing:
    image_root = confine(root, file.images.folder, FILE_NAME)
    mask_root = confine(root, file.masks.folder, FILE_NAME) if file.masks.folder else None
    # A flat layout is one split without a name, whose folder is the image folder itself.
    folders = file.splits if file.layout == "split_folders" else {"": "."}
    samples: list[Sample] = []
    orphans: list[Path] = []
    links: list[Path] = []
    for split, folder in folders.items():
        images = confine(image_root, folder, FILE_NAME)
        if not images.is_dir():
            raise DataError(f"{images}: no such folder; correct `splits` in {FILE_NAME}")
        masks: dict[str, Path] = {}
        if mask_root is not None and (mask_folder := confine(mask_root, folder, FILE_NAME)).is_dir():
            for path in images_below(mask_folder, links):
                key = path.relative_to(mask_folder).with_suffix("").as_posix()
                if key in masks:
                    raise DataError(f"{path}: another mask has the same name ({masks[key].name}); keep one of them")
                masks[key] = confine_found(root, path)
        used = set()
        for path in images_below(images, links):
            key = path.relative_to(images).with_suffix("").as_posix()
            match = next((key + ending for ending in MASK_ENDINGS if key + ending in masks), None)
            used.add(match)
            samples.append(
                Sample(
                    f"{split}/{key}" if split else key,
                    confine_found(root, path),
                    masks[match] if match else None,
                    split or None,
                )
            )
        orphans += [path for key, path in masks.items() if key not in used]
    unlisted = _beside(image_root, folders.values(), mask_root) if file.layout == "split_folders" else []
    return _Listing(samples, orphans, unlisted, "in no folder of a split", links)


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


def confine_found(root: Path, path: Path) -> Path:
    """Refuses a listed file that leads outside `root` through a symbolic link, or whose name is no text."""
    if path != root and not (_is_inside(root, path.parent) and (not path.is_symlink() or is_inside(root, path))):
        raise DataError(f"{path}: leads outside {root} through a symbolic link; copy the file into the dataset")
    return _with_text_name(path)


def _with_text_name(path: Path) -> Path:
    # Undecodable bytes of a name are read as surrogates.
    if any(character < " " or "\ud800" <= character <= "\udfff" for character in str(path)):
        raise DataError(f"{str(path)!a}: the name holds control characters or is not UTF-8; rename the file")
    return path


def refuse_same_names(samples: Sequence[Sample]) -> None:
    """DataError for two samples of one name, which are then not told apart."""
    first: dict[str, Path] = {}
    for sample in samples:
        if sample.name in first:
            raise DataError(f"{sample.image}: has the same name as {first[sample.name].name}; rename one of them")
        first[sample.name] = sample.image


def _from_table(file: DatasetFile, root: Path) -> _Listing:
    """`labels.csv`: columns `image`, `mask`, and optionally `split`, `status`, `provenance`; others are not read."""
    path = confine(root, file.table or "labels.csv", FILE_NAME)
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        columns = [*(rows.fieldnames or ())]
        known = ("image", "mask", "split", "status", "provenance")
        if not {"image", "mask"} <= {*columns}:
            raise DataError(f"{path}:1: needs the columns image and mask; it has {sorted(columns)}")
        if twice := [name for name in known if columns.count(name) > 1]:
            raise DataError(f"{path}:1: has the column {twice[0]} twice; remove one")
        samples = []
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if None in row:
                raise DataError(f"{where}: has more cells than there are columns; put names that hold commas in quotes")
            cell = {key: (row.get(key) or "").strip().replace("\\", "/") for key in known}
            if not Path(cell["image"]).name:
                raise DataError(f"{where}: names no image; fill the cell or remove the row")
            status, provenance = cell["status"] or "keep", cell["provenance"] or "hand"
            for column, value, allowed in (
                ("status", status, get_args(Status)),
                ("provenance", provenance, get_args(Provenance)),
            ):
                if value not in allowed:
                    raise DataError(f"{where}: {column} {value!r} is not known; use one of {', '.join(allowed)}")
            image = _table_path(root, file.images.folder, cell["image"], where)
            mask = _table_path(root, file.masks.folder or "", cell["mask"], where) if cell["mask"] else None
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
    images = confine(root, file.images.folder, FILE_NAME)
    used = {sample.image for sample in samples}
    # The folder of the dataset itself may hold any image.
    unlisted = [] if images == root else [found for found in images_below(images, links) if found not in used]
    return _Listing(samples, [], unlisted, f"not in {path.name}", links)


def _table_path(root: Path, folder: str, text: str, where: str) -> Path:
    """A table names files relative to their folder, or to the dataset."""
    inside = confine(root, f"{folder}/{text}" if folder else text, where)
    return _with_text_name(inside if inside.exists() or not (direct := confine(root, text, where)).exists() else direct)
