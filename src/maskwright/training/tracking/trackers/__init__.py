"""The trackers: one table, one file each; rows are `module:class`, so that listing them imports none of the tools.

A tracker shows runs in a tool that people already use. The run folder is and stays the truth: what is sent can be
sent again from it. Trackers are only ever opened in a process of their own (`training.tracking.delivery`), never in the
one that trains: the tools patch modules, start threads, hook into the exit, and wait for their servers.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

from maskwright.errors import ConfigError, SetupError
from maskwright.training.tracking.trackers.base import Tracker

TRACKERS: dict[str, str] = {
    "clearml": "maskwright.training.tracking.trackers.clearml:ClearML",
    "mlflow": "maskwright.training.tracking.trackers.mlflow:MLflow",
    "tensorboard": "maskwright.training.tracking.trackers.tensorboard:TensorBoard",
    "wandb": "maskwright.training.tracking.trackers.wandb:WeightsAndBiases",
}

__all__ = ["TRACKERS", "Tracker", "arguments", "build", "load", "require"]


def load(name: str) -> type[Tracker]:
    """The class of a row; the tool itself is not imported."""
    module, _, attribute = TRACKERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What an entry of `trackers` may hold beside its name."""
    return dict(inspect.signature(load(name), eval_str=True).parameters)


def build(name: str, given: Mapping[str, Any]) -> Tracker:
    """A tracker that is not open yet. ValueError for arguments that make no sense."""
    return load(name)(**given)


def require(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks names' arguments and that their tools are installed, all at once. Raises ConfigError or SetupError."""
    missing = []
    for name, given in entries.items():
        try:
            build(name, given)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"trackers: {name}: {error}") from None
        if importlib.util.find_spec(load(name).package) is None:
            missing.append(name)
    if missing:
        raise SetupError(
            f"trackers: not installed: {', '.join(missing)}; `pip install "
            f"maskwright[{','.join(missing)}]`, or take out of the config what is not wanted"
        )
