"""Run folders made by hand: what training and `evaluate` leave, without training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from helpers import write
from maskwright.base.storage import atomic_write_json
from maskwright.config import RunConfig
from maskwright.run import Run

CLASSES = ("ground", "tree (old)")


def make_run(path: Path, trackers: list[Any], *, steps: int = 40, finished: bool = True) -> Run:
    """A loss every 10 steps and an evaluation with its picture every 20."""
    run = Run(path)
    run.write_config(
        RunConfig.model_validate(
            {
                "data": {"root": "/data", "image_size": [32, 32]},
                "model": {"name": "UNet", "args": {"channels": [4]}},
                "loss": ["ce", "dice"],
                "train": {"iterations": steps},
                "trackers": trackers,
            }
        )
    )
    atomic_write_json(
        run.info_file,
        {
            "maskwright": "0",
            "dataset": {"name": "garden", "root": "/data", "version": "abc"},
            "classes": {
                "ignore": 255,
                "leaves": [
                    {"id": i, "name": name, "colour": f"#00000{i}", "parents": []} for i, name in enumerate(CLASSES)
                ],
            },
        },
    )
    log(run, range(10, steps + 1, 10))
    write(run.best.with_suffix(".png"), np.zeros((2, 2), np.uint8)).rename(run.best)
    if finished:
        run.finish({"iterations": steps})
    return run


def log(run: Run, steps: range) -> None:
    for step in steps:
        run.metrics.append({"iteration": step, "epoch": step / 8, "loss": 1 / step, "lr": 0.1}, durable=False)
        if step % 20 == 0:
            write(run.sample_file(step), np.full((6, 8, 3), step % 256, np.uint8))
            run.metrics.append(
                {
                    "iteration": step,
                    "val_loss": 2 / step,
                    "val_mIoU": step / 100,
                    "val_iou": [None, step / 100],
                    "val_mIoU_levels": [0.5, step / 100],
                    "best": True,
                },
                durable=False,
            )


def add_evaluation(run: Run, name: str, miou: float = 0.5) -> None:
    split, _, _ = name.rpartition("-")
    atomic_write_json(
        run.evaluations / name / "scores.json",
        {
            "split": split,
            "scores": {"mIoU": {"value": miou, "low": None, "high": None}, "aAcc": {"value": None}},
            "classes": [{"name": CLASSES[0], "iou": 0.25}, {"name": CLASSES[1], "iou": None}],
        },
    )


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
