"""Schedules: against torch's at every step, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as peers

from maskwright.modeling.optim import SCHEDULES
from maskwright.modeling.optim.build import Schedule
from maskwright.modeling.optim.schedules import cosine, one_cycle, poly, step_down, warm_up

LENGTHS = [2, 3, 7, 10, 40, 333]


def rates_of(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
    """The learning rate of each step by one of torch's schedulers, for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 2.0])
def test_poly(steps: int, power: float) -> None:
    expected = rates_of(lambda o: peers.PolynomialLR(o, steps, power), steps)
    assert [poly(step, steps, power=power) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cosine(steps: int, floor: float) -> None:
    expected = rates_of(lambda o: peers.CosineAnnealingLR(o, steps, floor), steps)
    assert [cosine(step, steps, floor=floor) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize(("rise", "start", "end"), [(0.3, 0.04, 4e-6), (0.45, 0.1, 0.01), (0.9, 0.5, 0.0)])
def test_one_cycle(steps: int, rise: float, start: float, end: float) -> None:
    expected = rates_of(
        lambda o: peers.OneCycleLR(
            o,
            1.0,
            steps,
            pct_start=rise,
            div_factor=1 / start,
            final_div_factor=start / end if end else math.inf,
            cycle_momentum=False,
        ),
        steps,
    )
    found = [one_cycle(step, steps, rise=rise, start=start, end=end) for step in range(steps)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize(("at", "gamma"), [((0.5, 0.75), 0.1), (("0.1", "0.3", "0.7"), 0.5), ((0.6,), 0.2), ((), 0.1)])
def test_step(steps: int, at: tuple[Any, ...], gamma: float) -> None:
    milestones = [math.ceil(Fraction(str(share)) * steps) for share in at]
    expected = rates_of(lambda o: peers.MultiStepLR(o, milestones, gamma), steps)
    found = [step_down(step, steps, at=tuple(map(float, at)), gamma=gamma) for step in range(steps)]
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("warmup", [0, 1, 5, 50])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_multiplied_by_the_warm_up(name: str, steps: int, warmup: int) -> None:
    over = min(warmup, steps // 5)
    rise = rates_of(lambda o: peers.LinearLR(o, 1 / (over + 1), 1.0, over), steps) if over else [1.0] * steps
    found = [Schedule(name, warmup).factor(step, steps) for step in range(steps)]
    assert found == pytest.approx([rise[step] * SCHEDULES[name](step, steps) for step in range(steps)], rel=1e-9)


def test_poly_by_hand() -> None:
    assert [poly(step, 4, power=1) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert Schedule("poly", 9).factor(9, 100) == poly(9, 100) > Schedule("poly", 9).factor(8, 100)


def test_warm_up_takes_at_most_a_fifth() -> None:
    assert warm_up(20, 100, 1000) == 1 > warm_up(19, 100, 1000)
    assert [warm_up(step, 4, 50) for step in range(4)] == [1] * 4


@pytest.mark.parametrize("name", SCHEDULES)
@given(steps=st.integers(1, 100), warmup=st.integers(0, 50), share=st.floats(0, 1, exclude_max=True))
def test_every_schedule_stays_within_0_and_1_also_between_steps(
    name: str, steps: int, warmup: int, share: float
) -> None:
    factors = [Schedule(name, warmup).factor(step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in (*factors, SCHEDULES[name](share * steps, steps)))
    if name != "one_cycle":
        assert all(a >= b for a, b in pairwise(factors[min(warmup, steps // 5) :]))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("poly", {"power": 0}, "power"),
        ("cosine", {"floor": 1.5}, "floor"),
        ("one_cycle", {"rise": -0.1}, "rise"),
        ("one_cycle", {"start": 2}, "start"),
        ("step", {"gamma": 0}, "gamma"),
        ("step", {"at": (0.5, 5)}, "at must"),
        ("poly", {"power": math.nan}, "power"),
    ],
)
def test_values_that_make_no_sense(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(name, 0, arguments).factor(0, 10)
