"""Learning rates as pure functions of the step."""

from __future__ import annotations


def poly(step: int, steps: int, *, power: float = 0.9, warmup: int = 0) -> float:
    """The factor on the base learning rate at `step` of 0..steps-1: (1 - step/steps) ** power, times a
    linear warm-up over the first `warmup` steps (at most a fifth of them all)."""
    factor: float = (1 - step / steps) ** power
    warmup = min(warmup, steps // 5)
    return factor * min(1.0, (step + 1) / (warmup + 1))
