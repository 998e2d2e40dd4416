"""What can be said about the differences of entries: intervals, tests corrected for their number, verdicts.

An entry is a model with its settings, trained once or with several seeds; its score is the mean over its seeds. Two
things blur it, the choice of images and the luck of training, and the method keeps them apart
(docs/decisions/0012-what-compare-calls-better.md, where its error rates are):

- Images. Intervals are percentiles of a bootstrap over images, the same draws for all runs, widened as Student's t is
  for their number. Tests swap the two entries image by image; the counts of an entry's seeds are averaged before.
- Seeds. The variance between trainings of one entry, less what chance in the images explains of it, is a component of
  its own. It is pooled over all entries with several seeds; one that varies more than most has its own. It enters
  intervals and tests as Student's t with as many degrees of freedom as there are repetitions. Without a repetition it
  is unknown, taken as 0, and verdicts are about these trained models and not about their settings.
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

from maskwright.comparing.marginals import Floats, Marginals, Score
from maskwright.comparing.resampling import bootstrap, every_swap, swapped, widening
from maskwright.metrics import Interval

Verdict = Literal["better", "worse", "not distinguishable"]
LEVEL = 0.05
RESAMPLES = 5000


@dataclass(frozen=True)
class SeedNoise:
    """`variances` (E,): of the score of one training of each entry, as far as the images do not explain it; `pooled`:
    that of all entries together; `freedom`: how many repetitions it is known from, 0 when it is not known and taken as
    0."""

    variances: Floats
    pooled: float
    freedom: int


@dataclass(frozen=True)
class Difference:
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
    differences: list[Difference]
    seeds: SeedNoise
    optimism: float


def infer(entries: Sequence[Sequence[Marginals]], score: Score, *, resamples: int = RESAMPLES, seed: int = 0
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
    pairs = sorted((tuple(sorted(pair, key=lambda e: -values[e])) for pair in combinations(range(len(entries)), 2)),
                   key=lambda pair: (-values[pair[0]], -values[pair[1]]))
    if images == 1:
        unknown = [Interval(float(value), math.nan, math.nan) for value in values]
        return Inference(unknown, [
            Difference(a, b, Interval(float(values[a] - values[b]), math.nan, math.nan), 1.0, 1.0,
                       "not distinguishable") for a, b in pairs], SeedNoise(np.zeros(len(entries)), 0.0, 0), math.nan)
    drawn = bootstrap(runs, score, resamples, seed)
    noise = _seed_noise(known, drawn, members, images)
    rng = np.random.default_rng((seed, 3))
    luck = rng.standard_t(noise.freedom, resamples) if noise.freedom else np.zeros(resamples)
    spread = np.sqrt(noise.variances / [len(entry) for entry in entries])
    means = np.stack([drawn[own].mean(0) for own in members])
    moved = (means - values[:, None]) * widening(images, resamples, seed)
    scores = [_interval(value, value + moved[e] + luck * spread[e], 0.0)
              for e, value in enumerate(values)]
    return Inference(scores, _differences(entries, pairs, score, values, moved, luck, spread, resamples, seed), noise,
                     max(0.0, float(np.nanmean(means.max(0) - values[means.argmax(0)]))))


def _seed_noise(known: Floats, drawn: Floats, members: Sequence[slice], images: int) -> SeedNoise:
    """From scores (R,) of all runs and their bootstrap draws (R, B)."""
    several = [(e, own) for e, own in enumerate(members) if own.stop - own.start > 1]
    freedom = sum(own.stop - own.start - 1 for _, own in several)
    if not freedom:
        return SeedNoise(np.zeros(len(members)), 0.0, 0)
    between, explained = np.zeros(len(members)), np.zeros(len(members))
    for e, own in several:
        between[e] = known[own].var(ddof=1)
        # Seeds err on different images: how far they drift apart when only the images are drawn again.
        apart = drawn[own] - drawn[own].mean(0)
        explained[e] = np.nanvar(apart, axis=1).sum() / (len(apart) - 1) * images / (images - 1)
    share = np.array([own.stop - own.start - 1 for own in members]) / freedom
    pooled = max(0.0, float(((between - explained) * share).sum()))
    return SeedNoise(np.maximum(between - explained, pooled), pooled, freedom)


def _differences(entries: Sequence[Sequence[Marginals]], pairs: Sequence[tuple[int, ...]], score: Score,
                 values: Floats, moved: Floats, luck: Floats, spread: Floats, resamples: int, seed: int
                 ) -> list[Difference]:
    if not pairs:
        return []
    averaged = [Marginals(*(np.mean(part, axis=0) for part in zip(*entry, strict=True))) for entry in entries]
    null = swapped([(averaged[a], averaged[b]) for a, b in pairs], score, resamples, seed)
    whole = np.array([score(one.total()) for one in averaged])
    p, intervals = [], []
    for (a, b), row in zip(pairs, null, strict=True):
        both = math.hypot(spread[a], spread[b])
        intervals.append(_interval(values[a] - values[b], values[a] - values[b] + moved[a] - moved[b] + luck * both,
                                   -1.0))
        exact = every_swap(len(averaged[a].hit), resamples) and both == 0
        chance = row if both == 0 else np.resize(row, resamples) + luck * both
        # Differences that are equal but for rounding are equal.
        as_large = int(np.count_nonzero(np.abs(chance) >= abs(whole[a] - whole[b]) - 1e-12))
        p.append(as_large / len(chance) if exact else (1 + as_large) / (1 + len(chance)))
    return [Difference(a, b, value, one, corrected, _verdict(value, corrected))
            for (a, b), value, one, corrected in zip(pairs, intervals, p, holm(p), strict=True)]


def _interval(value: float, drawn: Floats, least: float) -> Interval:
    low, high = np.nanquantile(drawn, [LEVEL / 2, 1 - LEVEL / 2]).tolist()
    return Interval(float(value), max(low, least), min(high, 1.0))


def _verdict(value: Interval, p: float) -> Verdict:
    """A difference that counts has both: a corrected p of at most 5 %, and an interval on one side of 0."""
    if p <= LEVEL and value.low > 0:
        return "better"
    return "worse" if p <= LEVEL and value.high < 0 else "not distinguishable"


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false one among them is kept (Holm, 1979)."""
    corrected = [1.0] * len(p)
    least = 0.0
    for done, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - done) * p[place]))
        corrected[place] = least
    return corrected
