"""The verbs `train` and `resume`: from a config to a finished Run."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from maskwright import __version__
from maskwright.augment import AUGMENTATIONS, Pipeline
from maskwright.config import RunConfig, load_config, rebase, seconds_of
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.core.progress import progress, say
from maskwright.core.sample import Sample
from maskwright.core.storage import (
    STAGING_PREFIX,
    atomic_write_json,
    exclusive_lock,
    next_free,
    require_absent,
    staged_folder,
)
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.formats.opening import load_dataset
from maskwright.losses.build import build_loss
from maskwright.models import takes_encoder
from maskwright.models.build import ModelSpec, build_model
from maskwright.models.segmenter import Preprocessing, Segmenter
from maskwright.models.weights import encoder_info, resolve
from maskwright.run import Run
from maskwright.training.checkpoint import Progress, save_state
from maskwright.training.loader import Batches, Source
from maskwright.training.loop import Plan, fit
from maskwright.training.optimizer import Average, Groups, build_optimizer
from maskwright.training.precision import Choice, choose, denormals_flushed
from maskwright.training.validation import validate

# Of a time budget, what is kept for reading, the last checkpoint and the noise of the clock.
_BUDGET_MARGIN = 0.04
_EVALUATIONS = 8
_TIMED = 3


def training_splits(dataset: Dataset, holdout: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples: the splits `train` and `val`, else a seeded share of `train` (or of
    the samples without a split). Only samples with a mask count. Raises DataError when one is empty."""
    splits = {name: [s for s in samples if s.labelled] for name, samples in dataset.splits.items()}
    train = splits.get("train") or splits.get("", [])
    validation = splits.get("val", [])
    if not validation and len(train) > 1:
        order = np.random.default_rng((seed, 2)).permutation(len(train))
        chosen = set(order[: max(1, round(holdout * len(train)))].tolist())
        validation = [sample for i, sample in enumerate(train) if i in chosen]
        train = [sample for i, sample in enumerate(train) if i not in chosen]
    if not train or not validation:
        raise DataError(f"{dataset.root}: {len(train)} training and {len(validation)} validation samples with a mask; "
                        "at least one of each is needed")
    return train, validation


@dataclass
class _Prepared:
    """Everything that `fit` needs, built from a config."""

    dataset: Dataset
    segmenter: Segmenter
    criterion: nn.Module
    batches: Batches
    validation: Source


def _prepare(config: RunConfig, dataset: Dataset, splits: tuple[list[Sample], list[Sample]], weights: Path | None,
             device: str) -> _Prepared:
    model = config.model
    spec = ModelSpec(model.name, len(dataset.classes), model.encoder, model.args)
    torch.manual_seed(config.seed)
    network = build_model(spec, weights).to(device).to(memory_format=torch.channels_last)
    if config.data.mean and config.data.std:
        mean, std = config.data.mean, config.data.std
    elif takes_encoder(model.name):
        info = encoder_info(model.encoder or "")
        mean, std = config.data.mean or list(info.mean), config.data.std or list(info.std)
    else:
        mean, std = config.data.mean or [0.5] * 3, config.data.std or [0.25] * 3
    geometry = Geometry((config.data.image_size[0], config.data.image_size[1]), config.data.keep_ratio,
                        config.data.resample)
    preprocessing = Preprocessing(geometry, tuple(mean), tuple(std), dataset.exif)
    segmenter = Segmenter(network, spec, dataset.classes, preprocessing, flip_average=config.flip_average)
    train, validation = (Source(dataset, samples, geometry) for samples in splits)
    with progress("reading", len(train) + len(validation)) as advance:
        counts = train.fill(lambda done, _: advance(done))
        validation.fill(lambda done, _: advance(len(train) + done))
    pixels = counts[: len(dataset.classes)]
    if not pixels.any():
        raise DataError(f"{dataset.root}: no training pixel has a class (all are ignored); check the masks")
    criterion = build_loss([term.model_dump() for term in config.loss], pixels).to(device)
    pipeline = Pipeline([AUGMENTATIONS[term.name](**_tuples(term.arguments)) for term in config.augment], config.border)
    batches = Batches(train, pipeline, config.train.batch_size, config.seed)
    return _Prepared(dataset, segmenter, criterion, batches, validation)


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    """YAML lists as the tuples that transforms take."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}


def _groups(config: RunConfig) -> Groups:
    optimizer = config.optimizer
    return Groups(optimizer.lr, optimizer.head_lr_mult, optimizer.weight_decay)


def _iterations(config: RunConfig, prepared: _Prepared, choice: Choice, workers: int, run: Run, began: float) -> int:
    """The length in iterations; for a budget, what fits in the time that is left at the measured speed. An
    evaluation with all that it writes is tried in the folder of `run`."""
    train = config.train
    if train.iterations is not None:
        return train.iterations
    if train.epochs is not None:
        return max(1, math.ceil(train.epochs * len(prepared.batches.source) / train.batch_size))
    assert train.budget is not None
    start = time.monotonic()
    validate(prepared.segmenter, prepared.validation, prepared.criterion, train.batch_size, run.sample_file(0))
    prepared.segmenter.save(run.best)
    _write_start(run, config, prepared)
    evaluation = time.monotonic() - start
    run.sample_file(0).unlink(missing_ok=True)
    run.best.unlink()
    model = prepared.segmenter.model
    step = choice.step_seconds
    if train.ema:
        average = Average(model, train.ema)
        step += _seconds(lambda index: average.update(model, index))
    batch = _seconds(lambda index: prepared.batches[index])
    step = max(step, batch / workers) if workers else step + batch
    left = seconds_of(train.budget) * (1 - _BUDGET_MARGIN) - (time.monotonic() - began)
    if train.evaluate_every:
        iterations = int(left / (step + evaluation / train.evaluate_every))
    else:
        iterations = int((left - _EVALUATIONS * evaluation) / step)
    if iterations < 1:
        raise ConfigError(f"train.budget: {train.budget} is too short: a step takes {step:.2f} s and an evaluation "
                          f"{evaluation:.1f} s here; give more time or a smaller model")
    return iterations


def _seconds(work: Callable[[int], object]) -> float:
    """Mean seconds of a call; the first one is only for warming up."""
    work(0)
    start = time.monotonic()
    for index in range(1, _TIMED + 1):
        work(index)
    return (time.monotonic() - start) / _TIMED


def _workers(config: RunConfig, device: str) -> int:
    """Loader processes. On a CPU they would take cores from the step; making a batch is a small part of its time."""
    if config.train.workers is not None:
        return config.train.workers
    return 0 if device == "cpu" else min(8, os.cpu_count() or 1)


@denormals_flushed()
def train(config: RunConfig | str | Path, *, out: str | Path | None = None, overrides: Sequence[str] = (),
          device: str | None = None) -> Run:
    """Trains a model and returns its finished Run.

    `config` is a RunConfig or the path of a `run.yaml`. The run goes to `out`, or to `runs/NAME-001` beside
    the config; an existing folder is never overwritten. Before the folder appears, everything is checked:
    config, dataset, weights, and one measured step. Raises MaskwrightError subclasses.
    """
    began = time.monotonic()
    if isinstance(config, RunConfig):
        if overrides:
            raise ConfigError("train: overrides go with the path of a config; change the RunConfig itself instead")
        folder = Path.cwd()
    else:
        folder = Path(config).parent
        config = load_config(config, overrides)
    dataset = load_dataset(config.data.root)
    path = Path(out) if out else next_free(folder / "runs", f"{dataset.name}-{config.model.name.lower()}")
    require_absent(path)
    say(f"run folder: {path}")
    weights = resolve(config.model.encoder, config.model.weights) if config.model.encoder else None
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    splits = training_splits(dataset, config.data.holdout, config.seed)
    prepared = _prepare(config, dataset, splits, weights, device)
    images, targets = prepared.batches[0]
    try:
        choice = choose(prepared.segmenter, prepared.criterion, images, targets, _groups(config),
                        config.train.precision)
    except RuntimeError as error:  # torch's one word for shapes that do not fit, and for memory that is not there
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model: {config.model.name} cannot make a step with these images ({reason}); change "
                          "data.image_size, train.batch_size, or the model") from None
    prepared.segmenter.precision = choice.precision
    say(f"precision: {choice.precision} ({choice.reason}); {choice.step_seconds * 1000:.0f} ms a step")
    workers = _workers(config, device)
    with staged_folder(path) as staging:
        run = Run(staging)
        iterations = _iterations(config, prepared, choice, workers, run, began)
        resolved = _resolve(config, prepared, choice, iterations, workers)
        run.write_config(rebase_absolute(resolved))
        atomic_write_json(run.info_file, _info(dataset, splits, choice, device))
        _write_start(run, resolved, prepared)
    say(f"{len(splits[0])} training and {len(splits[1])} validation images, {iterations} iterations of "
        f"{config.train.batch_size}, {_epochs(resolved, len(splits[0])):.1f} epochs")
    with exclusive_lock(path):
        return _finish(Run(path), resolved, prepared, time.monotonic() - began)


def _epochs(config: RunConfig, samples: int) -> float:
    return (config.train.iterations or 0) * config.train.batch_size / samples


def rebase_absolute(config: RunConfig) -> RunConfig:
    """The config with absolute paths, so that the run folder can lie anywhere."""
    return rebase(config, Path.cwd())


def _resolve(config: RunConfig, prepared: _Prepared, choice: Choice, iterations: int, workers: int) -> RunConfig:
    """The config with every measured and default value filled in; training it again gives the same model."""
    preprocessing = prepared.segmenter.preprocessing
    train_config = config.train.model_copy(update={
        "iterations": iterations, "epochs": None, "budget": None, "precision": choice.precision, "workers": workers,
        "evaluate_every": config.train.evaluate_every or max(1, math.ceil(iterations / _EVALUATIONS))})
    data = config.data.model_copy(update={"mean": list(preprocessing.mean), "std": list(preprocessing.std)})
    return config.model_copy(update={"train": train_config, "data": data})


def _info(dataset: Dataset, splits: tuple[list[Sample], list[Sample]], choice: Choice, device: str) -> dict[str, Any]:
    return {"maskwright": __version__, "dataset": {"name": dataset.name, "root": str(dataset.root.resolve()),
                                                   "version": dataset.version()},
            "splits": {"train": [s.name for s in splits[0]], "val": [s.name for s in splits[1]]},
            "classes": dataset.classes.to_dict(), "device": device, "threads": torch.get_num_threads(),
            "precision": {"chosen": choice.precision, "reason": choice.reason, "step_seconds": choice.seconds},
            "environment": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                            "machine": platform.machine()}}


def _write_start(run: Run, config: RunConfig, prepared: _Prepared) -> None:
    """The state before the first step, so that resuming never needs the pretrained weights again."""
    model = prepared.segmenter.model
    average = Average(model, config.train.ema).model if config.train.ema else None
    save_state(run.last, Progress(), model, average, build_optimizer(model, prepared.segmenter.spec, _groups(config)))


def _finish(run: Run, config: RunConfig, prepared: _Prepared, setup_seconds: float) -> Run:
    train_config = config.train
    assert train_config.iterations and train_config.evaluate_every and train_config.workers is not None
    plan = Plan(train_config.iterations, train_config.evaluate_every, train_config.batch_size, config.seed,
                _groups(config), config.schedule.power, config.schedule.warmup, train_config.ema,
                train_config.early_stopping, train_config.workers)
    facts = fit(run, plan, prepared.segmenter, prepared.criterion, prepared.batches, prepared.validation)
    run.finish(facts | {"setup_seconds": setup_seconds})
    say(f"trained {facts['iterations']} iterations in {facts['seconds']:.0f} s "
        f"({facts['images_per_second']:.1f} images/s); "
        f"best val mIoU {facts['best_val_mIoU']:.4f} at iteration {facts['best_iteration']}")
    say(f"run folder: {run.path}")
    return run


@denormals_flushed()
def resume(run: str | Path | Run) -> Run:
    """Goes on with a run that was stopped or killed, and ends with the same weights and the same log as if
    it never had been. Raises DataError when the dataset has changed since; a finished run is returned as it is.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    with exclusive_lock(run.path):
        if run.finished:
            say(f"run folder: {run.path}: has finished already")
            return run
        for left_over in run.path.rglob(f"{STAGING_PREFIX}*"):  # files that were being written when it was killed
            if left_over.is_file() and run.evaluations not in left_over.parents:  # `evaluate` may be at work there
                left_over.unlink()
        began = time.monotonic()
        config, info = run.config(), run.info()
        dataset = load_dataset(config.data.root)
        if dataset.version() != info["dataset"]["version"]:
            raise DataError(f"{config.data.root}: has changed since {run.path} began; restore it, or train a new run")
        if info["device"] == "cuda" and not torch.cuda.is_available():
            raise SetupError(f"{run.path}: began on a GPU, and there is none here; resume it where it began")
        torch.set_num_threads(info["threads"])
        splits = training_splits(dataset, config.data.holdout, config.seed)
        prepared = _prepare(config, dataset, splits, None, info["device"])
        prepared.segmenter.precision = config.train.precision
        return _finish(run, config, prepared, time.monotonic() - began)
