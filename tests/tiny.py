"""Datasets and configs so small that a training takes less than a second on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helpers import THREADS, draw_pair, write
from maskwright.config import RunConfig
from maskwright.modeling.augment import AUGMENTATIONS

EVERY_AUGMENTATION = [{"name": name, "p": 0.5} for name in AUGMENTATIONS]


def write_dataset(
    root: Path,
    counts: Mapping[str, int],
    *,
    size: tuple[int, int] = (32, 32),
    ids: Sequence[int] = (0, 1),
    seed: int = 0,
) -> Path:
    """`root` with `counts` images of each split ("" for none: a flat layout) and its `dataset.yaml`; the k-th
    class has the id `ids[k]` and the name `class_ID`."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for index in range(count):
            image, mask = draw_pair(rng, size, len(ids))
            name = f"{split}/{split or 'image'}_{index:02d}.png"
            write(root / f"images/{name}", image)
            write(root / f"masks/{name}", np.array(ids, np.uint8)[mask])
    splits = "" if "" in counts else f"splits: {{{', '.join(f'{split}: {split}' for split in counts)}}}\n"
    classes = "".join(f"  - {{id: {id_}, name: class_{id_}}}\n" for id_ in ids)
    (root / "dataset.yaml").write_text(
        f"layout: {'split_folders' if splits else 'flat'}\nimages: {{folder: images}}\nmasks: {{folder: masks}}\n"
        f"{splits}classes:\n{classes}ignore: 255\n"
    )
    return root


def config(
    root: Path, *, train: Mapping[str, Any] | None = None, model: Mapping[str, Any] | None = None, **sections: Any
) -> RunConfig:
    """A config for 10 iterations of a UNet of a few hundred weights; `train` and `model` change single values. As many
    threads as the tests run with: two trainings that each measure how many are best may choose otherwise, and then
    differ in the last bits."""
    length = {
        "iterations": 10,
        "batch_size": 4,
        "evaluate_every": 5,
        "precision": "float32",
        "channels_last": True,
        "threads": THREADS,
        **(train or {}),
    }
    return RunConfig.model_validate(
        {
            "data": {"root": str(root), "image_size": [32, 32]},
            "loss": ["ce", "dice"],
            "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4, **(model or {})}},
            "train": length,
            **sections,
        }
    )
