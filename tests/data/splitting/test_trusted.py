"""The trusted set: every class, every look, and not the oddities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.data.splitting.trusted import FEATURES, divide, features, pick
from maskwright.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]


def planted(rng: np.random.Generator, outliers: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """About 400 points (N, 20) in 10 clusters that hold 40 % to 1 %, then far outliers; and the cluster of each, or -1."""
    sizes = np.maximum(4, np.geomspace(0.4, 0.01, 10) / np.geomspace(0.4, 0.01, 10).sum() * 400).astype(int)
    centres = rng.normal(0, 3, (10, 20))
    of = np.repeat(np.arange(10), sizes)
    far = rng.normal(0, 1, (outliers, 20))
    far *= 100 / np.linalg.norm(far, axis=1, keepdims=True)
    return np.concatenate([centres[of] + rng.normal(0, 1, (len(of), 20)), far]), np.append(of, [-1] * outliers)


def unlabelled(points: Floats) -> npt.NDArray[np.int64]:
    return np.zeros((len(points), 3), np.int64)


def test_clusters_are_found_that_chance_misses() -> None:
    ours, chance = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points, of = planted(rng)
        ours.append(len(set(of[pick(points, unlabelled(points), 12, seed)])))
        chance.append(len(set(of[rng.choice(len(of), 12, replace=False)])))
    assert np.mean(ours) > 9.5 and min(ours) >= 9
    assert np.mean(chance) < 7


def test_outliers_do_not_dominate() -> None:
    few, many = [], []
    for seed in range(20):
        points, of = planted(np.random.default_rng(seed), outliers=8)
        found = of[pick(points, unlabelled(points), 20, seed)]
        assert len(set(found[:12]) - {-1}) >= 9
        few.append((found[:12] == -1).sum())
        many.append((found == -1).sum())
    assert np.mean(few) < 0.2 and np.mean(many) < 5  # farthest first takes all 8 of them both times


def test_an_image_of_each_kind_before_a_second_of_any() -> None:
    points = np.repeat(np.eye(5) * 10, [50, 20, 10, 5, 3], axis=0) + np.random.default_rng(0).normal(0, 0.1, (88, 5))
    of = np.repeat(np.arange(5), [50, 20, 10, 5, 3])
    assert sorted(of[pick(points, unlabelled(points), 5, 0)]) == [0, 1, 2, 3, 4]


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 6))
def test_classes_are_covered_as_far_as_possible(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 99, (40, classes)) * (rng.random((40, classes)) < np.geomspace(0.9, 0.03, classes))
    chosen = pick(rng.normal(0, 1, (40, 4)), pixels, count, seed)
    assert len(set(chosen)) == len(chosen) == count
    there, covered = pixels.any(axis=0), pixels[chosen].any(axis=0)
    if count >= there.sum():
        np.testing.assert_array_equal(covered, there)
    else:
        assert covered.sum() >= count  # each choice adds a class


def test_classes_by_the_root_of_their_frequency() -> None:
    rng = np.random.default_rng(0)
    held = rng.permuted(np.arange(400)[:, None] < np.array([400, 100, 16, 4]), axis=0)
    chosen = pick(rng.normal(0, 1, (400, 5)), held * 9, 40, 0)
    # 40 sqrt(q) for q = 1, 1/4, 1/25, 1/100
    assert (held[chosen].sum(axis=0) >= [40, 20, 8, 4]).all()
    assert held[chosen].sum(axis=0)[1] <= 24


def test_few_images_hold_many_classes() -> None:
    """Image 7 has all of the rare classes; with two choices, it must be one."""
    pixels = np.zeros((30, 5), int)
    pixels[:, 0] = 1
    pixels[np.arange(4), np.arange(1, 5)] = 1
    pixels[7, 1:] = 1
    assert pick(np.random.default_rng(0).normal(0, 1, (30, 3)), pixels, 2, 0)[0] == 7


def test_seeds_and_odd_sizes() -> None:
    same = np.ones((30, 4))
    assert pick(same, np.zeros((30, 0), int), 10, 3) == pick(same, np.zeros((30, 0), int), 10, 3)
    assert len({tuple(pick(same, np.ones((30, 1), int), 10, seed)) for seed in range(5)}) == 5
    assert sorted(pick(same, np.zeros((30, 1), int), 99, 0)) == list(range(30))
    assert pick(same, np.zeros((30, 1), int), 0, 0) == pick(np.zeros((0, 4)), np.zeros((0, 1), int), 5, 0) == []


def test_a_constant_feature_and_a_rare_one() -> None:
    """Half of the values are equal, so quartiles give no spread; the five that differ are still a look of their own."""
    points = np.zeros((100, 2))
    points[95:, 0] = 1
    assert {i >= 95 for i in pick(points, np.zeros((100, 1), int), 2, 0)} == {True, False}


def test_more_images_than_are_compared_with_each_other() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (2900, 6)), rng.normal(12, 1, (100, 6))])
    pixels = np.zeros((3000, 2), int)
    pixels[[1234, 2345], 1] = 1
    chosen = pick(points, pixels, 6, 0)
    assert {1234, 2345} & set(chosen)
    assert any(i >= 2900 for i in chosen)


def test_bad_input() -> None:
    for bad in (np.full((4, 2), np.nan), np.full((4, 2), np.inf), np.zeros(4), np.zeros((3, 2))):
        with pytest.raises(DataError, match="expected finite features"):
            pick(bad, np.zeros((4, 1), int), 2, 0)
    with pytest.raises(ConfigError, match="-1 images"):
        pick(np.zeros((4, 2)), np.zeros((4, 1), int), -1, 0)


def test_halves() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 50, (100, 3)) * (rng.random((100, 3)) < [1, 0.5, 0.2])
    chosen = rng.permutation(100)[:40].tolist()
    groups = [f"g{i // 4}" for i in range(100)]
    baseline, held_out = divide(chosen, pixels, 0.5, 7)
    assert sorted(baseline + held_out) == sorted(chosen) and len(baseline) == 20
    assert baseline == [i for i in chosen if i in baseline]
    for k in range(3):
        assert abs((pixels[baseline, k] > 0).sum() - (pixels[held_out, k] > 0).sum()) <= 1
    assert divide(chosen, pixels, 0.5, 7) == (baseline, held_out) != divide(chosen, pixels, 0.5, 8)
    assert len(divide(chosen, pixels, 0.25, 0)[1]) == 10
    assert divide(chosen, pixels, 0, 0) == (chosen, [])
    baseline, held_out = divide(chosen, pixels, 0.5, 7, groups)
    assert not {groups[i] for i in baseline} & {groups[i] for i in held_out}
    with pytest.raises(DataError, match=r"cannot fill 2 splits \(baseline, eval\)"):
        divide([4, 5], pixels, 0.5, 0, groups)


def test_features_of_plain_images() -> None:
    grey = features(np.full((30, 50, 3), 119, np.uint8))
    cells = grey[:64].reshape(4, 4, 4)
    assert grey.shape == (FEATURES,) and grey.dtype == np.float32
    np.testing.assert_allclose(cells[..., 0], 50, atol=0.2)  # L* of sRGB 119
    np.testing.assert_allclose(cells[..., 1:], 0, atol=0.2)
    np.testing.assert_allclose(grey[64:], 0, atol=1e-3)


def test_features_have_their_place() -> None:
    image = np.zeros((64, 128, 3), np.uint8)
    image[:16, 96:] = (255, 0, 0)
    cells = features(image)[:64].reshape(4, 4, 4)
    np.testing.assert_allclose(cells[0, 3, :3], [53.2, 80.1, 67.2], atol=0.5)  # CIE Lab of sRGB red
    np.testing.assert_allclose(cells[1:, :, :3], 0, atol=1e-3)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[32:, ::4] = 255
    edges = features(stripes)[:64].reshape(4, 4, 4)[..., 3]
    assert edges[3].min() > 5 and edges[0].max() < 1e-3


def test_features_do_not_depend_on_resolution(rng: np.random.Generator) -> None:
    small = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    large = small.repeat(5, axis=0).repeat(3, axis=1)
    np.testing.assert_allclose(features(small), features(large), atol=0.05)


def test_fine_texture_is_averaged_not_sampled() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    found = features(stripes)
    np.testing.assert_allclose(found[:64].reshape(16, 4)[:, 0], 53.6, atol=0.5)  # L* of sRGB 128
    np.testing.assert_allclose(found[64:], 0, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (3000, 2), (64, 64)])
def test_features_of_any_size(size: tuple[int, int]) -> None:
    assert np.isfinite(features(np.full((*size, 3), 200, np.uint8))).all()
