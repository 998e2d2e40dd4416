"""The evaluation that is explained, read back from its folder and checked against the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import confine
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.masks import Mask, Pixels
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument
from maskwright.evaluation.metrics import confusion_matrix
from maskwright.evaluation.scoring.evaluation import Evaluation, newest
from maskwright.run import Run


def newest_evaluation(run: Run, split: str) -> Evaluation:
    """The newest finished evaluation of a split. ConfigError where there is none."""
    if scored := newest(run, split):
        return scored
    others = ", ".join(run.evaluated_splits())
    there = f"there are evaluations of {others}; " if others else ""
    raise ConfigError(
        f"{run.path}: the split {split!r} has not been evaluated; {there}"
        f"`maskwright evaluate {run.path} --split {split}` does it"
    )


@dataclass(frozen=True)
class EvaluatedSamples:
    """The samples of an evaluation in its order, and their confusion counts (N, K, K), which stay on the disk."""

    folder: Path
    dataset: Dataset
    samples: list[Sample]
    confusions: npt.NDArray[np.int64]

    @classmethod
    def of(cls, evaluation: Evaluation, dataset: Dataset) -> EvaluatedSamples:
        """DataError where the dataset has not the classes and the samples of the evaluation."""
        names, confusions = evaluation.names, evaluation.confusions
        if len(evaluation.classes) != len(dataset.classes) or not names:
            raise DataError(
                f"{evaluation.folder}: its classes ({', '.join(evaluation.classes)}) are not those of {dataset.root} "
                f"({', '.join(dataset.classes.names)}); give the dataset that was evaluated with {argument('data')}"
            )
        known = {sample.name: sample for sample in dataset.samples if sample.labelled}
        gone = [name for name in names if name not in known]
        if gone:
            raise DataError(
                f"{dataset.root}: {len(gone)} of the {len(names)} evaluated samples are not in it "
                f"({gone[0]}); give the dataset that was evaluated with {argument('data')}, or evaluate again"
            )
        return cls(evaluation.folder, dataset, [known[name] for name in names], confusions)

    def read(self, place: int) -> tuple[Pixels, Mask, Mask]:
        """Image (H, W, 3), truth and prediction (H, W) of a sample. DataError unless they are what was scored."""
        sample = self.samples[place]
        try:
            image, truth, prediction = read(self.dataset, self.folder, sample)
            counts = confusion_matrix(truth, prediction, len(self.dataset.classes), IGNORE)
        except MaskwrightError as error:
            raise DataError(f"{sample.name}: what was evaluated cannot be read any more: {error}") from None
        if not (counts == self.confusions[place]).all():
            raise DataError(
                f"{sample.name}: its mask or its prediction is not what was scored in {self.folder}; "
                f"evaluate again, or give the dataset that was evaluated with {argument('data')}"
            )
        return image, truth, prediction


def read(dataset: Dataset, folder: Path, sample: Sample) -> tuple[Pixels, Mask, Mask]:
    """Image (H, W, 3), truth and prediction (H, W) as they are on the disk now."""
    image, truth = dataset.read(sample)
    file = confine(folder / "predictions", f"{sample.name}.png", str(folder / "images.jsonl"))
    return image, truth, dataset.classes.to_indices(np.asarray(read_mask(file, INDEX, dataset.classes).ids), str(file))
