"""What a model makes of the samples of a split: what `evaluate` scores, and what `tune` chooses by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskwright.base import cluster
from maskwright.base.progress import say
from maskwright.core.bands import Bands
from maskwright.core.classes import ClassTree, Selector
from maskwright.core.dataset import Dataset
from maskwright.core.hashes import file_hash
from maskwright.core.masks import Mask, mask_png
from maskwright.core.predictor import Predictor, with_postprocessing, with_selector
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset, load_dataset_of
from maskwright.errors import ConfigError, DataError, argument
from maskwright.evaluation.guarding.number import Origin, origin_of, used_by
from maskwright.run import Run

if TYPE_CHECKING:
    from maskwright.modeling.models.segmenter import Segmenter


@dataclass(frozen=True)
class PredictedSample:
    """One image: its truth, the predicted indices of each level (top first), the index PNG of the last, and if asked
    for the probabilities (K, H, W)."""

    sample: Sample
    truth: Mask
    levels: Sequence[Mask]
    png: bytes
    probabilities: npt.NDArray[np.float32] | None = None


def opened(data: str | Path | Dataset) -> Dataset:
    """The dataset that a caller means."""
    return data if isinstance(data, Dataset) else load_dataset(data)


def samples_of(dataset: Dataset, split: str, recorded: Mapping[str, Sequence[str]]) -> list[Sample]:
    """The labelled samples of a split; of those that are `recorded`, the ones with these names.

    Raises ConfigError when there are none.
    """
    if split in recorded:
        wanted = set(recorded[split])
        found = [sample for sample in dataset.samples if sample.name in wanted and sample.labelled]
    else:
        found = [sample for sample in dataset.splits.get(split, []) if sample.labelled]
    if not found:
        usable = sorted({*recorded, *(name for name in dataset.splits if name)})
        raise ConfigError(
            f"{argument('split')} {split}: {dataset.root} has no labelled samples in it; it has "
            f"{', '.join(usable) or 'no splits'}"
        )
    return found


@dataclass(frozen=True)
class Ready:
    """The best checkpoint of a run, in `file`, and what it is to label: the `samples` of a split of a dataset of that
    `version`, whose files have these `hashes`; `origin` says what the training has seen of them. `batch` images go
    through the model at once."""

    file: Path
    segmenter: Segmenter
    dataset: Dataset
    samples: Sequence[Sample]
    version: str
    hashes: Mapping[Path, str]
    origin: Origin
    batch: int

    def predictions(self, probabilities: bool = False) -> Iterator[PredictedSample]:
        """What the model makes of the samples, in their order."""
        return predictions_of(self.segmenter, self.dataset, self.samples, self.batch, probabilities)


def ready_for(
    run: Run,
    data: str | Path | Dataset | None,
    split: str,
    selector: Selector | None,
    device: str | None,
    *,
    postprocess: bool,
    hashed: bool,
) -> Ready:
    """A run and what it is to label, as `evaluate` says and refuses; hashes of files are kept where that is allowed
    (`hashed`)."""
    from maskwright.inference.loading import model_file
    from maskwright.modeling.models.devices import device_of
    from maskwright.modeling.models.segmenter import load_segmenter

    file = model_file(run)
    segmenter = with_postprocessing(
        load_segmenter(file, device_of(device)),
        run.postprocessing if postprocess else None,
        str(run.postprocessing_file),
    )
    config, info = run.config(), run.info()
    dataset = opened(data) if data is not None else load_dataset_of(run.path, config.data.root)
    classes, trained = dataset.classes, segmenter.classes
    different = different_classes(dataset, trained)
    if classes.names != trained.names and classes.ids != trained.ids:
        raise different
    require_bands(dataset, segmenter.preprocessing.bands)
    hashes = dataset.file_hashes(run.path if hashed else None)
    version = dataset.version(hashes)
    used = used_by(run, dataset, version, hashes)
    if classes.names != trained.names:
        # Of another dataset the same numbers may mean anything.
        if not used.same_data:
            raise different
        new = zip(trained.names, classes.names, strict=True)
        say(
            f"{dataset.root}: classes have been renamed since training: "
            + ", ".join(f"{before!r} is now {after!r}" for before, after in new if before != after)
            + "; their ids are the same, and the new names are used"
        )
    segmenter = with_selector(segmenter, selector, classes)
    samples = samples_of(dataset, split, info["splits"] if used.same_data else {})
    batch = config.train.batch_size  # as in training, so that the scores of val are exactly those of the log
    origin = origin_of(run, samples, used, hashes, same_tree=classes.structure == trained.structure)
    ended = (run.finished or {}).get("best_hash")  # unknown in runs from before it was noted
    origin = replace(origin, changed=ended is not None and ended != file_hash(file))
    if segmenter.postprocessing:
        chose = run.tuned_on()
        origin = replace(
            origin, tuned_on=tuple(sample.name for sample in samples if sample.image_hash(hashes) in chose)
        )
    return Ready(file, segmenter, dataset, samples, version, hashes, origin, batch)


def different_classes(dataset: Dataset, trained: ClassTree) -> DataError:
    """For a dataset whose classes are not those of the model."""
    return DataError(
        f"{dataset.root}: its classes ({', '.join(dataset.classes.names)}) are not those of the run "
        f"({', '.join(trained.names)}); use the dataset.yaml that the run was trained with"
    )


def predictions_of(
    predictor: Predictor, dataset: Dataset, samples: Sequence[Sample], batch: int, probabilities: bool
) -> Iterator[PredictedSample]:
    """What a model makes of the samples, of which it sees `batch` at once."""
    together = 1 if predictor.preprocessing.geometry.crop else batch  # of a large image, `batch` windows

    def of(start: int) -> Iterator[PredictedSample]:
        chosen = samples[start : start + together]
        pairs = [dataset.read_stored(sample) for sample in chosen]
        found = predictor.labelled([image for image, _ in pairs], batch, probabilities)
        for sample, (_, truth) in zip(chosen, pairs, strict=True):
            levels, values = next(found)
            yield PredictedSample(sample, truth, levels, mask_png(levels[-1], dataset.classes), values)
            del levels, values  # or they would stay while those of the next are made

    for found in cluster.shared(of, range(0, len(samples), together)):
        yield from found


def require_bands(dataset: Dataset, bands: Bands) -> None:
    """DataError where the images of the dataset are others than the model takes."""
    if (dataset.bands.channels, dataset.bands.bits) != (bands.channels, bands.bits):
        raise DataError(
            f"{dataset.root}: its images hold {dataset.bands}, and those of the run {bands}; describe them as those "
            "(`images` in dataset.yaml), or give another dataset"
        )
