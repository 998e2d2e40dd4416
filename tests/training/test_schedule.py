"""The learning rate's factor: a warm-up, then the polynomial down towards zero."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.training.schedule import poly


def test_without_warm_up_it_is_the_polynomial() -> None:
    assert [poly(step, 4, power=1) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert poly(3, 10, power=0.9) == pytest.approx(0.7**0.9)


def test_warm_up_rises_in_equal_steps_and_ends_on_the_polynomial() -> None:
    for step in range(10):
        assert poly(step, 100, power=0.9, warmup=9) == pytest.approx((1 - step / 100) ** 0.9 * (step + 1) / 10)
    assert poly(9, 100, warmup=9) == poly(9, 100)


def test_warm_up_takes_at_most_a_fifth() -> None:
    assert poly(20, 100, warmup=1000) == poly(20, 100) and poly(19, 100, warmup=1000) < poly(19, 100)
    assert [poly(step, 4, warmup=50) for step in range(4)] == [poly(step, 4) for step in range(4)]


@given(st.integers(1, 500), st.floats(0.1, 3), st.integers(0, 100))
def test_above_zero_at_most_one_and_falling_after_the_warm_up(steps: int, power: float, warmup: int) -> None:
    factors = [poly(step, steps, power=power, warmup=warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert all(a > b for a, b in pairwise(factors[min(warmup, steps // 5):]))
