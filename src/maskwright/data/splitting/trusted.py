"""The small set to label by hand: which images it should hold, and which of them are kept for judging.

Labelling is dear, so the set has to show every class and every look of the data with few images. Looks are covered
by the greedy k-medoids method (the first phase, BUILD, of PAM: Kaufman and Rousseeuw, Finding Groups in Data, 1990;
as a facility location it is within 1 - 1/e of the best): each choice lowers the sum of distances from every image
to the nearest chosen one as far as possible, with distances counted up to their median. Why this one, measured for
20 images of 500 steel, 250 skin and 70 face photographs, mean over the three of the mean distance to the nearest
chosen, and the share of isolated images (the 2 % with the farthest neighbours) among the chosen; and for 12 images
of 400 points in 10 planted clusters of 1 to 40 % with 8 outliers, mean of 20 draws:

| method | mean distance | isolated | clusters found | outliers chosen |
|---|---|---|---|---|
| chance | 7.65 | 2 % | 5.3 | 0.2 |
| farthest first (Gonzalez, 1985) | 7.75 | 22 % | 4.0 | 8.0 |
| the same without the 5 % most isolated | 7.80 | 0 % | 8.0 | 0.0 |
| k-means++ (Arthur and Vassilvitskii, 2007) | 7.53 | 5 % | 6.8 | 2.5 |
| greedy k-medoids | 6.54 | 5 % | 9.95 | 0.4 |
| greedy k-medoids, distances up to their median | 6.52 | 3 % | 9.95 | 0.0 |

The mean distance is what k-medoids lowers, so that column favours it; the others do not. Class shares of the 20 were
no nearer to those of the data than by chance on skin and faces (off by 4.7 and 2.6 % against 4.0 and 1.8 %), nearer on
steel (1.2 against 2.5 %): looks are no stand-in for classes. Farthest first spends its choices on what is unlike
everything else. With 20 choices instead of 12, more than there are clusters, the last two rows take 7.0 and 3.4 of the
8 outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.data.splitting.stratify import generator, stratified
from maskwright.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SIDE, _GRID = 64, 4
FEATURES = 7 * _GRID * _GRID
# Features count up to this many deviations from their median.
_FARTHEST = 3.0
# Images that are looked at for each choice, and images that they are to stand for. Of more, a sample drawn anew for
# each choice is nearly as good (Mirzasoleiman et al., Lazier Than Lazy Greedy, AAAI 2015).
_SAMPLE = 1024
# Nearer points are equal: distances of equal ones come out near 1e-7.
_SAME = 1e-4


def features(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(F,) float32 description of how an image (H, W, 3) uint8 RGB looks; F = 112.

    The image is reduced to 64 x 64 pixels, whatever its shape, and cut into 4 x 4 cells. Each gives the mean and the
    standard deviation of L* (0..100), a* and b* (-127..127), for colour, light and contrast at their place, and
    the mean length of the gradient of L* (per pixel of the reduced image), for the density of edges.
    """
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    light = np.ascontiguousarray(lab[..., 0])
    edges = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)) / 8
    side = _SIDE // _GRID
    cells = np.concatenate([lab, edges[..., None]], axis=2).reshape(_GRID, side, _GRID, side, 4)
    means, deviations = cells.mean(axis=(1, 3)), cells[..., :3].std(axis=(1, 3))
    return np.concatenate([means.ravel(), deviations.ravel()]).astype(np.float32)


def pick(features: npt.NDArray[Any], class_pixels: npt.NDArray[Any], count: int, seed: int) -> list[int]:
    """Indices of `count` samples (all when there are fewer), in the order in which they were chosen.

    features: (N, F) finite numbers; class_pixels: (N, K) integers >= 0, rows of zeros where nothing is known.

    Among the candidates of a choice the one is taken that covers looks best (see above). The candidates are
    1. while a class is missing: the images that hold most of the missing classes, so that all are covered by few;
    2. else, while a class is behind its number: the images that hold the one that is furthest behind;
    3. else all images.
    A class that is in a share q of the images should be in a share sqrt(q) of the chosen ones, and in one at least:
    in proportion, a class in 1 % of the images would be in none of 30, and with equal numbers the set would no longer
    look like the data; the square root is what lies between (as for sampling classes with a long tail: Mahajan et
    al., Exploring the Limits of Weakly Supervised Pretraining, ECCV 2018).

    Raises DataError for other shapes or values, ConfigError for a negative count.
    """
    if count < 0:
        raise ConfigError(f"trusted: {count} images cannot be chosen; give 0 or more")
    looks, pixels = np.asarray(features, np.float64), np.asarray(class_pixels)
    if looks.ndim != 2 or pixels.ndim != 2 or len(looks) != len(pixels) or not np.isfinite(looks).all():
        raise DataError(
            f"trusted: expected finite features (N, F) and counts (N, K), got {looks.shape} and "
            f"{pixels.shape}; give a row of each a sample"
        )
    rng = generator(seed)
    points = comparable(looks)
    held: Flags = pixels[:, pixels.any(axis=0)] > 0
    n, count = len(points), min(count, len(points))
    images = held.sum(axis=0)
    wanted = np.clip(np.round(count * np.sqrt(images / max(n, 1))), 1, images)
    order = rng.permutation(n)  # the seed's, because it decides where looks do not
    stood_for = points[order[:_SAMPLE]]
    table = distances(points, stood_for) if n <= _SAMPLE else None
    among = distances(stood_for, stood_for)
    cap = float(np.median(among[among > _SAME])) if (among > _SAME).any() else 0.0
    nearest = np.full(len(stood_for), cap)
    free, chosen = np.ones(n, bool), list[int]()
    while len(chosen) < count:
        candidates = order[_candidates(held, free, held[chosen].sum(axis=0), wanted)[order]]
        if len(candidates) > _SAMPLE:
            candidates = rng.choice(candidates, _SAMPLE, replace=False)
        apart = distances(points[candidates], stood_for) if table is None else table[candidates]
        left = np.minimum(apart, nearest).sum(axis=1)
        best = int(np.round(left, 6).argmin())  # the last bits differ between processors
        nearest = np.minimum(nearest, apart[best])
        chosen.append(int(candidates[best]))
        free[chosen[-1]] = False
    return chosen


def divide(
    chosen: Sequence[int],
    class_pixels: npt.NDArray[Any],
    eval_share: float = 0.5,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> tuple[list[int], list[int]]:
    """The chosen samples as BASELINE, to train on, and EVAL, held out to judge by; each in the order of `chosen`.

    class_pixels: (N, K) of all samples; groups: (N) names of groups that stay in one half. Both halves are stratified
    as splits are, a class in a single group going to BASELINE. Raises ConfigError for a share outside 0..1, DataError
    for fewer groups than halves.
    """
    names = [f"{i:012d}" for i in range(len(class_pixels))] if groups is None else groups
    halves = stratified(
        np.asarray(class_pixels)[list(chosen)],
        [names[i] for i in chosen],
        {"baseline": 1 - eval_share, "eval": eval_share},
        seed,
    )
    baseline, held_out = (
        [i for i, half in zip(chosen, halves, strict=True) if half == name] for name in ("baseline", "eval")
    )
    return baseline, held_out


def comparable(looks: Floats) -> Floats:
    """Features (N, F) as differences from their median in units of the mean such difference (1.25 of them, which for a
    normal distribution is its standard deviation), limited so that no single one decides."""
    if not len(looks):
        return looks
    away = looks - np.median(looks, axis=0)
    spread = 1.25 * np.abs(away).mean(axis=0)
    return np.asarray(np.clip(away / np.where(spread > 0, spread, 1), -_FARTHEST, _FARTHEST))


def distances(a: Floats, b: Floats) -> Floats:
    """(A, B) Euclidean distances of the rows of (A, F) and (B, F)."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _candidates(held: Flags, free: Flags, have: Counts, wanted: Floats) -> Flags:
    """(N,) the images of the next choice, of those that are free, by the three rules of `pick`.

    held: (N, K) which image holds which class; have, wanted: (K,) chosen images that hold it, and their aim.
    """
    covers = held[:, have == 0].sum(axis=1) * free
    if covers.any():
        return np.asarray(covers == covers.max())
    behind = (wanted - have) / wanted
    if behind.size and behind.max() > 0:
        return free & held[:, behind.argmax()]
    return free
