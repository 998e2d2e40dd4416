"""MMSegmentation 1.x and the other tools on mmengine: `vis_data/scalars.json` or `vis_data/TIMESTAMP.json`.

Training records have `iter`; those of a validation have only a `step`, which is an iteration or an epoch as the logger
was set up. Where epochs are counted, or the step lies before the last training record, the validation stands at that
record.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.lines import Start, is_number, json_lines, number, position
from maskwright.evaluation.curves.mmcv import accuracy
from maskwright.evaluation.curves.quantities import NOT_CURVES, Collector


def detect(start: Start) -> bool:
    """Whether the first record has a step and no mode."""
    records = start.records()[:1]
    return bool(records) and "step" in records[0] and "mode" not in records[0]


def read(path: Path) -> Curves:
    """A file of scalars. Raises DataError."""
    found = Collector()
    at, epochs = 0.0, False
    for line, record in json_lines(path):
        where = f"{path}:{line}"
        training = "iter" in record
        if training:
            at = position(record["iter"], where, "iter")
            epochs = epochs or "epoch" in record
        elif "step" in record:
            step = position(record["step"], where, "step")
            at = at if epochs else max(at, step)
        for key, value in record.items():
            if key.rpartition("/")[2] not in NOT_CURVES and is_number(value):
                found.add(key, at, accuracy(key, number(value), where), "" if training else "val_")
    return found.curves(path, "mmengine", "iteration")
