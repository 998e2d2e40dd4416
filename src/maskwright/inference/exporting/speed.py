"""How fast models are beside each other, on a machine that may be doing something else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

_ROUNDS = 5


def rates(ways: Mapping[str, Callable[[], object]], images: int) -> dict[str, float]:
    """Images per second of each way to work on a batch of `images`. They take turns, so that a busy moment meets all of
    them, and the median of the turns counts; a first turn is only for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(_ROUNDS + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: images / median(times) for name, times in seconds.items()}
