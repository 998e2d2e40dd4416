"""Images that were decoded once: the pixels that would be decoded, for several trainings, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers import make_dataset, write
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from maskwright.run import Run
from maskwright.training import image_cache
from maskwright.training.image_cache import Decoded, decoded_folder, write_decoded
from maskwright.training.loader import DecodedSamples
from maskwright.training.train import resume_part, train, train_part
from tiny import EVERY_AUGMENTATION, config, write_dataset

GEOMETRY = Geometry((24, 32), keep_ratio=True)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load_dataset(make_dataset(tmp_path / "data", images=10, size=(30, 40), describe=True))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    read = Dataset.read_stored
    monkeypatch.setattr(
        Dataset, "read_stored", lambda self, sample, *tell: (found.append(sample.name), read(self, sample, *tell))[1]
    )
    return found


def test_the_pixels_are_those_that_would_be_decoded(tmp_path: Path, dataset: Dataset, reads: list[str]) -> None:
    folder = tmp_path / "decoded" / "key"
    assert write_decoded(folder, dataset, dataset.samples[:8], GEOMETRY)
    plain = DecodedSamples(dataset, dataset.samples, GEOMETRY)
    expected = [plain[i] for i in range(10)]
    reads.clear()
    shared = DecodedSamples(dataset, dataset.samples, GEOMETRY, decoded=Decoded.open(folder))
    for _ in range(2):
        for i in range(10):
            for given, wanted in zip(shared[i], expected[i], strict=True):
                np.testing.assert_array_equal(given, wanted)
                assert given.dtype == np.uint8 and type(given) is np.ndarray and not given.flags.writeable
    assert reads == [sample.name for sample in dataset.samples[8:]]  # once, and then from memory
    np.testing.assert_array_equal(shared.fill(), plain.fill())


def test_the_key_is_all_that_pixels_depend_on(tmp_path: Path) -> None:
    one = decoded_folder(tmp_path, "v1", GEOMETRY)
    assert one == decoded_folder(tmp_path, "v1", Geometry((24, 32), keep_ratio=True)) and one.parent == tmp_path
    others = [
        ("v2", GEOMETRY),
        ("v1", Geometry((24, 32))),
        ("v1", Geometry((32, 24), True)),
        ("v1", Geometry((24, 32), True, "area")),
    ]
    assert len({one, *(decoded_folder(tmp_path, *other) for other in others)}) == 5


def test_nothing_is_left_of_what_cannot_be_decoded(tmp_path: Path, dataset: Dataset) -> None:
    assert dataset.samples[4].mask
    dataset.samples[4].mask.write_bytes(b"broken")
    with pytest.raises(DataError, match=str(dataset.samples[4].mask)):
        write_decoded(tmp_path / "decoded" / "key", dataset, dataset.samples, GEOMETRY)
    assert [*(tmp_path / "decoded").iterdir()] == []


def test_a_small_disk_is_not_filled(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Usage:
        free = 4 * (10 * 24 * 32 * 4) - 1

    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: Usage)
    assert not write_decoded(tmp_path / "decoded" / "key", dataset, dataset.samples, GEOMETRY)
    assert [*(tmp_path / "decoded").iterdir()] == [] and "too much for this disk" in capsys.readouterr().err
    Usage.free += 1
    assert write_decoded(tmp_path / "decoded" / "key", dataset, dataset.samples, GEOMETRY)


@pytest.mark.parametrize("name", ["images.npy", "names.json"])
def test_a_damaged_rest_is_not_used(
    tmp_path: Path, dataset: Dataset, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "key"
    assert Decoded.open(folder) is None
    assert write_decoded(folder, dataset, dataset.samples, GEOMETRY)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    assert Decoded.open(folder) is None and "decoded again" in capsys.readouterr().err


def result(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.best, run.last, run.metrics.path)}


def test_training_with_it_gives_the_same_bytes(tmp_path: Path, reads: list[str]) -> None:
    root = write_dataset(tmp_path / "data", {"": 10})
    settings = config(root, augment=EVERY_AUGMENTATION, train={"iterations": 6, "evaluate_every": 3})
    plain = train(settings, out=tmp_path / "plain")
    dataset = load_dataset(root)
    shared = tmp_path / "decoded"
    assert write_decoded(
        decoded_folder(shared, dataset.version(), Geometry((32, 32))), dataset, dataset.samples, Geometry((32, 32))
    )
    reads.clear()
    run = train_part(settings, out=tmp_path / "run", decoded=shared)
    assert reads == [] and result(run) == result(plain)
    (run.path / "finished.json").unlink()
    assert result(resume_part(run, decoded=shared)) == result(plain) and reads == []
    write(root / "images/image_00.png", np.zeros((32, 32, 3), np.uint8))
    train_part(settings, out=tmp_path / "other", decoded=shared)
    assert len(reads) == 10  # another version has another key
    shutil.rmtree(shared)
    train_part(settings, out=tmp_path / "without", decoded=shared)
