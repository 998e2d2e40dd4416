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
from scipy import ndimage

from helpers import make_dataset, palette_image, write
from maskwright.base.storage import dump_json
from maskwright.core.class_weights import effective_number, inverse_frequency, median_frequency
from maskwright.core.classes import ClassTree
from maskwright.data.auditing import audit
from maskwright.data.auditing.objects import measure
from maskwright.data.auditing.statistics import GRID, ObjectCounts, SplitStatistics, Statistics, where_classes_lie
from nested import FACES

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
    train = statistics.splits["train"]
    inside = [np.array([(mask == id_).any() * (mask != 255).sum() for id_ in (0, 1, 3)]) for _, mask in pairs["train"]]
    assert train.image_pixels.tolist() == np.sum(inside, axis=0).tolist()
    assert {name: weights.tolist() for name, weights in statistics.class_weights.items()} == {
        "inverse_frequency": inverse_frequency(train.class_pixels).tolist(),
        "median_frequency": median_frequency(train.class_pixels, np.sum(inside, axis=0)).tolist(),
        "effective_number": effective_number(train.class_pixels).tolist(),
    }
    assert train.objects.counts.tolist() == [
        sum(ndimage.label(mask == id_, np.ones((3, 3)))[1] for _, mask in pairs["train"]) for id_ in (0, 1, 3)
    ]


def test_the_document_says_the_same(ragged: tuple[Path, Pairs]) -> None:
    statistics = audit(ragged[0], progress=False).statistics
    document = statistics.to_dict()
    dump_json(document)
    total = document["total"]
    assert [row["pixels"] for row in total["classes"]] == statistics.total.class_pixels.tolist()
    assert sum(row["share"] for row in total["classes"]) == pytest.approx(1)
    assert sum(row["images"] for row in total["sizes"]["counts"]) == total["images"] == 12
    assert total["channels"]["mean"] == statistics.total.mean_std[0]
    assert document["class_weights"] == {name: list(weights) for name, weights in statistics.class_weights.items()}
    assert [row["objects"] for row in total["objects"]] == statistics.total.objects.counts.tolist()
    assert [len(row["share"]) for row in document["heat_maps"]["classes"]] == [GRID] * 3


def test_levels_of_a_tree_are_sums_over_leaves() -> None:
    statistics = Statistics(FACES, ["train"])
    statistics.add("train", (4, 4), None, np.array([60, 20, 10, 6, 3, 1, 7]))
    document = statistics.to_dict()["splits"]["train"]
    assert [[(row["name"], row["pixels"]) for row in level["classes"]] for level in document["levels"]] == [
        [("background", 60), ("head", 40)],
        [("background", 60), ("hair", 20), ("face", 20)],
    ]
    assert [row["share"] for row in document["levels"][0]["classes"]] == pytest.approx([0.6, 0.4])
    flat = Statistics(ClassTree.flat(["a"]), ["train"])
    assert "levels" not in flat.to_dict()["splits"]["train"]


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


def test_mean_and_deviation_are_stable_over_very_many_pixels() -> None:
    statistics = Statistics(ClassTree.flat(["a"]), ["train"])
    # A million images of a hundred megapixels, white but for one pixel.
    sums = np.repeat([[255 * (10**14 - 1) + 254], [255**2 * (10**14 - 1) + 254**2]], 3, axis=1)
    statistics.add("train", (10**7, 10**7), sums, None)
    mean, std = statistics.total.mean_std
    np.testing.assert_allclose(mean, 1, rtol=1e-14)
    np.testing.assert_allclose(std, 1e-7 / 255, rtol=1e-12)


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=40))
def test_the_median_size_of_objects_is_right_to_a_tenth(areas: list[int]) -> None:
    counts = ObjectCounts.none(2)
    for area in areas:  # one at a time, as in masks that come one by one
        part = ObjectCounts.none(2)
        part.add(np.array([1]), np.array([area]), np.array([-1]))
        counts.merge(part)
    exact = sorted(areas)[(len(areas) - 1) // 2]
    found = counts.median(1)
    assert found is not None
    assert abs(found - exact) <= max(0.5, 0.1 * exact)
    assert counts.median(0) is None
    assert (counts.least[1], counts.most[1], counts.counts.tolist()) == (min(areas), max(areas), [0, len(areas)])


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (64, 32), (128, 256), (512, 384)])
def test_heat_counts_the_pixels_of_each_cell(size: tuple[int, int], rng: np.random.Generator) -> None:
    """Masks whose pixels are the points that are looked at; of larger ones, those with points for pixels."""
    points = tuple(min(side, 4 * GRID) for side in size)
    small = rng.choice(np.array([0, 1, 2, 255], np.uint8), points)
    mask = np.kron(small, np.ones((size[0] // points[0], size[1] // points[1]), np.uint8))
    down, across = points[0] // GRID, points[1] // GRID
    expected = [
        (small == value).reshape(GRID, down, GRID, across).sum((1, 3)) * (16 // (down * across))
        for value in (0, 1, 2, 255)
    ]
    np.testing.assert_array_equal(where_classes_lie([mask, mask], 3), 2 * np.array(expected))


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 31), (500, 501), (127, 129)])
def test_heat_of_any_size_has_the_shape_of_the_mask(size: tuple[int, int]) -> None:
    """A class in the upper left quarter: its share is 1 there, 0 elsewhere, but for the cells at its border."""
    mask = np.zeros(size, np.uint8)
    mask[: (size[0] + 1) // 2, : (size[1] + 1) // 2] = 1
    heat = where_classes_lie([mask], 2)
    assert (heat.sum(0) == 16).all()
    half = GRID // 2
    if min(size) > GRID:
        assert (heat[1, : half - 1, : half - 1] == 16).all() and not heat[1, half + 1 :].any()


def test_heat_maps_weigh_images_and_not_pixels() -> None:
    statistics = Statistics(ClassTree.flat(["a", "b"]), ["train", "val"])
    for split, mask in (
        ("train", np.ones((500, 500), np.uint8)),
        ("val", np.zeros((50, 50), np.uint8)),
        ("val", np.full((60, 60), 255, np.uint8)),
    ):
        statistics.add_masks(split, [mask], measure([mask]))
    np.testing.assert_array_equal(statistics.heat_maps, 0.5)


def test_parts_add_up_to_the_whole(ragged: tuple[Path, Pairs]) -> None:
    folder, pairs = ragged
    whole = audit(folder, progress=False, workers=1).statistics
    total = SplitStatistics.none(3)
    for part in whole.splits.values():
        total.merge(part)
    assert_counts(total, pairs["train"] + pairs["val"])
    assert total.objects.counts.tolist() == sum(part.objects.counts for part in whole.splits.values()).tolist()


def test_nothing_counted_is_undefined_and_not_zero() -> None:
    statistics = Statistics(ClassTree.flat(["a", "b"]), ["train"])
    total = statistics.total
    assert np.isnan(total.shares).all()
    assert np.isnan(total.ignored_share)
    assert np.isnan(total.mean_std).all()
    assert total.extent(0) == {}
    assert {tuple(weights) for weights in statistics.class_weights.values()} == {(1, 1)}
    assert "heat_maps" not in statistics.to_dict()
    assert '"share": null' in dump_json(statistics.to_dict())


@pytest.mark.parametrize(("split", "chosen"), [("train", "train"), ("", ""), ("fold1", "total")])
def test_weights_come_from_what_training_sees(split: str, chosen: str) -> None:
    statistics = Statistics(ClassTree.flat(["a", "b"]), [split, "test"])
    statistics.add(split, (1, 4), None, np.array([3, 1, 0]))
    statistics.add("test", (1, 4), None, np.array([1, 3, 0]))
    expected = statistics.total if chosen == "total" else statistics.splits[chosen]
    assert statistics.training.class_pixels.tolist() == expected.class_pixels.tolist()
    assert statistics.class_weights["inverse_frequency"].tolist() == inverse_frequency(expected.class_pixels).tolist()
