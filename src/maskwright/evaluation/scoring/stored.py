"""Evaluations as they lie in a run's folder: `scores.json`, `images.jsonl` and the counts of every image.

Only files are read, so reports and comparisons need neither torch nor the dataset. Any folder that holds
`evaluations/` will do, a run or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import Journal, numbered, read_json
from maskwright.errors import DataError
from maskwright.run import Run


@dataclass(frozen=True)
class Scored:
    """`folder` of an evaluation, its `scores.json`, and the records of `images.jsonl`."""

    folder: Path
    result: dict[str, Any]
    images: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """Names of the samples that were scored."""
        return [row["sample"] for row in self.images]

    def confusions(self) -> npt.NDArray[np.int64]:
        """(N, K, K) int64 counts, one matrix an image. DataError when the file does not belong to the scores."""
        file, classes = self.folder / "confusions.npy", len(self.result["classes"])
        try:
            counts: npt.NDArray[np.int64] = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file}: cannot be read ({error}); evaluate again") from None
        if counts.shape != (len(self.images), classes, classes) or counts.dtype != np.int64:
            raise DataError(
                f"{file}: holds {counts.dtype} of shape {counts.shape}, not the counts of "
                f"{len(self.images)} images and {classes} classes; evaluate again"
            )
        return counts


def evaluations(run: Run) -> list[Scored]:
    """All finished evaluations; first those that say most: test, other splits, val, train, the newest first."""
    rank = {"test": 0, "val": 2, "train": 3}
    found = sorted((rank.get(split, 1), split, -number, folder) for split, number, folder in _folders(run))
    return [_read(folder) for *_, folder in found]


def newest(run: Run, split: str) -> Scored | None:
    """The last evaluation of a split, or None."""
    numbers = {number: folder for name, number, folder in _folders(run) if name == split}
    return _read(numbers[max(numbers)]) if numbers else None


def evaluated_splits(run: Run) -> set[str]:
    """The splits that there are evaluations of."""
    return {split for split, *_ in _folders(run)}


def _folders(run: Run) -> Iterator[tuple[str, int, Path]]:
    for split, number, folder in numbered(run.evaluations):
        if (folder / "scores.json").is_file():
            yield split, number, folder


def _read(folder: Path) -> Scored:
    return Scored(folder, read_json(folder / "scores.json"), Journal(folder / "images.jsonl").read())
