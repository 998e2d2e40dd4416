"""The permutation test of two models: image by image, a coin decides which of them is called the first.

This is how their difference varies where the two are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from maskwright.evaluation.metrics.marginals import Floats, Marginals, Score
from maskwright.evaluation.metrics.statistics.resampling import blocks


def swapped(pairs: Sequence[tuple[Marginals, Marginals]], score: Score, resamples: int, seed: int) -> Floats:
    """(P, B): differences of the dataset's score between the two models of each pair, with images swapped.

    pairs: (N, K) a model, on the same N images. All 2 ** (N - 1) ways of swapping (the last image need not be: that
    only changes the sign) are taken once each where they are no more than `resamples`.
    """
    images = len(pairs[0][0].hit)
    true = pairs[0][0].true.sum(0)
    found = []
    for swaps in _swaps(images, resamples, seed):
        differences = []
        for first, second in pairs:
            hit, predicted = swaps @ (first.hit - second.hit), swaps @ (first.predicted - second.predicted)
            differences.append(
                score(Marginals(first.hit.sum(0) - hit, true, first.predicted.sum(0) - predicted))
                - score(Marginals(second.hit.sum(0) + hit, true, second.predicted.sum(0) + predicted))
            )
        found.append(differences)
    return np.concatenate(found, axis=1)


def every_swap(images: int, resamples: int) -> bool:
    """Whether `swapped` takes each way of swapping once, instead of drawing some."""
    return bool(2 ** (images - 1) <= resamples)


def _swaps(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    if every_swap(images, resamples):
        ways = np.arange(2 ** (images - 1))[:, None]
        yield (ways >> np.arange(images) & 1).astype(np.float64)
        return
    rng = np.random.default_rng((seed, 2))
    for size in blocks(resamples, images):
        yield rng.integers(2, size=(size, images)).astype(np.float64)
