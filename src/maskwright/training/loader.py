"""Batches as pure functions of (seed, step): resuming needs no state, and the number of loader processes
changes nothing."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from maskwright.base.limits import memory_left
from maskwright.base.progress import say
from maskwright.core.bands import Stored
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.core.sample import Sample, Tell
from maskwright.errors import SetupError
from maskwright.modeling.augment import Augmentation, Pipeline
from maskwright.training.crops import WHOLE, Crops
from maskwright.training.image_cache import Decoded, Pair, decode
from maskwright.training.trust import Trust

T = TypeVar("T")
# Decoded images are kept in memory while they take at most this share of what is free.
CACHE_SHARE = 0.25
# More than any number of an epoch.
_AGAIN = 1 << 32


def room(processes: int = 1) -> int:
    """Bytes that decoded samples may take in the memory of each of so many processes on this host."""
    return int(memory_left() * CACHE_SHARE / processes)


class DecodedSamples:
    """Samples decoded and resized, kept in memory as far as a quarter of the free memory reaches, which is divided
    among so many `processes` that do the same on this host: `room` bytes. What is in `decoded` is neither decoded nor
    kept."""

    def __init__(
        self,
        dataset: Dataset,
        samples: Sequence[Sample],
        geometry: Geometry,
        processes: int = 1,
        decoded: Decoded | None = None,
    ) -> None:
        self.dataset, self.samples, self.geometry = dataset, list(samples), geometry
        self._decoded = decoded
        self.room = room(processes)
        self._cache: dict[int, Pair] = {}
        self._cached = 0
        self.sizes: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        """Image (H, W, C), uint8 or uint16, and mask (H, W) uint8 at the geometry's size."""
        return self._pair(index)

    def _pair(self, index: int, tell: Tell | None = None) -> Pair:
        if self._decoded and (found := self._decoded.pair(self.samples[index])):
            return found
        pair = self._cache.get(index)
        if pair is None:
            pair = decode(self.dataset, self.geometry, self.samples[index], tell)
            size = sum(part.nbytes for part in pair)
            if self._cached + size <= self.room:
                self._cache[index] = pair
                self._cached += size
        return pair

    def fill(
        self,
        progress: Callable[[int, int], None] | None = None,
        look: Callable[[npt.NDArray[np.uint8]], None] | None = None,
        tell: Tell | None = None,
    ) -> npt.NDArray[np.int64]:
        """Reads everything once, which checks every file; returns the (M, 256) int64 counts of mask values of each
        of the M samples, and notes their `sizes` (height, width). `look` is shown each mask (H, W), `tell` each image
        file that is opened."""
        counts = np.zeros((len(self), 256), np.int64)
        self.sizes = []
        for index in range(len(self)):
            mask = self._pair(index, tell)[1]
            counts[index] = np.bincount(mask.reshape(-1), minlength=256)
            self.sizes.append((mask.shape[0], mask.shape[1]))
            if look:
                look(mask)
            if progress:
                progress(index + 1, len(self))
        return counts


@dataclass(frozen=True, eq=False)
class Factors:
    """How often each of M samples is drawn, `values` (M,) above 0; only their ratios matter."""

    values: npt.NDArray[np.float64]


def batch_indices(
    seed: int, step: int, batch_size: int, samples: int, factors: Factors | None = None
) -> list[tuple[int, int]]:
    """(view, sample index) of each place in the batch of `step`. The view is the epoch; of a sample that comes again
    in the same epoch, another number, so that it is augmented in another way.

    The training order is one endless stream, a fresh permutation of all samples per epoch, cut into
    batches of exactly `batch_size`: no short batch, and every sample equally often. With `factors` an epoch has as many
    places, and a sample has its share of them, rounded up or down by chance.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    epochs = [(_order(seed, place // samples, samples, factors), place % samples) for place in places]
    return [(int(views[at]), int(order[at])) for (views, order), at in epochs]


@lru_cache(2)
def _order(
    seed: int, epoch: int, samples: int, factors: Factors | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    rng = np.random.default_rng((seed, 0, epoch))
    order = rng.permutation(samples)
    if factors is None:
        return np.full(samples, epoch), order
    # Marks at equal distances on a line on which each sample takes up its share.
    ends = factors.values[order].cumsum()
    marks = (np.arange(samples) + rng.random()) * (ends[-1] / samples)
    chosen = np.minimum(np.searchsorted(ends, marks, side="right"), samples - 1)
    again = np.arange(samples) - np.searchsorted(chosen, chosen)
    mixed = rng.permutation(samples)
    return epoch + again[mixed] * _AGAIN, order[chosen[mixed]]


class Batches(TorchDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Item i is the whole batch of step i: images (N, C, H, W) channels-last, uint8 or uint16 as the dataset's are, and
    targets (N, H, W) uint8.

    `rank` and `world_size` take every world_size-th place of it for one of several processes. `trust` says which
    pixels count. `factors`, where it is set, says how often each sample is drawn; `crops`, which windows of it.
    """

    def __init__(
        self,
        source: DecodedSamples,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        trust: Trust | None = None,
    ) -> None:
        self.source, self.augmentation, self.batch_size, self.seed = source, augmentation, batch_size, seed
        self.rank, self.world_size, self.trust = rank, world_size, trust
        self.factors: Factors | None = None
        self.crops: Crops | None = None
        self.map: Callable[..., Iterable[Pair]] = map

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        places = self._places(step)[self.rank :: self.world_size]
        images, masks = zip(*self.map(self.pair, *zip(*places, strict=True)), strict=True)
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(masks))

    @property
    def per_epoch(self) -> int:
        """How many places an epoch has: one for each sample, or one for each of its windows."""
        return len(self.crops.owners) if self.crops else len(self.source)

    def _places(self, step: int) -> list[tuple[int, int]]:
        return batch_indices(self.seed, step, self.batch_size, self.per_epoch, self.factors)

    def pair(self, view: int, place: int) -> Pair:
        """What is seen at a `place` of an epoch (see `per_epoch`) in a `view`, which is the number of an epoch (see
        `batch_indices`): image (H, W, C) and mask (H, W)."""
        index = int(self.crops.owners[place]) if self.crops else place
        image, mask = self.source[index]
        window = self.crops.window(mask, view, place, index) if self.crops else WHOLE
        image, mask = image[window], mask[window]
        if self.trust:
            mask = self.trust.mask(mask, view, index, window)
        if self.crops:
            image, mask = self.crops.padded(image, mask)
        return self.augmentation(image, mask, np.random.default_rng((self.seed, 1, view, place)))

    def names(self, step: int) -> list[str]:
        """The samples in the batch of `step`."""
        places = [place for _, place in self._places(step)]
        return [self.source.samples[int(self.crops.owners[at]) if self.crops else at].name for at in places]


def stream(batches: Batches, start: int, stop: int, workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of steps start..stop-1 in order, made by `workers` processes (0: by this one, each by as many threads
    as torch has, which wait meanwhile; numpy and OpenCV let threads run side by side, but a pipeline of albumentations
    keeps its random state in itself)."""
    alone = workers > 0 or not isinstance(batches.augmentation, Pipeline)
    threads = 1 if alone else torch.get_num_threads()
    pool = ThreadPoolExecutor(threads) if threads > 1 else None
    batches.map = pool.map if pool else map
    if workers:
        # OpenCV's threads do not survive the fork, and a child that touches their number waits for ever.
        cv2.setNumThreads(0)
    loader: DataLoader[Any] = DataLoader(
        _Sent(batches) if workers else batches,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals,
        collate_fn=_as_it_is,
        # Whatever the caller's program uses: a process that is spawned would import torch anew, and is sent all images.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    piped = False
    try:
        with pool or nullcontext():
            with _signals_held_back():
                made = iter(loader)
            for batch in made:
                if isinstance(batch, _Piped):
                    if not piped:
                        say(
                            "shared memory (/dev/shm) is too small for the loader processes: batches come through "
                            "pipes, which is a little slower (docker: --shm-size=2g)"
                        )
                    piped, batch = True, batch.received()
                yield batch
    finally:
        batches.map = map  # they may still be asked for a batch


def _as_it_is(batch: T) -> T:
    return batch


@dataclass(frozen=True)
class _Piped:
    """A batch that is copied through a pipe: images (N, H, W, C) and targets (N, H, W)."""

    images: Stored
    targets: npt.NDArray[np.uint8]

    def received(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.images).permute(0, 3, 1, 2), torch.from_numpy(self.targets)


class _Sent(TorchDataset[Any]):
    """Batches as a loader process hands them over: in shared memory, or through a pipe where there is no room. torch
    would look for the room when nobody can be told any more that there is none, and the training would wait for ever.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor] | _Piped:
        images, targets = self._batches[step]
        try:
            for part in (images, targets):
                part.share_memory_()  # type: ignore[no-untyped-call]
            return images, targets
        except (RuntimeError, OSError):  # full, or too many open files
            return _Piped(images.permute(0, 2, 3, 1).numpy(), targets.numpy())


@contextmanager
def lost_processes(run: Path) -> Iterator[None]:
    """SetupError with one line where a loader process of the training in the folder `run` was killed."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SetupError(
            f"{run}: a loader process was ended by the system ({str(error).splitlines()[0].rstrip('. ')}), most likely "
            f"for lack of memory; free some and resume with `maskwright resume {shlex.quote(str(run))}`, or train with "
            "a smaller train.workers"
        ) from None


_STOPPING = (signal.SIGINT, signal.SIGTERM)


def _leave_signals(_: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach every process of the group, but only the training decides when to stop."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes that are started meanwhile keep the signals back too, until `_leave_signals` has reached them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Waits:
    """Batches, and how long each was waited for."""

    def __init__(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._batches = batches
        self._since, self._waited = time.monotonic(), 0.0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            start = time.monotonic()
            batch = next(self._batches, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def taken(self) -> dict[str, float]:
        """The seconds since the last call, and those of them that were waited for batches."""
        now = time.monotonic()
        taken = {"seconds_since": now - self._since, "waited": self._waited}
        self._since, self._waited = now, 0.0
        return taken
