"""What can be said about the differences of entries: intervals, tests corrected for their number, verdicts.

An entry is a model with its settings, trained once or with several seeds; its score is the mean over its seeds. Two
things blur it, the choice of images and random seed variation, and the method keeps them apart
(docs/decisions/0012-what-compare-calls-better.md, where its error rates are):

- Images. Intervals are percentiles of a bootstrap over images, the same draws for all runs, widened as Student's t is
  for their number. Tests swap the two entries image by image; the counts of an entry's seeds are averaged before.
- Seeds. The variance between trainings of one entry is a component of its own, pooled over all entries with several
  seeds; one that varies more than most has its own. It enters intervals and tests as Student's t with as many degrees
  of freedom as there are repetitions. As seeds also err on different images, it holds a part of what the bootstrap
  sees, which is taken out there so that nothing counts twice. Without a repetition it is unknown, taken as 0, and
  verdicts are about these trained models and not about their settings.
- Many comparisons. The best entry is known only from the scores themselves, so the tests of ALL pairs are one family,
  corrected by Holm (1979): the chance of any wrong "better" in the whole table is at most 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from maskwright.evaluation.metrics import Interval, Marginals
from maskwright.evaluation.metrics.marginals import Floats, Score
from maskwright.evaluation.metrics.statistics import every_swap, holm, quantiles, resampled_scores, swapped, widening

Verdict = Literal["better", "worse", "not distinguishable"]
LEVEL = 0.05
RESAMPLES = 5000


@dataclass(frozen=True)
class SeedNoise:
    """`variances` (E,) of the score of one training of each entry, and the part of them that is `explained` (E,) by the
    choice of images; `pooled`: what is left of both over all entries; `freedom`: how many repetitions they are known
    from, 0 when they are not known and taken as 0."""

    variances: Floats
    explained: Floats
    pooled: float
    freedom: int


@dataclass(frozen=True)
class ScoreDifference:
    """Score of entry `first` less that of `second` (places in the list of entries), with its 95 % interval, the
    p-value that it is nothing, that value corrected for all pairs, and what `first` is called beside `second`."""

    first: int
    second: int
    value: Interval
    p: float
    p_corrected: float
    verdict: Verdict


@dataclass(frozen=True)
class Inference:
    """`scores` of the entries with 95 % intervals, the `differences` of all pairs, `seeds`, and `optimism`: how much
    of the best score is there only because the best was taken."""

    scores: list[Interval]
    differences: list[ScoreDifference]
    seeds: SeedNoise
    optimism: float


def infer(
    entries: Sequence[Sequence[Marginals]], score: Score, *, resamples: int = RESAMPLES, seed: int = 0
) -> Inference:
    """entries: of each entry the counts (N, K) of its seeds, all on the same N images in one order and by one truth.

    With one image nothing can be said: intervals are nan and p is 1.
    """
    runs = [run for entry in entries for run in entry]
    ends = np.cumsum([len(entry) for entry in entries])
    members = [slice(int(end) - len(entry), int(end)) for entry, end in zip(entries, ends, strict=True)]
    images = len(runs[0].hit)
    known = np.array([score(run.total()) for run in runs])
    values = np.array([known[own].mean() for own in members])
    pairs = sorted(
        (tuple(sorted(pair, key=lambda e: -values[e])) for pair in combinations(range(len(entries)), 2)),
        key=lambda pair: (-values[pair[0]], -values[pair[1]]),
    )
    if images == 1:
        unknown = [Interval(float(value), math.nan, math.nan) for value in values]
        return Inference(
            unknown,
            [
                ScoreDifference(
                    a, b, Interval(float(values[a] - values[b]), math.nan, math.nan), 1.0, 1.0, "not distinguishable"
                )
                for a, b in pairs
            ],
            _unknown(len(entries)),
            math.nan,
        )
    drawn = resampled_scores(runs, score, resamples, seed)
    noise = _seed_noise(known, drawn, members, images)
    means = np.stack([drawn[own].mean(0) for own in members])
    chance = _Chance.of(means - values[:, None], noise, [len(entry) for entry in entries], images, seed)
    scores = [_interval(value, value + chance.of_entry(e), 0.0) for e, value in enumerate(values)]
    return Inference(
        scores,
        _differences(entries, pairs, score, values, chance, resamples, seed),
        noise,
        max(0.0, float(np.nanmean(means.max(0) - values[means.argmax(0)]))),
    )


def paired(first: Marginals, second: Marginals, score: Score, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Score of `first` less that of `second`, counts (N, K) of two models on the same N images in one order, with its
    95 % interval; with one image there is none."""
    (found,) = infer([[first], [second]], score, resamples=resamples, seed=seed).differences
    value = found.value
    return value if found.first == 0 else Interval(-value.value, -value.high, -value.low)


@dataclass(frozen=True)
class _Chance:
    """How scores vary by chance: `moved` (E, B) by the choice of images, before and after (`wide`) it is widened, and
    `luck` (B,) with a spread of 1 by that of training, whose variances for the mean of each entry's seeds are `seeds`
    (E,); of these `shared` (E,) are also in `moved`."""

    moved: Floats
    wide: Floats
    luck: Floats
    seeds: Floats
    shared: Floats

    @classmethod
    def of(cls, moved: Floats, noise: SeedNoise, sizes: Sequence[int], images: int, seed: int) -> _Chance:
        resamples = moved.shape[1]
        rng = np.random.default_rng((seed, 3))
        luck = rng.standard_t(noise.freedom, resamples) if noise.freedom else np.zeros(resamples)
        shared = noise.explained / sizes * (images - 1) / images  # as the bootstrap sees it
        return cls(moved, moved * widening(images, resamples, seed), np.asarray(luck), noise.variances / sizes, shared)

    def of_entry(self, e: int) -> Floats:
        """(B,) for the score of an entry."""
        drawn: Floats = self.wide[e] * _left(self.moved[e], self.shared[e]) + self.luck * math.sqrt(self.seeds[e])
        return drawn

    def of_pair(self, a: int, b: int) -> Floats:
        """(B,) for the difference of two entries."""
        drawn: Floats = (self.wide[a] - self.wide[b]) * self.left(a, b) + self.luck_of(a, b)
        return drawn

    def luck_of(self, a: int, b: int) -> Floats:
        """(B,) for the difference of two entries on the same images."""
        return self.luck * math.sqrt(self.seeds[a] + self.seeds[b])

    def left(self, a: int, b: int) -> float:
        """The share of the images' spread of a difference that the seeds do not bring in anyway."""
        return _left(self.moved[a] - self.moved[b], self.shared[a] + self.shared[b])


def _left(moved: Floats, shared: float) -> float:
    spread = float(np.nanvar(moved))
    return math.sqrt(max(0.0, 1 - shared / spread)) if shared and spread else 1.0


def _seed_noise(known: Floats, drawn: Floats, members: Sequence[slice], images: int) -> SeedNoise:
    """From scores (R,) of all runs and their bootstrap draws (R, B)."""
    several = [(e, own) for e, own in enumerate(members) if own.stop - own.start > 1]
    freedom = sum(own.stop - own.start - 1 for _, own in several)
    if not freedom:
        return _unknown(len(members))
    between, explained = np.zeros(len(members)), np.zeros(len(members))
    for e, own in several:
        between[e] = known[own].var(ddof=1)
        # Seeds err on different images: how far they drift apart when only the images are drawn again.
        apart = drawn[own] - drawn[own].mean(0)
        explained[e] = np.nanvar(apart, axis=1).sum() / (len(apart) - 1) * images / (images - 1)
    share = np.array([own.stop - own.start - 1 for own in members]) / freedom
    usual, usual_explained = float(between @ share), float(explained @ share)
    return SeedNoise(
        np.maximum(between, usual),
        np.where(share > 0, explained, usual_explained),
        max(0.0, usual - usual_explained),
        freedom,
    )


def _unknown(entries: int) -> SeedNoise:
    return SeedNoise(np.zeros(entries), np.zeros(entries), 0.0, 0)


def _differences(
    entries: Sequence[Sequence[Marginals]],
    pairs: Sequence[tuple[int, ...]],
    score: Score,
    values: Floats,
    chance: _Chance,
    resamples: int,
    seed: int,
) -> list[ScoreDifference]:
    if not pairs:
        return []
    averaged = [Marginals(*(np.mean(part, axis=0) for part in zip(*entry, strict=True))) for entry in entries]
    null = swapped([(averaged[a], averaged[b]) for a, b in pairs], score, resamples, seed)
    whole = np.array([score(one.total()) for one in averaged])
    p, intervals = [], []
    for (a, b), row in zip(pairs, null, strict=True):
        intervals.append(_interval(values[a] - values[b], values[a] - values[b] + chance.of_pair(a, b), -1.0))
        luck = chance.luck_of(a, b)
        drawn = np.resize(row, resamples) * chance.left(a, b) + luck if luck.any() else row
        # Differences that are equal but for rounding are equal.
        as_large = int(np.count_nonzero(np.abs(drawn) >= abs(whole[a] - whole[b]) - 1e-12))
        every = every_swap(len(averaged[a].hit), resamples) and not luck.any()
        p.append(as_large / len(drawn) if every else (1 + as_large) / (1 + len(drawn)))
    return [
        ScoreDifference(a, b, value, one, corrected, _verdict(value, corrected))
        for (a, b), value, one, corrected in zip(pairs, intervals, p, holm(p), strict=True)
    ]


def _interval(value: float, drawn: Floats, least: float) -> Interval:
    low, high = quantiles(drawn, LEVEL / 2, 1 - LEVEL / 2)
    return Interval(float(value), max(low, least), min(high, 1.0))


def _verdict(value: Interval, p: float) -> Verdict:
    """A difference that counts has both: a corrected p of at most 5 %, and an interval on one side of 0."""
    if p <= LEVEL and value.low > 0:
        return "better"
    return "worse" if p <= LEVEL and value.high < 0 else "not distinguishable"
