"""What a driver of `bench/peers.py` is told and what it answers. It needs numpy and Pillow alone: each driver runs in
an environment of its own, without Maskwright.

    python DRIVER.py JOB.json

A driver trains for `budget` seconds of wall time, validation included, then writes an index PNG for each test image, at
the image's own size, and `result.json`. Imports, conversion of data and prediction of the test images are not in the
budget, but they are timed.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STARTED = time.monotonic()
# A validation may cost this share of the budget; where it costs more, there is one at the most.
CHEAP = 0.04


@dataclass
class Job:
    """`data` holds `images/SPLIT/NAME.*` and `masks/SPLIT/NAME.png` (class indices) for train, val and test; `size` is
    the height and width to train at; `upside_down` says whether a vertical flip leaves an image a likely one."""

    data: Path
    classes: int
    size: tuple[int, int]
    upside_down: bool
    budget: float
    seed: int
    threads: int
    weights: Path | None
    work: Path
    predictions: Path
    variant: str
    began: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Job:
        given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
        for key in ("data", "work", "predictions"):
            given[key] = Path(given[key])
        given["weights"] = given["weights"] and Path(given["weights"])
        return cls(**given | {"size": tuple(given["size"])})

    def images(self, split: str) -> list[Path]:
        return sorted((self.data / "images" / split).iterdir())

    def mask_file(self, image: Path) -> Path:
        return self.data / "masks" / image.parent.name / f"{image.stem}.png"

    def pair(self, image: Path) -> tuple[np.ndarray, np.ndarray]:
        """RGB (H, W, 3) and indices (H, W), uint8 each."""
        return np.asarray(Image.open(image).convert("RGB")), np.asarray(Image.open(self.mask_file(image)))

    def start(self) -> None:
        """The budget begins."""
        self.began = time.monotonic()
        self.facts["prepare_seconds"] = self.began - STARTED

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def stop(self, **facts: Any) -> None:
        """The budget ends; `facts` are `steps`, `batch_size`, `pretrained` and what else is to be known."""
        self.facts |= {"seconds": self.elapsed, **facts}

    def write(self, image: Path, indices: np.ndarray) -> None:
        """The prediction (H, W) for a test image."""
        self.predictions.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(indices, np.uint8)).save(self.predictions / f"{image.stem}.png")

    def finish(self) -> None:
        predicting = time.monotonic() - self.began - self.facts["seconds"]
        (self.work / "result.json").write_text(json.dumps(self.facts | {"predict_seconds": predicting}), "utf-8")


class Marks:
    """When to validate: at three fifths, four fifths and the end of the budget, where a validation is cheap; else at
    the end, or where it costs too much, never: the last weights are then the ones to take.

    `expected` is how long one is thought to take, in seconds.
    """

    def __init__(self, job: Job, expected: float) -> None:
        self.job, self.expected = job, expected
        self.left = [0.6, 0.8] if expected <= CHEAP * job.budget else []
        self.last = expected <= 0.1 * job.budget

    @property
    def training_ends(self) -> bool:
        """Whether no more steps are to be made."""
        return self.job.elapsed + self.last * self.expected >= self.job.budget

    def due(self) -> bool:
        """Whether it is time for a validation."""
        if self.training_ends:
            return self.last
        if self.left and self.job.elapsed >= self.left[0] * self.job.budget:
            self.left.pop(0)
            return True
        return False


def mean_iou(counts: np.ndarray) -> float:
    """Of a confusion matrix, over the classes that are in the truth or predicted."""
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((counts.diagonal()[union > 0] / union[union > 0]).mean())
