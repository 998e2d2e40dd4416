"""Datasets with suspects, small enough that all trainings of a decision take a few seconds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maskwright.base.storage import atomic_write_json
from maskwright.core.edits import FOLDER
from maskwright.data.opening import load_dataset
from tiny import write_dataset

# Of `decide`: 20 iterations of a UNet of a few hundred weights.
SETTINGS = [
    "train.budget=null",
    "train.iterations=20",
    "train.batch_size=4",
    "train.precision=float32",
    "train.channels_last=true",
    "train.threads=1",
    "data.image_size=[32, 32]",
    "augment=[]",
    "flip_average=false",
    "model={name: UNet, args: {channels: [4], bottleneck: 4}}",
    "optimizer={name: adamw, lr: 0.02}",
]


def suspect_row(sample: str, kind: str = "swollen", score: float = 1.0, error_pixels: int = 60) -> dict[str, Any]:
    """A finding as `suspects.json` has it."""
    return {"sample": sample, "kind": kind, "score": score, "evidence": {"error_pixels": error_pixels}}


def write_suspects(home: Path, rows: Iterable[dict[str, Any]], name: str = "suspects-001") -> Path:
    """The folder that `suspects` would leave for the dataset as it is now."""
    folder = home / FOLDER / name
    dataset = load_dataset(home)
    atomic_write_json(
        folder / "suspects.json",
        {"dataset": {"root": str(dataset.root), "version": dataset.version()}, "findings": list(rows), "samples": []},
    )
    return folder


def write_doubted(root: Path, images: int = 20, suspects: int = 4) -> Path:
    """A dataset of three classes, of which the first samples are suspects."""
    write_dataset(root, {"train": images}, ids=(0, 1, 2))
    kinds = ("missing", "swollen", "wrong_class", "hallucinated", "shifted")
    write_suspects(
        root,
        [
            suspect_row(sample.name, kinds[i % len(kinds)])
            for i, sample in enumerate(load_dataset(root).samples[:suspects])
        ],
    )
    return root
