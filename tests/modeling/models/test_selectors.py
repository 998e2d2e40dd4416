"""Selectors: each against a loop in plain Python, and coherence wherever it is promised."""

from __future__ import annotations

import weakref
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.classes import SELECTORS, ClassTree, Selector
from maskwright.core.tiles import whole
from maskwright.evaluation.metrics import incoherent_pixels
from maskwright.modeling.models import selectors
from maskwright.modeling.models.selectors import enlarged, select, top_down
from nested import nested, nested_trees

SIZE = (4, 5)


def probabilities(tree: ClassTree, seed: int, sharp: float = 1.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, sharp, (len(tree), *SIZE))).softmax(0)


def loop_top_down(tree: ClassTree, pixel: list[float]) -> int:
    chosen: tuple[str, ...] = ()
    paths = [(*leaf.parents, leaf.name) for leaf in tree.leaves]
    while chosen not in paths:
        length = len(chosen) + 1
        mass: dict[tuple[str, ...], float] = {}
        for path, value in zip(paths, pixel, strict=True):
            if path[: length - 1] == chosen:
                mass[path[:length]] = mass.get(path[:length], 0) + value
        chosen = max(mass, key=mass.__getitem__)
    return paths.index(chosen)


def test_every_selector_has_its_meaning() -> None:
    assert set(SELECTORS) == set(get_args(Selector))


@given(nested_trees(), st.integers(0, 99), st.sampled_from([0.3, 3.0]))
def test_against_loops(tree: ClassTree, seed: int, sharp: float) -> None:
    own = probabilities(tree, seed, sharp)
    leaf, levels, down = (select(whole(own), tree.levels, name) for name in SELECTORS)
    for y, x in np.ndindex(SIZE):
        pixel = own[:, y, x].tolist()
        best = int(np.argmax(pixel))
        assert leaf[-1][y, x] == levels[-1][y, x] == best
        assert down[-1][y, x] == loop_top_down(tree, pixel)
        for level, implied, decided in zip(tree.levels, leaf, levels, strict=True):
            assert implied[y, x] == level.class_of[best]
            sums = [sum(pixel[i] for i in members) for members in level.members]
            assert sums[decided[y, x]] >= max(sums) - 1e-12


@given(nested_trees(), st.integers(0, 99), st.sampled_from(["leaf", "top_down"]), st.booleans())
def test_coherence(tree: ClassTree, seed: int, selector: Selector, ties: bool) -> None:
    own = probabilities(tree, seed)
    if ties:
        own = (own * 4).round() / 4  # zeros and equal values, as at the corners of an image
    maps = select(whole(own), tree.levels, selector)
    assert len(maps) == tree.depth and all(one.dtype == np.uint8 and one.max() < len(tree) for one in maps)
    assert incoherent_pixels(np.zeros(SIZE, np.uint8), maps, tree) == 0
    for level, found in zip(tree.levels, maps, strict=True):
        np.testing.assert_array_equal(level.mask(maps[-1]), found)


def test_where_the_selectors_differ() -> None:
    tree = nested(("x",), ("g", "a"), ("g", "b"))
    own = torch.tensor([0.4, 0.35, 0.25]).view(3, 1, 1)
    assert [found.item() for found in select(whole(own), tree.levels, "leaf")] == [0, 0]
    assert [found.item() for found in select(whole(own), tree.levels, "levels")] == [
        1,
        0,
    ]  # group g, leaf x: a contradiction
    assert [found.item() for found in select(whole(own), tree.levels, "top_down")] == [1, 1]
    assert incoherent_pixels(np.zeros((1, 1), np.uint8), select(whole(own), tree.levels, "levels"), tree) == 1


@given(nested_trees(), st.integers(0, 99))
def test_sums_are_probabilities(tree: ClassTree, seed: int) -> None:
    own = probabilities(tree, seed)
    for level in tree.levels:
        sums = torch.stack([*map(whole(own), level.members)])
        torch.testing.assert_close(sums.sum(0), torch.ones(SIZE, dtype=torch.float64))


def test_top_down_with_one_class_left() -> None:
    tree = nested(("g", "a"))
    assert (top_down(whole(torch.ones(1, *SIZE)), tree.levels) == 0).all()


class TestEnlarged:
    """Class by class at the image's own size: the same bytes, and never the memory of all classes."""

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 21, 40])
    @pytest.mark.parametrize("size", [(97, 61), (130, 5), (24, 36), (9, 200)])
    def test_the_leaves_are_those_of_all_at_once(
        self, count: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        torch.manual_seed(count)
        small = torch.randn(count, 24, 36).softmax(0)
        expected = torch.nn.functional.interpolate(small[None], size, mode="bilinear")[0].argmax(0)
        if sum(size) > 128:  # torch computes smaller ones otherwise; they are never so many numbers
            monkeypatch.setattr(selectors, "WHOLE", 0)
        (found,) = select(enlarged(small, size), ClassTree.flat([*map(str, range(count))]).levels, "leaf")
        np.testing.assert_array_equal(found, expected.numpy())

    def test_equal_probabilities_give_the_first_class(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(selectors, "WHOLE", 0)
        levels = ClassTree.flat([*map(str, range(6))]).levels
        (found,) = select(enlarged(torch.full((6, 4, 4), 1 / 6), (90, 80)), levels, "leaf")
        assert found.shape == (90, 80) and not found.any()

    @given(nested_trees(), st.integers(0, 99), st.sampled_from(get_args(Selector)))
    def test_trees(self, tree: ClassTree, seed: int, selector: Selector) -> None:
        small = probabilities(tree, seed)
        expected = select(enlarged(small, (70, 80)), tree.levels, selector)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(selectors, "WHOLE", 0)
            found = select(enlarged(small, (70, 80)), tree.levels, selector)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("selector", get_args(Selector))
    def test_few_maps_are_alive(self, selector: Selector, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(selectors, "WHOLE", 10_000)
        alive: list[weakref.ref[torch.Tensor]] = []
        most = 0
        enlarge = selectors.resized

        def watched(small: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
            nonlocal most
            found = enlarge(small, size)
            alive.append(weakref.ref(found))
            most = max(most, sum(one.numel() for ref in alive if (one := ref()) is not None))
            return found

        monkeypatch.setattr(selectors, "resized", watched)
        tree = nested(*(("g", str(i)) for i in range(10)), *(("h", str(i)) for i in range(10, 20)))
        for _ in range(2):  # images
            select(enlarged(torch.rand(20, 8, 8).softmax(0), (100, 90)), tree.levels, selector)
        assert len(alive) >= 40 and most <= 3 * 9000
