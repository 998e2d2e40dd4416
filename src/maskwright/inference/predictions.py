"""What `predict` has written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwright.base.display import data_frame
from maskwright.base.texts import plural

_BY_CLASS = ("pixels", "share", "objects", "confidence")


@dataclass(frozen=True, repr=False)
class Predictions:
    """What `predict` wrote: a folder with `masks/`, `overlays/`, `predictions.jsonl` and `statistics.csv`, and
    `skipped.jsonl` where images could not be read.

    `rows` hold `image`, `mask`, `overlay`, `height`, `width`, and by the names of the classes `pixels`, their `share`
    of the image and `objects` (8-connected components, of all but the background); where levels were asked for
    `levels`, the files of the levels above the leaves, top first; with probabilities, their file in `probabilities`,
    and `confidence` (name -> the mean probability of the pixels given to the class, or None); also `source`, the
    image's absolute path, `hash`, that of the image's file (BLAKE2b), and `state`, its size and times. `skipped` hold
    `image` and `reason`; `left_out` hold `file` and `reason` of what else was given and is no image to predict. `kept`
    counts the predictions that were there already.
    """

    folder: Path
    rows: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    left_out: list[dict[str, str]] = field(default_factory=list)
    kept: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "folder": str(self.folder),
            "predictions": self.rows,
            "skipped": self.skipped,
            "left_out": self.left_out,
            "kept": self.kept,
        }

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row a predicted image, and a column for each class such as `pixels/tree`.
        SetupError without pandas."""
        return data_frame(
            [
                {
                    key: value
                    for key, value in row.items()
                    if key not in (*_BY_CLASS, "levels", "left_out", "source", "state")
                }
                | {f"{key}/{name}": value for key in _BY_CLASS for name, value in row.get(key, {}).items()}
                for row in self.rows
            ]
        )

    def human(self) -> str:
        """One line for a terminal."""
        kept = f" ({self.kept:,} there already)" if self.kept else ""
        skipped = f", {plural(len(self.skipped), 'file')} skipped" if self.skipped else ""
        left_out = f", {len(self.left_out):,} left out" if self.left_out else ""
        return f"{plural(len(self.rows), 'mask')}{kept}{skipped}{left_out}; output folder: {self.folder}"

    def __str__(self) -> str:
        return self.human()

    def __repr__(self) -> str:
        return f"Predictions({self.human()})"
