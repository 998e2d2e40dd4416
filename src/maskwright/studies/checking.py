"""What can be known of a study's runs before the first one is trained: that datasets, models, losses and trackers can
be opened and built, each of them tried once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from maskwright.base.storage import dump_json
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument
from maskwright.run import Run
from maskwright.studies.folder import RunsFolder
from maskwright.training.tracking import trackers
from maskwright.training.unchanged import Used


def check_runs(configs: Sequence[RunConfig]) -> dict[str, Dataset]:
    """The datasets of runs, by their root. Raises a ConfigError of all that is wrong with settings, else the first
    error of another kind."""
    import torch

    errors: list[MaskwrightError] = []
    datasets: dict[str, Dataset] = {}
    for config in _distinct(configs, lambda config: config.data.root):
        with _collected(errors):
            dataset = load_dataset(config.data.root)
            dataset.require_contrast()
            datasets[config.data.root] = dataset
    usable = [config for config in configs if config.data.root in datasets]
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
        for config in _distinct(usable, lambda config: [config.data.root, config.model.model_dump()]):
            with _collected(errors):
                _build_model(config, datasets[config.data.root])
    for config in _distinct(usable, lambda config: [config.data.root, [term.model_dump() for term in config.loss]]):
        with _collected(errors):
            _build_loss(config, datasets[config.data.root])
        with _collected(errors):
            _check_best(config, datasets[config.data.root])
    for config in _distinct(configs, lambda config: [term.model_dump() for term in config.trackers]):
        with _collected(errors):
            trackers.require({term.name: term.arguments for term in config.trackers})
    if wrong := [problem for error in errors if isinstance(error, ConfigError) for problem in error.problems]:
        raise ConfigError(dict.fromkeys(wrong))
    for error in errors:
        raise error
    return datasets


def _distinct(configs: Iterable[RunConfig], part: Callable[[RunConfig], object]) -> list[RunConfig]:
    """The last config with each of the different parts."""
    return [*{dump_json(part(config)): config for config in configs}.values()]


@contextmanager
def _collected(errors: list[MaskwrightError]) -> Iterator[None]:
    try:
        yield
    except MaskwrightError as error:
        errors.append(error)


def _build_model(config: RunConfig, dataset: Dataset) -> None:
    from maskwright.modeling.models.build import ModelSpec
    from maskwright.training.from_run import start_of, started

    model = config.model
    spec = ModelSpec(model.name, len(dataset.classes), model.encoder, model.args, dataset.bands.channels)
    started(spec, start_of(model), dataset.classes)


def _check_best(config: RunConfig, dataset: Dataset) -> None:
    from maskwright.training.best import Best

    Best.of(config.train.best, dataset.classes)


def _build_loss(config: RunConfig, dataset: Dataset) -> None:
    from maskwright.modeling.losses.build import build_loss

    counts = np.ones((1, len(dataset.classes)), np.int64)
    build_loss([term.model_dump() for term in config.loss], counts, dataset.classes)


def splits_to_score(wanted: Sequence[str] | None, datasets: Iterable[Dataset]) -> list[str]:
    """`wanted`, else `test` where every dataset has one, else `val`. ConfigError for a split that one has not; `val`
    is made by every training."""
    labelled = {
        dataset.root: {split for split, samples in dataset.splits.items() if any(s.labelled for s in samples)}
        for dataset in datasets
    }
    if wanted is None:
        return ["test"] if all("test" in splits for splits in labelled.values()) else ["val"]
    if missing := [
        f"evaluate: {root} has no labelled samples in {split!r}; it has {', '.join(sorted(splits - {''}))}"
        for root, splits in labelled.items()
        for split in wanted
        if split not in {"train", "val", *splits}
    ]:
        raise ConfigError(missing)
    return list(wanted)


def check_versions(
    folder: RunsFolder, configs: Mapping[str, RunConfig], datasets: dict[str, Dataset]
) -> dict[str, str]:
    """The content versions of the datasets. DataError when what one of the runs, given by name, trains on or validates
    with was different when it began, or there was more or less of it: then its scores could not be compared with those
    of the rest."""
    hashes = {root: dataset.file_hashes(folder.path) for root, dataset in datasets.items()}
    versions = {root: dataset.version(hashes[root]) for root, dataset in datasets.items()}
    for name, config in configs.items():
        run, root = folder.run(name), config.data.root
        if run.info_file.is_file() and run.info()["dataset"]["version"] != versions[root]:
            _require_unchanged(run, config, datasets[root], hashes[root])
    return versions


def _require_unchanged(run: Run, config: RunConfig, dataset: Dataset, hashes: Mapping[Path, str]) -> None:
    from maskwright.training.prepare import training_splits

    otherwise = f"begin anew with {argument('out')}"
    splits = training_splits(Used.by(run).as_it_was(dataset, hashes, run, otherwise), config.data.holdout, config.seed)
    now = [{sample.name for sample in samples} for samples in splits]
    if now != [set(images) for images in (run.images() or {}).values()]:
        raise DataError(
            f"{dataset.root}: has changed since {run.path} began: it has other samples to train on or to validate "
            f"with; restore it, or {otherwise}"
        )
