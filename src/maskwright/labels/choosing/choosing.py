"""Images worth drawing: unlike those that have a mask, unlike each other, and such that a model is unsure of.

All unlabelled images are to be stood for by a labelled one that looks like them. An image that is far from all
labelled ones, in a way that many others share, or that a model is unsure of, weighs most. The greedy choice lowers the
weighted sum of distances as far as possible each time: a weighted facility location, for which the greedy choice is
within 1 - 1/e of the best (Nemhauser, Wolsey and Fisher, 1978); for active learning, Wei, Iyer and Bilmes
(Submodularity in data subset selection and active learning, ICML 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.data.splitting.trusted import comparable, distances

Floats = npt.NDArray[np.float64]

# Images that are to be stood for, and candidates of each choice: of more, so many drawn by the seed.
_SAMPLE = 2048
# A weight is at least this share of the mean one: what a model is sure of may still be wrong.
_LEAST = 0.25
_SAME = 1e-4


@dataclass(frozen=True)
class Choice:
    """The place of an image, how many unlabelled ones it stands for (that are nearer to it than to any labelled or
    chosen one before), and the share of all weighted distance that it takes away."""

    place: int
    stands_for: int
    gain: float


def choose(
    looks: npt.NDArray[Any], labelled: Sequence[bool], doubts: Sequence[float] | None, count: int, seed: int
) -> list[Choice]:
    """`count` unlabelled images (all where there are fewer), the one that is worth most first.

    looks: (N, F) finite numbers; labelled: (N,); doubts: (N,) of how much a model is unsure of an image, >= 0 in any
    unit, of which those of unlabelled images count; None without a model.
    """
    points = comparable(np.asarray(looks, np.float64))
    has = np.asarray(labelled, np.bool_)
    rng = np.random.default_rng((seed, 31))
    free = rng.permutation(np.flatnonzero(~has))
    stood = free[:_SAMPLE]
    weights = np.ones(len(points))
    if doubts is not None:
        values = np.asarray(doubts, np.float64)
        mean = values[~has].mean() if (~has).any() else 0.0
        weights = np.maximum(values / mean, _LEAST) if mean > 0 else weights
    pull = weights[stood]
    among = distances(points[stood], points[stood])
    cap = float(np.median(among[among > _SAME])) if (among > _SAME).any() else 1.0
    nearest = np.full(len(stood), cap)
    for begin in range(0, len(known := np.flatnonzero(has)), _SAMPLE):
        nearest = np.minimum(nearest, distances(points[stood], points[known[begin : begin + _SAMPLE]]).min(1))
    whole = float((pull * nearest).sum()) or 1.0
    row_of = {place: row for row, place in enumerate(stood.tolist())}
    left, chosen = [*free.tolist()], list[Choice]()
    while left and len(chosen) < count:
        if len(free) == len(stood):  # each candidate is among those that are to be stood for
            candidates, apart = np.array(left), among[[row_of[place] for place in left]]
        else:
            candidates = np.array(left) if len(left) <= _SAMPLE else rng.choice(left, _SAMPLE, replace=False)
            apart = distances(points[candidates], points[stood])
        gains = (pull * np.maximum(nearest - apart, 0)).sum(1)
        # Equal images gain nothing after the first: then those that are doubted most come first.
        best = int(np.lexsort((weights[candidates], np.round(gains, 6)))[-1])
        place = int(candidates[best])
        nearer = (apart[best] < nearest - _SAME) | (stood == place)
        chosen.append(Choice(place, int(nearer.sum()), float(gains[best]) / whole))
        nearest = np.minimum(nearest, apart[best])
        left.remove(place)
    return chosen
