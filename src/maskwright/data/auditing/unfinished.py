"""What a survey has seen so far, kept in a work folder, so that a survey that was stopped resumes there.

The work depends on the samples with the sizes and times of their files, the classes, and how masks are read. The folder
holds one journal. Each of its records holds the facts of some samples in a row with their counts, all of them whole
numbers and texts: what is read back is what was written.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import __version__
from maskwright.base.storage import Journal, dump_json
from maskwright.core.dataset import Dataset
from maskwright.data.auditing.facts import ImageFacts, MaskFacts, PairFacts, PixelStorage, shared
from maskwright.data.auditing.objects import Flaw
from maskwright.data.auditing.statistics import Counts, ObjectCounts, SplitStatistics, Statistics
from maskwright.errors import DataError

_FORMAT = 3
_EVERY_SECONDS = 5.0
Part = tuple[dict[str, SplitStatistics], Counts]


def survey_facts(dataset: Dataset) -> dict[str, Any]:
    """What a survey of a dataset depends on, as the facts of its work folder."""
    return {"format": _FORMAT, "maskwright": __version__, "data": _key(dataset)}


class Unfinished:
    """The journal of a survey of `dataset` in the work folder `folder`."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder, self.dataset = folder, dataset
        self.journal = Journal(folder / "survey.jsonl")
        self._held = self.journal.read()
        self._begin()

    def seen(self) -> Iterator[tuple[list[PairFacts], Part]]:
        """What earlier surveys have seen, in order. DataError when the journal does not hold what it should."""
        try:
            for record in self._held:
                yield (
                    [_facts(row) for row in record["facts"]],
                    (
                        {name: _read_counts(part) for name, part in record["splits"].items()},
                        np.array(record["heat"], np.int64),
                    ),
                )
        except (KeyError, TypeError, ValueError, IndexError):
            raise DataError(f"{self.journal.path}: is damaged; delete the folder to start again") from None
        self._held = []

    def add(self, facts: list[PairFacts], part: Part) -> None:
        """Takes what was seen of the next samples; it reaches the disk within some seconds."""
        self._facts += facts
        self._counts.merge(*part)
        if time.monotonic() - self._since > _EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what was added."""
        if self._facts:
            self.journal.append(
                {
                    "facts": [_row(*facts) for facts in self._facts],
                    "splits": {name: _write_counts(part) for name, part in self._counts.splits.items()},
                    "heat": self._counts.heat,
                }
            )
        self._begin()

    def _begin(self) -> None:
        self._facts: list[PairFacts] = []
        splits = [*dict.fromkeys(s.split or "" for s in self.dataset.samples)]
        self._counts = Statistics(self.dataset.classes, splits, self.dataset.bands)
        self._since = time.monotonic()


def _key(dataset: Dataset) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(
        dump_json(
            [
                dataset.classes.to_dict(role=False),
                dataset.encoding.kind,
                dict(dataset.encoding.levels),
                dataset.encoding.ignore_colour,
                dataset.exif,
                dataset.bands.to_dict(),
            ]
        ).encode()
    )
    for sample in dataset.samples:
        if sample.status == "exclude":
            continue
        depends = [
            sample.name,
            sample.split,
            sample.edited,
            _state(sample.image),
            [_state(file) for file in sample.mask_files],
            sample.drawing.digest() if sample.drawing else None,
        ]
        digest.update(dump_json(depends).encode())
    return digest.hexdigest()


def _state(path: Path | None) -> list[Any] | None:
    """What changes when a file is written; None for a file that is not there."""
    try:
        found = os.stat(path) if path else None
    except OSError:
        return None
    return [str(path), found.st_size, found.st_mtime_ns] if found else None


def _row(image: ImageFacts | str, mask: MaskFacts | str | None) -> list[Any]:
    seen: Any = image
    if isinstance(image, ImageFacts):
        seen = [
            image.kind,
            image.file.hex(),
            image.size,
            image.digest.hex(),
            image.thumbnail.hex(),
            image.constant,
            image.fourth,
        ]
    drawn: Any = mask
    if isinstance(mask, MaskFacts):
        drawn = [
            mask.kind,
            mask.file.hex(),
            mask.size,
            mask.digest.hex(),
            mask.inexact,
            mask.hidden,
            mask.unknown_ids,
            [*mask.unknown.items()] if mask.unknown is not None else None,
            None if mask.present is None else mask.present.hex(),
            mask.flaws,
        ]
    return [seen, drawn]


def _facts(row: list[Any]) -> PairFacts:
    image, mask = row
    seen: ImageFacts | str = image
    if isinstance(image, list):
        kind, file, size, digest, thumbnail, constant, fourth = image
        seen = ImageFacts(
            shared(PixelStorage(*kind)),
            bytes.fromhex(file),
            shared((size[0], size[1])),
            bytes.fromhex(digest),
            bytes.fromhex(thumbnail),
            constant,
            fourth,
        )
    drawn: MaskFacts | str | None = mask
    if isinstance(mask, list):
        kind, file, size, digest, inexact, hidden, unknown_ids, unknown, present, flaws = mask
        drawn = MaskFacts(
            shared(PixelStorage(*kind)),
            bytes.fromhex(file),
            shared((size[0], size[1])),
            bytes.fromhex(digest),
            inexact,
            hidden,
            unknown_ids,
            None if unknown is None else dict(unknown),
            None if present is None else shared(bytes.fromhex(present)),
            tuple(Flaw(name, times, leaf, tuple(region)) for name, times, leaf, region in flaws),
        )
    return seen, drawn


def _write_counts(part: SplitStatistics) -> dict[str, Any]:
    held = {field.name: getattr(part, field.name) for field in fields(part)}
    return held | {
        "objects": {field.name: getattr(part.objects, field.name) for field in fields(part.objects)},
        "sizes": [[*size, images] for size, images in part.sizes.items()],
    }


def _read_counts(held: dict[str, Any]) -> SplitStatistics:
    values: dict[str, Any] = {
        name: np.array(value, np.int64) if isinstance(value, list) else value for name, value in held.items()
    }
    return SplitStatistics(
        **values
        | {
            "objects": ObjectCounts(**{name: np.array(value, np.int64) for name, value in held["objects"].items()}),
            "sizes": Counter({(height, width): images for height, width, images in held["sizes"]}),
        }
    )
