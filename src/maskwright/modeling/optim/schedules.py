"""Learning rates as pure functions of the step.

A schedule takes `step`, from 0 to less than `steps`, which need not be whole (a budget that is fitted again stretches
what is left), and returns the factor on the base learning rate.
"""

from __future__ import annotations

import math


def poly(step: float, steps: int, *, power: float = 0.9) -> float:
    """(1 - step / steps) ** power."""
    if not power > 0:
        raise ValueError(f"power must be above 0 (given {power})")
    factor: float = (1 - step / steps) ** power
    return factor


def cosine(step: float, steps: int, *, floor: float = 0.0) -> float:
    """Half a cosine from 1 down to `floor` (Loshchilov and Hutter, 2017, without restarts)."""
    _require_share(floor=floor)
    return floor + (1 - floor) * (1 + math.cos(math.pi * step / steps)) / 2


def one_cycle(step: float, steps: int, *, rise: float = 0.3, start: float = 0.04, end: float = 4e-6) -> float:
    """From `start` up to 1 over the first share `rise` of the steps, then down to `end` at the last one, both by half
    a cosine (Smith and Topin, 2018). The momentum stays as it is."""
    _require_share(rise=rise, start=start, end=end)
    last, top = steps - 1, rise * steps - 1
    if step <= top:
        return _cosine_between(start, 1.0, step / top if top > 0 else 1.0)
    return _cosine_between(1.0, end, min(1.0, (step - top) / (last - top)) if last > top else 1.0)


def step_down(step: float, steps: int, *, at: tuple[float, ...] = (0.5, 0.75), gamma: float = 0.1) -> float:
    """Times `gamma` when each of the shares `at` of the steps is done."""
    for share in at:
        _require_share(at=share)
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be above 0 and at most 1 (given {gamma})")
    return gamma ** sum(step / steps >= share for share in at)


def constant(step: float, steps: int) -> float:
    """1 at every step."""
    return 1.0


def _require_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be within 0..1 (given {value})")


def _cosine_between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def warm_up(step: int, steps: int, over: int) -> float:
    """A linear rise to 1 over the first `over` steps, at most a fifth of them all."""
    return min(1.0, (step + 1) / (min(over, steps // 5) + 1))
