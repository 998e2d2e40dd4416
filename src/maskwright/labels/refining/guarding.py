"""The guard: a round counts when the trusted masks say that it helps.

All rounds are judged on the same trusted images, which no model has learnt from, so differences are paired: the choice
of images cancels as far as it can. While rounds are made, a round that is not ahead of the best so far ends them. In
the end the best one is taken only if it is better than round 0 beyond chance (its 95 % interval lies above 0); else
round 0 stays, so that what is delivered is not worse than what came in. As the best of several is chosen on the images
that judge it, its score is a little optimistic: the more rounds and the fewer images, the more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskwright.evaluation.comparing.inference import paired
from maskwright.evaluation.metrics import Interval, Marginals


@dataclass(frozen=True)
class RoundDifference:
    """mIoU on the trusted images of the model `first` less that of `second`, with its 95 % interval."""

    first: str
    second: str
    value: Interval

    @property
    def better(self) -> bool:
        """Beyond chance."""
        return self.value.low > 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"first": self.first, "second": self.second, "difference": self.value.to_dict()}


def difference(names: tuple[str, str], first: Marginals, second: Marginals, seed: int = 0) -> RoundDifference:
    """Of two models whose counts (N, K) are of the same N images in one order. With one image there is no interval."""
    return RoundDifference(*names, paired(first, second, Marginals.mIoU, seed=seed))


def helps(counts: Sequence[Marginals]) -> bool:
    """Whether the last round is ahead of all before it, so that another one may help."""
    scores = [float(one.total().mIoU()) for one in counts]
    return scores[-1] > max(scores[:-1])


def not_behind(counts: Sequence[Marginals]) -> list[int]:
    """The places of the best model and of those that are not worse than it beyond chance."""
    scores = [float(one.total().mIoU()) for one in counts]
    best = scores.index(max(scores))
    return [place for place, one in enumerate(counts) if not difference(("best", "other"), counts[best], one).better]


def chosen(names: Sequence[str], counts: Sequence[Marginals]) -> tuple[int, list[RoundDifference]]:
    """The place of the round to keep, of which the first is round 0, and the differences of the others to that."""
    apart = [difference((name, names[0]), one, counts[0]) for name, one in zip(names[1:], counts[1:], strict=True)]
    scores = [float(one.total().mIoU()) for one in counts]
    ahead = [place for place, one in enumerate(apart, 1) if one.better]
    return max(ahead, key=lambda place: scores[place], default=0), apart
