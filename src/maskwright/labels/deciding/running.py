"""Trains and scores the three ways in each repeat, and goes on where that was stopped.

WORK/asked.json         what was asked, the parts that are held out, and the seconds spent
WORK/repeat-1/ …        see `simulating`
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_json, read_json
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError, Interrupted, argument
from maskwright.evaluation.scoring.stored import newest
from maskwright.labels.deciding.estimating import WAYS, Counts, Way
from maskwright.labels.deciding.simulating import Repeat, Wrong, prepared
from maskwright.labels.suspecting.folds import divide
from maskwright.run import Run
from maskwright.training.plan import plan

_PARTS = 4  # of the trusted samples; one is held out in each repeat
_TRAINING = 0.85  # of the budget; the rest is for planting and scoring
_NEVER = 10**9  # iterations between evaluations: the last state is judged, and no label has chosen it


@dataclass(frozen=True)
class Asked:
    """What the trainings depend on, beside the suspects; see `decide`."""

    source: Path
    repeats: int
    seconds: float
    weights: str | None
    overrides: Sequence[str]
    seed: int

    @property
    def parts(self) -> int:
        """Into how many the trusted samples are divided."""
        return max(_PARTS, self.repeats)


@dataclass(frozen=True)
class Trained:
    """Of each repeat the counts (N, K, K) int64 of the held-out images by way; the config that all trainings share,
    their iterations, whether these came of the budget, the seconds of all, and notes on samples that could not be
    used."""

    repeats: list[Repeat]
    counts: list[Mapping[Way, Counts]]
    config: RunConfig
    iterations: int
    by_budget: bool
    seconds: float
    left_out: list[str]


def train_ways(
    asked: Asked,
    key: Mapping[str, Any],
    dataset: Dataset,
    trusted: Sequence[Sample],
    models: Sequence[Sequence[Wrong]],
    share: float,
    work: Path,
) -> Trained:
    """Does in `work` what is not done there yet. `key` is all that the numbers depend on, `models` are the errors of
    each suspect, and `share` is that of the suspects.

    Raises ConfigError when `work` belongs to another key and when the budget is too short, DataError when too few
    samples can be used, Interrupted when it is stopped, with all that was done kept.
    """
    table = work / "asked.json"
    state = _begun(table, asked, key, dataset, trusted)
    repeats: list[Repeat] = []
    counts: list[Mapping[Way, Counts]] = []
    first = Run(work / "repeat-1" / "keep")
    config = _config(asked, first)
    for place in range(asked.repeats):
        began = time.monotonic()
        folder = work / f"repeat-{place + 1}"
        repeat = prepared(folder, asked.source, dataset, state["parts"], place, models, share, asked.seed)
        found: dict[Way, Counts] = {}
        for way in WAYS:
            say(f"repeat {place + 1} of {asked.repeats}: {way}")
            root, names = repeat.training(way, asked.source)
            data = config.data.model_copy(update={"root": str(root.resolve())})
            own = config.model_copy(update={"data": data, "seed": asked.seed + place})
            run = _trained(own, folder / way, names, repeat.held_out, asked)
            if run == first:
                config = run.config()  # with the length and everything else that was measured
            found[way] = _scored(run)
            state["spent"] += time.monotonic() - began
            began = time.monotonic()
            atomic_write_json(table, state)
        repeats.append(repeat)
        counts.append(found)
    return Trained(
        repeats,
        counts,
        config,
        (first.finished or {})["iterations"],
        "budget" in first.info(),
        state["spent"],
        state["left_out"],
    )


def _begun(
    table: Path, asked: Asked, key: Mapping[str, Any], dataset: Dataset, trusted: Sequence[Sample]
) -> dict[str, Any]:
    if not table.exists():
        parts = divide(replace(dataset, samples=tuple(trusted)), asked.parts, asked.seed)
        if any(len(part) < 2 for part in parts.names):
            raise DataError(
                f"{dataset.root}: of {asked.parts} parts of the samples that are not suspect, one would "
                f"hold fewer than two different images; ask for fewer {argument('repeats')}, or label more"
            )
        atomic_write_json(table, {"key": key, "parts": parts.names, "left_out": parts.left_out, "spent": 0.0})
    state: dict[str, Any] = read_json(table)
    if differing := [name for name, value in key.items() if state["key"].get(name) != value]:
        raise ConfigError(
            f"{table.parent}: was begun with another {' and '.join(differing)}; ask the same again, "
            f"choose another {argument('out')}, or delete it"
        )
    return state


def _config(asked: Asked, first: Run) -> RunConfig:
    """That of the first training, which has a share of the budget unless the user names its length."""
    if first.info_file.is_file():
        return first.config()
    share = f"{max(0.01, asked.seconds * _TRAINING / (len(WAYS) * asked.repeats)):.2f}s"
    config = plan(asked.source, weights=asked.weights, overrides=asked.overrides).config
    changed: dict[str, Any] = {"evaluate_every": _NEVER, "early_stopping": None}
    if config.train.budget is not None:
        changed["budget"] = share
    return config.model_copy(update={"train": config.train.model_copy(update=changed)})


def _trained(config: RunConfig, folder: Path, names: Sequence[str], held_out: Sequence[str], asked: Asked) -> Run:
    from maskwright.training.train import resume, train_part

    run = Run(folder)
    try:
        if not run.info_file.is_file():
            return train_part(config, out=folder, splits=(names, held_out))
        return run if run.finished else resume(run)
    except Interrupted:
        raise Interrupted(f"{folder.parent.parent}: stopped; the same command resumes it") from None
    except ConfigError as error:
        if not error.problems[0].startswith("train.budget"):
            raise
        raise ConfigError(
            f"{argument('budget')}: {asked.seconds:g} s are too short for {len(WAYS) * asked.repeats} trainings "
            f"({error.problems[0]}); give more, or ask for fewer {argument('repeats')}"
        ) from None


def _scored(run: Run) -> Counts:
    import torch

    from maskwright.evaluation.scoring.evaluate import evaluate

    if (scored := newest(run, "val")) is not None:
        return scored.confusions()
    if threads := run.config().train.threads:  # so that all scores are made alike, whoever has trained the run
        torch.set_num_threads(threads)
    return evaluate(run, split="val").confusions
