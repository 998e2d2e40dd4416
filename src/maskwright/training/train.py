"""The verbs `train` and `resume`: from a config to a finished Run."""

from __future__ import annotations

import math
import platform
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright import __version__
from maskwright.base.progress import say
from maskwright.base.storage import STAGING_PREFIX, exclusive_lock, next_free, require_absent, staged_folder
from maskwright.base.systems import require_posix
from maskwright.base.texts import clock
from maskwright.base.workers import available_cores
from maskwright.config import (
    AugmentTerm,
    RefitConfig,
    RunConfig,
    ThreadsConfig,
    load_config,
    rebase,
    seconds_of,
    with_pipelines,
)
from maskwright.core.dataset import Dataset
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.modeling import augment
from maskwright.modeling.models.segmenter import with_model
from maskwright.modeling.models.size import kept_bytes, measure
from maskwright.modeling.models.weights import encoder_info, resolve
from maskwright.modeling.optim.build import Schedule, build_optimizer
from maskwright.run import Run
from maskwright.training.checkpoint import Progress, save_state
from maskwright.training.distributed.processes import ALONE, World, joined
from maskwright.training.doctor import examine, human
from maskwright.training.ema import Average
from maskwright.training.image_cache import Decoded, decoded_folder
from maskwright.training.length import Budget, Refit, fitted, spacing
from maskwright.training.loop import Plan, fit
from maskwright.training.lr_finder import RangeTest, range_test
from maskwright.training.precision import Choice, Wanted, choose, fast_arithmetic, step_loss
from maskwright.training.prepare import Prepared, geometry_of, groups_of, named_splits, prepare, training_splits
from maskwright.training.threads import ThreadChange, Watch
from maskwright.training.tracking.delivery.spool import deliveries
from maskwright.training.tracking.trackers import require
from maskwright.training.validation import validate

_TIMED = 3
# Of the time of a run, and at most: what measuring how a step is made may take.
_MEASURING, _MEASURING_SECONDS = 0.05, 60.0


def _iterations(
    config: RunConfig, prepared: Prepared, choice: Choice, workers: int, run: Run, began: float
) -> tuple[int, Budget | None]:
    """The length in iterations, and the budget if it follows from one: then it is what fits in the time that is left
    at the measured speed. An evaluation with all that it writes is tried in the folder of `run`."""
    train = config.train
    if train.iterations is not None:
        return train.iterations, None
    if train.epochs is not None:
        return _in_epochs(config, prepared), None
    assert train.budget is not None
    start = time.monotonic()
    validate(
        prepared.segmenter,
        prepared.validation,
        prepared.criterion,
        train.batch_size,
        run.sample_file(0),
        prepared.world,
    )
    if prepared.world.first:
        prepared.segmenter.save(run.best)
        _write_start(run, config, prepared)
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
    iterations = fitted(0, budget.left, step, evaluation, train.evaluate_every)
    if iterations < 1:
        raise ConfigError(
            f"train.budget: {train.budget} is too short: a step takes {step:.2f} s and an evaluation "
            f"{evaluation:.1f} s here; give more time or a smaller model"
        )
    return iterations, budget


def _in_epochs(config: RunConfig, prepared: Prepared) -> int:
    assert config.train.epochs is not None
    return max(1, math.ceil(config.train.epochs * len(prepared.batches.source) / config.train.batch_size))


def _seconds(work: Callable[[int], object]) -> float:
    """Mean seconds of a call; the first one is only for warming up."""
    work(0)
    start = time.monotonic()
    for index in range(1, _TIMED + 1):
        work(index)
    return (time.monotonic() - start) / _TIMED


def _workers(config: RunConfig, device: str, world: World) -> int:
    """Loader processes. On a CPU they would take cores from the step; making a batch is a small part of its time."""
    if config.train.workers is not None:
        return config.train.workers
    return 0 if device == "cpu" else min(8, max(1, available_cores() // world.local_size))


def settle(
    config: RunConfig | str | Path, overrides: Sequence[str] = (), augmentation: augment.Compose | None = None
) -> tuple[RunConfig, Path]:
    """The config that the arguments of `train` mean, which depends on no further file, and the folder it is from."""
    if isinstance(config, RunConfig):
        if overrides:
            raise ConfigError("overrides go with the path of a config; change the RunConfig itself instead")
        folder = Path.cwd()
    else:
        folder = Path(config).parent
        config = load_config(config, overrides)
    if augmentation is not None:
        entry = {"name": augment.PASS_THROUGH, "pipeline": augment.passthrough.describe(augmentation)}
        config = config.model_copy(update={"augment": [AugmentTerm.model_validate(entry)]})
    return with_pipelines(config), folder


def train(
    config: RunConfig | str | Path,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    device: str | None = None,
    augmentation: augment.Compose | None = None,
) -> Run:
    """Trains a model and returns its finished Run.

    `config` is a RunConfig or the path of a `run.yaml`. The run goes to `out`, or to `runs/NAME-001` beside
    the config; an existing folder is never overwritten. `augmentation` is a pipeline of albumentations
    (`A.Compose`) in place of what the config has. Before the folder appears, everything is checked:
    config, dataset, weights, and one measured step. Processes that torchrun has started train as one; config,
    weights and run folder are matters of the first one. Raises MaskwrightError subclasses.
    """
    require_posix("train")
    return train_part(config, out=out, overrides=overrides, device=device, augmentation=augmentation)


@fast_arithmetic()
def train_part(
    config: RunConfig | str | Path,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    device: str | None = None,
    augmentation: augment.Compose | None = None,
    decoded: str | Path | None = None,
    splits: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Run:
    """`train` as a part of other work: `decoded` is the folder of images that a study has decoded for all its runs,
    which changes nothing but the time of reading; `splits` are the names of the samples to train on and to validate
    with, in place of the dataset's own splits."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with joined(device) as world:
        return _train(
            lambda: settle(config, overrides, augmentation),
            Path(out) if out else None,
            device,
            world,
            Path(decoded) if decoded else None,
            splits,
        )


def _train(
    settled: Callable[[], tuple[RunConfig, Path]],
    out: Path | None,
    device: str,
    world: World,
    decoded: Path | None,
    named: tuple[Sequence[str], Sequence[str]] | None,
) -> Run:
    began = time.monotonic()
    path, folder, weights = Path(), Path(), None
    given: RunConfig | None = None
    with world.together():
        if world.first:
            given, folder = settled()
            require({entry.name: entry.arguments for entry in given.trackers})
            given = rebase(given, Path.cwd())  # absolute paths: the run folder can lie anywhere
    config = world.share(given)
    assert config
    with world.together():
        _suits(config, world)
        dataset = load_dataset(config.data.root)
        dataset.require_contrast()
        if world.first:
            path = out or next_free(folder / "runs", f"{dataset.name}-{config.model.name.lower()}")
            require_absent(path)
            say(f"run folder: {path}")
            weights = resolve(config.model.encoder, config.model.weights) if config.model.encoder else None
            if config.model.encoder and weights:
                say(f"encoder weights: {weights}; licence: {encoder_info(config.model.encoder).licence}")
    path = world.share(path)
    version, hashes = _version(dataset, world, path.parent)
    with world.together():
        splits = named_splits(dataset, *named) if named else training_splits(dataset, config.data.holdout, config.seed)
        prepared = prepare(config, dataset, splits, weights, device, world, _decoded(decoded, config, version))
    trust = prepared.batches.trust
    if trust:
        _agreed(trust.folder, trust.version, world)
    choice = choose_step(config, prepared)
    size = _size(prepared, choice) if world.first else {}
    workers = _workers(config, device, world)
    with ExitStack() as stack:
        run = Run(stack.enter_context(staged_folder(path)) if world.first else path)
        with world.together():
            iterations, budget = _iterations(config, prepared, choice, workers, run, began)
        resolved = world.share(_resolve(config, prepared, choice, iterations, workers))
        if world.first:
            run.write_config(resolved)
            info = _info(dataset, version, splits, choice, device, world) | {"size": size}
            watched = choice.most > 1 and config.train.compile == "none"  # a copy of the model is not compiled
            run.write_info(
                info
                | ({"budget": budget.stored} if budget else {})
                | ({"trust": trust.version} if trust else {})
                | ({"watch": Watch(choice.most, choice.step_seconds).stored} if watched else {}),
                {
                    name: {sample.name: hashes[sample.image] for sample in samples}
                    for name, samples in zip(("train", "val"), splits, strict=True)
                },
            )
            _write_start(run, resolved, prepared)
    say(
        f"{len(splits[0])} training and {len(splits[1])} validation images, {resolved.train.iterations} iterations, "
        f"batch size {config.train.batch_size}, {_epochs(resolved, len(splits[0])):.1f} epochs"
    )
    with _locked(path, world):
        return _finish(Run(path), resolved, prepared, time.monotonic() - began)


def _suits(config: RunConfig, world: World) -> None:
    """ConfigError where so many processes cannot train so."""
    if rest := config.train.batch_size % world.size:
        more = config.train.batch_size - rest + world.size
        raise ConfigError(
            f"train.batch_size: {config.train.batch_size} images cannot be shared evenly by {world.size} "
            f"processes; `--set train.batch_size={more}`, or another multiple"
        )
    if world.size > 1 and config.train.compile != "none":
        raise ConfigError("train.compile: a compiled model cannot be shared by several processes; set it to none")


@contextmanager
def _locked(path: Path, world: World) -> Iterator[None]:
    """The first process holds the run's lock for all."""
    with ExitStack() as stack:
        with world.together():
            if world.first:
                stack.enter_context(exclusive_lock(path))
        yield


def _version(dataset: Dataset, world: World, spare: Path) -> tuple[str, dict[Path, str]]:
    """The content version of the dataset, and the hashes of its files."""
    with world.together():
        hashes = dataset.file_hashes(spare)
        version = dataset.version(hashes)
    return _agreed(dataset.root, version, world), hashes


def _agreed(folder: Path, version: str, world: World) -> str:
    """The version of a folder's content. DataError when a process, perhaps on another host, reads a different one."""
    first = world.share(version)
    with world.together():
        if version != first:
            raise DataError(
                f"{folder}: is not the same on {socket.gethostname()} as for the first process; copy "
                "it again, or use a folder that all hosts share"
            )
    return version


def _decoded(folder: Path | None, config: RunConfig, version: str) -> Decoded | None:
    return Decoded.open(decoded_folder(folder, version, geometry_of(config))) if folder else None


def choose_step(config: RunConfig, prepared: Prepared) -> Choice:
    """The fastest way to make a step, which the model takes from now on."""
    train = config.train
    wanted = Wanted(train.precision, None if train.channels_last == "auto" else train.channels_last, train.threads)
    try:
        choice = choose(
            prepared.segmenter,
            prepared.criterion,
            *prepared.batches[0],
            groups_of(config),
            wanted,
            prepared.world,
            _measuring(config, prepared),
        )
    except (RuntimeError, ValueError) as error:  # torch's words for shapes that do not fit, and for lack of memory
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"model: {config.model.name} cannot make a step with these images ({reason}); change "
            "data.image_size, train.batch_size, or the model"
        ) from None
    choice.apply(prepared.segmenter)
    say(f"precision: {choice.precision} ({choice.reason}); {choice.step_seconds * 1000:.0f} ms per training step")
    return choice


def _measuring(config: RunConfig, prepared: Prepared) -> Callable[[float], float]:
    """Seconds that may go into measuring how a step is made, from those of one step."""
    train = config.train
    if train.budget is not None:
        budget = min(_MEASURING_SECONDS, _MEASURING * seconds_of(train.budget))
        return lambda _: budget
    iterations = train.iterations or _in_epochs(config, prepared)
    return lambda step: min(_MEASURING_SECONDS, _MEASURING * iterations * step)


def _epochs(config: RunConfig, samples: int) -> float:
    return (config.train.iterations or 0) * config.train.batch_size / samples


def _resolve(config: RunConfig, prepared: Prepared, choice: Choice, iterations: int, workers: int) -> RunConfig:
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


def _info(
    dataset: Dataset, version: str, splits: tuple[list[Sample], list[Sample]], choice: Choice, device: str, world: World
) -> dict[str, Any]:
    return {
        "maskwright": __version__,
        "dataset": {"name": dataset.name, "root": str(dataset.root.resolve()), "version": version},
        "splits": {"train": [s.name for s in splits[0]], "val": [s.name for s in splits[1]]},
        "classes": dataset.classes.to_dict(),
        "device": device,
        "processes": world.size,
        "threads": choice.threads,
        "precision": {"chosen": choice.precision, "reason": choice.reason, "step_seconds": choice.seconds},
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
        },
    }


def _size(prepared: Prepared, choice: Choice) -> dict[str, Any]:
    """What the model costs, and a training step of one batch (of several processes, the share of one)."""
    segmenter = prepared.segmenter
    images, targets = prepared.batches[0]
    kept = kept_bytes(
        segmenter.model, lambda model: step_loss(with_model(segmenter, model), prepared.criterion, images, targets)
    )
    size = measure(segmenter.model, segmenter.preprocessing.geometry.size)
    say(f"model: {size}")
    return size.to_dict() | {"batch_size": len(images), "kept_bytes": kept, "step_seconds": choice.step_seconds}


def _write_start(run: Run, config: RunConfig, prepared: Prepared) -> None:
    """The state before the first step, so that resuming never needs the pretrained weights again."""
    model = prepared.segmenter.model
    average = Average(model, config.train.ema).model if config.train.ema else None
    save_state(run.last, Progress(), model, average, build_optimizer(model, prepared.segmenter.spec, groups_of(config)))


def _finish(run: Run, config: RunConfig, prepared: Prepared, setup_seconds: float) -> Run:
    train_config = config.train
    assert train_config.iterations and train_config.evaluate_every and train_config.workers is not None
    world = prepared.world
    schedule = Schedule(config.schedule.name, config.schedule.warmup, config.schedule.arguments)
    budget = world.share(Budget.of(run, setup_seconds) if world.first else None)
    plan = Plan(
        train_config.iterations,
        train_config.evaluate_every,
        train_config.batch_size,
        config.seed,
        groups_of(config),
        schedule,
        train_config.ema,
        train_config.early_stopping,
        train_config.workers,
        train_config.compile,
        tuple(Refit(**refit.model_dump()) for refit in train_config.refits),
        budget,
        tuple(ThreadChange(**change.model_dump()) for change in train_config.thread_changes),
        world.share(Watch.of(run) if world.first else None),
    )
    if cuda := prepared.segmenter.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with deliveries(run, [entry.name for entry in config.trackers if world.first]):
        facts = fit(run, plan, prepared.segmenter, prepared.criterion, prepared.batches, prepared.validation, world)
        facts |= {"peak_bytes": torch.cuda.max_memory_allocated()} if cuda else {}
        if budget:
            facts |= {"budget": budget.result()}
        if world.first:
            followed = {
                "refits": [RefitConfig(**refit) for refit in facts.get("refits", [])],
                "thread_changes": [ThreadsConfig(**change) for change in facts.get("thread_changes", [])],
            }
            if any(followed.values()):
                run.write_config(config.model_copy(update={"train": train_config.model_copy(update=followed)}))
            run.finish(facts | {"setup_seconds": setup_seconds})
    say(
        f"trained {facts['iterations']} iterations in {clock(facts['seconds'])} "
        f"({facts['images_per_second']:.1f} images/s); "
        f"best val mIoU {facts['best_val_mIoU']:.4f} at iteration {facts['best_iteration']}"
    )
    if world.first and (findings := examine(run)):
        say(human(findings))
    if budget:
        say(
            "budget {seconds:.0f} s: took {used:.0f} s, {error:+.1%}".format(**facts["budget"])
            + " (stopped early)" * facts["early_stopped"]
        )
    say(f"run folder: {run.path}")
    return run


@fast_arithmetic()
def find_rate(config: RunConfig) -> RangeTest:
    """The learning-rate range test of a training, with its model, data, batches, loss and optimiser; nothing is
    written. In float32 unless the config names a precision, since measuring one may choose another next time."""
    config = with_pipelines(config)
    dataset = load_dataset(config.data.root)
    weights = resolve(config.model.encoder, config.model.weights) if config.model.encoder else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    splits = training_splits(dataset, config.data.holdout, config.seed)
    with torch.random.fork_rng([device] if device == "cuda" else []):
        prepared = prepare(config, dataset, splits, weights, device, ALONE)
    prepared.segmenter.precision = "bfloat16" if config.train.precision == "bfloat16" else "float32"
    return range_test(prepared.segmenter, prepared.criterion, prepared.batches, groups_of(config), config.seed)


def resume(run: str | Path | Run) -> Run:
    """Goes on with a run that was stopped or killed, and ends with the same weights and the same log as if
    it never had been. Raises DataError when the dataset or the maps of `data.trust` have changed since; a finished run
    is returned as it is.

    Several processes go on as they began; another number of them trains the same model but for rounding and dropout.
    """
    require_posix("resume")
    return resume_part(run)


@fast_arithmetic()
def resume_part(run: str | Path | Run, *, decoded: str | Path | None = None) -> Run:
    """`resume` as a part of other work; `decoded` is that of `train_part`."""
    run = run if isinstance(run, Run) else Run(Path(run))
    with joined("cuda" if torch.cuda.is_available() else "cpu") as world, ExitStack() as stack:
        finished = False
        with world.together():
            if world.first:
                stack.enter_context(exclusive_lock(Run.open(run.path).path))
                finished = run.finished is not None
        if world.share(finished):
            say(f"run folder: {run.path}: has finished already")
            return run
        return _resume(run, world, Path(decoded) if decoded else None)


def train_or_resume(
    config: RunConfig,
    *,
    out: str | Path,
    decoded: str | Path | None = None,
    splits: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Run:
    """The finished run in `out`, for work of several trainings that may be stopped anywhere: trained where there is
    none, resumed where it was stopped, and as it is where it has ended. All else is as for `train_part`; a run that has
    begun goes by what it has stored, not by `config` and `splits`."""
    run = Run(Path(out))
    if not run.info_file.is_file():
        return train_part(config, out=out, decoded=decoded, splits=splits)
    return run if run.finished else resume_part(run, decoded=decoded)


def _resume(run: Run, world: World, decoded: Path | None) -> Run:
    began = time.monotonic()
    found = None
    with world.together():
        if world.first:
            for left_over in run.path.rglob(f"{STAGING_PREFIX}*"):  # being written when it was killed
                # In these `evaluate`, or a delivery, may be at work.
                if left_over.is_file() and not {run.evaluations, run.trackers} & set(left_over.parents):
                    left_over.unlink()
            found = run.config(), run.info()
    found = world.share(found)
    assert found
    config, info = found
    if world.size != info["processes"]:
        say(
            f"{run.path}: began with {info['processes']} processes and goes on with {world.size}: the same training, "
            "but not the same bytes"
        )
    with world.together():
        _suits(config, world)
        dataset = load_dataset(config.data.root)
        version = dataset.version(dataset.file_hashes(run.path))
        if version != info["dataset"]["version"]:
            raise DataError(f"{config.data.root}: has changed since {run.path} began; restore it, or train a new run")
        if info["device"] == "cuda" and not torch.cuda.is_available():
            raise SetupError(f"{run.path}: began on a GPU, and there is none here; resume it where it began")
        splits = named_splits(dataset, info["splits"]["train"], info["splits"]["val"])
        prepared = prepare(config, dataset, splits, None, info["device"], world, _decoded(decoded, config, version))
        if (trust := prepared.batches.trust) and trust.version != info.get("trust"):
            raise DataError(f"{trust.folder}: has changed since {run.path} began; restore it, or train a new run")
    train = config.train
    assert train.precision != "auto" and train.channels_last != "auto" and train.threads
    Choice(train.precision, 0.0, "as it began", {}, train.channels_last, train.threads).apply(prepared.segmenter)
    return _finish(run, config, prepared, time.monotonic() - began)
