"""A finished run that is trained for longer: a new run that starts from the last state of its parent.

It has the parent's log, best checkpoint and whole state, so that it stands alone; the schedule is that of the new
length. What the clock decided for the parent (`refits`, `thread_changes`) is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.storage import atomic_write_bytes
from maskwright.config import EXCLUSIVE, LENGTHS, RunConfig, check_document
from maskwright.errors import ConfigError, DataError, argument
from maskwright.run import Run
from maskwright.training.checkpoint import continued

# Nothing that changes what the state means.
_MAY_CHANGE = {f"train.{key}" for key in (*LENGTHS, "evaluate_every", "early_stopping")} | {"optimizer.lr", "schedule"}


@dataclass(frozen=True)
class Parent:
    """A finished run whose state after `iteration` is trained further."""

    run: Run
    iteration: int

    def to_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        with open(self.run.last, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"run": str(self.run.path.resolve()), "iteration": self.iteration, "sha256": digest}

    def require_more(self, iterations: int) -> None:
        """ConfigError when the new length ends before it begins."""
        if iterations <= self.iteration:
            raise ConfigError(
                f"{argument('overrides', '--set')}: {iterations:,} iterations, but {self.run.path} has made "
                f"{self.iteration:,} already; the length counts from the beginning, so give more"
            )

    def hand_over(self, run: Run) -> None:
        """Writes its log, its best checkpoint and its state into the new run."""
        rows = [row for row in self.run.metrics.read() if "loss" in row or "val_loss" in row]
        run.metrics.append(*rows)
        atomic_write_bytes(run.best, self.run.best.read_bytes())
        atomic_write_bytes(run.last, continued(self.run.last, run.metrics.size))


def longer_config(run: Run, overrides: Sequence[str]) -> RunConfig:
    """The config of a finished run with another length. ConfigError for what cannot change on the way."""
    source = argument("overrides", "--set")
    keys = [override.partition("=")[0] for override in overrides]
    if wrong := [key for key in keys if not any(key == may or key.startswith(f"{may}.") for may in _MAY_CHANGE)]:
        raise ConfigError(
            f"{source} {wrong[0]}: cannot change when a run is trained for longer, only "
            f"{', '.join(sorted(_MAY_CHANGE))}; for all else train a new run that starts from this one "
            f"(model.weights: {run.path})"
        )
    if not any(key == f"train.{length}" for key in keys for length in LENGTHS):
        raise ConfigError(
            f"{run.path}: has finished; give its new length with {source}, such as train.iterations, train.epochs or "
            "train.budget"
        )
    document = strictyaml.read(run.config_file)
    strictyaml.apply_overrides(document, overrides, EXCLUSIVE)
    return check_document(document, run.path)


def parent_of(run: Run, finished: dict[str, Any]) -> Parent:
    """A finished run as a parent. DataError when its state or its best checkpoint is gone."""
    for file in (run.last, run.best):
        if not file.is_file():
            raise DataError(f"{file}: no such file, so the run cannot be trained for longer; restore it")
    return Parent(run, int(finished["iterations"]))
