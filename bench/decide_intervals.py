"""How often the intervals of `decide` miss the truth, and how often it finds a better way where all are equal.

    python bench/decide_intervals.py [--times 1000] [--resamples 200]

Simulated repeats: images of two classes differ in difficulty, which all ways share; each way errs on other images
(`noise`), and training and planting move a model as a whole (`luck`, in mIoU about as much; "uneven": that of `keep` is
three times as large, as its masks are). All three ways are equal in expectation. A row says how often an interval has
not held 0, by pair, and how often the verdict was not `keep`. Its half width is that of `exclude - keep`.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
import numpy.typing as npt

from maskwright.labels.deciding.estimating import PAIRS, WAYS, Counts, Way, choose_way, way_differences

PIXELS = 10_000


def repeat(rng: np.random.Generator, images: int, noise: float, luck: npt.NDArray[np.float64]) -> dict[Way, Counts]:
    """Counts (N, 2, 2) of each way, whose share of right pixels moves mIoU by about one to one."""
    hard = rng.normal(0.75, 0.08, images)
    found: dict[Way, Counts] = {}
    for way, own in zip(WAYS, luck, strict=True):
        right = np.round((hard + rng.normal(0, own) + rng.normal(0, noise, images)).clip(0.02, 0.98) * PIXELS)
        pair = np.stack([right, PIXELS - right], 1).astype(np.int64)
        found[way] = np.stack([pair, pair[:, ::-1]], 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=200)
    given = parser.parse_args()
    print("| repeats | images | luck | " + " | ".join(f"{a} - {b}" for a, b in PAIRS) + " | not keep | half width |")
    print("|---|---|---|---|---|---|---|---|")
    for repeats, images, (luck, uneven) in product((1, 2, 3, 5), (8, 30), ((0.0, 1), (0.01, 1), (0.03, 1), (0.01, 3))):
        rng = np.random.default_rng((repeats, images))
        spread = luck * np.array([uneven, 1, 1])
        missed, wrong, reach = np.zeros(len(PAIRS)), 0, 0.0
        for _ in range(given.times):
            found = way_differences(
                [repeat(rng, images, 0.03, spread) for _ in range(repeats)], resamples=given.resamples
            )
            missed += [one.significant for one in found]
            wrong += choose_way(found) != "keep"
            reach += (found[0].value.high - found[0].value.low) / 2
        rates = " | ".join(f"{100 * value / given.times:.1f} %" for value in [*missed, wrong])
        print(f"| {repeats} | {images} | {luck}{' uneven' * (uneven > 1)} | {rates} | {reach / given.times:.4f} |")


if __name__ == "__main__":
    main()
