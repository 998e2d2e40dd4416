"""Run folders as `train` and `evaluate` leave them, without training: by the same writers, from facts made by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from helpers import write
from maskwright.base.storage import Journal
from maskwright.config import RunConfig
from maskwright.core.classes import ClassTree, Selector
from maskwright.core.dataset import Dataset
from maskwright.core.masks import mask_png
from maskwright.evaluation.guarding import guard
from maskwright.evaluation.guarding.number import Origin
from maskwright.evaluation.metrics import confusion_matrix
from maskwright.evaluation.scoring.evaluation import Evaluation
from maskwright.evaluation.scoring.tally import Counted
from maskwright.evaluation.scoring.writing import evaluation_of
from maskwright.evaluation.scoring.writing import write as write_evaluation
from maskwright.run import Run

GARDEN = ("ground", "tree", "house")


def make_run(
    path: Path,
    *,
    root: str | Path = "/data",
    classes: ClassTree | None = None,
    config: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
    images: Mapping[str, Mapping[str, str]] | None = None,
) -> Run:
    """A run that has only begun: its config (whole sections replaced by `config`), and what is known before training
    (keys replaced by `info`). `images` are the hashes of the image files, those of no file when left out."""
    run = Run(path)
    sections = {
        "data": {"root": str(root), "image_size": [32, 32]},
        "model": {"name": "UNet", "args": {"channels": [4]}},
        "loss": ["ce", "dice"],
        "train": {"iterations": 20, "batch_size": 4},
    }
    run.write_config(RunConfig.model_validate({**sections, **(config or {})}))
    facts: dict[str, Any] = {
        "maskwright": "0",
        "dataset": {"name": "garden", "root": str(root), "version": "v1"},
        "splits": {"train": [f"train/{i}" for i in range(9)], "val": [f"val/{i}" for i in range(5)]},
        "classes": (classes or ClassTree.flat(GARDEN)).to_dict(),
        "device": "cpu",
        "threads": 2,
        **(info or {}),
    }
    hashes = {split: {name: f"hash of {name}" for name in names} for split, names in facts["splits"].items()}
    run.write_info(facts, hashes if images is None else images)
    return run


def append(journal: Journal, rows: Sequence[dict[str, Any]]) -> None:
    journal.append(*rows, durable=False)


# --- runs that are compared: a few facts of the log, and counts of the evaluation --------------------------


def trained_run(
    path: Path,
    *,
    model: str = "UNet",
    loss: str = "ce",
    seed: int = 0,
    macs: float = 1e9,
    val: float = 0.7,
    waited: float = 0.0,
    step: float = 0.1,
    config: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
) -> Run:
    """A finished run of 20 iterations, not evaluated. `waited`: seconds in each of waiting, beside the `step`."""
    run = make_run(
        path,
        config={
            "seed": seed,
            "model": {"name": model},
            "loss": loss.split("+"),
            "train": {"iterations": 20, "batch_size": 4, "threads": 2},
            **(config or {}),
        },
        info={"size": {"parameters": macs / 1000, "macs": macs, "step_seconds": step, "batch_size": 4}, **(info or {})},
    )
    append(
        run.metrics,
        [{"iteration": at, "loss": 0.9, "val_loss": 1.0, "val_mIoU": val, "best": at == 10} for at in (10, 20)],
    )
    append(
        run.timing, [{"iteration": at, "seconds_since": 10 * (step + waited), "waited": 10 * waited} for at in (10, 20)]
    )
    run.finish({"iterations": 20, "seconds": 30.0, "best_iteration": 10})
    return run


def truth(images: int, seed: int = 0) -> np.ndarray:
    """(N, K) true pixels."""
    return np.random.default_rng(seed).integers(200, 2000, (images, len(GARDEN))) * [4, 1, 1]


def predict(true: np.ndarray, quality: float, seed: int) -> np.ndarray:
    """(N, K, K) counts of a model that finds about the share `quality` of each class's pixels; some images are hard,
    and the same ones for all."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(0, 0.08, true.shape)
    found = np.clip(quality + hard + rng.normal(0, 0.02, true.shape), 0.02, 0.98)
    counts = np.zeros((*true.shape, true.shape[1]), np.int64)
    for k in range(true.shape[1]):
        counts[:, k, k] = true[:, k] * found[:, k]
        counts[:, k, (k + 1) % true.shape[1]] = true[:, k] - counts[:, k, k]
    return counts


# --- runs with the log that trackers get -------------------------------------------------------------------

TREES = ("ground", "tree (old)")


def logged_run(path: Path, trackers: Sequence[Any] = (), *, steps: int = 40, finished: bool = True) -> Run:
    """A loss every 10 steps and a validation with its picture every 20."""
    run = make_run(
        path,
        classes=ClassTree.flat(TREES),
        config={"train": {"iterations": steps}, "trackers": list(trackers)},
        info={"dataset": {"name": "garden", "root": "/data", "version": "abc"}},
    )
    log(run, range(10, steps + 1, 10))
    write(run.best.with_suffix(".png"), np.zeros((2, 2), np.uint8)).rename(run.best)
    if finished:
        run.finish({"iterations": steps})
    return run


def log(run: Run, steps: range) -> None:
    for step in steps:
        append(run.metrics, [{"iteration": step, "epoch": step / 8, "loss": 1 / step, "lr": 0.1}])
        if step % 20 == 0:
            write(run.sample_file(step), np.full((6, 8, 3), step % 256, np.uint8))
            values = {
                "iteration": step,
                "val_loss": 2 / step,
                "val_mIoU": step / 100,
                "val_iou": [None, step / 100],
                "val_mIoU_levels": [0.5, step / 100],
                "best": True,
            }
            append(run.metrics, [values])


def logged(run: Run) -> Counter:
    """Every value that a tracker is to get, once."""
    found: Counter = Counter()
    classes = [leaf["name"] for leaf in run.info()["classes"]["leaves"]]
    for record in run.metrics.read():
        step = record.pop("iteration")
        for name, value in record.items():
            if name == "val_iou":
                found.update(
                    (f"val_iou/{key}", step, one) for key, one in zip(classes, value, strict=True) if one is not None
                )
            elif name == "val_mIoU_levels":
                found.update((f"{name}/{level}", step, one) for level, one in enumerate(value))
            elif name != "best":
                found[name, step, value] += 1
    return found


def scored_half(run: Run, *, number: int = 1) -> Evaluation:
    """An evaluation on test with an mIoU of 0.5: IoU 0.25 of the ground, 0.75 of the trees, and none of a third class
    that is nowhere."""
    counts = np.array([[[1, 1, 0], [2, 9, 0], [0, 0, 0]]], np.int64)
    return add_evaluation(run.path, counts, classes=ClassTree.flat([*TREES, "water"]), number=number)


def delivered(evaluation: Evaluation) -> dict[str, float]:
    """What a tracker is to get of it."""
    document = evaluation.to_dict()
    values = {name: row["value"] for name, row in document["scores"].items()}
    values |= {f"iou/{row['name']}": row["iou"] for row in document["classes"]}
    return {name: value for name, value in values.items() if value is not None}


# --- evaluations -------------------------------------------------------------------------------------------


def add_evaluation(
    path: Path | Run,
    confusions: np.ndarray,
    *,
    classes: ClassTree | None = None,
    split: str = "test",
    number: int = 1,
    version: str = "v1",
    names: Sequence[str] | None = None,
    origin: Origin | None = None,
    above: Sequence[np.ndarray] = (),
    selector: Selector = "leaf",
    incoherent: int = 0,
) -> Evaluation:
    """Writes an evaluation with these counts (N, K, K), into a run or a folder that is none; `above` are those of the
    levels above the leaves of a tree."""
    run = path if isinstance(path, Run) else Run(path)
    folder = run.evaluations_folder / f"{split}-{number:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    known = classes or (
        ClassTree.from_dict(run.info()["classes"]) if run.info_file.is_file() else ClassTree.flat(GARDEN)
    )
    counted = Counted(known, [*above, confusions], incoherent)
    names = names or [f"{split}/{i}" for i in range(len(confusions))]
    result = evaluation_of(folder, split, names, counted, version, selector)
    result = replace(result, origin=origin or Origin(iteration=10))
    trained = run if run.info_file.is_file() else None
    result = replace(result, findings=guard([result.number(run.path.name, trained)]))
    write_evaluation(folder, result, counted)
    return result


def evaluate_masks(
    path: Path | Run,
    dataset: Dataset,
    predict: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
    *,
    split: str = "test",
    number: int = 1,
    origin: Origin | None = None,
) -> Evaluation:
    """The evaluation of the predictions (H, W) that `predict` makes of the number of an image, the image and its truth
    in indices."""
    run, classes = path if isinstance(path, Run) else Run(path), dataset.classes
    folder = run.evaluations_folder / f"{split}-{number:03d}" / "predictions"
    samples, pairs = dataset.splits[split], []
    for index, sample in enumerate(samples):
        image, true = dataset.read(sample)
        found = predict(index, image, true).astype(np.uint8)
        file = folder / f"{sample.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(mask_png(found, classes))
        pairs.append((true, found))
    above = [
        np.stack([confusion_matrix(level.mask(true), level.mask(found), len(level)) for true, found in pairs])
        for level in classes.levels[:-1]
    ]
    return add_evaluation(
        run,
        np.stack([confusion_matrix(true, found, len(classes)) for true, found in pairs]),
        classes=classes,
        split=split,
        number=number,
        version=dataset.version(),
        names=[sample.name for sample in samples],
        origin=origin,
        above=above,
    )
