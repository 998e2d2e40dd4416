"""How often the training doctor is right: small runs with a planted fault, and healthy ones.

    python bench/doctor.py [--runs 70] [--seed 0] [--out runs.jsonl]

Trains `--runs` runs with one fault each, in turn of every kind, and as many healthy ones, on drawn images of 32 x 32
pixels, and prints one JSON document: of each kind how many were found (recall), how many findings were right
(precision), and how many healthy runs were called ill. `--out` keeps the findings of each run as a line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch

from maskwright.config import RunConfig
from maskwright.errors import DataError
from maskwright.run import Run
from maskwright.training import loader
from maskwright.training.doctor import NOT_FINITE, examine
from maskwright.training.train import train

SIZE = 32
COLOURS = np.array([(70, 80, 70), (190, 70, 60), (60, 90, 200), (210, 190, 70)], np.float64)
Rng = np.random.Generator


def draw(
    rng: Rng, classes: int, noise: float, radius: tuple[int, int] = (4, 10), margin: int = 6, blank: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """An image of ellipses in the colours of their classes, and its mask; a `blank` image shows nothing of them."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for value in range(1, classes):
        centre, axes = rng.integers(margin, SIZE - margin, 2).tolist(), rng.integers(*radius, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, value, -1)
    return np.clip(COLOURS[mask * (not blank)] + rng.normal(0, noise, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8), mask


def write(
    root: Path, rng: Rng, classes: int, counts: dict[str, int], noise: float, *, mixed: bool = False, **shapes: Any
) -> None:
    for split, count in counts.items():
        pairs = [draw(rng, classes, noise, **shapes) for _ in range(count)]
        for index, (image, _) in enumerate(pairs):
            mask = pairs[index - (mixed and split == "train")][1]
            for kind, pixels in (("images", image[..., ::-1]), ("masks", mask)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / kind / split / f"{index:02d}.png"), pixels)
    names = "".join(f"  - {{id: {i}, name: class_{i}}}\n" for i in range(classes))
    (root / "dataset.yaml").write_text(
        "layout: split_folders\nimages: {folder: images}\nmasks: {folder: masks}\n"
        f"splits: {{train: train, val: val}}\nclasses:\n{names}"
    )


def settings(root: Path, rng: Rng, classes: int) -> dict[str, Any]:
    """A config as a careful user would have it."""
    iterations = int(rng.integers(12, 26)) * 10
    return {
        "seed": int(rng.integers(1000)),
        "data": {"root": str(root), "image_size": [SIZE, SIZE]},
        "model": {"name": "UNet", "args": {"channels": [[8, 16], [12], [8, 12]][rng.integers(3)], "bottleneck": 16}},
        "loss": [[{"name": "ce"}], [{"name": "ce"}, {"name": "dice"}]][rng.integers(2)],
        "optimizer": {"name": "adamw", "lr": float(10 ** rng.uniform(-2.6, -1.8))},
        "schedule": {"name": "poly", "warmup": 10},
        "augment": [{"name": "HorizontalFlip"}, {"name": "VerticalFlip"}][: rng.integers(3)],
        "train": {
            "iterations": iterations,
            "evaluate_every": iterations // int(rng.integers(8, 13)),
            "batch_size": int(rng.choice([4, 6, 8])),
            "precision": "float32",
            "ema": None,
            "workers": 0,
        },
    }


def wrong_batch(config: dict[str, Any], rng: Rng) -> Any:
    """One batch in the middle whose labels are all of another class."""
    at = int(config["train"]["iterations"] * rng.uniform(0.4, 0.8))
    real, classes = loader.Batches.__getitem__, 2

    def spoilt(self: loader.Batches, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, masks = real(self, step)
        return images, (masks + 1) % classes if step == at else masks

    return patch.object(loader.Batches, "__getitem__", spoilt)


def slow_batches(config: dict[str, Any], rng: Rng) -> Any:
    """Every batch takes longer than the step."""
    real, pause = loader.Batches.__getitem__, float(rng.uniform(0.02, 0.05))

    def slow(self: loader.Batches, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        time.sleep(pause)
        return real(self, step)

    return patch.object(loader.Batches, "__getitem__", slow)


def ill(code: str, root: Path, rng: Rng) -> tuple[dict[str, Any], Any]:
    """A dataset and config with a fault, and what has to be patched for it, if anything."""
    classes = 2 if code in ("train.spike", "train.collapse", "train.plateau") else int(rng.integers(2, 5))
    counts, noise = {"train": int(rng.integers(16, 33)), "val": 8}, float(rng.uniform(10, 30))
    if code == "train.overfitting":
        counts = {"train": int(rng.integers(3, 7)), "val": 8}
    shapes: dict[str, Any] = {}
    if code == "train.collapse":  # hardly a pixel of the second class, and hardly to be seen
        noise, shapes = float(rng.uniform(120, 160)), {"radius": (1, 2)}
    elif code == "train.plateau":
        # Nothing of the masks is in the images, and nothing by which an image could be told from another.
        noise, shapes = 0.0, {"radius": (8, 13), "margin": 11, "blank": True}
    write(root, rng, classes, counts, noise, mixed=code == "train.overfitting", **shapes)
    config = settings(root, rng, classes)
    if code == "train.rate_high":
        config["optimizer"]["lr"] = float(10 ** rng.uniform(1, 2))
    elif code == "train.rate_low":
        config["optimizer"]["lr"] = float(10 ** rng.uniform(-5.5, -4.7))
    elif code == "train.collapse":
        config["loss"] = [{"name": "ce"}]
    elif code == "train.overfitting":
        config |= {"augment": [], "model": {"name": "UNet", "args": {"channels": [16, 32], "bottleneck": 32}}}
        config["train"] |= {"iterations": 300, "evaluate_every": 25, "batch_size": 4}
    elif code == NOT_FINITE:
        config["optimizer"]["lr"] = 1e25
    elif code == "train.spike":
        return config, wrong_batch(config, rng)
    elif code == "train.loader":
        return config, slow_batches(config, rng)
    return config, None


def healthy(root: Path, rng: Rng) -> dict[str, Any]:
    classes = int(rng.integers(2, 5))
    write(root, rng, classes, {"train": int(rng.integers(16, 33)), "val": 8}, float(rng.uniform(5, 40)))
    return settings(root, rng, classes)


PLANTED = (
    "train.rate_high",
    "train.rate_low",
    "train.collapse",
    "train.plateau",
    "train.overfitting",
    "train.spike",
    "train.loader",
    NOT_FINITE,
)


def findings(folder: Path, config: dict[str, Any], patched: Any) -> list[str]:
    with redirect_stderr(StringIO()):
        try:
            if patched is None:
                train(RunConfig.model_validate(config), out=folder / "run")
            else:
                with patched:
                    train(RunConfig.model_validate(config), out=folder / "run")
        except DataError:
            pass
    # What it says of single classes is no fault of the training.
    return [finding.code for finding in examine(Run.open(folder / "run")) if finding.code in PLANTED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=70)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[*PLANTED, "healthy"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    planted, found, right, alarms = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    kinds: list[str | None] = [kind for n in range(given.runs) for kind in (PLANTED[n % len(PLANTED)], None)]
    if given.only:
        kinds = [None if given.only == "healthy" else given.only] * given.runs
    for number, code in enumerate(kinds):
        with tempfile.TemporaryDirectory() as place:
            folder, rng = Path(place), np.random.default_rng((given.seed, number))
            root = folder / "data"
            config, patched = ill(code, root, rng) if code else (healthy(root, rng), None)
            codes = findings(folder, config, patched)
        planted[code or "healthy"] += 1
        found.update(codes)
        right[code or "healthy"] += code in codes if code else not codes
        if code is None:
            alarms.update(codes)
        if given.out:
            with given.out.open("a") as stream:
                stream.write(json.dumps({"number": number, "planted": code, "found": codes, "config": config}) + "\n")
    hits = sum(count for code, count in right.items() if code != "healthy")
    print(
        json.dumps(
            {
                "seed": given.seed,
                "planted": sum(n for code, n in planted.items() if code != "healthy"),
                "healthy": planted["healthy"],
                "healthy_called_ill": planted["healthy"] - right["healthy"],
                "false_alarms": dict(alarms),
                "recall": round(hits / max(1, sum(n for code, n in planted.items() if code != "healthy")), 3),
                "precision": round(hits / max(1, found.total()), 3),
                "by_kind": {
                    code: {
                        "planted": planted[code],
                        "found": right[code],
                        "precision": round(right[code] / found[code], 3) if found[code] else None,
                    }
                    for code in PLANTED
                    if planted[code]
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
