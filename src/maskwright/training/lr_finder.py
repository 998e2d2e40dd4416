"""The learning-rate range test: a short training whose rate grows at every step, and the rate that it suggests.

Far too small a rate leaves the loss as it is, far too large a one makes it grow without end; good rates lie below the
place where the loss is lowest (Smith 2017, Cyclical Learning Rates, section 3.3).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from maskwright.base.progress import progress
from maskwright.config import RunConfig, with_pipelines
from maskwright.data.opening import load_dataset
from maskwright.modeling.models.devices import device_of
from maskwright.modeling.models.segmenter import Segmenter, with_model
from maskwright.modeling.optim.build import Groups, build_optimizer
from maskwright.training.distributed.processes import ALONE
from maskwright.training.from_run import start_of
from maskwright.training.guest import as_a_guest, seed_torch
from maskwright.training.loader import Batches
from maskwright.training.prepare import groups_of, prepare, training_splits, with_statistics
from maskwright.training.step import train_step

STEPS, LOWEST, HIGHEST = 100, 1e-6, 10.0
# Losses on each side that are averaged; a fall is the difference of the averages so far on both sides of a point.
_AROUND, _APART = 5, 5
# The loss has run away when the mean of the last few is so many times the lowest such mean.
_LAST, _DIVERGED = 5, 4.0


@dataclass(frozen=True)
class RangeTest:
    """`rates`, the `losses` of the batches at them, `smoothed` losses (the mean of up to 11 around), and what follows.

    `suggested` is the rate at which the smoothed loss falls most steeply over the logarithm of the rate, but at most
    a tenth of the rate at which it is lowest; None when the loss never fell.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggested: float | None
    reason: str


def range_test(
    segmenter: Segmenter,
    criterion: nn.Module,
    batches: Batches,
    groups: Groups,
    seed: int,
    *,
    steps: int = STEPS,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
) -> RangeTest:
    """Trains a copy of the model over the first `steps` batches, while `lr` of `groups` grows exponentially from
    `lowest` to `highest`; stops when the loss has run away. The same for the same seed; the model and torch's
    generator are left as they were."""
    trial = with_model(segmenter, copy.deepcopy(segmenter.model).train())
    optimizer = build_optimizer(trial.model, trial.spec, groups)
    step_once = train_step(trial, criterion, optimizer)
    rates, losses, lowest_mean = list[float](), list[float](), math.inf
    generators = [segmenter.device] if segmenter.device.type == "cuda" else []
    with torch.random.fork_rng(generators), progress("trying rates", steps, "iterations") as advance:
        for step in range(steps):
            rate = lowest * (highest / lowest) ** (step / max(1, steps - 1))
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate / groups.lr
            seed_torch(seed * 1_000_003 + step, segmenter.device)
            loss = float(step_once(*batches[step]))
            if not math.isfinite(loss):
                break
            rates.append(rate)
            losses.append(loss)
            advance(step + 1, f"rate {rate:.1e}, loss {loss:.3f}")
            if step + 1 >= _LAST:
                mean = sum(losses[-_LAST:]) / _LAST
                lowest_mean = min(lowest_mean, mean)
                if mean > _DIVERGED * lowest_mean:
                    break
    smoothed = [float(np.mean(losses[max(0, i - _AROUND) : i + _AROUND + 1])) for i in range(len(losses))]
    return RangeTest(rates, losses, smoothed, *suggestion(rates, smoothed))


def suggestion(rates: Sequence[float], smoothed: Sequence[float]) -> tuple[float | None, str]:
    """The rate that the rule of `RangeTest` gives, to two digits, and the reason."""
    means, logs = np.asarray(smoothed), np.log10(rates)
    lowest = int(means.argmin()) if len(means) else 0
    if lowest < 2 * _APART:
        return None, "lr as it was: the loss never fell in a range test"
    # Not from point to point: the noise of batches is steeper than any fall.
    falls = (means[: -2 * _APART] - means[2 * _APART :])[: lowest - 2 * _APART + 1]
    steepest = float(10 ** logs[int(falls.argmax()) + _APART])
    bound = float(10 ** logs[lowest]) / 10
    why = (
        f"the loss falls most steeply at {steepest:.1e}"
        if steepest <= bound
        else f"a tenth of {bound * 10:.1e}, where the loss is lowest"
    )
    return float(f"{min(steepest, bound):.1e}"), f"lr by a range test: {why}"


@as_a_guest()
def find_rate(config: RunConfig, device: str | None = None) -> RangeTest:
    """The learning-rate range test of a training, with its model, data, batches, loss and optimiser; nothing is
    written. In float32 unless the config names a precision, since measuring one may choose another next time."""
    config = with_pipelines(config)
    dataset = load_dataset(config.data.root)
    weights = start_of(config.model)
    device = device_of(device)
    splits = training_splits(dataset, config.data.holdout, config.seed)
    with torch.random.fork_rng([device] if device.startswith("cuda") else []):
        prepared = prepare(with_statistics(config, weights, dataset.bands), dataset, splits, weights, device, ALONE)
    prepared.segmenter.precision = "bfloat16" if config.train.precision == "bfloat16" else "float32"
    return range_test(prepared.segmenter, prepared.criterion, prepared.batches, groups_of(config), config.seed)
