"""One pass over a dataset: every file is decoded once, and what the checks need is kept in a few numbers.

Decoding releases the interpreter's lock, so a few threads share it; records come back in the order of the
samples, whatever the number of threads. At any moment one image a thread is in memory.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from maskwright.auditing.statistics import SPLITS, Counts, Statistics, channel_levels
from maskwright.core.dataset import Dataset
from maskwright.core.progress import Advance
from maskwright.core.sample import ImageHeader, Sample, read_header
from maskwright.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
_MAX_THREADS = 16
# Of the ids that are no class: a depth map taken for a mask has thousands.
_IDS = 50


@dataclass(frozen=True)
class ImageFacts:
    """A readable image: `size` is (height, width) as read, `digest` is of the decoded pixels."""

    header: ImageHeader
    size: tuple[int, int]
    digest: bytes


@dataclass(frozen=True)
class MaskFacts:
    """A readable mask. `unknown_ids` of its ids are no class; `unknown` maps the most frequent of them to their
    pixels. Where there are none, `pixels` (K + 1,) int64 counts each class index, then the ignored. `inexact`
    pixels were moved to the nearest value."""

    header: ImageHeader
    size: tuple[int, int]
    digest: bytes
    inexact: int
    unknown_ids: int
    unknown: dict[int, int]
    pixels: Counts | None

    @property
    def area(self) -> int:
        """Pixels in all."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Record:
    """What one look at a sample told. Text in place of facts is the reader's reason for refusing the file."""

    sample: Sample
    image: ImageFacts | str
    mask: MaskFacts | str | None

    @property
    def usable(self) -> bool:
        """Whether training can use it: both files readable, sizes equal, ids known."""
        return (isinstance(self.image, ImageFacts) and isinstance(self.mask, MaskFacts)
                and self.image.size == self.mask.size and self.mask.pixels is not None)


@dataclass(frozen=True)
class Survey:
    """A dataset with what was seen in it. Excluded samples are left out."""

    dataset: Dataset
    records: list[Record]
    statistics: Statistics

    @property
    def images(self) -> list[tuple[Sample, ImageFacts]]:
        """The readable images."""
        return [(r.sample, r.image) for r in self.records if isinstance(r.image, ImageFacts)]

    @property
    def masks(self) -> list[tuple[Sample, MaskFacts]]:
        """The readable masks."""
        return [(r.sample, r.mask) for r in self.records if isinstance(r.mask, MaskFacts)]


def survey(dataset: Dataset, *, threads: int | None = None, advance: Advance | None = None) -> Survey:
    """Reads every sample once. `threads` is chosen by the cores of this machine when left out.

    A file that cannot be read becomes a record that says so; nothing is raised for it.
    """
    samples = [sample for sample in dataset.samples if sample.status != "exclude"]
    names = {sample.split or "" for sample in samples}
    statistics = Statistics(dataset.classes, [s for s in SPLITS if s in names] + sorted(names.difference(SPLITS)))
    records = []
    for record, levels in _in_order(lambda sample: _look(dataset, sample), samples, threads or _threads()):
        records.append(record)
        if isinstance(record.image, ImageFacts):
            pixels = record.mask.pixels if record.usable and isinstance(record.mask, MaskFacts) else None
            statistics.add(record.sample.split or "", record.image.size, levels, pixels)
        if advance:
            advance(len(records))
    return Survey(dataset, records, statistics)


def _threads() -> int:
    # Two at least: one decodes while the other waits for the disk.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(2, cores), _MAX_THREADS)


def _in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`map` by threads with a short queue, so that results do not pile up."""
    waiting: deque[Future[R]] = deque()
    # The reader silences Pillow's warnings by a setting of the whole process, which threads would restore in
    # the wrong order; silenced around all of them, every order is right.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(threads, "audit") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _look(dataset: Dataset, sample: Sample) -> tuple[Record, Counts]:
    """The record of a sample, and its channel levels (3, 256), which are not kept."""
    image: ImageFacts | str
    levels = np.zeros((3, 256), np.int64)
    try:
        rgb = dataset.read_image(sample)
        header = read_header(sample.image)
    except DataError as error:
        image = str(error)
    else:
        levels = channel_levels(rgb)
        image = ImageFacts(header, (rgb.shape[0], rgb.shape[1]), _digest(rgb, levels))
    return Record(sample, image, _look_at_mask(dataset, sample)), levels


def _look_at_mask(dataset: Dataset, sample: Sample) -> MaskFacts | str | None:
    if sample.mask is None:
        return None
    try:
        read = dataset.read_mask_pixels(sample)
        header = read_header(sample.mask)
    except DataError as error:
        return str(error)
    known = [*dataset.classes.ids, dataset.classes.ignore]
    counts = np.bincount(read.ids.reshape(-1), minlength=max(known) + 1)
    unknown = Counter({id_: int(counts[id_]) for id_ in np.flatnonzero(counts).tolist() if id_ not in known})
    return MaskFacts(header, (read.ids.shape[0], read.ids.shape[1]), _digest(read.ids.astype(np.uint16), counts),
                     read.inexact, len(unknown), dict(unknown.most_common(_IDS)), None if unknown else counts[known])


def _digest(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], counts: Counts) -> bytes:
    """The same for equal pixels; for others with equal counts of values, by a chance of 1 in 2**32.

    A cryptographic hash of every pixel would take as long as decoding a large JPEG.
    """
    head = hashlib.blake2b(repr(pixels.shape).encode() + counts.tobytes(), digest_size=16).digest()
    return head + zlib.crc32(np.ascontiguousarray(pixels).data).to_bytes(4)
