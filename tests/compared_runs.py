"""Evaluated run folders with counts made by code: what `train` and `evaluate` leave, as far as comparisons read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskwright.base.storage import dump_json
from maskwright.core.classes import ClassTree
from maskwright.evaluation.guarding.number import Origin
from maskwright.evaluation.metrics import constant_baseline, headline, image_scores, most_frequent_baseline, scores

CLASSES = ("ground", "tree", "house")


def truth(images: int, seed: int = 0) -> np.ndarray:
    """(N, K) true pixels."""
    return np.random.default_rng(seed).integers(200, 2000, (images, len(CLASSES))) * [4, 1, 1]


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


def lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(dump_json(row) + "\n" for row in rows)


def make_run(
    path: Path,
    *,
    model: str = "UNet",
    loss: Any = "ce",
    seed: int = 0,
    macs: float = 1e9,
    val: float = 0.7,
    waited: float = 0.0,
    step: float = 0.1,
    config: dict[str, Any] | None = None,
    info: dict[str, Any] | None = None,
) -> Path:
    """A finished run of 20 iterations, not evaluated. `waited`: seconds in each of waiting, beside the `step`."""
    path.mkdir(parents=True)
    whole = {
        "seed": seed,
        "data": {"root": "/data", "image_size": [32, 32]},
        "model": {"name": model, "encoder": None, "args": {}},
        "loss": [{"name": name, "weight": 1.0, "class_weights": "none"} for name in loss.split("+")],
        "train": {"iterations": 20, "batch_size": 4, "threads": 2},
        **(config or {}),
    }
    (path / "config.yaml").write_text(yaml.safe_dump(whole))
    (path / "run.json").write_text(
        dump_json(
            {
                "dataset": {"name": "garden", "root": "/data", "version": "v1"},
                "splits": {"train": [f"train/{i}" for i in range(9)], "val": [f"val/{i}" for i in range(5)]},
                "device": "cpu",
                "threads": 2,
                "classes": ClassTree.flat(CLASSES).to_dict(),
                "size": {"parameters": macs / 1000, "macs": macs, "step_seconds": step, "batch_size": 4},
                **(info or {}),
            }
        )
    )
    (path / "metrics.jsonl").write_text(
        lines([{"iteration": at, "loss": 0.9, "val_loss": 1.0, "val_mIoU": val, "best": at == 10} for at in (10, 20)])
    )
    (path / "timing.jsonl").write_text(
        lines([{"iteration": at, "seconds_since": 10 * (step + waited), "waited": 10 * waited} for at in (10, 20)])
    )
    (path / "finished.json").write_text(dump_json({"iterations": 20, "seconds": 30.0, "best_iteration": 10}))
    return path


def evaluate(
    path: Path,
    confusions: np.ndarray,
    *,
    split: str = "test",
    number: int = 1,
    version: str = "v1",
    names: Sequence[str] | None = None,
    origin: Origin | None = None,
) -> Path:
    """Writes an evaluation with these counts (N, K, K)."""
    folder = path / "evaluations" / f"{split}-{number:03d}"
    folder.mkdir(parents=True)
    total = confusions.sum(0)
    names = names or [f"{split}/{i}" for i in range(len(confusions))]
    baselines = {
        "first_class": constant_baseline(total, CLASSES),
        "most_frequent": most_frequent_baseline(total, CLASSES),
    }
    (folder / "scores.json").write_text(
        dump_json(
            {
                "split": split,
                "images": len(names),
                **scores(total, CLASSES).to_dict(headline(confusions, resamples=50)),
                "baselines": {name: row.to_dict()["scores"] for name, row in baselines.items()},
                "dataset_version": version,
                "origin": (origin or Origin(iteration=10)).to_dict(),
                "size": {},
            }
        )
    )
    (folder / "images.jsonl").write_text(
        lines(
            [{"sample": name, **image_scores(counts).to_dict()} for name, counts in zip(names, confusions, strict=True)]
        )
    )
    np.save(folder / "confusions.npy", confusions)
    return folder
