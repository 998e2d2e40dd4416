"""One pass over a dataset: every file is decoded once, and what the checks need is kept in a few numbers.

Samples are looked at in chunks by several processes, each with one image at a time (threads would wait for one
another, for small images keep the interpreter's lock most of the time). Records come back in the order of the
samples and sums are of integers, so the number of processes changes nothing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from maskwright.base.progress import Advance
from maskwright.base.workers import chunk, in_order, worker_count
from maskwright.core.bands import Stored, channel_sums
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.hashes import stream_hash
from maskwright.core.left_out import Opened
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample, header_of
from maskwright.data.auditing.facts import DRAWN, ImageFacts, MaskFacts, PairFacts, PixelStorage, shared
from maskwright.data.auditing.near_duplicates import Alike, alike, thumbnail
from maskwright.data.auditing.objects import NONE, measure
from maskwright.data.auditing.statistics import SPLITS, Counts, Size, Statistics
from maskwright.data.auditing.turned import turned_copies
from maskwright.data.auditing.unfinished import Part, Unfinished
from maskwright.errors import DataError

# Of the ids that are no class: a depth map taken for a mask has thousands.
_IDS = 50
_STRIP = 1 << 18  # pixels of small masks that are measured together


@dataclass(slots=True)
class SurveyedSample:
    """What one look at a sample told. Text in place of facts is the reader's reason for refusing the file."""

    sample: Sample
    image: ImageFacts | str
    mask: MaskFacts | str | None

    @property
    def usable(self) -> bool:
        """Whether training can use it: both files readable, sizes equal, ids known."""
        return (
            isinstance(self.image, ImageFacts)
            and isinstance(self.mask, MaskFacts)
            and self.image.size == self.mask.size
            and not self.mask.unknown_ids
        )


@dataclass(frozen=True)
class Survey:
    """A dataset with what was seen in it. Excluded samples are left out."""

    dataset: Dataset
    records: list[SurveyedSample]
    statistics: Statistics

    @property
    def images(self) -> list[tuple[Sample, ImageFacts]]:
        """The readable images."""
        return [(r.sample, r.image) for r in self.records if isinstance(r.image, ImageFacts)]

    @property
    def masks(self) -> list[tuple[Sample, MaskFacts]]:
        """The readable masks."""
        return [(r.sample, r.mask) for r in self.records if isinstance(r.mask, MaskFacts)]

    def version(self) -> str:
        """The content version of the dataset, without reading again what was read. DataError for files that are not
        there."""
        known: dict[Path, str] = {}
        for record in self.records:
            if isinstance(record.image, ImageFacts):
                known[record.sample.image] = record.image.file.hex()
            if record.sample.mask and isinstance(record.mask, MaskFacts):
                known[record.sample.mask] = record.mask.file.hex()
        return self.dataset.version(known)

    @cached_property
    def by_split(self) -> dict[str, list[SurveyedSample]]:
        """The records of each split, in the order of the statistics."""
        found: dict[str, list[SurveyedSample]] = {name: [] for name in self.statistics.splits}
        for record in self.records:
            found[record.sample.split or ""].append(record)
        return found

    @cached_property
    def same(self) -> list[list[SurveyedSample]]:
        """Groups of at least two records with equal image pixels."""
        return repeated(self.records, lambda r: r.image.digest if isinstance(r.image, ImageFacts) else None)

    @cached_property
    def look_alikes(self) -> tuple[list[list[SurveyedSample]], bool]:
        """Groups of at least two records whose images look alike but are not equal (of equal ones the first stands
        for all), and whether the search for them was complete."""
        first: dict[bytes, SurveyedSample] = {}
        for record in self.records:
            if isinstance(record.image, ImageFacts) and not record.image.constant:
                first.setdefault(record.image.digest, record)
        records = list(first.values())
        found: Alike = alike([r.image.thumbnail for r in records if isinstance(r.image, ImageFacts)])
        return [[records[index] for index in group] for group in found.groups], found.complete

    @cached_property
    def turned(self) -> tuple[list[tuple[SurveyedSample, SurveyedSample, str]], bool]:
        """Images that look like one in another split if that is mirrored or turned: the copy, the original, and how, in
        words; and whether the search for them was complete."""
        first: dict[bytes, SurveyedSample] = {}
        for record in self.records:
            if isinstance(record.image, ImageFacts) and not record.image.constant and record.sample.split:
                first.setdefault(record.image.digest, record)
        records = list(first.values())
        thumbnails = [record.image.thumbnail for record in records if isinstance(record.image, ImageFacts)]
        found, complete = turned_copies(thumbnails, [record.sample.split or "" for record in records])
        return [(records[one.copy], records[one.original], one.turn.words) for one in found], complete


def repeated(
    records: Iterable[SurveyedSample], key: Callable[[SurveyedSample], bytes | None]
) -> list[list[SurveyedSample]]:
    """Groups of at least two records of the same key, those without one left out."""
    seen: set[bytes] = set()
    groups: dict[bytes, list[SurveyedSample]] = {}
    records = list(records)
    for record in records:
        if (found := key(record)) is not None:
            if found in seen:
                groups[found] = []
            seen.add(found)
    for record in records:
        if (found := key(record)) in groups:
            groups[found].append(record)
    return list(groups.values())


def survey(
    dataset: Dataset, *, workers: int | None = None, advance: Advance | None = None, unfinished: Path | None = None
) -> Survey:
    """Reads every sample once. `workers` is chosen by the cores of this machine when left out.

    `unfinished` is a folder that keeps what was seen so far: a survey that was stopped or killed goes on from it.
    A file that cannot be read becomes a record that says so. Raises DataError when a process that reads them
    is killed, as by a machine that is out of memory.
    """
    samples = [sample for sample in dataset.samples if sample.status != "exclude"]
    names = {sample.split or "" for sample in samples}
    splits = [s for s in SPLITS if s in names] + sorted(names.difference(SPLITS))
    statistics = Statistics(dataset.classes, splits, dataset.bands)
    workers = workers or worker_count()
    size = chunk(len(samples), workers)
    records: list[SurveyedSample] = []

    def take(facts: list[PairFacts], part: Part) -> None:
        records.extend(
            SurveyedSample(sample, *found) for sample, found in zip(samples[len(records) :], facts, strict=False)
        )
        statistics.merge(*part)
        if advance:
            advance(len(records))

    journal = Unfinished(unfinished, dataset) if unfinished else None
    for facts, part in journal.seen() if journal else ():
        take(facts, part)
    try:
        for facts, part in in_order(
            lambda begin: _look(dataset, samples[begin : begin + size]),
            range(len(records), len(samples), size),
            workers,
        ):
            take(facts, part)
            if journal:
                journal.add(facts, part)
    finally:
        if journal:
            journal.flush()
    return Survey(dataset, records, statistics)


def _look(dataset: Dataset, samples: Sequence[Sample]) -> tuple[list[PairFacts], Part]:
    """What a look at some samples tells, and their counts as `Statistics.merge` takes them."""
    table = _index_of_id(dataset.classes)
    statistics = Statistics(dataset.classes, {sample.split or "": None for sample in samples}, dataset.bands)
    facts: list[PairFacts] = []
    strip = _Strip(statistics)
    for sample in samples:
        image = _look_at_image(dataset, sample, statistics)
        mask = _look_at_mask(dataset, sample, table)
        if isinstance(mask, tuple):
            mask, indices = mask
            usable = isinstance(image, ImageFacts) and image.size == mask.size
            strip.add(sample.split or "", usable, mask, indices)
        facts.append((image, mask))
    strip.end()
    return facts, (statistics.splits, statistics.heat)


def _look_at_image(dataset: Dataset, sample: Sample, statistics: Statistics) -> ImageFacts | str:
    file = _File()
    try:
        pixels = dataset.read_bands(sample, file)
    except DataError as error:
        return str(error)
    size, sums = shared((pixels.shape[0], pixels.shape[1])), channel_sums(pixels)
    statistics.add(sample.split or "", size, sums, None)
    # Without spread in any channel; exact, for sums are integers.
    constant = all(size[0] * size[1] * second == first * first for first, second in sums.T.tolist())
    small = thumbnail(dataset.bands.picture(pixels))
    return ImageFacts(file.kind, file.hash, size, _digest(pixels, sums), small, constant, file.fourth())


def _look_at_mask(dataset: Dataset, sample: Sample, table: Mask) -> tuple[MaskFacts, Mask] | MaskFacts | str | None:
    """The facts of a mask, with its class indices where all are known."""
    if not sample.labelled:
        return None
    file = _File()
    try:
        read = dataset.read_mask_pixels(sample, file)
    except DataError as error:
        return str(error)
    # Ids are rarely above 255, and OpenCV looks bytes up three times as fast.
    small = read.ids.dtype == np.uint8 or read.ids.max(initial=0) < 256
    indices = cv2.LUT(read.ids.astype(np.uint8, order="C", copy=False), table[:256]) if small else table[read.ids]
    size = shared((indices.shape[0], indices.shape[1]))
    mask = MaskFacts(file.kind, file.hash, size, b"", read.inexact, read.hidden)
    if not (indices == NONE).any():
        return mask, indices
    mask.digest = _digest(read.ids.astype(np.uint16))
    unknown = Counter(dataset.classes.unknown_ids(read.ids))
    mask.unknown_ids, mask.unknown = len(unknown), dict(unknown.most_common(_IDS))
    return mask


def _index_of_id(classes: ClassTree) -> Mask:
    """(65536,) uint8 class index of each id, `IGNORE`, or `NONE`."""
    table = np.full(1 << 16, NONE, np.uint8)
    table[classes.ids] = np.arange(len(classes))
    table[classes.ignore] = IGNORE
    return table


class _File(Opened):
    """Learns about a file while it is opened to be decoded: how it stores its pixels, and the hash of its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.hash = DRAWN, b""

    def __call__(self, image: Image.Image, stream: BinaryIO) -> None:
        super().__call__(image, stream)
        deep = self.deep and not image.mode.startswith("I")
        self.kind = shared(PixelStorage(image.mode, header_of(image).orientation, deep))
        position = stream.tell()
        stream.seek(0)
        self.hash = bytes.fromhex(stream_hash(stream))
        stream.seek(position)


class _Strip:
    """Masks in a row that are of one size and one split, which are measured together."""

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.key: tuple[str, bool, Size] | None = None
        self.facts: list[MaskFacts] = []
        self.masks: list[Mask] = []

    def add(self, split: str, usable: bool, facts: MaskFacts, mask: Mask) -> None:
        key = (split, usable, facts.size)
        if key != self.key or (len(self.masks) + 1) * facts.area > _STRIP:
            self.end()
        self.key = key
        self.facts.append(facts)
        self.masks.append(mask)

    def end(self) -> None:
        if self.masks and self.key:
            split, usable, _ = self.key
            measured = measure(self.masks)
            for facts, mask, pixels, flaws in zip(self.facts, self.masks, measured.pixels, measured.flaws, strict=True):
                facts.present, facts.flaws = shared(bytes(np.flatnonzero(pixels[:IGNORE]).tolist())), flaws
                facts.digest = _digest(mask, pixels)
            if usable:
                self.statistics.add_masks(split, self.masks, measured)
        self.facts, self.masks = [], []


def _digest(pixels: Stored, sums: Counts | None = None) -> bytes:
    """The same for equal pixels; for others of equal size and sums, by a chance of 1 in 2**32.

    A cryptographic hash of every pixel would take as long as decoding a large JPEG.
    """
    told = repr(pixels.shape).encode() + (b"" if sums is None else sums.tobytes())
    return hashlib.blake2b(told, digest_size=16).digest() + zlib.crc32(np.ascontiguousarray(pixels).data).to_bytes(4)
