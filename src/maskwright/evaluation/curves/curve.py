"""Curves: what one training logged over its iterations or epochs, whichever tool wrote the log.

Quantities have the names of our own log: `loss`, `lr`, `mIoU` of the training, the same with `val_` of the validation
and with `test_` of the test split. mIoU, mDice, mAcc, aAcc and what is theirs by class lie between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskwright.base.display import Display, data_frame

if TYPE_CHECKING:
    import pandas

Point = tuple[float, float | None]
Points = tuple[Point, ...]
Axis = Literal["iteration", "epoch"]

OWN = "maskwright"
# What says which validation was the best, the first that a log has; then the lowest `val_loss`.
RANKED = ("mIoU", "mDice", "mAP50-95(M)", "mAcc", "aAcc")
_PARTS = ("val_", "test_")


def base(quantity: str) -> str:
    """`val_mIoU` -> `mIoU`: what is measured, without what it is measured on."""
    return next((quantity.removeprefix(part) for part in _PARTS if quantity.startswith(part)), quantity)


def is_loss(quantity: str) -> bool:
    """Whether a quantity is a loss: lower is better, and only values of the same loss can be compared."""
    return "loss" in quantity.lower()


@dataclass(frozen=True)
class Setup:
    """What was trained, each part None where the log does not say it.

    `network` and `loss` are texts like `Unet resnet34 (weights=imagenet)` and `ce + 3 dice`: the same text, the same
    thing; what stands before the bracket is short. `recipe` is equal in runs that differ in nothing but the seed.
    """

    network: str | None = None
    loss: str | None = None
    seed: int | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class Values:
    """A quantity where validation was best, and at the end of training; None where it is undefined."""

    at_best: float | None
    last: float | None


@dataclass(frozen=True)
class Summary:
    """One training in a line, as a leaderboard shows it.

    `chosen_by` is the quantity that says which validation was the best (highest score or lowest loss, the earliest of
    equal ones), `best_at` where that was and `last_at` where the log ends. Of a quantity of the training,
    `Values.at_best` is the newest value there was at `best_at`.
    """

    name: str
    tool: str
    source: str
    axis: Axis
    setup: Setup
    chosen_by: str | None
    best_at: float | None
    last_at: float | None
    values: dict[str, Values]
    notes: tuple[str, ...]

    @property
    def remark(self) -> str:
        """What is to be said beside runs of our own; empty for these."""
        return (
            ""
            if self.tool == OWN
            else (f"{self.tool}: its own split and its own scoring; no scores by image, so no paired test")
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"remark": self.remark}


@dataclass(frozen=True, repr=False)
class Curves(Display):
    """One training: `series` holds for each quantity its points (x, y), x rising in units of `axis` and never
    negative, y None where the log has a value that is not finite. `tool` is a key of `READERS`; `notes` say what was
    changed in reading."""

    name: str
    tool: str
    source: Path
    axis: Axis
    series: Mapping[str, Points]
    setup: Setup = field(default_factory=Setup)
    notes: tuple[str, ...] = ()

    def facts(self) -> Mapping[str, object]:
        """For `repr` and notebooks."""
        chosen, best_at = self._best()
        best = _newest(self.series[chosen], best_at) if chosen else None
        return {
            "name": self.name,
            "tool": self.tool,
            "network": self.setup.network,
            "loss": self.setup.loss,
            "quantities": len(self.series),
            f"last {self.axis}": self.end,
            f"best {chosen}": best,
        }

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each x at which something was logged, rising (the index, named by `axis`), and a column of float64
        for each quantity, in the order of the log; nan where it was not logged there or is not finite. SetupError
        without pandas (the extra `pandas`)."""
        rows: dict[float, dict[str, float]] = {}
        for quantity, points in self.series.items():
            for x, y in points:
                rows.setdefault(x, {})[quantity] = math.nan if y is None else y
        table = data_frame(
            {self.axis: x} | {quantity: rows[x].get(quantity, math.nan) for quantity in self.series}
            for x in sorted(rows)
        ).reindex(columns=[self.axis, *self.series])
        if all(float(x).is_integer() for x in rows):
            table[self.axis] = table[self.axis].astype("int64")
        return table.set_index(self.axis)

    @property
    def end(self) -> float:
        """The last x of all quantities; 0 when there are none."""
        return max((points[-1][0] for points in self.series.values() if points), default=0.0)

    def summary(self) -> Summary:
        """The values at the best validation and at the end."""
        chosen, best_at = self._best()
        return Summary(
            self.name,
            self.tool,
            str(self.source),
            self.axis,
            self.setup,
            chosen,
            best_at,
            self.end if self.series else None,
            {
                quantity: Values(_newest(points, best_at), points[-1][1] if points else None)
                for quantity, points in self.series.items()
            },
            self.notes,
        )

    def _best(self) -> tuple[str | None, float | None]:
        for quantity in (*(f"val_{name}" for name in RANKED), "val_loss"):
            ranked = [(y if is_loss(quantity) else -y, x) for x, y in self.series.get(quantity, ()) if y is not None]
            if ranked:
                return quantity, min(ranked)[1]
        return None, None


def _newest(points: Points, at: float | None) -> float | None:
    if at is None:
        return None
    return next((y for x, y in reversed(points) if x <= at), None)
