"""Trainings that are a part of a search for suspects or of a decision: several share a budget, and none of them chooses
a checkpoint by labels that are in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.config import RunConfig
from maskwright.errors import ConfigError, argument
from maskwright.run import Run

# Iterations between evaluations: only the last state is evaluated, so no label chooses a checkpoint.
NEVER = 10**9


def last_state(config: RunConfig, root: Path | None = None, iterations: int | None = None) -> RunConfig:
    """The config of a training whose last state counts: it is evaluated once, at the end. `root` is another dataset for
    it, `iterations` another length."""
    length: dict[str, Any] = {"evaluate_every": NEVER, "early_stopping": None}
    if iterations is not None:
        length |= {"iterations": iterations, "budget": None, "epochs": None}
    data = config.data if root is None else config.data.model_copy(update={"root": str(root.resolve())})
    return config.model_copy(update={"data": data, "train": config.train.model_copy(update=length)})


def refuse_run(config: RunConfig) -> RunConfig:
    """The config, whose weights are no run's. ConfigError where they are."""
    if Path(config.model.weights).is_dir():
        raise ConfigError(
            f"model.weights: {config.model.weights} is a run, which may have learnt these very labels with their "
            "errors; take the weights of an encoder, or none"
        )
    return config


def train_one_of(
    trainings: int, fewer: str, config: RunConfig, out: Path, splits: tuple[Sequence[str], Sequence[str]]
) -> Run:
    """One of so many `trainings` that share a budget, on samples and for samples by name, as a finished run in `out`.
    What was stopped is resumed. ConfigError where the budget is too short: it names the option that makes `fewer` of
    them."""
    from maskwright.training.train import train_or_resume

    try:
        return train_or_resume(config, out=out, splits=splits)
    except ConfigError as error:
        if not error.problems[0].startswith("train.budget"):
            raise
        raise ConfigError(
            f"{argument('budget')}: too short for {trainings} trainings ({error.problems[0]}); give more, or ask for "
            f"fewer {fewer}"
        ) from None
