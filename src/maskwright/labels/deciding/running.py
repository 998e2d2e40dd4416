"""Trains and scores the three ways in each repeat, and resumes where that was stopped.

WORK/parts.json         the parts that are held out in turn, and the seconds spent so far
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
from maskwright.errors import DataError, argument
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.labels.deciding.estimating import WAYS, Counts, Way
from maskwright.labels.deciding.simulating import Repeat, SuspectedError, prepared
from maskwright.labels.suspecting.folds import divide_into_folds
from maskwright.labels.suspecting.trainings import last_state, refuse_run, train_one_of
from maskwright.run import Run
from maskwright.training.plan import plan

_PARTS = 4  # of the trusted samples; one is held out in each repeat
_TRAINING = 0.85  # of the budget; the rest is for planting and scoring


@dataclass(frozen=True)
class DecideSettings:
    """What the trainings depend on, besides the suspects; see `decide`."""

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
class TrainedWays:
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
    asked: DecideSettings,
    dataset: Dataset,
    trusted: Sequence[Sample],
    models: Sequence[Sequence[SuspectedError]],
    share: float,
    work: Path,
) -> TrainedWays:
    """Does in `work` what is not done there yet. `models` are the errors of each suspect, and `share` is that of the
    suspects.

    Raises ConfigError when the budget is too short, DataError when too few samples can be used, Interrupted when it is
    stopped, with all that was done kept.
    """
    table = work / "parts.json"
    state = _parts(table, asked, dataset, trusted)
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
            run = train_one_of(
                len(WAYS) * asked.repeats, argument("repeats"), own, folder / way, (names, repeat.held_out)
            )
            if run == first:
                config = run.config()  # with the length and everything else that was measured
            found[way] = held_out_counts(run)
            state["spent"] += time.monotonic() - began
            began = time.monotonic()
            atomic_write_json(table, state)
        repeats.append(repeat)
        counts.append(found)
    return TrainedWays(
        repeats,
        counts,
        config,
        (first.finished or {})["iterations"],
        "budget" in first.info(),
        state["spent"],
        state["left_out"],
    )


def _parts(table: Path, asked: DecideSettings, dataset: Dataset, trusted: Sequence[Sample]) -> dict[str, Any]:
    if not table.exists():
        parts = divide_into_folds(replace(dataset, samples=tuple(trusted)), asked.parts, asked.seed)
        if any(len(part) < 2 for part in parts.names):
            raise DataError(
                f"{dataset.root}: of {asked.parts} parts of the samples that are not suspect, one would "
                f"hold fewer than two different images; ask for fewer {argument('repeats')}, or label more"
            )
        atomic_write_json(table, {"parts": parts.names, "left_out": parts.left_out, "spent": 0.0})
    state: dict[str, Any] = read_json(table)
    return state


def _config(asked: DecideSettings, first: Run) -> RunConfig:
    """That of the first training, which has a share of the budget unless the user names its length."""
    if first.info_file.is_file():
        return first.config()
    share = f"{max(0.01, asked.seconds * _TRAINING / (len(WAYS) * asked.repeats)):.2f}s"
    config = last_state(refuse_run(plan(asked.source, weights=asked.weights, overrides=asked.overrides).config))
    if config.train.budget is None:
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"budget": share})})


def held_out_counts(run: Run) -> Counts:
    """The counts (N, K, K) int64 of the held-out images of a finished run, evaluated unless that was done."""
    import torch

    from maskwright.evaluation.scoring.evaluate import evaluate

    if (scored := newest(run, "val")) is not None:
        return scored.confusions
    if threads := run.config().train.threads:  # so that all scores are made alike, whoever has trained the run
        torch.set_num_threads(threads)
    return evaluate(run, split="val").confusions
