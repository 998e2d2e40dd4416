"""What many tests at once do to their p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(chances: Sequence[float]) -> list[float]:
    """Probabilities corrected for their number (Holm, 1979): those below 0.05 are then all true but for a chance of at
    most 5 %. nan stays and does not count."""
    known = sorted((p, place) for place, p in enumerate(chances) if not math.isnan(p))
    corrected = [math.nan] * len(chances)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[place] = highest
    return corrected
