"""Lightning's CSVLogger: `metrics.csv`, a column a metric, cells empty where a row has no value of it.

Names are the user's own; `train_loss`, `val/miou` and the like are understood. A metric that was logged by step and by
epoch (`train_loss_step`, `train_loss_epoch`) is the one by epoch, and keeps the other under its own name.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.lines import Start, position, table
from maskwright.evaluation.curves.quantities import Collector

_POSITIONS = ("step", "epoch")


def detect(start: Start) -> bool:
    """Whether there is a column `step`."""
    return "step" in start.columns()


def read(path: Path) -> Curves:
    """A `metrics.csv`. Raises DataError."""
    found = Collector()
    for line, row in table(path):
        if not row:
            continue
        at = position(row.get("step"), f"{path}:{line}", "step")
        for column, value in row.items():
            if column not in _POSITIONS:
                found.add(_tag(column), at, value)
    return found.curves(path, "lightning", "iteration")


def _tag(column: str) -> str:
    if column.startswith("lr-") and "/" not in column:  # of its LearningRateMonitor: `lr-AdamW`
        return "lr"
    return column.removesuffix("_epoch")
