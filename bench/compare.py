"""How often `compare` is wrong: A/A comparisons, and how large a difference must be for it to see it.

    python bench/compare.py [--comparisons 400] [--resamples 1000] [--json] [--figure power.svg]

Datasets are simulated as counts. Images differ in difficulty, which all models share, and each class is missing from
some images; a model misses and invents pixels of each class by a logistic law of its quality and the difficulty, with
errors that are partly those of the other models too. Training again moves the quality by `seed_sd`. In an A/A
comparison both entries have the same expected quality, so each "better" or "worse" is false. The rates for a table of 8
equal entries are those of any false verdict in it. "naive" is what percentile intervals of the mean difference over
images alone, without correction, would have called different.

For the power, entry A gets a higher quality; `difference` is the true difference of mIoU, from 4,000 images.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.evaluation.comparing.inference import infer
from maskwright.evaluation.metrics import Marginals
from maskwright.evaluation.metrics.statistics import resampled_scores
from maskwright.reporting.svg import Series, line_chart, standalone

Floats = npt.NDArray[np.float64]
AREA, BASE = 50_000.0, 1.8


@dataclass(frozen=True)
class Setting:
    """`uneven`: every other entry has three times the noise of its own, at the same expected mIoU."""

    images: int
    classes: int = 3
    entries: int = 2
    seeds: int = 1
    seed_sd: float = 0.0
    uneven: bool = False


@dataclass(frozen=True)
class Images:
    """`difficulty` (N,), `true` pixels (N, K), and errors `shared` by all models (2, N, K)."""

    difficulty: Floats
    true: Floats
    shared: Floats


def draw_images(rng: np.random.Generator, setting: Setting) -> Images:
    shape = (setting.images, setting.classes)
    share = np.exp(rng.normal(-2.5, 0.9, shape)) * (rng.random(shape) < 0.75)
    share[:, 0] = 1
    return Images(
        rng.normal(size=shape[0]), np.round(AREA * share / share.sum(1, keepdims=True)), rng.normal(0, 0.6, (2, *shape))
    )


def predict(rng: np.random.Generator, images: Images, quality: float, own: float) -> Marginals:
    """Missed pixels become background, invented ones are taken from it. `own`: noise that no other model has."""
    noise = images.shared + rng.normal(0, own, images.shared.shape)
    logit = BASE + quality - 0.9 * images.difficulty[:, None] + noise
    objects = np.arange(images.true.shape[1]) > 0
    missed = np.round(images.true * objects / (1 + np.exp(logit[0])))
    invented = images.true * objects * np.exp(-logit[1])
    room = np.minimum(1, 0.8 * images.true[:, :1] / np.maximum(invented.sum(1, keepdims=True), 1))
    invented = np.floor(invented * room)
    hit = images.true - missed
    hit[:, 0] -= invented.sum(1)
    predicted = hit + invented
    predicted[:, 0] += missed.sum(1)
    return Marginals(hit, images.true, predicted)


def expected(quality: float, own: float, classes: int = 3) -> float:
    """mIoU on very many images."""
    rng = np.random.default_rng(1)
    return float(predict(rng, draw_images(rng, Setting(4000, classes)), quality, own).total().mIoU())


def as_good(own: float, than: float, classes: int) -> float:
    """The quality at which a model of more noise of its own has the mIoU of quality 0 with the noise `than`."""
    low, high, goal = -1.0, 3.0, expected(0.0, than, classes)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle, own, classes) < goal else (low, middle)
    return low


def entries_of(
    rng: np.random.Generator, setting: Setting, better: float, uneven_quality: float
) -> list[list[Marginals]]:
    images = draw_images(rng, setting)
    noisy = [setting.uneven and e % 2 == 1 for e in range(setting.entries)]
    return [
        [
            predict(
                rng,
                images,
                (better if e == 0 else 0.0) + (uneven_quality if noisy[e] else 0.0) + rng.normal(0, setting.seed_sd),
                0.9 if noisy[e] else 0.3,
            )
            for _ in range(setting.seeds)
        ]
        for e in range(setting.entries)
    ]


def rates(setting: Setting, comparisons: int, resamples: int, better: float = 0.0) -> dict[str, float]:
    """Shares of comparisons with a verdict, with an interval (of any pair) that excludes the truth 0, and what the
    naive way would have said; for the power also that the verdict has the right sign."""
    rng = np.random.default_rng(7)
    quality = as_good(0.9, 0.3, setting.classes) if setting.uneven else 0.0
    verdict = right = outside = naive = 0
    for number in range(comparisons):
        entries = entries_of(rng, setting, better, quality)
        found = infer(entries, Marginals.mIoU, resamples=resamples, seed=number)
        verdict += any(d.verdict != "not distinguishable" for d in found.differences)
        right += any(d.verdict == "better" and d.first == 0 for d in found.differences)
        outside += any(not d.value.low <= 0 <= d.value.high for d in found.differences)
        naive += _naive(entries, resamples, number)
    return {
        "false_or_seen": verdict / comparisons,
        "right": right / comparisons,
        "interval": outside / comparisons,
        "naive": naive / comparisons,
    }


def _naive(entries: Sequence[Sequence[Marginals]], resamples: int, seed: int) -> bool:
    drawn = np.stack([resampled_scores(entry, Marginals.mIoU, resamples, seed).mean(0) for entry in entries])
    ends = np.array([np.quantile(drawn[a] - drawn[b], [0.025, 0.975]) for a in range(len(drawn)) for b in range(a)])
    return bool(((ends[:, 0] > 0) | (ends[:, 1] < 0)).any())


EQUAL = [
    *(Setting(images) for images in (5, 10, 20, 50, 200)),
    Setting(20, classes=8),
    Setting(10, uneven=True),
    Setting(50, uneven=True),
    *(Setting(images, seeds=seeds, seed_sd=sd) for images in (10, 50) for seeds in (2, 3, 5) for sd in (0.0, 0.1, 0.3)),
    Setting(50, entries=8),
    Setting(50, entries=8, seeds=3, seed_sd=0.1),
    Setting(15, entries=8, seeds=2, seed_sd=0.1),
    Setting(50, seed_sd=0.1),
]
POWER = [
    Setting(10),
    Setting(20),
    Setting(50),
    Setting(200),
    Setting(50, seeds=3, seed_sd=0.1),
    Setting(50, seeds=5, seed_sd=0.1),
]
BETTER = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
DRAWN = 0.06  # beyond it, nearly all are seen
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def draw(gains: Sequence[float], power: Sequence[dict[str, Any]], file: Path) -> None:
    """The share of differences that is seen, over their size in hundredths of mIoU."""
    lines = [
        Series(
            f"{row['images']} images" if row["seeds"] == 1 else f"{row['images']}, {row['seeds']} seeds",
            [(100 * x, 100 * y) for x, y in zip(gains, row["seen"], strict=True) if x < DRAWN],
            colour,
        )
        for row, colour in zip(power, COLOURS, strict=True)
    ]
    file.write_text(
        standalone(
            line_chart(
                "power",
                "Differences that compare sees",
                lines,
                y_label="seen, in %",
                x_label="true difference, hundredths of mIoU",
            )
        )
    )


def speed() -> float:
    """Seconds for 12 runs of 50 images and 21 classes, 5,000 resamples."""
    entries = entries_of(np.random.default_rng(0), Setting(50, classes=21, entries=12), 0.0, 0.0)
    start = time.perf_counter()
    infer(entries, Marginals.mIoU)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--comparisons", type=int, default=400, help="of each setting")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--figure", type=Path, help="draw the power to this SVG file")
    options = parser.parse_args()
    equal, power = [], []

    def say(text: str) -> None:
        if not options.json:
            print(text, flush=True)

    sd = expected(0.1, 0.3) - expected(0.0, 0.3)
    say(f"A/A, {options.comparisons} comparisons each; a seed_sd of 0.1 is about {sd:.4f} in mIoU")
    say(
        f"{'images':>6} {'classes':>7} {'entries':>7} {'seeds':>5} {'seed_sd':>7} {'uneven':>6}"
        f" {'false':>7} {'interval':>8} {'naive':>7}"
    )
    for setting in EQUAL:
        found = rates(setting, options.comparisons, options.resamples)
        equal.append(asdict(setting) | found)
        say(
            f"{setting.images:>6} {setting.classes:>7} {setting.entries:>7} {setting.seeds:>5} {setting.seed_sd:>7}"
            f" {'yes' if setting.uneven else '':>6} {found['false_or_seen']:>7.1%} {found['interval']:>8.1%}"
            f" {found['naive']:>7.1%}"
        )
    gains = [expected(better, 0.3) - expected(0.0, 0.3) for better in BETTER]
    say(
        "power: true difference of mIoU, and how often it is seen\n"
        f"{'images':>6} {'seeds':>5} {'seed_sd':>7} " + " ".join(f"{gain:>7.4f}" for gain in gains)
    )
    for setting in POWER:
        row = [rates(setting, options.comparisons, options.resamples, better)["right"] for better in BETTER]
        power.append(asdict(setting) | {"difference": gains, "seen": row})
        say(f"{setting.images:>6} {setting.seeds:>5} {setting.seed_sd:>7} " + " ".join(f"{x:>7.1%}" for x in row))
    if options.figure:
        draw(gains, power, options.figure)
    seconds = speed()
    say(f"12 runs x 50 images x 21 classes, 5,000 resamples: {seconds:.2f} s")
    if options.json:
        print(
            json.dumps(
                {"comparisons": options.comparisons, "equal": equal, "power": power, "seconds": seconds}, indent=2
            )
        )


if __name__ == "__main__":
    main()
