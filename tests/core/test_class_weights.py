"""Weights against their formulas, written out in float64 with plain loops and exact fractions."""

from __future__ import annotations

from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.class_weights import (
    Repeats,
    effective_number,
    inverse_frequency,
    inverse_root,
    median_frequency,
    repeat_factors,
)

counts = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


def scaled(weights: list[float | None]) -> list[float]:
    here = [weight for weight in weights if weight is not None]
    return [1.0 if weight is None else weight * len(here) / sum(here) for weight in weights]


@given(counts)
def test_inverse_frequency(pixels: list[int]) -> None:
    expected = scaled([1 / n if n else None for n in pixels])
    found = inverse_frequency(np.array(pixels, np.int64))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=30))
def test_median_frequency(pairs: list[tuple[int, int]]) -> None:
    """The second of a pair is what other classes have in the images that the class is in."""
    frequency = [Fraction(n, n + others) if n else None for n, others in pairs]
    here = [f for f in frequency if f is not None]
    expected = [float(median(here) / f) if f is not None else 1.0 for f in frequency]
    found = median_frequency(np.array([n for n, _ in pairs]), np.array([n + others for n, others in pairs]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_class_in_few_images_is_not_raised_by_the_median_frequency() -> None:
    """Half of each image that has it, wherever that is: the same weight for all."""
    found = median_frequency(np.array([5000, 50, 4950]), np.array([10000, 100, 9900]))
    np.testing.assert_allclose(found, 1)


@given(counts, st.sampled_from([0.0, 0.9, 0.99, 0.999, 0.9999]))
def test_effective_number(pixels: list[int], beta: float) -> None:
    expected = scaled([(1 - beta) / (1 - beta**n) if n else None for n in pixels])
    found = effective_number(np.array(pixels, np.int64), beta)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6))
def test_beta_for_pixels_is_of_the_median_class(pixels: list[int]) -> None:
    beta = 1 - 1 / Fraction(median(map(Fraction, pixels)))
    power = [float(1 - beta) / -np.expm1(n * np.log(float(beta))) if beta else 1.0 for n in pixels]
    np.testing.assert_allclose(effective_number(np.array(pixels)), scaled(list(power)), rtol=1e-4)


def test_effective_number_keeps_its_digits_with_many_pixels() -> None:
    """1 - beta ** n in float64 would have lost six of them; here the series 1 / (1 - e**-x) with x = n / N holds."""
    pixels = np.array([10, 10**12, 10**13])
    share = pixels / 10**12
    np.testing.assert_allclose(effective_number(pixels), scaled(list(-1 / np.expm1(-share))), rtol=1e-5)


def test_it_lies_between_equal_weights_and_inverse_frequency() -> None:
    pixels = np.array([10**8, 10**6, 10**4, 10**2])
    mild, strong = effective_number(pixels), inverse_frequency(pixels)
    assert (np.diff(mild) > 0).all()
    assert mild[1] / mild[0] < 2 and mild[3] / mild[2] == pytest.approx(100, rel=0.01)
    assert mild[3] / mild[0] < strong[3] / strong[0]


@pytest.mark.parametrize("weigh", [inverse_frequency, effective_number, inverse_root, lambda n: median_frequency(n, n)])
def test_without_pixels_all_weights_are_one(weigh) -> None:
    np.testing.assert_array_equal(weigh(np.zeros(3, np.int64)), 1)
    assert weigh(np.array([0, 5, 5])).tolist() == [1, 1, 1]


def test_inverse_root_is_bounded() -> None:
    found = inverse_root(np.array([10_000, 400, 0, 1]))
    expected = np.array([0.01, 0.05, 0.1])  # 1/100, 1/20, and ten times the first where 1 would be
    np.testing.assert_allclose(found[[0, 1, 3]], expected / expected.mean(), rtol=1e-6)
    assert found[2] == 1 and found.dtype == np.float32


def test_repeat_factors_by_hand() -> None:
    counts = np.array([[5, 0, 0], [5, 1, 0], [5, 0, 9], [5, 2, 0]])
    assert repeat_factors(counts, 0.5) == pytest.approx([1, 1, np.sqrt(2), 1])
    assert repeat_factors(counts, 1.0) == pytest.approx([1, np.sqrt(2), 2, np.sqrt(2)])
    assert repeat_factors(np.zeros((2, 3), np.int64), 0.5).tolist() == [1, 1]


def test_what_repeating_images_changes() -> None:
    counts = np.array([[8, 0], [6, 2], [8, 0], [8, 0]])
    found = Repeats.of(counts, np.array([1.0, 2.0, 1.0, 1.0]))
    assert (found.images, found.most) == (1, 2.0)
    assert found.natural == pytest.approx([30 / 32, 2 / 32]) and found.seen == pytest.approx([36 / 40, 4 / 40])
    assert Repeats.of(counts, np.ones(4)).images == 0


@pytest.mark.parametrize("beta", [-0.1, 1.0, 2.0, float("nan")])
def test_no_other_beta(beta: float) -> None:
    with pytest.raises(ValueError, match="from 0 to less than 1"):
        effective_number(np.array([1, 2]), beta)
