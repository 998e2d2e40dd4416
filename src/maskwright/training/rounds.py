"""Which of several ways is the fastest, by timing them in turn.

Another program slows down whatever is timed beside it. So the ways are timed in rounds, one after another in each,
rather than each for a while: what else the machine does then falls on all of them. The rounds continue until the two
halves of the measurements (the odd rounds and the even ones) leave no doubt about the decision, or time is up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Generic, TypeVar

Way = TypeVar("Way")
# All ways are timed in the first rounds, unless the time is up after two; more than the most tell nothing new.
_FEWEST, _MOST = 3, 40
# A way this many times slower than the fastest is timed in every fourth round only.
_HOPELESS, _SOMETIMES = 1.5, 4


@dataclass(frozen=True)
class Found(Generic[Way]):
    """The way that was decided for, and the seconds of each way: the fastest, and the typical (median)."""

    way: Way
    fastest: dict[Way, float]
    typical: dict[Way, float]


def fastest(seconds: Sequence[float]) -> float:
    """For properties of the work itself: it is what comes nearest to a quiet machine."""
    return min(seconds)


def typical(seconds: Sequence[float]) -> float:
    """For what should follow the machine as it is, other programs included."""
    return median(seconds)


def in_rounds(
    ways: Sequence[Way],
    measure: Callable[[Way], Sequence[float]],
    decide: Callable[[Mapping[Way, float]], Way],
    within: Callable[[float], float],
    level: Callable[[Sequence[float]], float] = fastest,
) -> Found[Way]:
    """Times all `ways` in rounds and decides.

    `measure` gives the seconds of one or more steps in a way, made now. `decide` gives the way that is taken, from
    the seconds of each: their `level` over the rounds. `within` gives how many seconds may be spent, from the seconds
    of the fastest step so far; two rounds are made in any case, so that no single disturbance decides.
    """
    rounds: dict[Way, list[float]] = {way: [] for way in ways}
    spent = 0.0
    for number in count(1):
        levels = {way: level(seconds) for way, seconds in rounds.items() if seconds}
        for way in ways:
            if number <= _FEWEST or number % _SOMETIMES == 0 or levels[way] < _HOPELESS * min(levels.values()):
                seconds = measure(way)
                rounds[way].append(level(seconds))
                spent += sum(seconds)
        shortest = min(min(seconds) for seconds in rounds.values())
        if number > 1 and (
            spent >= within(shortest) or number == _MOST or (number >= _FEWEST and _settled(rounds, decide, level))
        ):
            break
    return Found(
        decide({way: level(seconds) for way, seconds in rounds.items()}),
        {way: min(seconds) for way, seconds in rounds.items()},
        {way: median(seconds) for way, seconds in rounds.items()},
    )


def _settled(
    rounds: Mapping[Way, Sequence[float]],
    decide: Callable[[Mapping[Way, float]], Way],
    level: Callable[[Sequence[float]], float],
) -> bool:
    """Whether the decision stays the same when any one way is slower or faster by what its rounds disagree about;
    by a little at least, which gets less with every round."""
    levels = {way: level(seconds) for way, seconds in rounds.items()}
    decided = decide(levels)
    for way, seconds in rounds.items():
        odd, even = level(seconds[::2]), level(seconds[1::2])
        doubt = max(odd / even, even / odd, 1 + 1 / len(seconds) ** 2)
        if any(decide({**levels, way: levels[way] * factor}) != decided for factor in (doubt, 1 / doubt)):
            return False
    return True
