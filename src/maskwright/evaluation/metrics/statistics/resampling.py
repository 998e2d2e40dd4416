"""Thousands of datasets that might have been: images drawn again, with replacement, as many as there are.

Images are drawn and not pixels or objects: those of one image are far from independent, and intervals from them would
be much too narrow. A resample is a row of weights (how often each image was drawn), so what was counted in it is a
matrix product. `weights` is the one implementation; it takes the way of drawing as an argument, for there are two, and
published intervals keep their seeds: `evaluate` and `explain` draw the place of each image, `compare` and `decide` how
often each image comes. Both are the same distribution, but other calls of the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from maskwright.evaluation.metrics.marginals import Floats, Marginals, Score

Sums: TypeAlias = npt.NDArray[Any]
# From a generator, a number B of resamples and a number N of images to weights (B, N) of whole numbers.
Draw: TypeAlias = Callable[[np.random.Generator, int, int], Floats]

# Bound for each temporary array, whatever the numbers of images and resamples are (one row of it at least).
BLOCK_BYTES = 32 << 20
RESAMPLES = 2000


def draw_places(rng: np.random.Generator, resamples: int, images: int) -> Floats:
    """Weights (B, N) by drawing N places of images a resample."""
    drawn = rng.integers(images, size=(resamples, images)) + images * np.arange(resamples)[:, None]
    counted = np.bincount(drawn.ravel(), minlength=resamples * images)
    return counted.reshape(resamples, images).astype(np.float64)


def draw_numbers(rng: np.random.Generator, resamples: int, images: int) -> Floats:
    """Weights (B, N) by drawing how often each image comes (multinomial)."""
    return rng.multinomial(images, np.full(images, 1 / images), resamples).astype(np.float64)


def weights(images: int, resamples: int, rng: np.random.Generator, draw: Draw, widest: int) -> Iterator[Floats]:
    """Yield blocks (B, N) of weights, `resamples` rows in all; a block of rows of `widest` float64 keeps the bound.

    The sizes of blocks do not change what is drawn.
    """
    for size in blocks(resamples, widest):
        yield draw(rng, size, images)


def blocks(resamples: int, widest: int) -> Iterator[int]:
    """Sizes of blocks of rows of `widest` float64 that keep the bound."""
    most = max(1, BLOCK_BYTES // (8 * widest))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def resampled_sums(images: Sums, resamples: int, rng: np.random.Generator, draw: Draw = draw_places) -> Iterator[Sums]:
    """Yield blocks (B, ...) of sums over images (N, ...), `resamples` sums in all; integers stay integers.

    Done in float64, exact for whole numbers below 2**53: neither block sizes nor threads change their result.
    """
    n = len(images)
    flat = images.reshape(n, -1)
    cells = flat.shape[1]
    kind = np.int64 if np.issubdtype(images.dtype, np.integer) else np.float64
    part = max(1, BLOCK_BYTES // (8 * cells))
    for drawn in weights(n, resamples, rng, draw, max(n, cells)):
        sums = np.zeros((len(drawn), cells))
        for first in range(0, n, part):
            some = slice(first, first + part)
            sums += drawn[:, some] @ flat[some].astype(np.float64)
        yield sums.astype(kind).reshape(len(drawn), *images.shape[1:])


def resampled_table(table: Sums, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """The sums of a table (N, ...) over drawn images, (resamples, ...) float64.

    Tables of the same N are drawn the same way, so that what is made of several of them is paired.
    """
    sums = resampled_sums(table.astype(np.float64), resamples, np.random.default_rng(seed))
    return np.concatenate(list(sums))


def resampled_scores(runs: Sequence[Marginals], score: Score, resamples: int, seed: int) -> Floats:
    """(R, B): the score of each of R runs in the same B resamples of the images: what makes an image hard for all of
    them cancels in their differences.

    runs: (N, K) a run, on the same N images in one order.
    """
    images = len(runs[0].hit)
    rng = np.random.default_rng((seed, 0))
    found = []
    for drawn in weights(images, resamples, rng, draw_numbers, images):
        true = drawn @ runs[0].true
        found.append([score(Marginals(drawn @ run.hit, true, drawn @ run.predicted)) for run in runs])
    return np.concatenate(found, axis=1)


def widening(images: int, resamples: int, seed: int) -> Floats:
    """(B,) factors for the distance of bootstrap draws from the value that they vary around.

    The spread of N resampled images is too small by sqrt((N - 1) / N), and is itself only estimated. The factors make
    up for both, as Student's t with N - 1 degrees of freedom does for the normal distribution.
    """
    rng = np.random.default_rng((seed, 1))
    return np.sqrt(images / rng.chisquare(images - 1, resamples))
