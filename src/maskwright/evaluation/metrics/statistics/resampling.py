"""Thousands of datasets that might have been: images drawn again for intervals, models swapped for tests.

All runs are scored on the same draws, so what makes an image hard for all of them cancels in their differences. A
resample is a row of weights, one an image, and a block of them is one matrix product for each run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from maskwright.evaluation.comparing.marginals import Floats, Marginals, Score

# For each array of weights, whatever the numbers of images and resamples.
_BLOCK_BYTES = 32 << 20


def bootstrap(runs: Sequence[Marginals], score: Score, resamples: int, seed: int) -> Floats:
    """(R, B): the score of each of R runs in the same B resamples of the images.

    runs: (N, K) a run, on the same N images in one order. A resample draws N of them with replacement.
    """
    images = len(runs[0].hit)
    rng = np.random.default_rng((seed, 0))
    blocks = []
    for size in _blocks(resamples, images):
        weights = rng.multinomial(images, np.full(images, 1 / images), size).astype(np.float64)
        true = weights @ runs[0].true
        blocks.append([score(Marginals(weights @ run.hit, true, weights @ run.predicted)) for run in runs])
    return np.concatenate(blocks, axis=1)


def widening(images: int, resamples: int, seed: int) -> Floats:
    """(B,) factors for the distance of bootstrap draws from the value that they vary around.

    The spread of N resampled images is too small by sqrt((N - 1) / N), and is itself only estimated. The factors make
    up for both, as Student's t with N - 1 degrees of freedom does for the normal distribution.
    """
    rng = np.random.default_rng((seed, 1))
    return np.sqrt(images / rng.chisquare(images - 1, resamples))


def swapped(pairs: Sequence[tuple[Marginals, Marginals]], score: Score, resamples: int, seed: int) -> Floats:
    """(P, B): differences of the dataset's score between the two models of each pair when, image by image, a coin
    decides which of them is called the first. This is how the difference varies where the two are equal.

    pairs: (N, K) a model, on the same N images. All 2 ** (N - 1) ways of swapping (the last image need not be: that
    only changes the sign) are taken once each where they are no more than `resamples`.
    """
    images = len(pairs[0][0].hit)
    true = pairs[0][0].true.sum(0)
    blocks = []
    for swaps in _swaps(images, resamples, seed):
        found = []
        for first, second in pairs:
            hit, predicted = swaps @ (first.hit - second.hit), swaps @ (first.predicted - second.predicted)
            found.append(
                score(Marginals(first.hit.sum(0) - hit, true, first.predicted.sum(0) - predicted))
                - score(Marginals(second.hit.sum(0) + hit, true, second.predicted.sum(0) + predicted))
            )
        blocks.append(found)
    return np.concatenate(blocks, axis=1)


def every_swap(images: int, resamples: int) -> bool:
    """Whether `swapped` takes each way of swapping once, instead of drawing some."""
    return bool(2 ** (images - 1) <= resamples)


def _swaps(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    if every_swap(images, resamples):
        ways = np.arange(2 ** (images - 1))[:, None]
        yield (ways >> np.arange(images) & 1).astype(np.float64)
        return
    rng = np.random.default_rng((seed, 2))
    for size in _blocks(resamples, images):
        yield rng.integers(2, size=(size, images)).astype(np.float64)


def _blocks(resamples: int, images: int) -> Iterator[int]:
    most = max(1, _BLOCK_BYTES // (8 * images))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
