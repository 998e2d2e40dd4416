"""Re-scoring speed: masks per second of Maskwright, torchmetrics and scikit-learn, side by side in one run.

    python bench/metrics.py [--json]

Each contender goes from pairs of uint8 masks (512 x 512, 21 classes, 255 ignored) to the mIoU of the dataset,
on one thread: with more, torch falls far behind on a busy machine, which would flatter us. Contenders take
turns, and the median of the rounds is reported. Nothing is timed before all agree on the result. Two kinds of
masks: `regions` (what models write) and `noise`. "ratio" is Maskwright's rate over the contender's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import sklearn.metrics  # type: ignore[import-untyped]
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from maskwright.metrics import confusion_matrix, mIoU

SIDE, CLASSES, IGNORE, MASKS, ROUNDS = 512, 21, 255, 8, 7
BAR = 8.0  # times torchmetrics

Mask = npt.NDArray[np.uint8]
Pairs = list[tuple[Mask, Mask]]


def regions(rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Connected areas with a prediction whose borders are off by a few pixels."""
    coarse = rng.integers(0, CLASSES, (12, 12), dtype=np.uint8)
    truth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return truth, np.roll(truth, (5, 3), axis=(0, 1))


def noise(rng: np.random.Generator) -> tuple[Mask, Mask]:
    truth, prediction = rng.integers(0, CLASSES, (2, SIDE, SIDE), dtype=np.uint8)
    return truth, prediction


def pairs_of(make: Callable[[np.random.Generator], tuple[Mask, Mask]]) -> Pairs:
    rng = np.random.default_rng(0)
    pairs = [make(rng) for _ in range(MASKS)]
    for truth, _ in pairs:
        truth[:20] = IGNORE
    return pairs


def maskwright(pairs: Pairs) -> float:
    return float(mIoU(np.stack([confusion_matrix(t, p, CLASSES, IGNORE) for t, p in pairs]).sum(axis=0)))


def torchmetrics(pairs: Pairs, validate: bool = True) -> float:
    metric = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, validate_args=validate)
    for truth, prediction in pairs:
        metric.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    return float(metric.compute())


def torchmetrics_unchecked(pairs: Pairs) -> float:
    return torchmetrics(pairs, validate=False)


def scikit_learn(pairs: Pairs) -> float:
    total = np.zeros((CLASSES, CLASSES), np.int64)
    for truth, prediction in pairs:
        kept = truth != IGNORE
        total += sklearn.metrics.confusion_matrix(truth[kept], prediction[kept], labels=range(CLASSES))
    return float(mIoU(total))


CONTENDERS = (maskwright, torchmetrics, torchmetrics_unchecked, scikit_learn)


def measure(pairs: Pairs) -> dict[str, float]:
    """Masks per second of each contender, after all have given the same mIoU (which also warms them up)."""
    np.testing.assert_allclose([run(pairs) for run in CONTENDERS], maskwright(pairs), rtol=1e-5)
    seconds: dict[str, list[float]] = {run.__name__: [] for run in CONTENDERS}
    for _ in range(ROUNDS):
        for run in CONTENDERS:
            start = time.perf_counter()
            run(pairs)
            seconds[run.__name__].append(time.perf_counter() - start)
    return {name: len(pairs) / statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    as_json = parser.parse_args().json
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rates = {make.__name__: measure(pairs_of(make)) for make in (regions, noise)}
    result = {
        kind: {
            name: {"masks_per_second": round(rate, 1), "ratio": round(row["maskwright"] / rate, 2)}
            for name, rate in row.items()
        }
        for kind, row in rates.items()
    }
    if as_json:
        setting = {"side": SIDE, "classes": CLASSES, "threads": 1, "bar_over_torchmetrics": BAR}
        print(json.dumps({"setting": setting, "result": result}, indent=2))
        return
    for kind, rows in result.items():
        print(f"{kind}, {SIDE} x {SIDE}, {CLASSES} classes, 1 thread (bar: {BAR:g} times torchmetrics)")
        for name, row in rows.items():
            print(f"  {name:<24}{row['masks_per_second']:>9.1f} masks/s   ratio {row['ratio']:>6.2f}")


if __name__ == "__main__":
    main()
