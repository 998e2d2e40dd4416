"""Batches as functions of (seed, step): every sample equally often, the same from any start and with any number
of loader processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import make_dataset
from maskwright.base import limits
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError, SetupError
from maskwright.modeling.augment import AUGMENTATIONS, Pipeline
from maskwright.training import loader
from maskwright.training.loader import Batches, DecodedSamples, Factors, batch_indices, lost_processes, stream

SIZE = (24, 32)
PIPELINE = Pipeline([AUGMENTATIONS[name](p=0.5) for name in AUGMENTATIONS])
COUNTS = st.integers(1, 40)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load_dataset(make_dataset(tmp_path, images=10, size=(30, 40), describe=True))


@pytest.fixture
def opencv_threads() -> Iterator[None]:
    threads = cv2.getNumThreads()
    yield
    cv2.setNumThreads(threads)


def batches_of(dataset: Dataset, **more: int) -> Batches:
    return Batches(DecodedSamples(dataset, dataset.samples, Geometry(SIZE)), PIPELINE, 4, 3, **more)


def same(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TestOrder:
    @given(st.integers(0, 99), COUNTS, COUNTS, st.integers(1, 4))
    def test_every_epoch_is_a_permutation(self, seed: int, batch_size: int, samples: int, epochs: int) -> None:
        steps = -(-samples * epochs // batch_size)
        places = [place for step in range(steps) for place in batch_indices(seed, step, batch_size, samples)]
        assert len(places) == steps * batch_size
        for epoch in range(epochs):
            stretch = places[epoch * samples : (epoch + 1) * samples]
            assert {e for e, _ in stretch} == {epoch} and sorted(i for _, i in stretch) == list(range(samples))
        assert max(Counter(i for _, i in places).values()) - min(Counter(i for _, i in places).values()) <= 1

    def test_epochs_and_seeds_differ(self) -> None:
        orders = [[i for _, i in batch_indices(seed, epoch, 30, 30)] for seed in (0, 1) for epoch in (0, 1)]
        assert len({tuple(order) for order in orders}) == 4

    @given(st.integers(0, 99), st.lists(st.floats(1, 5), min_size=1, max_size=30), st.integers(0, 5))
    def test_with_factors_an_epoch_has_each_sample_by_its_share(
        self, seed: int, values: list[float], epoch: int
    ) -> None:
        count, factors = len(values), Factors(np.array(values))
        places = batch_indices(seed, epoch, count, count, factors)
        times = Counter(i for _, i in places)
        for i, value in enumerate(values):
            share = value / sum(values) * count
            assert np.floor(share - 1e-6) <= times[i] <= np.ceil(share + 1e-6)
        # Never the same draw of the augmentation twice, and the first one is that of the epoch.
        assert len({*places}) == count and all(view % (1 << 32) == epoch for view, _ in places)
        assert {(epoch, i) for i in times} <= {*places}

    def test_in_the_long_run_the_shares_are_exact(self) -> None:
        factors = Factors(np.array([1.0, 1.0, 1.0, 2.5]))
        drawn = Counter(i for step in range(3000) for _, i in batch_indices(7, step, 4, 4, factors))
        assert [drawn[i] / 12000 for i in range(4)] == pytest.approx([2 / 11, 2 / 11, 2 / 11, 5 / 11], abs=0.01)

    def test_equal_factors_are_a_permutation(self) -> None:
        for epoch in range(20):
            places = batch_indices(3, epoch, 17, 17, Factors(np.full(17, 1.7)))
            assert sorted(places) == [(epoch, i) for i in range(17)]

    def test_a_batch_larger_than_the_dataset(self) -> None:
        places = batch_indices(0, 0, 7, 3)
        assert [epoch for epoch, _ in places] == [0, 0, 0, 1, 1, 1, 2]


class TestBatches:
    def test_shapes_types_and_names(self, dataset: Dataset) -> None:
        batches = batches_of(dataset)
        images, targets = batches[0]
        assert images.shape == (4, 3, *SIZE) and targets.shape == (4, *SIZE)
        assert images.dtype == targets.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert batches.names(0) == [dataset.samples[i].name for _, i in batch_indices(3, 0, 4, 10)]

    def test_a_batch_does_not_depend_on_what_was_read_before(self, dataset: Dataset) -> None:
        used, fresh = batches_of(dataset), batches_of(dataset)
        for step in (5, 0, 3):
            used[step]
        assert same(used[2], fresh[2]) and same(fresh[2], fresh[2])

    def test_augmentation_differs_between_epochs_and_not_between_batch_sizes(self, dataset: Dataset) -> None:
        source = DecodedSamples(dataset, dataset.samples, Geometry(SIZE))
        found: dict[int, dict[tuple[int, int], bytes]] = {}
        for batch_size in (1, 3, 5):
            batches = Batches(source, PIPELINE, batch_size, 3)
            found[batch_size] = {}
            for step in range(30 // batch_size):
                images, _ = batches[step]
                for place, image in zip(batch_indices(3, step, batch_size, 10), images, strict=True):
                    found[batch_size][place] = image.numpy().tobytes()
        assert found[1] == found[3] == found[5] and len(found[1]) == 30
        assert len(set(found[1].values())) == 30

    def test_cached_samples_are_not_changed_by_augmentation(self, dataset: Dataset) -> None:
        batches = batches_of(dataset)
        before = [tuple(part.copy() for part in batches.source[i]) for i in range(10)]
        for step in range(8):
            images, targets = batches[step]
            images.zero_()
            targets.zero_()
        for i, (image, mask) in enumerate(before):
            np.testing.assert_array_equal(batches.source[i][0], image)
            np.testing.assert_array_equal(batches.source[i][1], mask)

    def test_several_processes_share_each_batch(self, dataset: Dataset) -> None:
        whole = batches_of(dataset)
        parts = [batches_of(dataset, rank=rank, world_size=2) for rank in range(2)]
        for step in range(4):
            for k, tensor in enumerate(whole[step]):
                assert torch.equal(tensor[0::2], parts[0][step][k]) and torch.equal(tensor[1::2], parts[1][step][k])

    def test_a_sample_that_comes_again_is_augmented_in_another_way(self, dataset: Dataset) -> None:
        batches = batches_of(dataset)
        batches.factors = Factors(np.where(np.arange(10) == 4, 30.0, 1.0))
        parts = [batches_of(dataset, rank=rank, world_size=2) for rank in range(2)]
        for part in parts:
            part.factors = batches.factors
        images = []
        for step in range(3):
            names = batches.names(step)
            whole = batches[step]
            assert torch.equal(whole[0][0::2], parts[0][step][0]) and torch.equal(whole[1][1::2], parts[1][step][1])
            images += [image for name, image in zip(names, whole[0], strict=True) if name == dataset.samples[4].name]
        assert len(images) > 5 and not any(torch.equal(images[0], other) for other in images[1:])


@pytest.mark.usefixtures("opencv_threads")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 and later
class TestStream:
    @pytest.mark.parametrize("workers", [0, 1, 2])
    def test_the_same_batches_in_order_with_any_number_of_workers(self, dataset: Dataset, workers: int) -> None:
        batches = batches_of(dataset)
        found = list(stream(batches, 0, 7, workers))
        assert len(found) == 7
        assert all(same(batch, batches[step]) for step, batch in enumerate(found))

    def test_threads_change_nothing(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = list(stream(batches_of(dataset), 0, 7, 0))
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        used: set[str] = set()
        pair = Batches.pair
        monkeypatch.setattr(
            Batches, "pair", lambda *place: (used.add(threading.current_thread().name), pair(*place))[1]
        )
        batches = batches_of(dataset)
        assert all(same(a, b) for a, b in zip(stream(batches, 0, 7, 0), plain, strict=True))
        assert used and threading.main_thread().name not in used

    def test_a_later_start_gives_the_rest(self, dataset: Dataset) -> None:
        whole = list(stream(batches_of(dataset), 0, 9, 0))
        for start in (0, 1, 5, 9):
            rest = list(stream(batches_of(dataset), start, 9, 0))
            assert len(rest) == 9 - start
            assert all(same(a, b) for a, b in zip(rest, whole[start:], strict=True))

    def test_later_start_with_workers(self, dataset: Dataset) -> None:
        batches = batches_of(dataset)
        assert all(same(batch, batches[6 + i]) for i, batch in enumerate(stream(batches, 6, 10, 2)))

    def test_without_shared_memory_batches_come_through_pipes(self, dataset, monkeypatch, capsys) -> None:
        def full(_: torch.Tensor) -> None:
            raise RuntimeError("unable to allocate shared memory(shm) for file: No space left on device (28)")

        monkeypatch.setattr(torch.Tensor, "share_memory_", full)
        batches = batches_of(dataset)
        found = list(stream(batches, 0, 5, 2))
        assert len(found) == 5 and all(same(batch, batches[step]) for step, batch in enumerate(found))
        assert all(a.stride() == b.stride() for a, b in zip(found[0], batches[0], strict=True))
        said = capsys.readouterr().err
        assert said.count("batches come through pipes") == 1 and "--shm-size=2g" in said

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_at_the_start_of_the_processes_ends_none(self, dataset, monkeypatch, number) -> None:
        held_back = loader._signals_held_back

        @contextmanager
        def signalled() -> Iterator[None]:
            with held_back():
                yield
            for child in multiprocessing.active_children():
                os.kill(child.pid, number)

        monkeypatch.setattr(loader, "_signals_held_back", signalled)
        for _ in range(4):
            assert len(list(stream(batches_of(dataset), 0, 3, 2))) == 3

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are spawned")
    def test_processes_are_forked_whatever_the_program_uses(self, dataset) -> None:
        before = multiprocessing.get_start_method()
        batches = batches_of(dataset)
        batches.source.unsendable = lambda: None
        multiprocessing.set_start_method("spawn", force=True)
        try:
            assert len(list(stream(batches, 0, 3, 1))) == 3
        finally:
            multiprocessing.set_start_method(before, force=True)

    def test_a_loader_process_that_is_killed_ends_the_training_in_one_line(
        self, dataset, monkeypatch, tmp_path
    ) -> None:
        parent, pair = os.getpid(), Batches.pair

        def killed(self: Batches, view: int, index: int) -> object:
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return pair(self, view, index)

        monkeypatch.setattr(Batches, "pair", killed)
        told = pytest.raises(SetupError, match=r"run: a loader process was ended .*; free some and resume with")
        with told, lost_processes(tmp_path / "run"):
            list(stream(batches_of(dataset), 0, 3, 1))


class TestSource:
    def test_pairs_at_the_size_of_the_geometry(self, dataset: Dataset) -> None:
        source = DecodedSamples(dataset, dataset.samples, Geometry(SIZE))
        image, mask = dataset.read(dataset.samples[4])
        np.testing.assert_array_equal(source[4][0], Geometry(SIZE).image(image))
        np.testing.assert_array_equal(source[4][1], Geometry(SIZE).mask(mask))

    def test_fill_counts_every_pixel_and_reports(self, dataset: Dataset) -> None:
        source, calls = DecodedSamples(dataset, dataset.samples, Geometry((20, 20), keep_ratio=True)), []
        counts = source.fill(lambda done, total: calls.append((done, total)))
        assert counts.shape == (10, 256) and (counts.sum(1) == 400).all()
        assert (counts[:, 255] == 100).all()  # 15 rows of the image, 5 of padding
        for value in range(3):
            assert counts[:, value].tolist() == [int((source[i][1] == value).sum()) for i in range(10)]
        assert calls == [(n, 10) for n in range(1, 11)]

    @pytest.mark.parametrize("room", [0, 3, 100])
    def test_memory_is_capped(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        monkeypatch.setattr(limits, "CGROUPS", Path("/nowhere"))

        class Memory:
            available = int(room * 4 * SIZE[0] * SIZE[1] / loader.CACHE_SHARE) + 8

        monkeypatch.setattr(limits.psutil, "virtual_memory", Memory)
        source = DecodedSamples(dataset, dataset.samples, Geometry(SIZE))
        reads = []
        read = Dataset.read_stored
        monkeypatch.setattr(
            Dataset,
            "read_stored",
            lambda self, sample, *tell: (reads.append(sample.name), read(self, sample, *tell))[1],
        )
        first = [source[i] for i in range(10)]
        again = [source[i] for i in range(10)]
        kept = min(room, 10)
        assert len(reads) == 10 + (10 - kept)
        assert sum(a[0] is b[0] for a, b in zip(first, again, strict=True)) == kept
        assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))

    def test_a_bad_file_is_named(self, dataset: Dataset) -> None:
        assert dataset.samples[3].mask
        dataset.samples[3].mask.write_bytes(b"broken")
        with pytest.raises(DataError, match=str(dataset.samples[3].mask)):
            DecodedSamples(dataset, dataset.samples, Geometry(SIZE)).fill()
