"""What `refine` has found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwright.base.display import Result
from maskwright.base.texts import plural, table

FILE = "refine.json"
# Half the width of a 95 % interval that tells one model from another in practice.
_WANTED = 0.05
_NORMAL = 1.96


@dataclass(frozen=True, repr=False)
class RefineResult(Result):
    """`rounds` are the trainings in the order in which they count: the first is round 0, then the other start if there
    was one, then H1 and so on. Each is a dict of `name`, `run`, `data`, `masks` (what became of the poor masks, None
    for a start), and, where trusted samples judge, `mIoU` with its 95 % interval, `difference` to round 0 with its
    interval and `classes` (IoU, recall, precision by name). `best` is the name of the round to use, None where nothing
    could be judged. `enough`: how many masks would give a score within .05 where none is trusted."""

    name: str
    folder: Path
    baseline: int
    held: int
    poor: int
    rounds: Sequence[dict[str, Any]]
    best: str | None
    reason: str
    enough: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """The run of the round to use; of the last one where nothing could be judged."""
        return self.folder / (self.best or self.rounds[-1]["name"])

    @property
    def page(self) -> Path:
        """The page of the folder."""
        return self.folder / "index.html"

    def facts(self) -> dict[str, object]:
        """See `Display`."""
        return {
            "dataset": self.name,
            "best": self.best,
            "reason": self.reason,
            **{f"mIoU {row['name']}": row["mIoU"]["value"] for row in self.rounds if "mIoU" in row},
            "folder": str(self.folder),
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `refine`."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in vars(self).items()} | {
            "run": str(self.run)
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> RefineResult:
        """What `to_dict` has written."""
        known = {key: value for key, value in stored.items() if key != "run"}
        return cls(**(known | {"folder": Path(stored["folder"])}))

    def human(self) -> str:
        """Text for a terminal."""
        lines = [
            f"{self.name}: {plural(self.poor, 'poor mask')}, {self.baseline} trusted to learn from and {self.held} to "
            "judge by"
        ]
        if any("mIoU" in row for row in self.rounds):
            lines += table(
                [
                    ["round", "mIoU", "95 % interval", "- round 0", "95 % interval", "changed"],
                    *([row["name"], *_score(row["mIoU"]), *_apart(row), _changed(row)] for row in self.rounds),
                ]
            )
        lines += [f"result: {self.reason}", *(f"note: {note}" for note in self.notes), f"run to use: {self.run}"]
        return "\n".join(lines)


def enough_masks(spread: float | None) -> int | None:
    """How many drawn masks give a score within .05 (95 %), where it varies by `spread` between images."""
    if spread is None or not math.isfinite(spread):
        return None
    return max(10, math.ceil((_NORMAL * spread / _WANTED) ** 2))


def _score(value: dict[str, float]) -> list[str]:
    return [f"{value['value']:.4f}", f"{value['low']:.4f} to {value['high']:.4f}"]


def _apart(row: dict[str, Any]) -> list[str]:
    one = row.get("difference")
    return ["", ""] if one is None else [f"{one['value']:+.4f}", f"{one['low']:+.4f} to {one['high']:+.4f}"]


def _changed(row: dict[str, Any]) -> str:
    masks = row["masks"]
    if not masks:
        return ""
    shares = [one["changed"] + one["left_out"] for one in masks["samples"]]
    return f"{100 * sum(shares) / len(shares):.1f} % of the pixels"
