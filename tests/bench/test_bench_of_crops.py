"""bench/crops.py builds mosaics whose truth is that of the images they are made of, split by split."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers import write
from maskwright.data.opening import load_dataset

FILE = Path(__file__).parents[2] / "bench" / "crops.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = util.spec_from_file_location("bench_crops", FILE)
    assert spec and spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steel(tmp_path: Path) -> Path:
    """Images whose colour tells their split and number, and defects that are brighter by 20."""
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "val", "test")):
        for index in range(4):
            mask = np.zeros((80, 80), np.uint8)
            mask[60:70, 5 + index : 30] = 1 + index % 3
            image = np.full((80, 80, 3), 60 * number + 10 * index, np.uint8) + 20 * (mask > 0)[..., None].astype(
                np.uint8
            )
            image[..., 2] = rng.integers(0, 256, (80, 80))
            write(tmp_path / f"steel/img/{split}/{index}.png", image)
            write(tmp_path / f"steel/labels/{split}/{index}.png", mask)
    return tmp_path / "steel"


def test_mosaics_keep_truth_and_splits_apart(bench: ModuleType, steel: Path, tmp_path: Path) -> None:
    dataset = load_dataset(bench.build(steel, tmp_path / "mosaics", grid=3, filled=4 / 9, images=[3, 1, 2]))
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 3, "val": 1, "test": 2}
    known = {sample.name: load_dataset(steel).read(sample) for sample in load_dataset(steel).samples}
    for number, split in enumerate(("train", "val", "test")):
        for sample in dataset.splits[split]:
            image, mask = dataset.read(sample)
            assert mask.shape == (240, 240)
            defects = 0
            for row in range(0, 240, 80):
                for column in range(0, 240, 80):
                    tile, labels = (
                        image[row : row + 80, column : column + 80],
                        mask[row : row + 80, column : column + 80],
                    )
                    index = (int(tile[0, 0, 0]) - 60 * number) // 10
                    own, truth = known[f"{split}/{index}"]
                    if labels.any():
                        defects += 1
                        np.testing.assert_array_equal(tile, own)
                        np.testing.assert_array_equal(labels, truth)
                    else:  # nothing of a defect is in it
                        assert (tile[..., 0] == own[0, 0, 0]).all()
            assert defects == 4


def test_the_same_arguments_give_the_same_mosaics(bench: ModuleType, steel: Path, tmp_path: Path) -> None:
    first, again, other = (
        load_dataset(bench.build(steel, tmp_path / name, grid=2, filled=0.5, images=[2, 1, 1], seed=seed)).version()
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    )
    assert first == again != other


def test_an_image_that_is_all_defect_has_no_empty_part(bench: ModuleType) -> None:
    assert bench.empty_part(np.zeros((80, 80, 3), np.uint8), np.ones((80, 80), np.uint8)) is None
