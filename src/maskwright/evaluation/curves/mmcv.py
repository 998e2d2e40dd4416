"""MMSegmentation 0.x and the other tools on mmcv: `TIMESTAMP.log.json`, a JSON object a line, `mode` train or val.

The first line may tell about the environment. `iter` of a validation is the iteration of the training in old versions
and the number of validation batches in later ones, so a validation stands at the last training record above it. Where
epochs are counted, `iter` begins anew in each of them.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from maskwright.errors import DataError
from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.lines import Start, is_number, json_lines, number, position
from maskwright.evaluation.curves.quantities import NOT_CURVES, Collector

_MODES = ("train", "val")


def detect(start: Start) -> bool:
    """Whether one of the first records has a mode."""
    return any(record.get("mode") in _MODES for record in start.records())


def read(path: Path) -> Curves:
    """A `*.log.json`. Raises DataError."""
    records = [(f"{path}:{line}", record) for line, record in json_lines(path) if record.get("mode") in _MODES]
    trained = [
        (position(record.get("epoch", 0), where, "epoch"), position(record.get("iter"), where, "iter"))
        for where, record in records
        if record["mode"] == "train"
    ]
    by_epoch = any(later[0] > earlier[0] and later[1] <= earlier[1] for earlier, later in pairwise(trained))
    longest = max((iteration for _, iteration in trained), default=1.0) or 1.0
    found = Collector()
    if by_epoch:
        found.note(f"x is in epochs, taken to be as long as the last iteration that is logged of one ({longest:g})")
    at = 0.0
    for where, record in records:
        training = record["mode"] == "train"
        epoch = position(record.get("epoch", 0), where, "epoch")
        if training:
            iteration = position(record.get("iter"), where, "iter")
            at = max(epoch - 1, 0.0) + iteration / longest if by_epoch else iteration
        elif by_epoch or not trained:
            at = epoch
        for key, value in record.items():
            if key not in NOT_CURVES and is_number(value) and (training or key != "lr"):
                found.add(key, at, accuracy(key, number(value), where), "" if training else "val_")
    return found.curves(path, "mmcv", "epoch" if by_epoch or not trained else "iteration")


def accuracy(key: str, value: float | None, where: str) -> float | None:
    """`decode.acc_seg`, which MMSegmentation gives in per cent whatever it does with its scores, as a share."""
    if value is None or not key.endswith("acc_seg"):
        return value
    if not 0 <= value <= 100:
        raise DataError(f"{where}: {key!r} is {value:g} where per cent are expected; correct the line")
    return value / 100
