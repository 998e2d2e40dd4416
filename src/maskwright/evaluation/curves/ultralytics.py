"""Ultralytics: `results.csv`, a row an epoch; older versions pad the header with spaces and count from 0.

`metrics/…` are of the validation. Of the learning rates of the three groups of parameters, the first is `lr`.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.lines import Start, position, table
from maskwright.evaluation.curves.quantities import Collector

_NAMES = {"lr/pg0": "lr"}


def detect(start: Start) -> bool:
    """Whether there are columns `epoch` and `metrics/…`, `train/…` or `val/…`, and none of steps."""
    columns = start.columns()
    known = any(name.startswith(("metrics/", "train/", "val/")) for name in columns)
    return known and "epoch" in columns and "step" not in columns


def read(path: Path) -> Curves:
    """A `results.csv`. Raises DataError."""
    found = Collector()
    shift: float | None = None
    for line, row in table(path):
        if not row:
            continue
        epoch = position(row.get("epoch"), f"{path}:{line}", "epoch")
        if shift is None:
            shift = 1.0 if epoch == 0 else 0.0
            if shift:
                found.note("epochs were counted from 0 and are counted from 1")
        for column, value in row.items():
            if column not in ("epoch", "time"):
                measured = column.startswith("metrics/")
                tag = _NAMES.get(column, column.removeprefix("metrics/"))
                found.add(tag, epoch + shift, value, "val_" if measured else "")
    return found.curves(path, "ultralytics", "epoch")
