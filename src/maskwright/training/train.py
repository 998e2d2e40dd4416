"""The verbs `train` and `resume`: from a config to a finished Run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from maskwright.base.progress import say
from maskwright.base.storage import STAGING_PREFIX, exclusive_lock, next_free, require_absent, staged_folder
from maskwright.base.systems import require_posix
from maskwright.base.texts import clock, plural
from maskwright.base.workers import available_cores
from maskwright.config import RefitConfig, RunConfig, ThreadsConfig, rebase
from maskwright.core.dataset import Dataset
from maskwright.core.hashes import file_hash
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, argument
from maskwright.modeling import augment
from maskwright.modeling.models.devices import device_of
from maskwright.modeling.models.weights import Found
from maskwright.modeling.optim.build import Schedule
from maskwright.run import Run
from maskwright.training.best import Best
from maskwright.training.distributed.agreement import agreed, agreed_version, require_shareable
from maskwright.training.distributed.processes import Processes, joined
from maskwright.training.doctor import examine, sentences
from maskwright.training.from_run import OfRun, start_of
from maskwright.training.guest import as_a_guest
from maskwright.training.image_cache import Decoded, decoded_folder, pixels_of, write_decoded
from maskwright.training.length import Budget, Refit
from maskwright.training.loader import room
from maskwright.training.longer import longer_config, parent_of
from maskwright.training.loop import FitSettings, fit
from maskwright.training.measuring import choose_step, iterations_of
from maskwright.training.precision import StepChoice
from maskwright.training.prepare import (
    Prepared,
    geometry_of,
    groups_of,
    named_splits,
    prepare,
    settle,
    training_splits,
    with_statistics,
)
from maskwright.training.progressive import Progressive
from maskwright.training.run_start import (
    resolved_config,
    run_info,
    say_what_cannot_be_told,
    size_of,
    write_info,
    write_start,
)
from maskwright.training.threads import ThreadChange, Watch
from maskwright.training.tracking.delivery.spool import deliveries
from maskwright.training.tracking.trackers import require
from maskwright.training.unchanged import device_for, known


def _workers(config: RunConfig, device: str, processes: Processes) -> int:
    """Loader processes. On a CPU they would take cores from the step; making a batch is a small part of its time."""
    if config.train.workers is not None:
        return config.train.workers
    return 0 if device == "cpu" else min(8, max(1, available_cores() // processes.local_size))


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


@as_a_guest()
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
    device = device_of(device)
    with joined(device) as processes, ExitStack() as held:
        return _train(
            lambda: settle(config, overrides, augmentation),
            Path(out) if out else None,
            device,
            processes,
            Path(decoded) if decoded else None,
            splits,
            held,
        )


def _train(
    settled: Callable[[], tuple[RunConfig, Path]],
    out: Path | None,
    device: str,
    processes: Processes,
    decoded: Path | None,
    named: tuple[Sequence[str], Sequence[str]] | None,
    held: ExitStack,
) -> Run:
    began = time.monotonic()
    path, folder = Path(), Path()
    weights: Found | OfRun | None = None
    given: RunConfig | None = None
    with processes.together():
        if processes.first:
            given, folder = settled()
            require({entry.name: entry.arguments for entry in given.trackers})
            given = rebase(given, Path.cwd())  # absolute paths: the run folder can lie anywhere
    config = processes.share(given)
    assert config
    with processes.together():
        require_shareable(config, processes)
        dataset = load_dataset(config.data.root)
        dataset.require_contrast()
        best = Best.of(config.train.best, dataset.classes)
        if processes.first:
            path = out or next_free(folder / "runs", f"{dataset.name}-{config.model.name.lower()}")
            require_absent(path)
            say(f"run folder: {path}")
            weights = start_of(config.model)
            if isinstance(weights, Found):
                say(f"encoder weights: {weights}")
            config = with_statistics(config, weights, dataset.bands)  # only the first process looks for weights
    path, config = processes.share((path, config))
    version, hashes = agreed_version(dataset, processes, path.parent)
    with processes.together():
        splits = named_splits(dataset, *named) if named else training_splits(dataset, config.data.holdout, config.seed)
    images = _decoded(decoded, config, dataset, splits, version, path, processes, held)
    with processes.together():
        prepared = prepare(config, dataset, splits, weights, device, processes, images)
        best.require_pixels(dataset, splits[1], prepared.validation_pixels)
    trust = prepared.batches.trust
    if trust:
        agreed(trust.folder, trust.version, processes)
    choice = choose_step(config, prepared)
    size = size_of(prepared, choice) if processes.first else {}
    workers = _workers(config, device, processes)
    with ExitStack() as stack:
        run = Run(stack.enter_context(staged_folder(path)) if processes.first else path)
        with processes.together():
            iterations, budget = iterations_of(config, prepared, choice, workers, run, began)
        resolved = processes.share(resolved_config(config, prepared, choice, iterations, workers))
        if processes.first:
            run.write_config(resolved)
            info = run_info(dataset, version, splits, choice, device, processes) | {"size": size}
            info |= {"encoder_weights": weights.to_dict()} if isinstance(weights, Found) else {}
            info |= {"start": prepared.start.to_dict()} if prepared.start else {}
            write_info(run, info, config, prepared, choice, budget, splits, hashes)
            write_start(run, resolved, prepared)
    say(
        f"{len(splits[0])} training and {len(splits[1])} validation images, {resolved.train.iterations} iterations, "
        f"batch size {config.train.batch_size}, {_epochs(resolved, prepared.batches.per_epoch):.1f} epochs"
        + (f" of {plural(prepared.batches.per_epoch, 'window')}" if prepared.seen else "")
    )
    if processes.first:
        say_what_cannot_be_told(prepared)
    with _locked(path, processes):
        return _finish(Run(path), resolved, prepared, time.monotonic() - began)


@contextmanager
def _locked(path: Path, processes: Processes) -> Iterator[None]:
    """The first process holds the run's lock for all."""
    with ExitStack() as stack:
        with processes.together():
            if processes.first:
                stack.enter_context(exclusive_lock(path))
        yield


def _decoded(
    folder: Path | None,
    config: RunConfig,
    dataset: Dataset,
    splits: tuple[list[Sample], list[Sample]],
    version: str,
    run: Path,
    processes: Processes,
    held: ExitStack,
) -> Decoded | None:
    """The images that lie decoded in `folder`. Without one, large images of which windows are cut, and which memory
    does not hold, are decoded into a folder beside the run, which is deleted when `held` ends: a window would else cost
    as much as its image."""
    geometry = geometry_of(config)
    if folder is None and geometry.crop:
        folder = run.with_name(f"{run.name}.decoded")
        with processes.together():
            most, each = room(processes.local_size), dataset.bands.channels * dataset.bands.dtype.itemsize + 1
            if processes.first and any(each * pixels_of(dataset, samples, geometry) > most for samples in splits):
                held.callback(shutil.rmtree, folder, ignore_errors=True)
                own = decoded_folder(folder, version, geometry)  # there already, if a kill has left it
                if not own.exists() and write_decoded(own, dataset, [*splits[0], *splits[1]], geometry):
                    say(f"{folder}: holds the decoded images while this run trains")
    return Decoded.open(decoded_folder(folder, version, geometry)) if folder else None


def _epochs(config: RunConfig, places: int) -> float:
    return (config.train.iterations or 0) * config.train.batch_size / places


def _finish(run: Run, config: RunConfig, prepared: Prepared, setup_seconds: float) -> Run:
    train_config = config.train
    assert train_config.iterations and train_config.evaluate_every and train_config.workers is not None
    processes = prepared.processes
    schedule = Schedule(config.schedule.name, config.schedule.warmup, config.schedule.arguments)
    budget = processes.share(Budget.of(run, setup_seconds) if processes.first else None)
    settings = FitSettings(
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
        processes.share(Watch.of(run) if processes.first else None),
        Progressive.of(
            train_config.progressive,
            processes.share(run.info().get("small_step_cost", 1.0) if processes.first else 1.0),
        ),
        Best.of(train_config.best, prepared.dataset.classes),
    )
    device = prepared.segmenter.device
    if cuda := device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with deliveries(run, [entry.name for entry in config.trackers if processes.first]):
        facts = fit(
            run, settings, prepared.segmenter, prepared.criterion, prepared.batches, prepared.validation, processes
        )
        facts |= {"peak_bytes": torch.cuda.max_memory_allocated(device)} if cuda else {}
        if budget:
            facts |= {"budget": budget.result()}
        if processes.first:
            followed = {
                "refits": [RefitConfig(**refit) for refit in facts.get("refits", [])],
                "thread_changes": [ThreadsConfig(**change) for change in facts.get("thread_changes", [])],
            }
            if any(followed.values()):
                run.write_config(config.model_copy(update={"train": train_config.model_copy(update=followed)}))
            run.finish(facts | {"setup_seconds": setup_seconds, "best_hash": file_hash(run.best)})
    say(
        f"trained {facts['iterations']} iterations in {clock(facts['seconds'])} "
        f"({facts['images_per_second']:.1f} images/s); "
        + (f"best val {facts['best_score']} {facts['best_value']:.4f} with " if "best_score" in facts else "best val ")
        + f"mIoU {facts['best_val_mIoU']:.4f} at iteration {facts['best_iteration']}"
    )
    if processes.first and (findings := examine(run)):
        say(sentences(findings))
    if budget:
        say(
            "budget {seconds:.0f} s: took {used:.0f} s, {error:+.1%}".format(**facts["budget"])
            + " (stopped early)" * facts["early_stopped"]
        )
    say(f"run folder: {run.path}")
    return run


def resume(
    run: str | Path | Run,
    *,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    device: str | None = None,
) -> Run:
    """Resumes a run that was stopped or killed, and ends with the same weights and the same log as if
    it never had been. `data` is where its dataset lies now, if it was moved. Raises DataError when what it trains on or
    validates with has changed since (ids, images, masks; not names, colours or other samples), or the maps of
    `data.trust`; a finished run is returned as it is.

    With `overrides`, such as `train.iterations=2000`, a finished run is trained for longer: a new run in `out`, or in
    `NAME-longer-001` beside it, which starts from its last state with the schedule of the new length. The length counts
    from the beginning, but for a budget, which is the time of what is added. `train.evaluate_every`,
    `train.early_stopping`, `optimizer.lr` and `schedule` may change too. ConfigError for anything else, for a length
    that is reached already, and for a run that has not finished.

    It goes on where it began, or on `device`; on another one it is the same training, but not the same bytes.
    Several processes continue as they began; another number of them trains the same model but for rounding and dropout.
    """
    require_posix("resume")
    return resume_part(run, data=data, overrides=overrides, out=out, device=device)


@as_a_guest()
def resume_part(
    run: str | Path | Run,
    *,
    data: str | Path | None = None,
    decoded: str | Path | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    device: str | None = None,
) -> Run:
    """`resume` as a part of other work; `decoded` is that of `train_part`."""
    run = run if isinstance(run, Run) else Run(Path(run))
    moved = Path(data) if data else None
    with joined(device_of(device)) as processes, ExitStack() as stack:
        finished: dict[str, Any] | None = None
        with processes.together():
            if processes.first:
                stack.enter_context(exclusive_lock(Run.open(run.path).path))
                finished = run.finished
                if finished is None and (overrides or out is not None):
                    raise ConfigError(
                        f"{run.path}: has not finished, and is resumed as it began; leave "
                        f"{argument('overrides', '--set')} and {argument('out')} out"
                    )
        finished = processes.share(finished)
        if finished is None:
            return _resume(run, processes, Path(decoded) if decoded else None, moved, device, stack)
        if overrides or out is not None:
            return _train_longer(run, finished, overrides, Path(out) if out else None, processes, moved, device, stack)
        say(f"run folder: {run.path}: has finished already")
        return run


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


def _resume(
    run: Run, processes: Processes, decoded: Path | None, data: Path | None, device: str | None, held: ExitStack
) -> Run:
    began = time.monotonic()
    with processes.together():
        if processes.first:
            for left_over in run.path.rglob(f"{STAGING_PREFIX}*"):  # being written when it was killed
                # In these `evaluate`, or a delivery, may be at work.
                if left_over.is_file() and not {run.evaluations_folder, run.trackers} & set(left_over.parents):
                    left_over.unlink()
    config, info, dataset, _, version = known(run, processes, data)
    device = device_for(run, info["device"], device)
    if processes.size != info["processes"]:
        say(
            f"{run.path}: began with {info['processes']} processes and continues with {processes.size}: "
            "the same training, but not the same bytes"
        )
    with processes.together():
        splits = named_splits(dataset, info["splits"]["train"], info["splits"]["val"])
    images = _decoded(decoded, config, dataset, splits, version, run.path, processes, held)
    with processes.together():
        prepared = prepare(config, dataset, splits, None, device, processes, images)
        if (trust := prepared.batches.trust) and trust.version != info.get("trust"):
            raise DataError(f"{trust.folder}: has changed since {run.path} began; restore it, or train a new run")
        if data and processes.first:
            run.write_config(config)  # later verbs look for the dataset there
    train = config.train
    assert train.precision != "auto" and train.channels_last != "auto" and train.threads
    StepChoice(train.precision, 0.0, "as it began", {}, train.channels_last, train.threads).apply(prepared.segmenter)
    return _finish(run, config, prepared, time.monotonic() - began)


def _train_longer(
    run: Run,
    finished: dict[str, Any],
    overrides: Sequence[str],
    out: Path | None,
    processes: Processes,
    data: Path | None,
    device: str | None,
    held: ExitStack,
) -> Run:
    """A new run that starts where a finished one has ended."""
    began = time.monotonic()
    path, config, parent = Path(), None, None
    with processes.together():
        if processes.first:
            config = longer_config(run, overrides)
            parent = parent_of(run, finished)
            if config.train.iterations:
                parent.require_more(config.train.iterations)
            path = require_absent(out or next_free(run.path.parent, f"{run.path.name}-longer"))
            say(f"run folder: {path}")
    path, config, parent = processes.share((path, config, parent))
    assert config and parent
    before, info, dataset, hashes, version = known(run, processes, data)
    config = config.model_copy(update={"data": before.data})
    device = device_for(run, info["device"], device)
    with processes.together():
        splits = named_splits(dataset, info["splits"]["train"], info["splits"]["val"])
    images = _decoded(None, config, dataset, splits, version, path, processes, held)
    with processes.together():
        prepared = prepare(config, dataset, splits, None, device, processes, images)
    choice = choose_step(config, prepared)
    workers = _workers(config, device, processes)
    with ExitStack() as stack:
        new = Run(stack.enter_context(staged_folder(path)) if processes.first else path)
        with processes.together():
            iterations, budget = iterations_of(config, prepared, choice, workers, new, began)
            if budget:
                iterations += parent.iteration
            parent.require_more(iterations)
        resolved = processes.share(resolved_config(config, prepared, choice, iterations, workers))
        if processes.first:
            new.write_config(resolved)
            kept = {key: info[key] for key in ("size", "encoder_weights", "start") if key in info}
            facts = run_info(dataset, version, splits, choice, device, processes)
            write_info(
                new, facts | kept | {"parent": parent.to_dict()}, config, prepared, choice, budget, splits, hashes
            )
            parent.hand_over(new)
    say(f"goes on from iteration {parent.iteration:,} of {run.path}, to iteration {iterations:,}")
    with _locked(path, processes):
        return _finish(Run(path), resolved, prepared, time.monotonic() - began)
