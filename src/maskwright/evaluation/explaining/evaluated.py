"""The evaluation that is explained, read back from its folder and checked against the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import Journal, confine
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask, Pixels
from maskwright.core.sample import INDEX, Sample, read_mask
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument
from maskwright.evaluation.metrics import confusion_matrix
from maskwright.evaluation.scoring.stored import evaluated_splits, newest
from maskwright.run import Run


def newest_folder(run: Run, split: str) -> Path:
    """The folder of the newest finished evaluation of a split. ConfigError where there is none."""
    if scored := newest(run, split):
        return scored.folder
    others = ", ".join(sorted(evaluated_splits(run)))
    there = f"there are evaluations of {others}; " if others else ""
    raise ConfigError(
        f"{run.path}: the split {split!r} has not been evaluated; {there}"
        f"`maskwright evaluate {run.path} --split {split}` does it"
    )


@dataclass(frozen=True)
class ScoredImages:
    """The samples of an evaluation in its order, and their confusion counts (N, K, K), which stay on the disk."""

    folder: Path
    dataset: Dataset
    samples: list[Sample]
    confusions: npt.NDArray[np.int64]

    @classmethod
    def of(cls, folder: Path, dataset: Dataset) -> ScoredImages:
        """DataError where the dataset has not the classes and the samples of the evaluation."""
        names = [row["sample"] for row in Journal(folder / "images.jsonl").read()]
        file = folder / "confusions.npy"
        try:
            confusions = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file}: cannot be read ({error}); evaluate again") from None
        expected = (len(names), len(dataset.classes), len(dataset.classes))
        if confusions.shape != expected or not names:
            raise DataError(
                f"{file}: its shape is {confusions.shape}, but the images and the classes of "
                f"{dataset.root} ask for {expected}; give the dataset that was evaluated with {argument('data')}"
            )
        known = {sample.name: sample for sample in dataset.samples if sample.labelled}
        gone = [name for name in names if name not in known]
        if gone:
            raise DataError(
                f"{dataset.root}: {len(gone)} of the {len(names)} evaluated samples are not in it "
                f"({gone[0]}); give the dataset that was evaluated with {argument('data')}, or evaluate again"
            )
        return cls(folder, dataset, [known[name] for name in names], confusions)

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
