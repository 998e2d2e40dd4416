"""Student's t distribution with whole degrees of freedom, exactly and without scipy."""

from __future__ import annotations

import math
from functools import lru_cache


def t_below(t: float, freedom: int) -> float:
    """The probability that Student's t is below `t` (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for step in range(2 + odd, freedom - 1 + odd, 2):
        term *= cosine**2 * (step - 1) / step
        total += term
    within = math.sin(angle) * total
    if odd:
        within = 2 / math.pi * (angle + (within if freedom > 1 else 0.0))
    return (1 + within) / 2


@lru_cache
def t_within(share: float, freedom: int) -> float:
    """How far from 0 Student's t stays in a `share` (0 to less than 1) of all cases: the half-width of an interval in
    standard errors. Found by halving, to the last digit that `t_below` tells apart."""
    low, high = 0.0, 1.0
    while t_below(high, freedom) < (1 + share) / 2:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if t_below(middle, freedom) < (1 + share) / 2 else (low, middle)
    return high
