"""From counts on held-out images to differences of the three ways with intervals, and the way to take.

In each repeat the three models are judged on the same images, so that what makes these hard cancels in a difference of
their scores. Repeats differ in images, planted errors and seeds; a difference is the mean over them. Its interval is
Student's t with the largest of three variances between repeats: that of the difference itself, that of all differences
together (with three repeats, two degrees of freedom alone say little), and what the choice of images explains, by a
bootstrap. How often it misses is in docs/decisions/0016-decide-simulates.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maskwright.evaluation.metrics import Interval, Marginals
from maskwright.evaluation.metrics.marginals import Floats
from maskwright.evaluation.metrics.statistics import resampled_scores, t_within

Way = Literal["keep", "exclude", "repair"]
Counts = npt.NDArray[np.int64]

# From the least effort to the most.
WAYS: dict[Way, str] = {
    "keep": "train with their masks as they are",
    "exclude": "train without them",
    "repair": "train with their masks drawn anew",
}
PAIRS: tuple[tuple[Way, Way], ...] = (("exclude", "keep"), ("repair", "keep"), ("repair", "exclude"))
RESAMPLES = 2000
_LEVEL = 0.95


@dataclass(frozen=True)
class WayDifference:
    """mIoU of the way `first` less that of `second`: the mean over repeats with its 95 % interval, and that of each."""

    first: Way
    second: Way
    value: Interval
    repeats: list[float]

    @property
    def better(self) -> bool:
        """Whether `first` is better beyond chance."""
        return self.value.low > 0

    @property
    def significant(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.value.low > 0 or self.value.high < 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"first": self.first, "second": self.second, "difference": self.value.to_dict(), "repeats": self.repeats}


def way_scores(repeats: Sequence[Mapping[Way, Counts]]) -> dict[Way, list[float]]:
    """The mIoU of each way in each repeat, whose counts are (N, K, K) int64, one matrix a held-out image."""
    return {way: [float(Marginals.of(repeat[way]).total().mIoU()) for repeat in repeats] for way in WAYS}


def way_differences(
    repeats: Sequence[Mapping[Way, Counts]], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[WayDifference]:
    """Those of `PAIRS`, from counts as for `way_scores`: in a repeat on the same N images in one order, and in each
    repeat on others. With one repeat only the choice of its images is in the interval."""
    values = way_scores(repeats)
    apart = np.stack([np.subtract(values[first], values[second]) for first, second in PAIRS])  # (P, R)
    by_images = np.stack([_by_images(repeat, resamples, seed + r) for r, repeat in enumerate(repeats)], axis=1)
    variance, freedom = by_images.mean(1), len(repeats[0]["keep"]) - 1
    if len(repeats) > 1:
        own = apart.var(axis=1, ddof=1)
        variance, freedom = np.maximum(variance, np.maximum(own, own.mean())), 2 * (len(repeats) - 1)
    reach = t_within(_LEVEL, freedom) * np.sqrt(variance / len(repeats))
    means = apart.mean(1)
    ends = np.stack([means, np.maximum(means - reach, -1), np.minimum(means + reach, 1)], axis=1)
    return [
        WayDifference(first, second, Interval(*end), row)
        for (first, second), end, row in zip(PAIRS, ends.tolist(), apart.tolist(), strict=True)
    ]


def _by_images(repeat: Mapping[Way, Counts], resamples: int, seed: int) -> Floats:
    """(P,) variances of the differences in one repeat by the choice of its N images, without the bootstrap's lack of
    one part in N."""
    ways, images = list(WAYS), len(repeat["keep"])
    drawn = resampled_scores([Marginals.of(repeat[way]) for way in ways], Marginals.mIoU, resamples, seed)
    return (
        np.array([np.nanvar(drawn[ways.index(first)] - drawn[ways.index(second)]) for first, second in PAIRS])
        * images
        / (images - 1)
    )


def choose_way(found: Sequence[WayDifference]) -> Way:
    """The least effort that nothing is better than for all one can tell, where more effort must be shown to pay."""
    better = {(one.first, one.second): one.better for one in found}
    if better["exclude", "keep"]:
        return "repair" if better["repair", "exclude"] else "exclude"
    return "repair" if better["repair", "keep"] else "keep"
