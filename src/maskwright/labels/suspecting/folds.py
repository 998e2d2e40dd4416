"""Out-of-fold probabilities: what models that have never seen an image say about it.

The samples are divided into folds, stratified by class and with equal images together. For each fold a small model is
trained on all others, and predicts it. What is said of an image is kept as one small picture, so memory does not grow
with their number, and work that was stopped is resumed.

    FOLDER/folds.json               the fold of each sample, and why others are left out
    FOLDER/fold-1/ …                the trainings, as run folders
    FOLDER/probabilities/NAME.png   (K h, w) 8-bit grey: the probabilities of the K classes one below the other, at the
                                    model's size (h, w), 255 for 1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.progress import progress, say
from maskwright.base.stopping import graceful
from maskwright.base.storage import atomic_write_bytes, atomic_write_json, read_json
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.core.mask_files import read_grey
from maskwright.core.masks import grey_png
from maskwright.core.sample import Sample
from maskwright.data.splitting import propose
from maskwright.errors import DataError, Interrupted, argument
from maskwright.labels.suspecting.trainings import NEVER, train_one_of
from maskwright.run import Run

Floats = npt.NDArray[np.float32]
_BATCH = 16


@dataclass(frozen=True)
class Folds:
    """The samples of each fold, by name; `left_out` are notes on samples that cannot be used."""

    names: list[list[str]]
    left_out: list[str]


def divide_into_folds(dataset: Dataset, folds: int, seed: int) -> Folds:
    """Divides the labelled samples into so many folds, or as many as there are images. DataError for fewer than two."""
    labelled = tuple(sample for sample in dataset.samples if sample.labelled and sample.status != "exclude")
    folds = min(folds, len(labelled))
    if folds < 2:
        raise DataError(f"{dataset.root}: {len(labelled)} labelled samples cannot be divided; label more of them")
    keys = [str(number) for number in range(folds)]
    found = propose(replace(dataset, samples=labelled), fractions=dict.fromkeys(keys, 1 / folds), seed=seed)
    usable = {name: part for name, part in found.splits.items() if part is not None}
    return Folds(
        [[name for name, part in usable.items() if part == key] for key in keys],
        [note for note in found.notes if " is left out: " in note],
    )


@dataclass(frozen=True)
class OutOfFold:
    """The out-of-fold probabilities in a folder. `geometry` is the way of images and masks to the model's size."""

    folder: Path
    dataset: Dataset
    samples: list[Sample]
    geometry: Geometry
    runs: list[Run]
    left_out: list[str]

    def read(self, sample: Sample) -> Floats:
        """(K, h, w) float32 at the model's size, adding up to 1."""
        return read_probabilities(self.folder, sample.name, len(self.dataset.classes))


def read_probabilities(folder: Path, name: str, classes: int) -> Floats:
    """(K, h, w) float32, adding up to 1 in every pixel. DataError for a file that is missing or not ours."""
    file = _file(folder, name)
    wrong = DataError(f"{file}: holds no probabilities of {classes} classes; delete it, and they are made again")
    try:
        stored = read_grey(file)
    except DataError:
        raise wrong from None
    if len(stored) % classes:
        raise wrong
    levels = stored.reshape(classes, -1, stored.shape[1]).astype(np.float32)
    return np.asarray(levels / np.maximum(levels.sum(0), 1), np.float32)


def write_probabilities(folder: Path, name: str, probabilities: Floats) -> None:
    """Stores (K, h, w) 0..1, rounded to steps of 1/255."""
    levels = np.rint(probabilities * 255).astype(np.uint8).reshape(-1, probabilities.shape[2])
    atomic_write_bytes(_file(folder, name), grey_png(levels, compression=1))


def _file(folder: Path, name: str) -> Path:
    return folder / "probabilities" / f"{name}.png"


def predict_out_of_fold(
    dataset: Dataset, config: RunConfig, folder: Path, *, folds: int, seed: int, seconds: float | None
) -> OutOfFold:
    """Trains and predicts what is not in `folder` yet. With `seconds` the first training has an equal part of that wall
    time, else the length that `config` says; the others make as many iterations in the same way, so that all models can
    be compared.

    Raises Interrupted when it is stopped, with all that was done kept.
    """
    from maskwright.modeling.models.segmenter import load_segmenter

    table = folder / "folds.json"
    if not table.exists():
        parts = divide_into_folds(dataset, folds, seed)
        atomic_write_json(table, {"names": parts.names, "left_out": parts.left_out})
    stored = read_json(table)
    names = stored["names"]
    runs: list[Run] = []
    for number in range(len(names)):
        own, part = (_like(runs[0]), None) if runs else (config, seconds / len(names) if seconds else None)
        run = train_fold(own, dataset, names, number, folder / f"fold-{number + 1}", part)
        held_out = [sample for sample in dataset.samples if sample.name in set(names[number])]
        missing = [sample for sample in held_out if not _file(folder, sample.name).exists()]
        if missing:
            segmenter = load_segmenter(run.best, run.info()["device"])
            predict_samples(dataset, missing, segmenter, folder, f"fold {number + 1} of {len(names)}")
        runs.append(run)
    usable = {name for part in names for name in part}
    size = config.data.image_size
    geometry = Geometry((size[0], size[1]), config.data.keep_ratio, config.data.resample)
    return OutOfFold(
        folder,
        dataset,
        [sample for sample in dataset.samples if sample.name in usable],
        geometry,
        runs,
        stored["left_out"],
    )


def _like(first: Run) -> RunConfig:
    """The config of a training that is as long as the finished one, with all that it measured."""
    config = first.config()
    length = {"iterations": (first.finished or {})["iterations"], "refits": [], "thread_changes": []}
    return config.model_copy(update={"train": config.train.model_copy(update=length)})


def train_fold(
    config: RunConfig,
    dataset: Dataset,
    names: Sequence[Sequence[str]],
    number: int,
    folder: Path,
    seconds: float | None,
) -> Run:
    """The finished run in `folder` that has learnt from all parts in `names` but that with this number, from 0; with
    `seconds` it is as long as that, else as `config` says."""
    if Run(folder).finished is None:
        say(f"fold {number + 1} of {len(names)}")
    changed: dict[str, Any] = {"evaluate_every": NEVER}
    if seconds is not None:
        changed |= {"budget": f"{seconds:.2f}s", "iterations": None, "epochs": None}
    own = config.model_copy(update={"train": config.train.model_copy(update=changed), "seed": config.seed + number})
    others = [name for place, part in enumerate(names) if place != number for name in part]
    return train_one_of(len(names), argument("folds"), own, folder, (others, list(names[number])))


def predict_samples(dataset: Dataset, samples: Sequence[Sample], segmenter: object, folder: Path, what: str) -> None:
    """Stores the probabilities of `samples` in `folder`; `what` stands on the progress bar. Raises Interrupted when it
    is stopped, with all that was done kept."""
    with graceful() as stop, progress(f"predicting {what}", len(samples)) as advance:
        for done in range(0, len(samples), _BATCH):
            chosen = samples[done : done + _BATCH]
            for sample, probabilities in zip(chosen, _probabilities(dataset, chosen, segmenter), strict=True):
                write_probabilities(folder, sample.name, probabilities)
            advance(done + len(chosen))
            if stop.is_set():
                raise Interrupted(f"{folder}: stopped; the same command resumes it")


def _probabilities(dataset: Dataset, samples: Sequence[Sample], segmenter: object) -> Iterator[Floats]:
    import torch

    from maskwright.modeling.models.segmenter import Segmenter

    assert isinstance(segmenter, Segmenter)
    images = [segmenter.preprocessing.geometry.image(dataset.read_image(sample)) for sample in samples]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    yield from segmenter.probabilities(batch).cpu().numpy()
