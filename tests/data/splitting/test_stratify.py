"""Splits against chance, against an independent statement of the aim, and under permutation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.data.splitting.stratify import stratified
from maskwright.errors import ConfigError, DataError

Counts = npt.NDArray[np.int64]
THIRDS = {"train": 0.7, "val": 0.15, "test": 0.15}


def skewed(rng: np.random.Generator, images: int, classes: int) -> Counts:
    """Counts of classes in 90 % to 5 % of the images, a few images with most of the pixels."""
    there = rng.random((images, classes)) < np.geomspace(0.9, 0.05, classes)
    return np.asarray(np.ceil(rng.lognormal(5, 1, (images, classes))) * there, np.int64)


def named(count: int) -> list[str]:
    return [f"image_{i:04d}" for i in range(count)]


def by_chance(rng: np.random.Generator, groups: Sequence[str], fractions: Mapping[str, float]) -> list[str]:
    """Groups in random order fill one split after the other."""
    names = rng.permutation(sorted(set(groups))).tolist()
    ends = np.cumsum([share * len(groups) for share in fractions.values()])
    of, done = {}, 0
    for name in names:
        of[name] = list(fractions)[min(int(np.searchsorted(ends, done + 0.5)), len(ends) - 1)]
        done += groups.count(name)
    return [of[group] for group in groups]


def unevenness(pixels: Counts, splits: Sequence[str], fractions: Mapping[str, float], of_images: bool) -> float:
    """Mean over splits and classes of |share of the class - fraction| / fraction."""
    values = (pixels > 0).astype(np.int64) if of_images else pixels
    inside = {name: np.array([s == name for s in splits]) for name in fractions}
    return float(
        np.mean(
            [np.abs(values[inside[name]].sum(0) / values.sum(0) - share) / share for name, share in fractions.items()]
        )
    )


def distance(pixels: Counts, groups: Sequence[str], splits: Sequence[str], fractions: Mapping[str, float]) -> float:
    """The aim as the module states it, in plain loops."""
    total = 0.0
    classes = [k for k in range(pixels.shape[1]) if pixels[:, k].any()]
    for name, wished in fractions.items():
        rows = [i for i, split in enumerate(splits) if split == name]
        total += 100 * (len(rows) / len(splits) - wished) ** 2 / wished
        for k in classes:
            images = sum(pixels[i, k] > 0 for i in rows) / (pixels[:, k] > 0).sum()
            amount = pixels[rows, k].sum() / pixels[:, k].sum()
            total += ((images - wished) ** 2 + (amount - wished) ** 2) / 2 / len(classes) / wished
            total += (0 if images else 16 if name == "train" else 4) / len(classes)
    return total


@pytest.mark.parametrize("of_images", [True, False])
@pytest.mark.parametrize("in_groups", [False, True])
def test_classes_are_balanced_better_than_by_chance(of_images: bool, in_groups: bool) -> None:
    ours, chance = [], []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        pixels = skewed(rng, 120, 5)
        groups = [f"g{i // 3:02d}" for i in range(120)] if in_groups else named(120)
        ours.append(unevenness(pixels, stratified(pixels, groups, THIRDS, seed), THIRDS, of_images))
        chance.append(unevenness(pixels, by_chance(rng, groups, THIRDS), THIRDS, of_images))
    assert np.mean(ours) < 0.5 * np.mean(chance)
    assert np.mean(np.array(ours) < chance) > 0.95
    assert np.mean(ours) < 0.2


@pytest.mark.parametrize(("images", "size"), [(100, 1), (40, 1), (200, 5), (210, 7)])
def test_fractions_are_met_within_a_group(images: int, size: int) -> None:
    """Images that all hold all classes, in groups of equal size."""
    pixels = np.full((images, 3), 50)
    groups = [f"g{i // size:03d}" for i in range(images)]
    for fractions in (THIRDS, {"a": 0.5, "b": 0.5}, {"train": 0.6, "val": 0.1, "test": 0.3}):
        splits = stratified(pixels, groups, fractions, 1)
        for name, share in fractions.items():
            assert abs(splits.count(name) - share * images) < size


SMALL = st.integers(3, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.tuples(*[st.sampled_from([0, 0, 1, 10, 300])] * 3), min_size=n, max_size=n),
        st.lists(st.sampled_from("abcdef"), min_size=n, max_size=n).filter(lambda names: len(set(names)) >= 3),
        st.sampled_from([THIRDS, {"val": 0.2, "train": 0.5, "test": 0.3}, {"x": 0.5, "y": 0.5}]),
        st.integers(0, 5),
    )
)


@given(SMALL)
def test_no_move_or_exchange_would_be_better(case: Any) -> None:
    rows, groups, fractions, seed = case
    pixels = np.array(rows, np.int64)
    splits = stratified(pixels, groups, fractions, seed)
    of = dict(zip(groups, splits, strict=True))
    assert [of[group] for group in groups] == splits  # no group is divided
    assert set(splits) == set(fractions)  # nor a split empty
    train_named = "train" if "train" in fractions else "x"
    aliased = {("train" if name == train_named else name): share for name, share in fractions.items()}

    def value(change: Mapping[str, str]) -> float:
        new = [(of | change)[group] for group in groups]
        if set(new) != set(fractions):
            return np.inf
        return distance(pixels, groups, ["train" if s == train_named else s for s in new], aliased)

    found = value({})
    for a in of:
        assert found <= min(value({a: split}) for split in fractions) + 1e-6
        for b in of:
            assert found <= value({a: of[b], b: of[a]}) + 1e-6


def test_near_the_best_of_all_divisions() -> None:
    ours, best = [], []
    for seed in range(8):
        pixels = skewed(np.random.default_rng(seed), 7, 3)
        groups = named(7)
        ours.append(distance(pixels, groups, stratified(pixels, groups, THIRDS, seed), THIRDS))
        every = (names for names in product(THIRDS, repeat=7) if len(set(names)) == 3)
        best.append(min(distance(pixels, groups, names, THIRDS) for names in every))
    assert np.mean(best) - 1e-6 <= np.mean(ours) < 1.05 * np.mean(best)


@given(st.integers(0, 2**32), st.integers(0, 1000), st.integers(1, 6))
def test_the_order_of_samples_does_not_matter(shuffle: int, seed: int, size: int) -> None:
    rng = np.random.default_rng(shuffle)
    pixels = skewed(rng, 40, 4)
    groups = [f"g{i // size}" for i in range(40)]
    order = rng.permutation(40)
    splits = stratified(pixels, groups, THIRDS, seed)
    assert stratified(pixels[order], [groups[i] for i in order], THIRDS, seed) == [splits[i] for i in order]


def test_seeds() -> None:
    pixels = np.tile([[100, 5]], (60, 1))
    runs = [stratified(pixels, named(60), THIRDS, seed) for seed in (0, 0, 1, 2)]
    state = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    assert runs[0] == runs[1] and len({tuple(run) for run in runs}) == 3
    stratified(pixels, named(60), THIRDS, 3)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index, union-attr]


@pytest.mark.parametrize("fractions", [THIRDS, {"test": 0.5, "val": 0.3, "train": 0.2}, {"eval": 0.5, "base": 0.5}])
def test_a_class_in_too_few_groups_is_in_train_first(fractions: dict[str, float]) -> None:
    train = "train" if "train" in fractions else "eval"
    for seed in range(20):
        pixels = np.full((40, 4), 100)
        pixels[:, 1:] = 0
        places = np.random.default_rng(seed).permutation(40)
        pixels[places[0], 1] = 7
        pixels[places[1:3], 2] = 7
        pixels[places[3:6], 3] = 7
        splits = np.array(stratified(pixels, named(40), fractions, seed))
        assert splits[places[0]] == train
        assert train in splits[places[1:3]] and len(set(splits[places[1:3]])) == 2
        assert set(splits[places[3:6]]) == set(fractions)  # enough groups for every split
        for name, share in fractions.items():
            assert abs((splits == name).sum() - share * 40) <= 1


def test_large_images_are_spread_like_small_ones() -> None:
    """Equal sums could hide that the large objects are in train and the small ones elsewhere."""
    pixels = np.sort(np.random.default_rng(0).lognormal(5, 1, (600, 1)), axis=0).astype(np.int64)
    splits = np.array(stratified(pixels, named(600), THIRDS, 0))
    for quarter in np.split(splits, 4):
        assert 0.6 < (quarter == "train").mean() < 0.8


def test_zero_gets_nothing_and_every_other_split_something() -> None:
    splits = stratified(np.ones((10, 2), int), named(10), {"train": 0.99, "val": 0, "test": 0.01}, 0)
    assert splits.count("test") == 1 and splits.count("train") == 9
    assert set(stratified(np.zeros((5, 0), int), named(5), {"all": 1}, 0)) == {"all"}


def test_unlabelled_samples_are_divided_by_number() -> None:
    splits = stratified(np.zeros((100, 3), int), named(100), THIRDS, 0)
    assert [splits.count(name) for name in THIRDS] == [70, 15, 15]


def test_more_groups_than_are_compared_with_each_other() -> None:
    rng = np.random.default_rng(0)
    pixels = skewed(rng, 1500, 6)
    splits = stratified(pixels, named(1500), THIRDS, 0)
    assert [splits.count(name) for name in THIRDS] == [1050, 225, 225]
    assert unevenness(pixels, splits, THIRDS, False) < 0.03


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.7, "test": 0.2}, "add up to 0.9"),
        ({}, "add up to 0"),
        ({"train": -0.5, "test": 1.5}, "'train' = -0.5"),
        ({"train": float("nan"), "test": 1}, "from 0 to 1"),
        ({"train": 0.5, "": 0.5}, "has no name"),
    ],
)
def test_wrong_fractions(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stratified(np.ones((9, 1), int), named(9), fractions, 0)
    assert len(stratified(np.ones((9, 1), int), named(9), {"a": 1 / 3, "b": 1 / 3, "c": 0.3333336}, 0)) == 9


def test_impossible_input() -> None:
    with pytest.raises(DataError, match="no usable sample"):
        stratified(np.zeros((0, 2), int), [], THIRDS, 0)
    with pytest.raises(DataError, match=r"9 samples in 1 group cannot fill 3 splits \(train, val, test\)"):
        stratified(np.ones((9, 2), int), ["same"] * 9, THIRDS, 0)
    with pytest.raises(DataError, match="a row a sample"):
        stratified(np.ones((9, 2), int), named(8), THIRDS, 0)
    with pytest.raises(ConfigError, match="negative"):
        stratified(np.ones((9, 2), int), named(9), THIRDS, -1)
