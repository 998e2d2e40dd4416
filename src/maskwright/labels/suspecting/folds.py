"""Out-of-fold probabilities: what models that have never seen an image say about it.

The samples are divided into folds, stratified by class and with equal images together. For each fold a small model is
trained on all others, and predicts it. What is said of an image is kept as one small picture, so memory does not grow
with their number, and work that was stopped is resumed.

    FOLDER/folds.json               the fold of each sample, and why others are left out
    FOLDER/fold-1/ …                whole trainings, as run folders
    FOLDER/fold-1.json …            trainings over one frozen encoder, in a few numbers
    FOLDER/features/                what that encoder says of the images (see `frozen`)
    FOLDER/probabilities/NAME.png   (K h, w) 8-bit grey: the probabilities of the K classes one below the other, at the
                                    model's size (h, w), 255 for 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskwright.base import cluster
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
from maskwright.evaluation.metrics import confusion_matrix, mIoU
from maskwright.labels.suspecting.trainings import NEVER, train_one_of
from maskwright.modeling.models import takes_encoder
from maskwright.run import Run

if TYPE_CHECKING:
    from maskwright.labels.suspecting.frozen import FrozenFolds

Floats = npt.NDArray[np.float32]
_BATCH = 16
_MORE_THAN_MAPS = {"DPT"}  # whose encoder says more to the decoder than maps


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
class FoldFacts:
    """A training: its images, iterations, and the mIoU of what it says about the labels that it has not seen."""

    images: int
    iterations: int
    mIoU: float


@dataclass(frozen=True)
class OutOfFold:
    """The out-of-fold probabilities in a folder. `geometry` is the way of images and masks to the model's size; `facts`
    are those of the trainings."""

    folder: Path
    dataset: Dataset
    samples: list[Sample]
    geometry: Geometry
    facts: list[FoldFacts]
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
    """Trains and predicts what is not in `folder` yet. A decoder over a pretrained encoder is trained alone, over
    features that are computed once; any other model is trained as a whole for each fold. All trainings make as many
    iterations, so that their models can be compared: as many as `config` says or, with `seconds`, as fit into that wall
    time, as it is measured first.

    Raises Interrupted when it is stopped, with all that was done kept.
    """
    table = folder / "folds.json"
    if not table.exists():
        parts = divide_into_folds(dataset, folds, seed)
        atomic_write_json(table, {"names": parts.names, "left_out": parts.left_out})
    stored = read_json(table)
    names = stored["names"]
    predict = _over_one_encoder if shares_encoder(config) else _by_whole_trainings
    facts = predict(dataset, config, folder, names, seconds)
    size = config.data.image_size
    geometry = Geometry((size[0], size[1]), config.data.keep_ratio, config.data.resample)
    return OutOfFold(folder, dataset, _samples(dataset, [*chain(*names)]), geometry, facts, stored["left_out"])


def _samples(dataset: Dataset, names: Sequence[str]) -> list[Sample]:
    wanted = {*names}
    return [sample for sample in dataset.samples if sample.name in wanted]


def _others(names: Sequence[Sequence[str]], number: int) -> list[str]:
    """The samples of all parts but the one with this number, from 0."""
    return [name for place, part in enumerate(names) if place != number for name in part]


def shares_encoder(config: RunConfig) -> bool:
    """Whether the model is a decoder over the maps of a pretrained encoder, so that all folds can share that."""
    model = config.model
    return takes_encoder(model.name) and model.name not in _MORE_THAN_MAPS and model.weights != "none"


def _over_one_encoder(
    dataset: Dataset, config: RunConfig, folder: Path, names: Sequence[Sequence[str]], seconds: float | None
) -> list[FoldFacts]:
    from maskwright.labels.suspecting.frozen import FrozenFolds

    files = [folder / f"fold-{number}.json" for number in range(1, len(names) + 1)]
    missing = [
        number
        for number, (own, file) in enumerate(zip(names, files, strict=True))
        if not file.exists() or not all(_file(folder, name).exists() for name in own)
    ]
    if missing:
        made = partial(FrozenFolds, dataset, _samples(dataset, [*chain(*names)]), config, folder)
        frozen = made()
        steps = next((read_json(file)["iterations"] for file in files if file.exists()), None)
        steps = steps or frozen.length(seconds, len(names))
        # What holds the models is not sent to other processes: they make it from the features, which are there now.
        ready: Callable[[], FrozenFolds] = made if cluster.active() else lambda: frozen

        def fold(number: int) -> list[int]:
            _one_decoder(ready(), dataset, config.seed, folder, names, number, steps)
            return [number]

        for done in cluster.shared(fold, missing):
            _tell_done(done, names)
    return [FoldFacts(**read_json(file)) for file in files]


def _one_decoder(
    frozen: FrozenFolds,
    dataset: Dataset,
    seed: int,
    folder: Path,
    names: Sequence[Sequence[str]],
    number: int,
    steps: int,
) -> None:
    """Trains the decoder that has not seen the part with this number, from 0, and keeps what it says of it."""
    say(f"fold {number + 1} of {len(names)}")
    own, others = names[number], _others(names, number)
    model = frozen.train(others, seed + number, steps)
    counts = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    for name, (probabilities, mask) in zip(own, frozen.predict(model, own), strict=True):
        counts += confusion_matrix(mask, probabilities.argmax(0).astype(np.uint8), len(dataset.classes))
        write_probabilities(folder, name, probabilities)
    atomic_write_json(folder / f"fold-{number + 1}.json", asdict(FoldFacts(len(others), steps, float(mIoU(counts)))))


def _by_whole_trainings(
    dataset: Dataset, config: RunConfig, folder: Path, names: Sequence[Sequence[str]], seconds: float | None
) -> list[FoldFacts]:
    first = _whole_training(config, dataset, folder, names, 0, seconds / len(names) if seconds else None)
    like = _like(first)
    runs = [first]
    for done in cluster.shared(
        lambda number: [_whole_training(like, dataset, folder, names, number, None)], range(1, len(names))
    ):
        runs += done
        _tell_done([len(runs) - 1], names)
    ended = [run.finished or {} for run in runs]
    return [
        FoldFacts(len(run.info()["splits"]["train"]), one["iterations"], one["best_val_mIoU"])
        for run, one in zip(runs, ended, strict=True)
    ]


def _whole_training(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    names: Sequence[Sequence[str]],
    number: int,
    seconds: float | None,
) -> Run:
    """The finished run that has not seen the part with this number, from 0; what it says of it is kept."""
    from maskwright.modeling.models.devices import device_of
    from maskwright.modeling.models.segmenter import load_segmenter

    run = train_fold(config, dataset, names, number, folder / f"fold-{number + 1}", seconds)
    missing = [one for one in _samples(dataset, names[number]) if not _file(folder, one.name).exists()]
    if missing:
        segmenter = load_segmenter(run.best, device_of(None))
        predict_samples(dataset, missing, segmenter, folder, f"fold {number + 1} of {len(names)}")
    return run


def _tell_done(numbers: Iterable[int], names: Sequence[Sequence[str]]) -> None:
    """Of trainings on a cluster, which say nothing themselves."""
    if cluster.active():
        for number in numbers:
            say(f"fold {number + 1} of {len(names)} is done")


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
    return train_one_of(len(names), argument("folds"), own, folder, (_others(names, number), list(names[number])))


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
    images = [segmenter.preprocessing.geometry.image(dataset.read_bands(sample)) for sample in samples]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    yield from segmenter.probabilities(batch).cpu().numpy()
