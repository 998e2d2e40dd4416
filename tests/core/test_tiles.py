"""Tiles: they cover every pixel, weigh 1 together, and of a model that looks at single pixels give the whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from maskwright.core.classes import SELECTORS, ClassTree
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.tiles import NUMPY, Arrays, Values, blended, drawn, joined, parts, starts, weights, whole
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import TORCH, Preprocessing, Segmenter, by_class, load_segmenter
from maskwright.modeling.models.selectors import select
from nested import FACES

SIDES, SHARES = st.integers(1, 300), st.floats(0, 0.75)


@given(SIDES, st.integers(1, 80), SHARES)
def test_windows_cover_every_pixel_and_overlap_enough(length: int, window: int, overlap: float) -> None:
    places = starts(length, window, overlap)
    covered = {pixel for place in places for pixel in range(place, place + window)}
    assert covered == set(range(max(length, window)))
    shared = [first + window - second for first, second in pairwise(places)]
    assert all(np.floor(window * overlap) - 1 <= one < window for one in shared)  # places are rounded


@given(SIDES, st.integers(1, 80), SHARES)
def test_the_weights_of_all_windows_are_one_everywhere(length: int, window: int, overlap: float) -> None:
    places = starts(length, window, overlap)
    total = np.zeros(max(length, window))
    for place, own in zip(places, weights(places, window), strict=True):
        assert (own > 0).all()
        total[place : place + window] += own
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_window_weighs_most_in_its_middle() -> None:
    middle = weights([0, 20, 40], 32)[1]
    assert middle[12:20].min() > 0.99 and middle[0] < 0.01 > middle[-1]
    assert (np.diff(middle[:16]) >= 0).all() and (np.diff(middle[16:]) <= 0).all()


def pixelwise(classes: ClassTree, crop: Crop, **more: object) -> Segmenter:
    """A model that looks at each pixel alone."""
    torch.manual_seed(0)
    count = len(classes)
    return Segmenter(
        nn.Conv2d(3, count, 1),
        ModelSpec("pixels", count),
        classes,
        Preprocessing(Geometry((24, 32), crop=crop), (0.5,) * 3, (0.25,) * 3),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37, 1.7])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("size", [(20, 30), (50, 70), (97, 131), (24, 200), (1, 1), (33, 32)])
def test_a_model_of_single_pixels_gives_what_it_gives_for_the_whole_image(
    size: tuple[int, int], overlap: float, scale: float, rng: np.random.Generator
) -> None:
    segmenter = pixelwise(ClassTree.flat(list("abcde")), Crop(scale, overlap), flip_average=scale == 0.5)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    scaled = torch.from_numpy(segmenter.preprocessing.geometry.image(image).copy()).permute(2, 0, 1)[None]
    expected = functional.interpolate(segmenter.probabilities(scaled), size, mode="bilinear")[0]
    (found,) = segmenter.own_probabilities([image])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    labels = segmenter.label(image)
    clear = expected.topk(2, 0).values.diff(dim=0)[0].abs().numpy() > 1e-4
    assert clear.any() or size == (1, 1)
    np.testing.assert_array_equal(labels[clear], expected.argmax(0).numpy()[clear])
    ((levels, probabilities),) = segmenter.labelled([image], 3, True)
    assert probabilities is not None and np.allclose(probabilities, found.numpy())
    np.testing.assert_array_equal(levels[-1][clear], labels[clear])


@given(SIDES, SIDES, SHARES, st.floats(0.3, 3), st.integers(1, 5), st.booleans())
def test_numpy_gives_what_torch_gives(
    height: int, width: int, overlap: float, scale: float, together: int, last: bool
) -> None:
    """To 1e-6, which is the order of additions in the last bit: also of networks that give channels last."""
    geometry = Geometry((24, 32), crop=Crop(scale, overlap))
    scaled = geometry.image(np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8))

    def found(tiles: np.ndarray, places: Sequence[tuple[int, int]]) -> np.ndarray:
        values = np.stack([tiles.sum(3) % 7, tiles[..., 0] + places[0][0] % 5, tiles[..., 1] * 0.5], 1) / 256
        return values.astype(np.float32)

    def tensors(tiles: np.ndarray, places: Sequence[tuple[int, int]]) -> Iterable[torch.Tensor]:
        layout = torch.channels_last if last else torch.contiguous_format
        return by_class(torch.from_numpy(found(tiles, places)).contiguous(memory_format=layout))

    def image(arrays: Arrays, predict: Callable[..., Iterable[Values]]) -> np.ndarray:
        blocks = blended(scaled, geometry, together, predict, arrays)
        return joined(parts(blocks, scaled.shape[:2], (height, width), arrays), (height, width), 3, arrays)

    np.testing.assert_allclose(image(NUMPY, found), image(TORCH, tensors), atol=1e-6, rtol=0)


def test_tiles_that_are_drawn_are_tiles(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    geometry = Geometry((24, 32), crop=Crop())
    every = drawn(image, geometry, 99, rng)
    assert every.shape == (9, 24, 32, 3), "each once, though more were asked for"
    some = drawn(image, geometry, 4, rng)
    assert len(some) == 4 and all(any(np.array_equal(one, tile) for tile in every) for one in some)
    (alone,) = drawn(image[:5, :6], geometry, 3, rng)
    assert np.array_equal(alone[:5, :6], image[:5, :6]) and not alone[5:].any() and not alone[:, 6:].any()


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_level_of_a_tree(selector: str, rng: np.random.Generator) -> None:
    segmenter = pixelwise(FACES, Crop(), selector=selector)
    image = rng.integers(0, 256, (60, 75, 3), dtype=np.uint8)
    probabilities = segmenter.probabilities(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    expected = select(whole(probabilities), FACES.levels, segmenter.selector)
    (found,) = segmenter.label_levels([image])
    assert len(found) == len(expected) == FACES.depth > 1
    for own, wanted in zip(found, expected, strict=True):
        assert np.mean(own == wanted) > 0.999


@given(st.integers(1, 90), st.integers(1, 90), SHARES, st.integers(1, 7))
def test_a_constant_stays_one_in_blocks_that_cover_all_once(
    height: int, width: int, overlap: float, together: int
) -> None:
    seen: list[int] = []

    def constant(images: np.ndarray, places: Sequence[tuple[int, int]]) -> torch.Tensor:
        seen.append(len(images))
        assert images.shape[1:] == (16, 24, 3) and len(places) == len(images)
        return torch.tensor([0.2, 0.8]).view(1, 2, 1, 1).expand(len(images), 2, 16, 24)

    times = np.zeros((max(height, 16), max(width, 24)), int)
    image = np.zeros((height, width, 3), np.uint8)
    for block in blended(image, Geometry((16, 24), crop=Crop(1, overlap)), together, constant, TORCH):
        (top, left), (_, rows, columns) = block.place, block.values.shape
        times[top : top + rows, left : left + columns] += 1
        torch.testing.assert_close(block.values, torch.tensor([0.2, 0.8]).view(2, 1, 1).expand(2, rows, columns))
    assert (times == 1).all() and max(seen) <= together


def test_the_file_of_a_model_keeps_its_windows(tmp_path: Path, rng: np.random.Generator) -> None:
    spec = ModelSpec("UNet", 2, None, {"channels": [4], "bottleneck": 4})
    geometry = Geometry((32, 32), crop=Crop(0.5, 0.3))
    made = Segmenter(
        build_model(spec).eval(), spec, ClassTree.flat(["a", "b"]), Preprocessing(geometry, (0.5,) * 3, (0.2,) * 3)
    )
    made.save(tmp_path / "model.safetensors")
    read = load_segmenter(tmp_path / "model.safetensors")
    assert read.preprocessing == made.preprocessing
    image = rng.integers(0, 256, (90, 150, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read.label(image), made.label(image))


def test_whole_images_have_no_trace_of_windows_in_their_files() -> None:
    stored = Preprocessing(Geometry((32, 32)), (0.5,) * 3, (0.2,) * 3).to_dict()
    assert stored["geometry"] == {"size": (32, 32), "keep_ratio": False, "resample": "lanczos"}


def test_memory_of_a_wide_image_with_many_classes() -> None:
    """What is held does not depend on the height: an overlap of rows over the width, and some tiles. Counted by torch,
    as the peak of a process depends on the processor too."""
    classes = ClassTree.flat([f"class {i}" for i in range(150)])
    preprocessing = Preprocessing(Geometry((64, 64), crop=Crop()), (0.5,) * 3, (0.2,) * 3)
    model = Segmenter(nn.Conv2d(3, 150, 1), ModelSpec("x", 150), classes, preprocessing)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        model.label(np.zeros((300, 2000, 3), np.uint8))
    changes = [event.nbytes() for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert 0 < max(accumulate(changes)) < 300 * 2000 * 150 * 4 / 2


def test_what_waits_for_later_tiles_does_not_grow_with_the_height(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    empty = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, size: (held.append(int(np.prod(size))), empty(self, size))[1]
    )
    geometry = Geometry((32, 32), crop=Crop())
    for height in (96, 400):
        image = np.zeros((height, 200, 3), np.uint8)
        for _ in blended(image, geometry, 1, lambda tiles, _: [torch.zeros(2, 32, 32)], TORCH):
            pass
    assert len(held) == 2 and max(held) <= 2 * 16 * 200
