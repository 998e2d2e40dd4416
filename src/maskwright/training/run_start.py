"""What a run folder holds before the first step: the resolved config, the facts of `run.json`, and the first state."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright import __version__
from maskwright.base.progress import say
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Severity
from maskwright.core.sample import Sample
from maskwright.evaluation.guarding.missed import nothing_to_judge, nothing_to_learn, untrained
from maskwright.modeling.models.segmenter import with_model
from maskwright.modeling.models.size import kept_bytes, measure
from maskwright.modeling.optim.build import build_optimizer
from maskwright.run import Run
from maskwright.training.checkpoint import Progress, save_state
from maskwright.training.distributed.processes import Processes
from maskwright.training.ema import Average
from maskwright.training.length import Budget, spacing
from maskwright.training.precision import StepChoice
from maskwright.training.prepare import Prepared, groups_of
from maskwright.training.step import step_loss
from maskwright.training.threads import Watch


def resolved_config(
    config: RunConfig, prepared: Prepared, choice: StepChoice, iterations: int, workers: int
) -> RunConfig:
    """The config with every measured and default value filled in; training it again gives the same model."""
    preprocessing = prepared.segmenter.preprocessing
    train_config = config.train.model_copy(
        update={
            "iterations": iterations,
            "epochs": None,
            "budget": None,
            "precision": choice.precision,
            "channels_last": choice.channels_last,
            "threads": choice.threads,
            "workers": workers,
            "evaluate_every": config.train.evaluate_every or spacing(iterations),
        }
    )
    data = config.data.model_copy(update={"mean": list(preprocessing.mean), "std": list(preprocessing.std)})
    return config.model_copy(update={"train": train_config, "data": data})


def run_info(
    dataset: Dataset,
    version: str,
    splits: tuple[list[Sample], list[Sample]],
    choice: StepChoice,
    device: str,
    processes: Processes,
) -> dict[str, Any]:
    """What `run.json` says of every run."""
    return {
        "maskwright": __version__,
        "dataset": {"name": dataset.name, "root": str(dataset.root.resolve()), "version": version},
        "splits": {"train": [s.name for s in splits[0]], "val": [s.name for s in splits[1]]},
        "classes": dataset.classes.to_dict(),
        "reading": dataset.reading(),
        "device": device,
        "processes": processes.size,
        "threads": choice.threads,
        "precision": {"chosen": choice.precision, "reason": choice.reason, "step_seconds": choice.seconds},
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
        },
    }


def write_info(
    run: Run,
    info: dict[str, Any],
    config: RunConfig,
    prepared: Prepared,
    choice: StepChoice,
    budget: Budget | None,
    splits: tuple[Sequence[Sample], Sequence[Sample]],
    hashes: Mapping[Path, str],
) -> None:
    """What is known of a new run, and the content of the files that it uses."""
    dataset, trust = prepared.dataset, prepared.batches.trust
    watched = choice.most > 1 and config.train.compile == "none"  # a copy of the model is not compiled
    named = [*zip(("train", "val"), splits, strict=True)]
    run.write_info(
        info
        | {
            "training_classes": [facts.to_dict() for facts in prepared.training_classes],
            "validation_pixels": prepared.validation_pixels,
        }
        | ({"budget": budget.stored} if budget else {})
        | ({"trust": trust.version} if trust else {})
        | ({"crops": prepared.seen.to_dict()} if prepared.seen else {})
        | ({"repeats": prepared.repeats.to_dict()} if prepared.repeats else {})
        | ({"small_step_cost": choice.small_cost} if config.train.progressive else {})
        | ({"watch": Watch(choice.most, choice.step_seconds).stored} if watched else {}),
        {name: {sample.name: sample.image_hash(hashes) for sample in samples} for name, samples in named},
        {name: {sample.name: dataset.mask_content(sample, hashes) for sample in samples} for name, samples in named},
    )


def size_of(prepared: Prepared, choice: StepChoice) -> dict[str, Any]:
    """What the model costs, and a training step of one batch (of several processes, the share of one)."""
    segmenter = prepared.segmenter
    images, targets = prepared.batches[0]
    kept = kept_bytes(
        segmenter.model, lambda model: step_loss(with_model(segmenter, model), prepared.criterion, images, targets)
    )
    size = measure(segmenter.model, segmenter.preprocessing.geometry.size, segmenter.spec.in_channels)
    say(f"model: {size}")
    return size.to_dict() | {"batch_size": len(images), "kept_bytes": kept, "step_seconds": choice.step_seconds}


def say_what_cannot_be_told(prepared: Prepared) -> None:
    """A line for classes without a training pixel, and one for those that validation cannot judge: what the doctor says
    in the end is known before."""
    names = prepared.dataset.classes.names
    facts = dict(zip(names, prepared.training_classes, strict=True))
    unseen = [name for name, pixels in zip(names, prepared.validation_pixels, strict=True) if not pixels]
    for label, about, remark in (
        (Severity.WARNING, untrained(facts), nothing_to_learn),
        (Severity.INFO, unseen, nothing_to_judge),
    ):
        if about:
            message, fix, _ = remark(about)
            say(f"{label.label}: {message}; {fix}")


def write_start(run: Run, config: RunConfig, prepared: Prepared) -> None:
    """The state before the first step, so that resuming never needs the pretrained weights again."""
    model = prepared.segmenter.model
    average = Average(model, config.train.ema).model if config.train.ema else None
    save_state(run.last, Progress(), model, average, build_optimizer(model, prepared.segmenter.spec, groups_of(config)))
