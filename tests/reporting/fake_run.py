"""A finished run on disk with its dataset, written file by file: no training, no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from helpers import write
from maskwright.base.storage import dump_json
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.masks import mask_png
from maskwright.data.opening import load_dataset
from maskwright.evaluation.guarding import guard
from maskwright.evaluation.guarding.number import Number, Origin
from maskwright.evaluation.metrics import (
    confusion_matrix,
    constant_baseline,
    headline,
    image_scores,
    mean_image_iou,
    measures,
    most_frequent_baseline,
    scores,
)
from maskwright.run import Run

SIZE = (60, 80)
HOSTILE = "<script>alert(1)</script>"
CLASSES = ["background", HOSTILE, 'cat "é" & dog', "never"]


def write_dataset(root: Path, counts: dict[str, int], names: list[str] = CLASSES, hostile: str = "a<b>&'") -> Dataset:
    """Blurred noise with two shapes and a strip of ignored pixels; the first test image has a hostile name."""
    generator = np.random.default_rng(3)
    for split, number in counts.items():
        for index in range(number):
            name = hostile if split == "test" and index == 0 else f"{split}_{index:02d}"
            image = cv2.GaussianBlur(generator.integers(0, 256, (*SIZE, 3), np.uint8), (0, 0), 5)
            mask = np.zeros(SIZE, np.uint8)
            cv2.ellipse(mask, (25 + index, 30), (14, 9), 10 * index, 0, 360, 1, -1)
            mask[10:30, 55:70] = 2 * (index % 2)
            mask[:3] = 255
            write(root / "img" / split / f"{name}.png", image)
            write(root / "labels" / split / f"{name}.png", mask)
    (root / "dataset.yaml").write_text(
        yaml.safe_dump(
            {
                "layout": "split_folders",
                "images": {"folder": "img"},
                "masks": {"folder": "labels"},
                "splits": {split: split for split in counts},
                "classes": [{"id": i, "name": name} for i, name in enumerate(names)],
            }
        )
    )
    return load_dataset(root)


@dataclass(frozen=True)
class Fake:
    """A run folder and its dataset."""

    run: Path
    data: Path
    dataset: Dataset

    def evaluate(self, split: str = "test", number: int = 1) -> dict[str, Any]:
        """What `evaluate` writes, for predictions that are the truth moved by some pixels and cut off below."""
        folder = self.run / "evaluations" / f"{split}-{number:03d}"
        classes, samples = self.dataset.classes, self.dataset.splits[split]
        confusions, rows = [], []
        for index, sample in enumerate(samples):
            truth = self.dataset.read_mask(sample)
            predicted = np.roll(np.where(truth == 255, 0, truth), index, axis=1).astype(np.uint8)
            predicted[len(predicted) - 4 * index :] = 0
            (file := folder / "predictions" / f"{sample.name}.png").parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(mask_png(predicted, classes))
            confusions.append(confusion_matrix(truth, predicted, len(classes)))
            rows.append({"sample": sample.name, **image_scores(confusions[-1]).to_dict()})
        result = evaluation(split, np.stack(confusions), classes, self.dataset.version(), str(folder))
        findings = guard([Number.of("run", result, [sample.name for sample in samples], Run(self.run))])
        result |= {"findings": [finding.to_dict() for finding in findings], "notes": [f.message for f in findings]}
        np.save(folder / "confusions.npy", np.stack(confusions))
        (folder / "scores.json").write_text(dump_json(result))
        (folder / "images.jsonl").write_text("".join(dump_json(row) + "\n" for row in rows))
        return result


def evaluation(split: str, confusions: np.ndarray, classes: ClassTree, version: str, folder: str) -> dict[str, Any]:
    """The contents of `scores.json`; a test holds it against what the verb writes."""
    total = confusions.sum(0)
    baselines = {
        "first_class": constant_baseline(total, classes.names, classes.ids[0], classes.ids),
        "most_frequent": most_frequent_baseline(total, classes.names, classes.ids),
    }
    return {
        "split": split,
        "images": len(confusions),
        **scores(total, classes.names, classes.ids).to_dict(headline(confusions)),
        "aggregation": "dataset: counts summed over images, then divided; intervals: 95 % bootstrap over images",
        "measures": {name: measure.to_dict() for name, measure in measures(confusions).items()},
        "mean_image_iou": mean_image_iou(confusions).tolist(),
        "baselines": {name: baseline.to_dict()["scores"] for name, baseline in baselines.items()},
        "levels": [],
        "notes": [],
        "findings": [],
        "origin": Origin().to_dict(),
        "size": {},
        "dataset_version": version,
        "inputs": "",
        "folder": folder,
    }


def write_run(run: Path, data: Path, dataset: Dataset) -> None:
    classes = dataset.classes
    config = {
        "seed": 1,
        "data": {"root": str(data), "image_size": [48, 64], "keep_ratio": False, "resample": "lanczos"},
        "model": {"name": "Unet", "encoder": "tu-mobilenetv2_100", "weights": "none", "args": {}},
        "loss": [
            {"name": "ce", "weight": 1.0, "class_weights": "none"},
            {"name": "dice", "weight": 3.0, "class_weights": "none"},
        ],
        "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.01, "head_lr_mult": 10.0},
        "schedule": {"name": "poly", "power": 0.9, "warmup": 50},
        "train": {
            "iterations": 40,
            "batch_size": 8,
            "evaluate_every": 10,
            "ema": 0.99,
            "precision": "float32",
            "workers": 0,
        },
        "augment": [{"name": "HorizontalFlip"}],
    }
    splits = {split: [s.name for s in dataset.splits[split]] for split in ("train", "val")}
    info = {
        "maskwright": "0.1.0",
        "splits": splits,
        "dataset": {"name": data.name, "root": str(data), "version": dataset.version()},
        "classes": classes.to_dict(),
        "device": "cpu",
        "threads": 2,
        "precision": {
            "chosen": "float32",
            "reason": "bfloat16 is 1.18 times slower here",
            "step_seconds": {"bfloat16": 0.261, "float32": 0.223},
        },
        "size": {
            "parameters": 4189251,
            "parameter_bytes": 16757004,
            "macs": 1_234_500_000,
            "image_size": [48, 64],
            "batch_size": 8,
            "kept_bytes": 345_600_000,
            "step_seconds": 0.223,
        },
        "environment": {"python": "3.11.7", "torch": "2.9.0", "numpy": "2.4.0", "machine": "x86_64"},
    }
    log, timing = [], []
    for step in range(10, 41, 10):
        log.append({"iteration": step, "epoch": step / 5, "loss": 2 / step**0.5, "lr": 1e-3})
        ious = [0.9, step / 60, step / 100, None]
        log.append(
            {
                "iteration": step,
                "val_loss": 2.2 / step**0.5,
                "val_aAcc": 0.9,
                "val_mAcc": 0.7,
                "val_mIoU": step / 50,
                "val_mDice": step / 45,
                "val_iou": ious,
                "best": step <= 30,
            }
        )
        timing += [{"iteration": step, "seconds": step / 4}, {"iteration": step, "evaluation_seconds": 0.5}]
        write(run / "samples" / f"{step:06d}.png", np.full((90, 320, 3), step, np.uint8))
    (run / "run.json").write_text(json.dumps(info))
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (run / "metrics.jsonl").write_text("".join(dump_json(row) + "\n" for row in log))
    (run / "timing.jsonl").write_text("".join(dump_json(row) + "\n" for row in timing))
    (run / "finished.json").write_text(
        json.dumps(
            {
                "iterations": 40,
                "early_stopped": False,
                "best_iteration": 30,
                "best_val_mIoU": 0.6,
                "seconds": 12.0,
                "images_per_second": 26.7,
                "setup_seconds": 3.0,
            }
        )
    )
