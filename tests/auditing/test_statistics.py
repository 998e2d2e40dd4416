"""Statistics against a naive count with numpy over all pixels at once, on every kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers import make_dataset, palette_image, write
from maskwright.auditing import audit
from maskwright.auditing.statistics import SplitStatistics, Statistics, channel_levels
from maskwright.core.classes import ClassTree
from maskwright.core.storage import dump_json
from maskwright.losses.weights import inverse_frequency

Pairs = dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]]


@pytest.fixture
def ragged(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Pairs]:
    """Images of many sizes and kinds, masks of 8 bits, 16 bits and with a palette; ids 0, 1, 3, 255 ignored."""
    folder, pairs = tmp_path / "ragged", Pairs(train=[], val=[])
    for index in range(12):
        size = tuple(rng.integers(5, 40, 2))
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        mask = rng.choice(np.array([0, 1, 3, 255], np.uint8), size, p=[0.7, 0.2, 0.05, 0.05])
        if index % 2:
            mask[mask == 3] = 0
        name = f"{('train', 'val')[index % 4 == 3]}/{index:02d}.png"
        stored: npt.NDArray[Any] | Image.Image = image
        if index % 3 == 1:
            image[...] = image[..., :1]
            stored = image[..., 0]  # a grey file
        masks = (mask, mask.astype(np.uint16), palette_image(mask, rng.integers(0, 256, (256, 3), np.uint8)))
        write(folder / "img" / name, stored)
        write(folder / "labels" / name, masks[index % 3])
        pairs[name.split("/")[0]].append((image, mask))
    return folder, pairs


def assert_counts(part: SplitStatistics, pairs: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> None:
    pixels = np.concatenate([image.reshape(-1, 3) for image, _ in pairs]).astype(np.float64) / 255
    ids = np.concatenate([mask.reshape(-1) for _, mask in pairs])
    assert part.images == part.labelled == len(pairs)
    assert part.class_pixels.tolist() == [np.count_nonzero(ids == id_) for id_ in (0, 1, 3)]
    assert part.class_images.tolist() == [sum((mask == id_).any() for _, mask in pairs) for id_ in (0, 1, 3)]
    assert part.ignored_share == pytest.approx(np.mean(ids == 255))
    np.testing.assert_allclose(part.shares, [np.mean(ids[ids != 255] == id_) for id_ in (0, 1, 3)])
    mean, std = part.mean_std
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-12)
    for axis in (0, 1):
        lengths = [image.shape[axis] for image, _ in pairs]
        assert part.extent(axis) == {"min": min(lengths), "median": np.median(lengths), "max": max(lengths)}
    for size, count in part.sizes.items():
        assert count == sum(image.shape[:2] == size for image, _ in pairs)


def test_counts_equal_a_naive_computation(ragged: tuple[Path, Pairs]) -> None:
    folder, pairs = ragged
    statistics = audit(folder, progress=False).statistics
    assert list(statistics.splits) == ["train", "val"]
    assert statistics.classes.ids == [0, 1, 3]
    for split, part in statistics.splits.items():
        assert_counts(part, pairs[split])
    assert_counts(statistics.total, pairs["train"] + pairs["val"])
    train = statistics.splits["train"].class_pixels
    weights = 1 / train / np.mean(1 / train)
    np.testing.assert_allclose(statistics.class_weights, weights, rtol=1e-6)


def test_the_document_says_the_same(ragged: tuple[Path, Pairs]) -> None:
    statistics = audit(ragged[0], progress=False).statistics
    document = statistics.to_dict()
    dump_json(document)
    total = document["total"]
    assert [row["pixels"] for row in total["classes"]] == statistics.total.class_pixels.tolist()
    assert sum(row["share"] for row in total["classes"]) == pytest.approx(1)
    assert sum(row["images"] for row in total["sizes"]["counts"]) == total["images"] == 12
    assert total["channels"]["mean"] == statistics.total.mean_std[0]
    assert document["class_weights"]["inverse_frequency"] == statistics.class_weights.tolist()


def test_unusable_masks_are_not_counted(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", describe=True)
    whole = audit(folder, progress=False).statistics.splits["train"]
    masks = sorted((folder / "labels/train").glob("*.png"))
    lost = np.stack([np.array(Image.open(path)) for path in masks[:4]])
    masks[0].write_bytes(b"")
    write(masks[1], lost[1][:-1])
    write(masks[2], np.where(lost[2] == 2, 7, lost[2]).astype(np.uint8))
    (folder / "img/train" / masks[3].name).write_bytes(b"")
    rest = audit(folder, progress=False).statistics.splits["train"]
    assert (rest.images, rest.labelled) == (5, 2)
    assert (whole.class_pixels - rest.class_pixels).tolist() == np.bincount(lost.reshape(-1), minlength=3).tolist()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_levels_count_every_value(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    levels = channel_levels(image)
    assert levels.dtype == np.int64
    for channel in range(3):
        assert levels[channel].tolist() == np.bincount(image[..., channel].reshape(-1), minlength=256).tolist()


def test_levels_stay_exact_beyond_what_float32_counts() -> None:
    image = np.broadcast_to(np.array([0, 7, 255], np.uint8), (4099, 4099, 3))
    assert channel_levels(image)[[0, 1, 2], [0, 7, 255]].tolist() == [4099 * 4099] * 3


def test_mean_and_deviation_are_stable_over_very_many_pixels() -> None:
    statistics = Statistics(ClassTree.flat(["a"]), ["train"])
    levels = np.zeros((3, 256), np.int64)
    levels[:, 255] = 10**14  # a million images of a hundred megapixels, white but for one pixel
    levels[:, 254] = 1
    statistics.add("train", (10_000, 10_000), levels, None)
    mean, std = statistics.total.mean_std
    np.testing.assert_allclose(mean, 1, rtol=1e-14)
    np.testing.assert_allclose(std, 1e-7 / 255, rtol=1e-12)


def test_nothing_counted_is_undefined_and_not_zero() -> None:
    statistics = Statistics(ClassTree.flat(["a", "b"]), ["train"])
    total = statistics.total
    assert np.isnan(total.shares).all()
    assert np.isnan(total.ignored_share)
    assert np.isnan(total.mean_std).all()
    assert total.extent(0) == {}
    assert statistics.class_weights.tolist() == [1, 1]
    assert '"share": null' in dump_json(statistics.to_dict())


@pytest.mark.parametrize(("split", "chosen"), [("train", "train"), ("", ""), ("fold1", "total")])
def test_weights_come_from_what_training_sees(split: str, chosen: str) -> None:
    statistics = Statistics(ClassTree.flat(["a", "b"]), [split, "test"])
    levels = np.zeros((3, 256), np.int64)
    statistics.add(split, (1, 4), levels, np.array([3, 1, 0]))
    statistics.add("test", (1, 4), levels, np.array([1, 3, 0]))
    expected = statistics.total if chosen == "total" else statistics.splits[chosen]
    assert statistics.training is expected
    assert statistics.class_weights.tolist() == inverse_frequency(expected.class_pixels).tolist()
