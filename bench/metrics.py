"""Re-scoring speed: Maskwright, torchmetrics, mmsegmentation and scikit-learn, side by side in one run.

    python bench/metrics.py [--predictions 1000] [--json]

Each contender goes from pairs of uint8 masks (512 x 512, 21 classes, 255 ignored) to the mIoU of the dataset, on one
thread: with more, torch falls far behind on a busy machine, which would flatter us. Nothing is timed before all agree
on the result. "ratio" is Maskwright's rate over the contender's.

`rates`: masks in memory, of two kinds, `regions` (what models write) and `noise`. Contenders take turns, and the median
of the rounds is reported. `rescoring`: so many predictions one after the other, from arrays and from PNG files; all
read files in the same way, and `reading` is that alone. `evaluate` is the verb on the folder of files: with intervals,
all measures and written results. `growth` is how much the memory of the process grew over a tenth of the predictions
and over all of them: it is bounded when both are alike. `per_image`: what the measures of one image cost.

`mmseg_algorithm` is what mmsegmentation's IoUMetric computes, written anew: of the counted pixels, histograms of the
prediction, of the truth, and of where they are equal, by torch.histc. The metric itself takes part where `mmseg` can be
imported; it needs mmcv, of which the small `mmcv-lite` is enough:

    pip install --no-deps --target DIR mmsegmentation==1.2.2 mmengine mmcv-lite==2.1.0 addict yapf termcolor \
        prettytable ftfy wcwidth
    PYTHONPATH=src:DIR python bench/metrics.py
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import itertools
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import psutil
import torch
from PIL import Image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sklearn.metrics  # type: ignore[import-untyped]
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice
    from torchmetrics.classification import MulticlassJaccardIndex

from maskwright.evaluation.metrics import boundary_scores, calibration_sums, confusion_matrix, mIoU
from maskwright.evaluation.scoring.evaluate import evaluate

SIDE, CLASSES, IGNORE, MASKS, ROUNDS = 512, 21, 255, 8, 7
BAR = 8.0  # times the faster one of torchmetrics and mmsegmentation

Mask = npt.NDArray[np.uint8]
Pairs = Iterable[tuple[Mask, Mask]]


def regions(rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Connected areas with a prediction whose borders are off by a few pixels."""
    coarse = rng.integers(0, CLASSES, (12, 12), dtype=np.uint8)
    truth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return truth, np.roll(truth, (5, 3), axis=(0, 1))


def noise(rng: np.random.Generator) -> tuple[Mask, Mask]:
    truth, prediction = rng.integers(0, CLASSES, (2, SIDE, SIDE), dtype=np.uint8)
    return truth, prediction


def pairs_of(make: Callable[[np.random.Generator], tuple[Mask, Mask]]) -> list[tuple[Mask, Mask]]:
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


def mmseg_algorithm(pairs: Pairs) -> float:
    def areas(labels: torch.Tensor) -> torch.Tensor:
        return torch.histc(labels.float(), CLASSES, 0, CLASSES - 1)

    both, either = [], []
    for truth_mask, predicted_mask in pairs:
        truth, predicted = torch.from_numpy(truth_mask), torch.from_numpy(predicted_mask)
        counted = truth != IGNORE
        truth, predicted = truth[counted], predicted[counted]
        equal = areas(predicted[predicted == truth])
        both.append(equal)
        either.append(areas(predicted) + areas(truth) - equal)
    return float((torch.stack(both).double().sum(0) / torch.stack(either).double().sum(0)).nanmean())


def mmseg(pairs: Pairs) -> float:
    from mmseg.evaluation.metrics.iou_metric import IoUMetric  # type: ignore[import-not-found]

    with contextlib.redirect_stdout(io.StringIO()):
        metric = IoUMetric(ignore_index=IGNORE, iou_metrics=["mIoU"])
        metric.dataset_meta = {"classes": [str(i) for i in range(CLASSES)]}
        for truth, prediction in pairs:
            metric.process(
                {},
                [
                    {
                        "pred_sem_seg": {"data": torch.from_numpy(prediction)[None]},
                        "gt_sem_seg": {"data": torch.from_numpy(truth)[None]},
                    }
                ],
            )
        return float(metric.compute_metrics(metric.results)["mIoU"]) / 100


def scikit_learn(pairs: Pairs) -> float:
    total = np.zeros((CLASSES, CLASSES), np.int64)
    for truth, prediction in pairs:
        kept = truth != IGNORE
        total += sklearn.metrics.confusion_matrix(truth[kept], prediction[kept], labels=range(CLASSES))
    return float(mIoU(total))


PEERS = [torchmetrics, torchmetrics_unchecked, mmseg_algorithm, *([mmseg] if importlib.util.find_spec("mmseg") else [])]
CONTENDERS = [maskwright, *PEERS, scikit_learn]


def agree(pairs: list[tuple[Mask, Mask]]) -> None:
    """Also warms all up. mmsegmentation rounds its result to hundredths of a per cent."""
    np.testing.assert_allclose([run(pairs) for run in CONTENDERS], maskwright(pairs), atol=6e-5)


def rates(pairs: list[tuple[Mask, Mask]]) -> dict[str, dict[str, float]]:
    """Masks per second of each contender."""
    agree(pairs)
    seconds: dict[str, list[float]] = {run.__name__: [] for run in CONTENDERS}
    for _ in range(ROUNDS):
        for run in CONTENDERS:
            start = time.perf_counter()
            run(pairs)
            seconds[run.__name__].append(time.perf_counter() - start)
    return _compared({name: len(pairs) / statistics.median(times) for name, times in seconds.items()})


def _compared(found: dict[str, float]) -> dict[str, dict[str, float]]:
    return {
        name: {"masks_per_second": round(rate, 1), "ratio": round(found["maskwright"] / rate, 2)}
        for name, rate in found.items()
    }


class Watched:
    """Pairs that note the largest memory of the process while they are gone through."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.process, self.peak = pairs, psutil.Process(), 0

    def __iter__(self) -> Iterator[tuple[Mask, Mask]]:
        for pair in self.pairs:
            self.peak = max(self.peak, self.process.memory_info().rss)
            yield pair


def write_files(root: Path, pairs: list[tuple[Mask, Mask]], count: int) -> None:
    """A flat dataset under `root` with `count` images, and as many predictions in `root/predictions`."""
    classes = "".join(f"  - {{id: {i}, name: class_{i}}}\n" for i in range(CLASSES))
    for folder in ("images", "masks", "predictions"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.yaml").write_text(
        f"layout: flat\nimages: {{folder: images}}\nmasks: {{folder: masks}}\nclasses:\n{classes}ignore: {IGNORE}\n"
    )
    for i, pair in zip(range(count), itertools.cycle(pairs), strict=False):
        for folder, pixels in zip(("images", "masks", "predictions"), (np.zeros_like(pair[0]), *pair), strict=True):
            Image.fromarray(pixels).save(root / f"{folder}/{i:05d}.png")


def read_files(root: Path, count: int) -> Iterator[tuple[Mask, Mask]]:
    for i in range(count):
        with Image.open(root / f"masks/{i:05d}.png") as truth, Image.open(root / f"predictions/{i:05d}.png") as found:
            yield np.array(truth), np.array(found)  # copies, since torch wants arrays that can be written to


def rescoring(pairs: list[tuple[Mask, Mask]], count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds and megabytes of each contender for `count` predictions, from arrays and from files."""
    agree(pairs)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "data"
        write_files(root, pairs, count)
        sources: dict[str, Callable[[int], Pairs]] = {
            "arrays": lambda n: itertools.islice(itertools.cycle(pairs), n),
            "files": lambda n: read_files(root, n),
        }
        found = {
            kind: {run.__name__: _timed(run, source, count) for run in CONTENDERS} for kind, source in sources.items()
        }
        found["files"]["reading"] = _timed(lambda pairs: float(sum(1 for _ in pairs)), sources["files"], count)
        start = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):
            result = evaluate(root / "predictions", data=root, split="all")
        found["files"]["evaluate"] = {"seconds": round(time.perf_counter() - start, 2)}
        assert abs(result.scores.mIoU - maskwright(sources["arrays"](count))) < 1e-12
    for rows in found.values():
        for row in rows.values():
            row["ratio"] = round(row["seconds"] / rows["maskwright"]["seconds"], 2)
    return found


def _timed(run: Callable[[Pairs], float], source: Callable[[int], Pairs], count: int) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, n in (("growth_mb_of_a_tenth", max(1, count // 10)), ("growth_mb", count)):
        watched = Watched(source(n))
        before, start = watched.process.memory_info().rss, time.perf_counter()
        run(watched)
        row["seconds"] = round(time.perf_counter() - start, 2)
        row[name] = round((watched.peak - before) / 1e6, 1)
    return row


def per_image(pairs: list[tuple[Mask, Mask]]) -> dict[str, float]:
    """Milliseconds a mask; MONAI's figure is that of HD95 and surface Dice alone."""
    rng = np.random.default_rng(0)
    p = rng.random((CLASSES, SIDE, SIDE), np.float32)
    p /= p.sum(axis=0)

    def one_hot(mask: Mask) -> torch.Tensor:
        return torch.from_numpy(np.stack([mask == c for c in range(CLASSES)])[None])

    def monai(truth: Mask, found: Mask) -> None:
        pair = one_hot(found), one_hot(truth)
        compute_hausdorff_distance(*pair, percentile=95, include_background=True)
        compute_surface_dice(*pair, [2.0] * CLASSES, include_background=True)

    jobs: dict[str, Callable[[Mask, Mask], Any]] = {
        "confusion_matrix": lambda t, f: confusion_matrix(t, f, CLASSES),
        "boundary_scores": lambda t, f: boundary_scores(t, f, CLASSES),
        "calibration_sums": lambda t, f: calibration_sums(t, p),
        "monai_hd95_and_surface_dice": monai,
    }
    found = {}
    for name, job in jobs.items():
        times = []
        for pair in pairs:
            start = time.perf_counter()
            job(*pair)
            times.append(time.perf_counter() - start)
        found[name] = round(1000 * statistics.median(times), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--predictions", type=int, default=1000, help="how many are scored again (1000)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    logging.disable(logging.CRITICAL)  # what the peers say of themselves
    warnings.simplefilter("ignore")
    found = {make.__name__: rates(pairs_of(make)) for make in (regions, noise)}
    again, cost = rescoring(pairs_of(regions), arguments.predictions), per_image(pairs_of(regions)[:3])
    setting = {
        "side": SIDE,
        "classes": CLASSES,
        "threads": 1,
        "predictions": arguments.predictions,
        "bar": BAR,
        "mmseg": "IoUMetric" if mmseg in CONTENDERS else "its algorithm only",
    }
    bar = {
        kind: min(rows[run.__name__]["ratio"] for run in PEERS)
        for kind, rows in (*found.items(), ("arrays", again["arrays"]))
    }
    if arguments.json:
        print(
            json.dumps(
                {
                    "setting": setting,
                    "rates": found,
                    "rescoring": again,
                    "per_image_ms": cost,
                    "times_the_fastest_peer": bar,
                },
                indent=2,
            )
        )
        return
    print(", ".join(f"{key} {value}" for key, value in setting.items()))
    for kind, rows in found.items():
        print(f"rates, {kind}")
        for name, row in rows.items():
            print(f"  {name:<24}{row['masks_per_second']:>9.1f} masks/s   ratio {row['ratio']:>6.2f}")
    for kind, rows in again.items():
        print(f"rescoring {arguments.predictions} predictions from {kind}")
        for name, row in rows.items():
            grown = (
                f"   grew by {row['growth_mb_of_a_tenth']:.1f} MB over a tenth, {row['growth_mb']:.1f} over all"
                if "growth_mb" in row
                else ""
            )
            print(f"  {name:<24}{row['seconds']:>9.2f} s   ratio {row['ratio']:>6.2f}{grown}")
    print("milliseconds an image: " + ", ".join(f"{name} {value}" for name, value in cost.items()))
    print(
        f"times the fastest of torchmetrics and mmsegmentation (bar: {BAR:g}): "
        + ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in bar.items())
    )


if __name__ == "__main__":
    main()
