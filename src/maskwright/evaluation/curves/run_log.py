"""Our own runs: `metrics.jsonl`, with network, loss and seed from the config beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskwright.core.classes import ClassTree
from maskwright.evaluation.curves.curve import OWN, Curves, Setup
from maskwright.evaluation.curves.lines import Start, is_number, json_lines, number, position
from maskwright.evaluation.curves.quantities import Collector
from maskwright.evaluation.naming import loss_name, network_name
from maskwright.run import Run

_NOT_CURVES = {"iteration", "epoch", "loss_max", "loss_first", "iterations", "evaluate_every", "threads"}


def detect(start: Start) -> bool:
    """Whether the first record has an iteration and something learnt."""
    records = start.records()[:1]
    return bool(records) and "iteration" in records[0] and bool({"loss", "val_loss"} & set(records[0]))


def read(path: Path) -> Curves:
    """A run folder, or its `metrics.jsonl`. Raises DataError, or ConfigError for a config that was broken by hand."""
    run = Run(path if path.is_dir() else path.parent)
    log = run.metrics.path if path.is_dir() else path
    known = run.info_file.is_file() and log.samefile(run.metrics.path)
    classes = ClassTree.from_dict(run.info()["classes"]).names if known else []
    found = Collector()
    for line, record in json_lines(log):
        at = position(record.get("iteration"), f"{log}:{line}", "iteration")
        for key, value in record.items():
            if is_number(value) and key not in _NOT_CURVES:
                found.add(key, at, number(value))
        for name, value in zip(classes, _values(record, "val_iou"), strict=False):
            found.add(f"val_IoU.{name}", at, value)
        for level, value in enumerate(_values(record, "val_mIoU_levels"), 1):
            found.add(f"val_mIoU_level_{level}", at, value)
    return found.curves(path, OWN, "iteration", _setup(run) if known else None)


def _values(record: dict[str, Any], key: str) -> list[float | None]:
    """A list of numbers and gaps; none where the record has no such list."""
    values = record.get(key)
    return [number(value) if is_number(value) else None for value in values] if isinstance(values, list) else []


def _setup(run: Run) -> Setup:
    config = run.config().to_dict()
    return Setup(network_name(config["model"]), loss_name(config["loss"]), config["seed"], run.recipe())
