"""The verb `evaluate`: a run's predictions on a split, scored against the truth at the images' own sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.masks import mask_png
from maskwright.core.progress import progress, say
from maskwright.core.sample import Sample
from maskwright.core.storage import atomic_write_json, dump_json, next_free, staged_folder
from maskwright.errors import ConfigError, DataError
from maskwright.formats.opening import load_dataset
from maskwright.metrics import (
    Interval,
    Scores,
    confusion_matrix,
    constant_baseline,
    headline,
    image_scores,
    mean_image_iou,
    most_frequent_baseline,
    scores,
)
from maskwright.models.segmenter import load_segmenter
from maskwright.prediction.predict import model_file
from maskwright.run import Run


@dataclass(frozen=True)
class Evaluation:
    """Scores of a run on a split.

    `scores` are aggregated over the dataset (counts summed over images, then divided); `intervals` are
    95 % bootstrap intervals over images; `mean_image_iou` averages each class's IoU over the images whose
    truth has it. `baselines` are what trivial predictions would reach. `levels` holds the scores of each
    level of a class tree above the leaves. `notes` say what to keep in mind about the numbers.
    """

    folder: Path
    split: str
    names: list[str]
    confusions: npt.NDArray[np.int64]
    scores: Scores
    intervals: dict[str, Interval]
    mean_image_iou: list[float]
    baselines: dict[str, Scores]
    levels: dict[int, Scores]
    notes: list[str]
    dataset_version: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `evaluate`."""
        return {"split": self.split, "images": len(self.names), **self.scores.to_dict(self.intervals),
                "aggregation": "dataset: counts summed over images, then divided; "
                               "intervals: 95 % bootstrap over images",
                "mean_image_iou": self.mean_image_iou,
                "baselines": {name: baseline.to_dict()["scores"] for name, baseline in self.baselines.items()},
                "levels": {str(level): found.to_dict() for level, found in self.levels.items()},
                "notes": self.notes, "dataset_version": self.dataset_version, "folder": str(self.folder)}


def samples_of(run: Run, dataset: Dataset, split: str) -> list[Sample]:
    """The labelled samples of a split; those of `train` and `val` are the ones that the run used.

    Raises ConfigError when there are none.
    """
    recorded = run.info()["splits"]
    same = str(dataset.root.resolve()) == run.info()["dataset"]["root"]
    if split in recorded and same:
        wanted = set(recorded[split])
        found = [sample for sample in dataset.samples if sample.name in wanted and sample.labelled]
    else:
        found = [sample for sample in dataset.splits.get(split, []) if sample.labelled]
    if not found:
        usable = sorted({*(recorded if same else ()), *(name for name in dataset.splits if name)})
        raise ConfigError(f"--split {split}: {dataset.root} has no labelled samples in it; "
                          f"it has {', '.join(usable) or 'no splits'}")
    return found


def evaluate(run: str | Path | Run, *, split: str = "test", data: str | Path | None = None, device: str | None = None
             ) -> Evaluation:
    """Predicts a split with the run's best checkpoint and scores it; the result goes to `RUN/evaluations/SPLIT-001`.

    `data` is another dataset with the same classes. Raises ConfigError for an empty split, DataError when
    classes differ.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    segmenter = load_segmenter(model_file(run), device or ("cuda" if torch.cuda.is_available() else "cpu"))
    config = run.config()
    dataset = load_dataset(data or config.data.root)
    if dataset.classes.names != segmenter.classes.names:
        raise DataError(f"{dataset.root}: its classes ({', '.join(dataset.classes.names)}) are not those of the run "
                        f"({', '.join(segmenter.classes.names)}); use the dataset.yaml that the run was trained with")
    samples = samples_of(run, dataset, split)
    batch = config.train.batch_size  # as in training, so that the scores of val are exactly those of the log
    folder = next_free(run.evaluations, split)
    say(f"evaluation folder: {folder}")
    confusions = np.zeros((len(samples), len(dataset.classes), len(dataset.classes)), np.int64)
    with staged_folder(folder) as staging:
        with progress("evaluating", len(samples)) as advance:
            for start in range(0, len(samples), batch):
                chosen = samples[start : start + batch]
                pairs = [dataset.read(sample) for sample in chosen]
                predicted = segmenter.label([image for image, _ in pairs])
                for i, (sample, (_, truth), found) in enumerate(zip(chosen, pairs, predicted, strict=True), start):
                    confusions[i] = confusion_matrix(truth, found, len(dataset.classes))
                    file = staging / "predictions" / f"{sample.name}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(mask_png(found, dataset.classes))
                advance(start + len(chosen))
        version = dataset.version()
        result = score(folder, split, [sample.name for sample in samples], confusions, dataset.classes, version)
        result = replace(result, notes=[*result.notes, *_run_notes(run, split, version, data is not None)])
        _write(staging, result)
    say(f"evaluation folder: {folder}")
    return result


def score(folder: Path, split: str, names: Sequence[str], confusions: npt.NDArray[np.int64], classes: ClassTree,
          version: str) -> Evaluation:
    """All scores from (N, K, K) int64 confusion counts, one matrix an image."""
    total = confusions.sum(0)
    if not total.any():
        raise DataError(f"{split}: no pixel counts (all are ignored); check the masks")
    overall = scores(total, classes.names, classes.ids)
    baselines = {"first_class": constant_baseline(total, classes.names, classes.ids[0], classes.ids),
                 "most_frequent": most_frequent_baseline(total, classes.names, classes.ids)}
    levels = {}
    for level in range(1, classes.depth):
        groups = classes.groups(level)
        member = np.zeros((len(groups), len(classes)), np.int64)
        for row, indices in enumerate(groups.values()):
            member[row, indices] = 1
        levels[level] = scores(member @ total @ member.T, list(groups))
    notes = _notes(overall, baselines, len(names))
    return Evaluation(folder, split, list(names), confusions, overall, headline(confusions),
                      mean_image_iou(confusions).tolist(), baselines, levels, notes, version)


def _notes(overall: Scores, baselines: dict[str, Scores], images: int) -> list[str]:
    notes = []
    if images == 1:
        notes.append("one image: there is no interval, and the numbers say little about other images")
    elif images < 20:
        notes.append(f"only {images} images: read the intervals, not the values")
    notes += [f"class {row.name!r} does not occur in the truth: its scores are undefined or count false alarms only"
              for row in overall.classes if row.true_pixels == 0]
    trivial = max(baseline.mIoU for baseline in baselines.values())
    if not overall.mIoU > trivial:
        notes.append(f"mIoU is no better than predicting one class everywhere ({trivial:.3f})")
    return notes


def _run_notes(run: Run, split: str, version: str, other_data: bool) -> list[str]:
    notes = []
    if split == "train":
        notes.append("these images were trained on: the scores say nothing about new images")
    if split == "val":
        notes.append("the checkpoint was chosen on this split: its scores are optimistic")
    if not other_data and version != run.info()["dataset"]["version"]:
        notes.append("the dataset has changed since training (another content version)")
    if run.finished is None:
        notes.append("training has not finished: this is the best checkpoint so far")
    return notes


def _write(folder: Path, result: Evaluation) -> None:
    atomic_write_json(folder / "scores.json", result.to_dict())
    rows = [{"sample": name, **image_scores(confusion).to_dict()}
            for name, confusion in zip(result.names, result.confusions, strict=True)]
    (folder / "images.jsonl").write_bytes("".join(dump_json(row) + "\n" for row in rows).encode())
    np.save(folder / "confusions.npy", result.confusions, allow_pickle=False)


def human(result: Evaluation) -> str:
    """The scores as text for a terminal."""
    lines = [f"{result.split}: {len(result.names)} images"]
    for name, interval in result.intervals.items():
        between = f"  [{interval.low:.4f}, {interval.high:.4f}]" if not math.isnan(interval.low) else ""
        lines.append(f"  {name:<6} {interval.value:.4f}{between}")
    width = max(len(row.name) for row in result.scores.classes)
    lines.append(f"  {'class':<{width}}    IoU   Dice  precision  recall  mean image IoU")
    for row, image_iou in zip(result.scores.classes, result.mean_image_iou, strict=True):
        lines.append(f"  {row.name:<{width}}  {row.iou:.3f}  {row.dice:.3f}      {row.precision:.3f}   {row.recall:.3f}"
                     f"           {image_iou:.3f}")
    lines.append("  trivial baselines (mIoU): " + ", ".join(
        f"{name.replace('_', ' ')} everywhere {baseline.mIoU:.3f}" for name, baseline in result.baselines.items()))
    lines += [f"  level {level} mIoU {found.mIoU:.4f}" for level, found in result.levels.items()]
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])
