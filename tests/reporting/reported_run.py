"""A dataset with hostile names and a finished run on it, for its report: no training, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from helpers import write
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset
from maskwright.evaluation.guarding.number import Origin
from run_folders import append, evaluate_masks, make_run

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
class ReportedRun:
    """A run folder and its dataset."""

    run: Path
    data: Path
    dataset: Dataset

    def evaluate(self, split: str = "test", number: int = 1) -> dict[str, Any]:
        """What `evaluate` writes, for predictions that are the truth moved by some pixels and cut off below."""

        def predict(index: int, image: np.ndarray, truth: np.ndarray) -> np.ndarray:
            predicted = np.roll(np.where(truth == 255, 0, truth), index, axis=1)
            predicted[len(predicted) - 4 * index :] = 0
            return predicted

        found = evaluate_masks(self.run, self.dataset, predict, split=split, number=number, origin=Origin())
        return found.to_dict()


def write_run(run: Path, data: Path, dataset: Dataset) -> None:
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
    made = make_run(run, classes=dataset.classes, config=config, info=info)
    append(made.metrics, log)
    append(made.timing, timing)
    made.finish(
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
