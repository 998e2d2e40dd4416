"""What is measured before the first step of a run: how a step is made, and how many of them fit into a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from maskwright.base.progress import say
from maskwright.base.texts import percent
from maskwright.config import RunConfig, seconds_of
from maskwright.errors import ConfigError
from maskwright.modeling.models.build import SIZE_ERRORS, why_refused
from maskwright.run import Run
from maskwright.training.ema import Average
from maskwright.training.length import Budget, Speed
from maskwright.training.precision import StepChoice, Trials, Wanted, Way, choose
from maskwright.training.prepare import Prepared, groups_of
from maskwright.training.progressive import Progressive
from maskwright.training.rounds import typical
from maskwright.training.run_start import write_start
from maskwright.training.validation import validate

_TIMED = 3
# Of the time of a run, and at most: what measuring how a step is made may take.
_MEASURING, _MEASURING_SECONDS = 0.05, 60.0


def choose_step(config: RunConfig, prepared: Prepared) -> StepChoice:
    """The fastest way to make a step, which the model takes from now on."""
    train = config.train
    wanted = Wanted(train.precision, None if train.channels_last == "auto" else train.channels_last, train.threads)
    images, targets = prepared.batches[0]
    try:
        choice = choose(
            prepared.segmenter,
            prepared.criterion,
            images,
            targets,
            groups_of(config),
            wanted,
            prepared.processes,
            _measuring(config, prepared),
        )
        choice.apply(prepared.segmenter)
        if train.progressive:
            choice = replace(choice, small_cost=_small_cost(config, prepared, choice, images, targets))
    except SIZE_ERRORS as error:  # shapes that do not fit, or lack of memory
        reason, remark = why_refused(error, config.model.encoder)
        raise ConfigError(
            f"model: {config.model.name} cannot make a step with these images ({reason}); change "
            f"data.image_size, train.batch_size, train.progressive, or the model{remark}"
        ) from None
    small = f"; {percent(choice.small_cost)} of it with smaller images" if train.progressive else ""
    say(
        f"precision: {choice.precision} ({choice.reason}); {choice.step_seconds * 1000:.0f} ms per training step{small}"
    )
    return choice


def _small_cost(
    config: RunConfig, prepared: Prepared, choice: StepChoice, images: torch.Tensor, targets: torch.Tensor
) -> float:
    """The time of a step of progressive resizing with smaller images over that of a full one."""
    small = Progressive.of(config.train.progressive).resized(images, targets)
    way = Way(choice.precision, choice.channels_last, choice.threads)
    trials = Trials(prepared.segmenter, prepared.criterion, *small, groups_of(config), prepared.processes)
    trials(way)  # the first one only warms up
    # A disturbed measurement must not turn the length around: smaller images are never slower, and hardly faster than
    # by their pixels.
    least = small[1].numel() / targets.numel() / 2
    return min(1.0, max(least, typical(trials(way)) / choice.step_seconds))


def _measuring(config: RunConfig, prepared: Prepared) -> Callable[[float], float]:
    """Seconds that may go into measuring how a step is made, from those of one step."""
    train = config.train
    if train.budget is not None:
        budget = min(_MEASURING_SECONDS, _MEASURING * seconds_of(train.budget))
        return lambda _: budget
    iterations = train.iterations or in_epochs(config, prepared)
    return lambda step: min(_MEASURING_SECONDS, _MEASURING * iterations * step)


def iterations_of(
    config: RunConfig, prepared: Prepared, choice: StepChoice, workers: int, run: Run, began: float
) -> tuple[int, Budget | None]:
    """The length in iterations, and the budget if it follows from one: then it is what fits in the time that is left
    at the measured speed. An evaluation with all that it writes is tried in the folder of `run`."""
    train = config.train
    if train.iterations is not None:
        return train.iterations, None
    if train.epochs is not None:
        return in_epochs(config, prepared), None
    assert train.budget is not None
    start = time.monotonic()
    validate(
        prepared.segmenter,
        prepared.validation,
        prepared.criterion,
        train.batch_size,
        run.sample_file(0),
        prepared.processes,
    )
    if prepared.processes.first:
        prepared.segmenter.save(run.best)
        write_start(run, config, prepared)
        run.sample_file(0).unlink(missing_ok=True)
        run.best.unlink()
    evaluation = time.monotonic() - start
    model = prepared.segmenter.model
    step = choice.step_seconds
    if train.ema:
        average = Average(model, train.ema)
        step += _seconds(lambda index: average.update(model, index))
    batch = _seconds(lambda index: prepared.batches[index])
    step = max(step, batch / workers) if workers else step + batch
    budget = Budget(seconds_of(train.budget), evaluation, train.evaluate_every, began)
    progressive = Progressive.of(train.progressive, choice.small_cost)
    iterations = Speed(step, evaluation, train.evaluate_every, progressive).fitted(0, budget.left)
    if iterations < 1:
        raise ConfigError(
            f"train.budget: {train.budget} is too short: a step takes {step:.2f} s and an evaluation "
            f"{evaluation:.1f} s here; give more time or a smaller model"
        )
    return iterations, budget


def in_epochs(config: RunConfig, prepared: Prepared) -> int:
    """The iterations of the epochs that the config asks for."""
    assert config.train.epochs is not None
    return max(1, math.ceil(config.train.epochs * prepared.batches.per_epoch / config.train.batch_size))


def _seconds(work: Callable[[int], object]) -> float:
    """Mean seconds of a call; the first one is only for warming up."""
    work(0)
    start = time.monotonic()
    for index in range(1, _TIMED + 1):
        work(index)
    return (time.monotonic() - start) / _TIMED
