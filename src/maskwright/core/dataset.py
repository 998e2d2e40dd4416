"""Dataset: a folder of samples described by its `dataset.yaml`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from maskwright.base.display import Display, data_frame
from maskwright.base.storage import dump_json
from maskwright.base.strictyaml import did_you_mean
from maskwright.base.texts import plural
from maskwright.core.bands import RGB, Bands, Stored
from maskwright.core.classes import ClassTree
from maskwright.core.description import FILE_NAME, DatasetFile
from maskwright.core.findings import Finding, Severity
from maskwright.core.hashes import file_hash, file_hashes
from maskwright.core.listing import Listing, from_folders, from_table, refuse_same_names
from maskwright.core.mask_files import INDEX, MaskEncoding, MaskPixels, read_mask, read_parts
from maskwright.core.pattern_listing import from_patterns
from maskwright.core.sample import Exif, Sample, Tell, read_bands, read_header, read_image
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
    where there is no place for that. `bands` is what every image holds.
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
    bands: Bands = RGB

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
                "mask": str(sample.mask_files[0]) if sample.mask_files else None,
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
        """(H, W, 3) uint8 RGB to look at, of the shown bands; `tell` is shown the opened file."""
        return read_image(sample.image, self.exif, tell, sample.page, self.bands)

    def read_bands(self, sample: Sample, tell: Tell | None = None) -> Stored:
        """(H, W, C) uint8 or uint16, all bands as a model is given them; `tell` is shown the opened file."""
        return read_bands(sample.image, self.bands, self.exif, tell, sample.page)

    def read_mask_pixels(self, sample: Sample, tell: Tell | None = None) -> MaskPixels:
        """Class ids as stored, with the count of pixels that had to be moved to the nearest value; `tell` is shown the
        opened file, if there is one."""
        if sample.mask is not None:
            if sample.edited:
                return read_mask(sample.mask, INDEX, self.classes, tell)
            return read_mask(sample.mask, self.encoding, self.classes, tell, sample.page)
        if sample.parts:
            return read_parts(sample.parts, self.encoding, self.classes)
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
        header = read_header(sample.image, sample.page, self.bands)
        return header.size[::-1] if self.exif == "apply" and header.orientation >= 5 else header.size

    def read_mask(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 class indices with `IGNORE`. DataError for unknown ids."""
        return self.classes.to_indices(self.read_mask_pixels(sample).ids, f"{sample.label_file}")

    def read(self, sample: Sample, tell: Tell | None = None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Image (H, W, 3) to look at and mask (H, W); `tell` is shown the opened image. DataError when their sizes
        differ."""
        image, mask = self.read_stored(sample, tell)
        return self.bands.picture(image), mask

    def read_stored(self, sample: Sample, tell: Tell | None = None) -> tuple[Stored, npt.NDArray[np.uint8]]:
        """As `read`, with all bands of the image (H, W, C) as a model is given them."""
        image, mask = self.read_bands(sample, tell), self.read_mask(sample)
        if image.shape[:2] != mask.shape:
            sizes = f"is {mask.shape[1]}x{mask.shape[0]} but the image {sample.image.name} is {image.shape[1]}x"
            raise DataError(f"{sample.label_file}: {sizes}{image.shape[0]}; draw it again or exclude the sample")
        return image, mask

    def file_hashes(self, spare: Path | None = None) -> dict[Path, str]:
        """The hash of every image and mask file (see `hashes.file_hash`); of those that have not changed, from the
        cache in `home`, or in the folder `spare` where `home` cannot be written to. DataError for one that cannot be
        read."""
        files = [file for sample in self.samples for file in (*sample.mask_files, sample.image)]
        return file_hashes(files, self.home, spare)

    def mask_content(self, sample: Sample, hashes: Mapping[Path, str]) -> Any:
        """What decides about the pixels of a sample's mask, for JSON: the hash of its file, the ids and hashes of its
        parts, the digest of its drawing, or None. Of files that are not in `hashes` the hash is taken anew."""
        found = [hashes.get(file) or file_hash(file) for file in sample.mask_files]
        if sample.parts:
            return [[part.id, one] for part, one in zip(sample.parts, found, strict=True)]
        return found[0] if found else sample.drawing.digest() if sample.drawing else None

    def reading(self) -> dict[str, Any]:
        """What decides how files become pixels and classes, for JSON; the names of classes do not, and their colours
        only where masks are stored in them."""
        encoding = self.encoding
        return {
            "class ids": self.classes.ids,
            "ignore id": self.classes.ignore,
            "class tree": self.classes.structure,
            "class colours": self.classes.colours.tolist() if encoding.kind == "colour" else None,
            "encoding of masks": [
                encoding.kind,
                sorted(map(list, encoding.levels.items())),
                list(encoding.ignore_colour) if encoding.ignore_colour else None,
                encoding.others,
                encoding.inverted,
                encoding.variable,
                encoding.channels,
            ],
            "EXIF rotation": self.exif,
        } | ({} if self.bands.plain else {"image bands": self.bands.reading()})

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
        rest = [self.encoding.others, self.encoding.inverted, self.encoding.variable, self.encoding.channels]
        if rest != [None, None, None, "rgb"]:
            head += rest
        if not self.bands.plain:
            head.append(self.bands.reading())
        digest.update(dump_json(head).encode())
        for sample in self.samples:
            image = hashes.get(sample.image) or file_hash(sample.image)
            mask = self.mask_content(sample, hashes)
            record = [sample.name, sample.split, sample.status, sample.provenance, image, mask]
            if sample.page is not None:
                record.append(sample.page)
            digest.update(dump_json(record).encode())
        return digest.hexdigest()


def build(file: DatasetFile, root: Path, name: str) -> Dataset:
    """Lists the files that `file` describes under `root`, pairs them and checks every path."""
    classes = file.class_tree()
    encoding = file.mask_encoding(classes)
    listing = _LISTERS.get(file.layout, from_folders)(file, root)
    if not listing.samples:
        raise DataError(f"{root}: no images found in {file.images.folder!r}; check `images` in {FILE_NAME}")
    refuse_same_names(listing.samples)
    samples = tuple(sorted(listing.samples, key=lambda sample: sample.name))
    return Dataset(
        name,
        root,
        classes,
        samples,
        encoding,
        file.images.exif,
        tuple(listing.orphans),
        (*_left_out(listing), *listing.notes),
        bands=file.images.bands(),
    )


_LISTERS = {"table": from_table, "patterns": from_patterns}


def _left_out(listing: Listing) -> Iterator[Finding]:
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
            f"copy their files into the dataset, or set `links: follow` in {FILE_NAME}",
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
