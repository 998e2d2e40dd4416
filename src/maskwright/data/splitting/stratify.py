"""Which sample goes to which split, so that the splits look alike.

Groups are dealt, never samples: what belongs together (a patient, a video, two copies of one image) lands in one
split. First they are dealt in the order of iterative stratification (Sechidis, Tsoumakas, Vlahavas, On the
Stratification of Multi-Label Data, ECML PKDD 2011): the class that is left in the fewest groups is dealt first,
because it leaves the least choice. Then pairs of groups are exchanged while that brings the splits nearer to
their shares.

Balanced are, as shares of their totals: the number of images, for each class the number of images that hold it,
and for each class its pixels. With x the share that split s holds of a quantity and f the share it should hold,
the distance is the sum over splits of (x - f)^2 / f, with a weight of 100 for the images and of 1 for the mean over
the classes. A class that a split has none of counts as a further distance of 4, in train of 16. So fractions of
images are met closely, a class that is in too few groups for all splits is in train first, and the others are
in every split, if need be at a larger share than the split's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.texts import plural
from maskwright.errors import ConfigError, DataError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Weight of the number of images, and what a class counts that is absent from a split, or from train.
_IMAGES, _ABSENT, _ABSENT_FROM_TRAIN = 100.0, 4.0, 16.0
# Exchanges tried for a group at a visit, and visits: with more groups than this, chance alone balances them well.
_PARTNERS, _VISITS = 256, 10_000


def stratified(
    class_pixels: npt.NDArray[Any], groups: Sequence[str], fractions: Mapping[str, float], seed: int
) -> list[str]:
    """The split of each sample.

    class_pixels: (N, K) integers >= 0, the pixels of each class in each sample; rows of zeros for unlabelled ones.
    groups: the name of each sample's group; names of their own where nothing belongs together.
    fractions: split -> its share of the images, adding up to 1; one of 0 gets nothing, any other at least one group.

    A function of (group name, class pixels) pairs, fractions and seed: the order of samples does not matter.
    Raises ConfigError for wrong fractions, DataError when there is no sample, or fewer groups than splits.
    """
    wanted = {name: share for name, share in checked(fractions).items() if share > 0}
    pixels = np.asarray(class_pixels, np.int64)
    if pixels.ndim != 2 or len(pixels) != len(groups) or (pixels < 0).any():
        raise DataError(
            f"split: expected counts (N, K) >= 0 for {len(groups)} samples, got {pixels.shape}; give a row a sample"
        )
    names = sorted(set(groups))
    if not names:
        raise DataError("split: there is no usable sample; add images, or correct those that cannot be read")
    if len(names) < len(wanted):
        raise DataError(
            f"split: {plural(len(groups), 'sample')} in {plural(len(names), 'group')} cannot fill "
            f"{plural(len(wanted), 'split')} ({', '.join(wanted)}); use finer groups, fewer splits or more images"
        )
    rng = generator(seed)
    # The order of groups decides what nothing else does, so it is the seed's.
    row_of = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    rows = np.array([row_of[group] for group in groups])
    weights, held = _quantities(pixels, rows)
    shares = np.array(list(wanted.values()))
    train = list(wanted).index(training_split(wanted))
    split = _deal(weights, held, shares, train)
    _exchange(split, weights, held, shares, train, rng)
    order = list(wanted)
    return [order[i] for i in split[rows].tolist()]


def checked(fractions: Mapping[str, float]) -> dict[str, float]:
    """The fractions as floats. ConfigError with every problem unless all are in 0..1 and add up to 1 within 1e-6."""
    problems = [
        f"fractions: {name!r} = {value}; give a number from 0 to 1"
        for name, value in fractions.items()
        if not 0 <= value <= 1
    ]  # refuses nan as well
    if "" in fractions:
        problems.append("fractions: a split has no name; name it")
    if not problems and not math.isclose(sum(fractions.values()), 1, rel_tol=0, abs_tol=1e-6):
        problems.append(
            f"fractions: {', '.join(f'{n} = {v:g}' for n, v in fractions.items()) or 'none'} add up to "
            f"{sum(fractions.values()):g}; make it 1"
        )
    if problems:
        raise ConfigError(problems)
    return {name: float(value) for name, value in fractions.items()}


def generator(seed: int) -> np.random.Generator:
    """A generator of its own for every call. ConfigError for a negative seed."""
    if seed < 0:
        raise ConfigError(f"seed: {seed} is negative; give 0 or more")
    return np.random.default_rng(seed)


def training_split(fractions: Mapping[str, float]) -> str:
    """`train` if it gets samples, else the first of the largest."""
    return "train" if fractions.get("train") else max(fractions, key=lambda name: fractions[name])


def _quantities(pixels: Counts, rows: Counts) -> tuple[Floats, Flags]:
    """(G, 1 + 2 K) what each group has of the images, of each class's images and of each class's pixels, as shares
    of all; (G, K) whether it has the class. K counts the classes that occur."""
    pixels = pixels[:, pixels.any(axis=0)]
    each = np.concatenate([np.ones((len(pixels), 1), np.int64), pixels > 0, pixels], axis=1)
    sums = np.zeros((int(rows.max()) + 1, each.shape[1]), np.int64)
    np.add.at(sums, rows, each)
    classes = pixels.shape[1]
    return sums / sums.sum(axis=0), sums[:, 1 : classes + 1] > 0


def _deal(weights: Floats, held: Flags, shares: Floats, train: int) -> Counts:
    """(G,) index of the split of each group, by iterative stratification.

    The groups of a class are dealt from the largest down, each to the split that is furthest behind in it by the
    rule of Webster and Sainte-Laguë, which keeps every beginning of the sequence proportionate: the large ones
    are spread over the splits as the small ones are. Where that is a tie, the number of images decides.
    """
    classes = held.shape[1]
    split = np.full(len(weights), -1)
    filled = np.zeros((len(shares), weights.shape[1]))

    def deal(groups: Counts, columns: list[int]) -> None:
        amount = weights[:, columns].mean(axis=1)
        for group in groups[np.argsort(-amount[groups], kind="stable")].tolist():
            have = filled[:, columns].mean(axis=1)
            ahead = np.round((have + amount[group] / 2) / shares, 12)
            s = int(np.lexsort((filled[:, 0] / shares, ahead))[0]) if have[train] else train
            split[group] = s
            filled[s] += weights[group]

    while (left := held[split < 0].sum(axis=0)).any():
        rarest = int(np.where(left > 0, left, len(held) + 1).argmin())
        deal(np.flatnonzero((split < 0) & held[:, rarest]), [1 + rarest, 1 + classes + rarest])
    deal(np.flatnonzero(split < 0), [0])
    for s in range(len(shares)):
        if not (split == s).any():
            donors = np.flatnonzero(split == np.bincount(split).argmax())
            split[donors[weights[donors, 0].argmin()]] = s
    return split


def _exchange(
    split: Counts, weights: Floats, held: Flags, shares: Floats, train: int, rng: np.random.Generator
) -> None:
    """Exchanges groups of different splits, in place, while one lowers the distance; at each visit the best one.

    To every split belongs a group of nothing, with which a group moves there alone.
    """
    groups, (splits, classes) = len(split), (len(shares), held.shape[1])
    scale = np.sqrt(np.array([_IMAGES] + [0.5 / max(classes, 1)] * (2 * classes)))
    w = np.concatenate([weights * scale, np.zeros((splits, len(scale)))])
    h = np.concatenate([held, np.zeros((splits, classes), bool)]).astype(np.int64)
    of = np.concatenate([split, np.arange(splits)])
    charge = np.where(np.arange(splits) == train, _ABSENT_FROM_TRAIN, _ABSENT) / max(classes, 1)
    visits, changed = 0, True
    while changed and visits < _VISITS:
        changed = False
        # Summed anew at each pass, so that rounding does not pile up.
        off = np.stack([w[of == s].sum(axis=0) for s in range(splits)]) - shares[:, None] * scale
        holders = np.stack([h[of == s].sum(axis=0) for s in range(splits)])
        for g in rng.permutation(groups).tolist()[: _VISITS - visits]:
            visits += 1
            a = of[g]
            others = (
                np.arange(len(of))
                if groups <= _PARTNERS
                else np.concatenate([rng.integers(groups, size=_PARTNERS), np.arange(groups, len(of))])
            )
            others = others[of[others] != a]
            if (of[:groups] == a).sum() == 1:
                others = others[others < groups]  # no split is left empty
            if not others.size:
                continue
            b = of[others]
            d = w[others] - w[g]
            gain = (d * d).sum(axis=1) * (1 / shares[a] + 1 / shares[b])
            gain += 2 * (d * (off[a] / shares[a] - off[b] / shares[b, None])).sum(axis=1)
            gain += charge[a] * ((holders[a] - h[g] + h[others] == 0).sum(axis=1) - (holders[a] == 0).sum())
            gain += charge[b] * ((holders[b] - h[others] + h[g] == 0).sum(axis=1) - (holders[b] == 0).sum(axis=1))
            # The last bits differ between processors and must decide nothing.
            best = int(np.round(gain, 10).argmin())
            if gain[best] > -1e-9:
                continue
            changed = True
            s, other = b[best], others[best]
            for table, rows in ((off, w), (holders, h)):
                table[a] += rows[other] - rows[g]
                table[s] -= rows[other] - rows[g]
            of[g] = s
            if other < groups:
                of[other] = a
    split[:] = of[:groups]
