"""The verbs `train` and `resume`: from a config to a finished Run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from maskwright.base.progress import say
from maskwright.base.storage import STAGING_PREFIX, exclusive_lock, next_free, require_absent, staged_folder
from maskwright.base.systems import require_posix
from maskwright.base.texts import clock, plural
from maskwright.base.workers import available_cores
from maskwright.config import RefitConfig, RunConfig, ThreadsConfig, rebase
from maskwright.core.dataset import Dataset
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset, load_dataset_of
from maskwright.errors import DataError, SetupError
from maskwright.modeling import augment
from maskwright.modeling.models.weights import Found, resolve
from maskwright.modeling.optim.build import Schedule
from maskwright.run import Run
from maskwright.training.distributed.agreement import agreed, agreed_version, require_shareable
from maskwright.training.distributed.processes import Processes, joined
from maskwright.training.doctor import examine, sentences
from maskwright.training.guest import as_a_guest
from maskwright.training.image_cache import Decoded, decoded_folder, pixels_of, write_decoded
from maskwright.training.length import Budget, Refit
from maskwright.training.loader import room
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
from maskwright.training.run_start import resolved_config, run_info, say_what_cannot_be_told, size_of, write_start
from maskwright.training.threads import ThreadChange, Watch
from maskwright.training.tracking.delivery.spool import deliveries
from maskwright.training.tracking.trackers import require
from maskwright.training.unchanged import Used, moved_to


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
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
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
    weights: Found | None = None
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
        if processes.first:
            path = out or next_free(folder / "runs", f"{dataset.name}-{config.model.name.lower()}")
            require_absent(path)
            say(f"run folder: {path}")
            weights = resolve(config.model.encoder, config.model.weights) if config.model.encoder else None
            if weights:
                say(f"encoder weights: {weights}")
            config = with_statistics(config, weights, dataset.bands)  # only the first process looks for weights
    path, config = processes.share((path, config))
    version, hashes = agreed_version(dataset, processes, path.parent)
    with processes.together():
        splits = named_splits(dataset, *named) if named else training_splits(dataset, config.data.holdout, config.seed)
    images = _decoded(decoded, config, dataset, splits, version, path, processes, held)
    with processes.together():
        prepared = prepare(config, dataset, splits, weights, device, processes, images)
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
            watched = choice.most > 1 and config.train.compile == "none"  # a copy of the model is not compiled
            run.write_info(
                info
                | {
                    "training_classes": [facts.to_dict() for facts in prepared.training_classes],
                    "validation_pixels": prepared.validation_pixels,
                }
                | ({"budget": budget.stored} if budget else {})
                | ({"trust": trust.version} if trust else {})
                | ({"crops": prepared.seen.to_dict()} if prepared.seen else {})
                | ({"encoder_weights": weights.to_dict()} if weights else {})
                | ({"small_step_cost": choice.small_cost} if config.train.progressive else {})
                | ({"watch": Watch(choice.most, choice.step_seconds).stored} if watched else {}),
                {
                    name: {sample.name: sample.image_hash(hashes) for sample in samples}
                    for name, samples in zip(("train", "val"), splits, strict=True)
                },
                {
                    name: {sample.name: dataset.mask_content(sample, hashes) for sample in samples}
                    for name, samples in zip(("train", "val"), splits, strict=True)
                },
            )
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
            most = room(processes.local_size)
            if processes.first and any(4 * pixels_of(dataset, samples, geometry) > most for samples in splits):
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
    )
    if cuda := prepared.segmenter.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with deliveries(run, [entry.name for entry in config.trackers if processes.first]):
        facts = fit(
            run, settings, prepared.segmenter, prepared.criterion, prepared.batches, prepared.validation, processes
        )
        facts |= {"peak_bytes": torch.cuda.max_memory_allocated()} if cuda else {}
        if budget:
            facts |= {"budget": budget.result()}
        if processes.first:
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
    if processes.first and (findings := examine(run)):
        say(sentences(findings))
    if budget:
        say(
            "budget {seconds:.0f} s: took {used:.0f} s, {error:+.1%}".format(**facts["budget"])
            + " (stopped early)" * facts["early_stopped"]
        )
    say(f"run folder: {run.path}")
    return run


def resume(run: str | Path | Run, *, data: str | Path | None = None) -> Run:
    """Resumes a run that was stopped or killed, and ends with the same weights and the same log as if
    it never had been. `data` is where its dataset lies now, if it was moved. Raises DataError when what it trains on or
    validates with has changed since (ids, images, masks; not names, colours or other samples), or the maps of
    `data.trust`; a finished run is returned as it is.

    Several processes continue as they began; another number of them trains the same model but for rounding and dropout.
    """
    require_posix("resume")
    return resume_part(run, data=data)


@as_a_guest()
def resume_part(run: str | Path | Run, *, data: str | Path | None = None, decoded: str | Path | None = None) -> Run:
    """`resume` as a part of other work; `decoded` is that of `train_part`."""
    run = run if isinstance(run, Run) else Run(Path(run))
    with joined("cuda" if torch.cuda.is_available() else "cpu") as processes, ExitStack() as stack:
        finished = False
        with processes.together():
            if processes.first:
                stack.enter_context(exclusive_lock(Run.open(run.path).path))
                finished = run.finished is not None
        if processes.share(finished):
            say(f"run folder: {run.path}: has finished already")
            return run
        return _resume(run, processes, Path(decoded) if decoded else None, Path(data) if data else None, stack)


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


def _resume(run: Run, processes: Processes, decoded: Path | None, data: Path | None, held: ExitStack) -> Run:
    began = time.monotonic()
    found = None
    with processes.together():
        if processes.first:
            for left_over in run.path.rglob(f"{STAGING_PREFIX}*"):  # being written when it was killed
                # In these `evaluate`, or a delivery, may be at work.
                if left_over.is_file() and not {run.evaluations_folder, run.trackers} & set(left_over.parents):
                    left_over.unlink()
            found = run.config(), run.info(), Used.by(run)
            if data is not None:
                found = moved_to(found[0], data), *found[1:]
    found = processes.share(found)
    assert found
    config, info, used = found
    if processes.size != info["processes"]:
        say(
            f"{run.path}: began with {info['processes']} processes and continues with {processes.size}: "
            "the same training, but not the same bytes"
        )
    with processes.together():
        require_shareable(config, processes)
        dataset = load_dataset_of(run.path, config.data.root)
        hashes = dataset.file_hashes(run.path)
        version = dataset.version(hashes)
        if version != info["dataset"]["version"]:
            dataset = used.as_it_was(dataset, hashes, run)
            if processes.first:
                say(f"{config.data.root}: has changed since {run.path} began, but nothing that it trains on")
        if info["device"] == "cuda" and not torch.cuda.is_available():
            raise SetupError(f"{run.path}: began on a GPU, and there is none here; resume it where it began")
        splits = named_splits(dataset, info["splits"]["train"], info["splits"]["val"])
    images = _decoded(decoded, config, dataset, splits, version, run.path, processes, held)
    with processes.together():
        prepared = prepare(config, dataset, splits, None, info["device"], processes, images)
        if (trust := prepared.batches.trust) and trust.version != info.get("trust"):
            raise DataError(f"{trust.folder}: has changed since {run.path} began; restore it, or train a new run")
        if data and processes.first:
            run.write_config(config)  # later verbs look for the dataset there
    train = config.train
    assert train.precision != "auto" and train.channels_last != "auto" and train.threads
    StepChoice(train.precision, 0.0, "as it began", {}, train.channels_last, train.threads).apply(prepared.segmenter)
    return _finish(run, config, prepared, time.monotonic() - began)
