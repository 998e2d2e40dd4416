"""How good is the guard of `refine`? Histories of rounds are simulated as counts, and what the guard keeps is compared
with the round that is really best.

    python bench/histories.py [--histories 200] [--images 25] [--rounds 4] [--seed 0]

A history has a true quality for each round: it rises and levels off, rises and falls again, only falls, or stays as it
is, by up to 0.15 of IoU. Images differ in difficulty, which all rounds share; each model errs on each image by chance
too. The guard sees so many trusted images: a round that does not help ends the rounds, and the best one is kept if it
is better than round 0 beyond chance. The oracle knows the mIoU of every round, also of those that were never made, on
4,000 other images. JSON to stdout: how often the guard keeps the oracle's round, or one beside it in the order of the
rounds, or one that is as good within 0.01, and how often what it keeps is truly worse than round 0 by more than half
the width of the interval of their difference.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import dump_json
from maskwright.evaluation.metrics import Marginals
from maskwright.labels.refining.guarding import chosen, helps

KINDS = ("levels off", "falls again", "falls", "stays")
PIXELS, TRUTH, EQUAL = 4000, 4000, 0.01
Floats = npt.NDArray[np.float64]


def qualities(kind: str, rounds: int, rng: np.random.Generator) -> Floats:
    """(R + 1,) the share of an object that the model of each round hits, round 0 first."""
    steps = np.arange(rounds + 1)
    size = rng.uniform(0.03, 0.15)
    top = rng.integers(1, rounds + 1)
    change = {
        "levels off": size * (1 - 0.4**steps),
        "falls again": size * np.minimum(steps / top, 1) - size * np.maximum(steps - top, 0) / 2,
        "falls": -size * (1 - 0.5**steps),
        "stays": np.zeros(rounds + 1),
    }[kind]
    return np.asarray(0.65 + change, dtype=np.float64)


def counts(quality: Floats, images: int, rng: np.random.Generator) -> list[Marginals]:
    """Of each round the counts (N, 2) on the same images: background, and an object that it hits in part."""
    size = rng.uniform(0.05, 0.4, images)
    difficulty = rng.normal(0, 0.12, images)  # shared by all rounds
    found = []
    for hit in quality:
        shares = np.clip(hit + difficulty + rng.normal(0, 0.04, images), 0.02, 0.98)
        objects = np.round(PIXELS * size).astype(np.int64)
        right = np.round(objects * shares).astype(np.int64)
        extra = np.round(objects * (1 - shares) * 0.7).astype(np.int64)
        rows = [[PIXELS - objects - extra, extra], [objects - right, right]]
        found.append(Marginals.of(np.moveaxis(np.array(rows), 2, 0)))
    return found


@dataclass(frozen=True)
class History:
    """The rounds that were kept by the guard and by the oracle, and the true mIoU of each round; `half` of the width of
    the interval of the difference to round 0, 0 where that was kept."""

    kind: str
    kept: int
    oracle: int
    true: list[float]
    half: float

    @property
    def near(self) -> bool:
        """Whether the guard keeps the oracle's round, or one beside it, or one that is as good."""
        return abs(self.kept - self.oracle) <= 1 or self.true[self.oracle] - self.true[self.kept] <= EQUAL

    @property
    def worse(self) -> bool:
        """Whether what is kept is truly worse than round 0 by more than the interval allows for."""
        return self.true[0] - self.true[self.kept] > self.half


def history(kind: str, images: int, rounds: int, seed: int) -> History:
    """One simulated refinement."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    quality = qualities(kind, rounds, rng)
    seen = counts(quality, images, rng)
    made = next((number for number in range(1, rounds + 1) if not helps(seen[: number + 1])), rounds)
    kept, apart = chosen([f"H{number}" for number in range(made + 1)], seen[: made + 1])
    true = [float(one.total().mIoU()) for one in counts(quality, TRUTH, rng)]
    half = (apart[kept - 1].value.high - apart[kept - 1].value.low) / 2 if kept else 0.0
    return History(kind, kept, int(np.argmax(true)), true, half)


def simulated(histories: int, images: int, rounds: int, seed: int) -> list[History]:
    """So many histories, of each kind alike."""
    return [history(KINDS[number % len(KINDS)], images, rounds, seed + number) for number in range(histories)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--images", type=int, default=25, help="trusted images that judge")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = simulated(given.histories, given.images, given.rounds, given.seed)
    rows = {}
    for kind in (*KINDS, "all"):
        own = [one for one in found if kind in (one.kind, "all")]
        rows[kind] = {
            "histories": len(own),
            "the same round": sum(one.kept == one.oracle for one in own) / len(own),
            "within one round, or as good": sum(one.near for one in own) / len(own),
            "within one round": sum(abs(one.kept - one.oracle) <= 1 for one in own) / len(own),
            "truly worse than round 0 by more than the interval": sum(one.worse for one in own),
            "mIoU lost to the oracle": float(np.mean([one.true[one.oracle] - one.true[one.kept] for one in own])),
            "kept": dict(sorted(Counter(f"H{one.kept}" for one in own).items())),
        }
    print(dump_json({**vars(given), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
