"""The verb `evaluate`: a run's predictions on a split, scored against the truth at the images' own sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from maskwright.core.classes import ClassTree, Selector
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Finding
from maskwright.core.masks import mask_png
from maskwright.core.progress import progress, say
from maskwright.core.sample import Sample
from maskwright.core.storage import atomic_write_json, dump_json, next_free, staged_folder
from maskwright.errors import ConfigError, DataError
from maskwright.formats.opening import load_dataset
from maskwright.guarding import guard
from maskwright.guarding.number import Number, Origin, image_hashes, origin_of
from maskwright.metrics import (
    Interval,
    Scores,
    constant_baseline,
    headline,
    image_scores,
    incoherent_pixels,
    level_confusions,
    mean_image_iou,
    most_frequent_baseline,
    scores,
)
from maskwright.models.segmenter import load_segmenter, with_selector
from maskwright.prediction.predict import model_file
from maskwright.run import Run


@dataclass(frozen=True)
class LevelScores:
    """Scores of one level of a class tree (1 is the top), made as those of `Evaluation` are: `confusions` (N, M, M)
    int64, one matrix an image."""

    level: int
    confusions: npt.NDArray[np.int64]
    scores: Scores
    intervals: dict[str, Interval]
    baselines: dict[str, Scores]

    def to_dict(self) -> dict[str, Any]:
        """One entry of `levels` in the JSON of `evaluate`."""
        return {"level": self.level, "names": [row.name for row in self.scores.classes],
                **self.scores.to_dict(self.intervals), "baselines": _headlines(self.baselines)}


@dataclass(frozen=True)
class Evaluation:
    """Scores of a run on a split.

    `scores` are aggregated over the dataset (counts summed over images, then divided); `intervals` are
    95 % bootstrap intervals over images; `mean_image_iou` averages each class's IoU over the images whose
    truth has it. `baselines` are what trivial predictions would reach. Of a class tree, `levels` holds the scores of
    each level, the leaves' again last, and `incoherent_share` (0..1) how many of the counted pixels have labels that
    contradict each other; of a flat list, neither is there. `size` is what the model costs (see `models.size`), as
    `run.json` has it. `origin` is what was seen of how the numbers came about, `findings` what the guard says to all
    this (see `guarding`), and `notes` are its words alone.
    """

    folder: Path
    split: str
    names: list[str]
    confusions: npt.NDArray[np.int64]
    scores: Scores
    intervals: dict[str, Interval]
    mean_image_iou: list[float]
    baselines: dict[str, Scores]
    levels: list[LevelScores]
    selector: Selector
    incoherent_share: float | None
    dataset_version: str
    size: dict[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    findings: Sequence[Finding] = ()

    @property
    def notes(self) -> list[str]:
        """What to keep in mind about the numbers, in words."""
        return [finding.message for finding in self.findings]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `evaluate`."""
        tree = {"selector": self.selector, "incoherent_share": self.incoherent_share} if self.levels else {}
        return {"split": self.split, "images": len(self.names), **self.scores.to_dict(self.intervals),
                "aggregation": "dataset: counts summed over images, then divided; "
                               "intervals: 95 % bootstrap over images",
                "mean_image_iou": self.mean_image_iou, "baselines": _headlines(self.baselines),
                "levels": [level.to_dict() for level in self.levels], **tree, "notes": self.notes,
                "findings": [finding.to_dict() for finding in self.findings], "origin": self.origin.to_dict(),
                "size": self.size, "dataset_version": self.dataset_version, "folder": str(self.folder)}


def _headlines(baselines: dict[str, Scores]) -> dict[str, Any]:
    return {name: baseline.to_dict()["scores"] for name, baseline in baselines.items()}


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


def evaluate(run: str | Path | Run, *, split: str = "test", data: str | Path | None = None,
             selector: Selector | None = None, device: str | None = None) -> Evaluation:
    """Predicts a split with the run's best checkpoint and scores it; the result goes to `RUN/evaluations/SPLIT-001`.

    `data` is another dataset with the same classes; the tree over them is that of the dataset. `selector` is how the
    levels of a tree are labelled, the run's own when left out. Raises ConfigError for an empty split and for a
    selector of trees where there is none, DataError when classes differ.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    segmenter = load_segmenter(model_file(run), device or ("cuda" if torch.cuda.is_available() else "cpu"))
    config = run.config()
    dataset = load_dataset(data or config.data.root)
    classes, trained = dataset.classes, segmenter.classes
    if classes.names != trained.names:
        raise DataError(f"{dataset.root}: its classes ({', '.join(classes.names)}) are not those of the run "
                        f"({', '.join(trained.names)}); use the dataset.yaml that the run was trained with")
    segmenter = with_selector(segmenter, selector, classes)
    samples = samples_of(run, dataset, split)
    batch = config.train.batch_size  # as in training, so that the scores of val are exactly those of the log
    folder = next_free(run.evaluations, split)
    say(f"evaluation folder: {folder}")
    confusions = [np.zeros((len(samples), len(level), len(level)), np.int64) for level in classes.levels]
    incoherent = 0
    with staged_folder(folder) as staging:
        with progress("evaluating", len(samples)) as advance:
            for start in range(0, len(samples), batch):
                chosen = samples[start : start + batch]
                pairs = [dataset.read(sample) for sample in chosen]
                predicted = segmenter.label_levels([image for image, _ in pairs])
                for i, (sample, (_, truth), found) in enumerate(zip(chosen, pairs, predicted, strict=True), start):
                    counts = level_confusions(truth, found, classes, implied=segmenter.coherent)
                    for level, one in zip(confusions, counts, strict=True):
                        level[i] = one
                    incoherent += 0 if segmenter.coherent else incoherent_pixels(truth, found, classes)
                    file = staging / "predictions" / f"{sample.name}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(mask_png(found[-1], classes))
                advance(start + len(chosen))
        hashes = image_hashes(dataset)
        version = dataset.version(lambda sample: (hashes[sample.name], None))
        origin = origin_of(run, dataset, samples, hashes, same_tree=classes.parents == trained.parents)
        result = replace(score(folder, split, [sample.name for sample in samples], confusions, classes, version,
                               segmenter.selector, incoherent), size=run.info().get("size", {}), origin=origin)
        number = Number.of(run.path.resolve().name, result.to_dict(), result.names, run)
        result = replace(result, findings=guard([number]))
        _write(staging, result)
    say(f"evaluation folder: {folder}")
    return result


def score(folder: Path, split: str, names: Sequence[str], confusions: Sequence[npt.NDArray[np.int64]],
          classes: ClassTree, version: str, selector: Selector = "leaf", incoherent: int = 0) -> Evaluation:
    """All scores from the confusion counts of each level, top first: (N, M, M) int64, one matrix an image; the last
    are the leaves'. `incoherent` is the number of pixels with labels that contradict each other."""
    if not confusions[-1].any():
        raise DataError(f"{split}: no pixel counts (all are ignored); check the masks")
    levels = []
    for level, counts in zip(classes.levels, confusions, strict=True):
        total, known = counts.sum(0), level.classes
        levels.append(LevelScores(
            level.number, counts, scores(total, known.names, known.ids), headline(counts),
            {"first_class": constant_baseline(total, known.names, known.ids[0], known.ids),
             "most_frequent": most_frequent_baseline(total, known.names, known.ids)}))
    leaves = levels[-1]
    tree = len(levels) > 1
    return Evaluation(folder, split, list(names), leaves.confusions, leaves.scores, leaves.intervals,
                      mean_image_iou(leaves.confusions).tolist(), leaves.baselines, levels if tree else [], selector,
                      incoherent / leaves.scores.pixels if tree else None, version)


def _write(folder: Path, result: Evaluation) -> None:
    atomic_write_json(folder / "scores.json", result.to_dict())
    rows = [{"sample": name, **image_scores(confusion).to_dict()}
            for name, confusion in zip(result.names, result.confusions, strict=True)]
    (folder / "images.jsonl").write_bytes("".join(dump_json(row) + "\n" for row in rows).encode())
    np.save(folder / "confusions.npy", result.confusions, allow_pickle=False)
    for level in result.levels[:-1]:
        np.save(folder / f"confusions-level-{level.level}.npy", level.confusions, allow_pickle=False)


def human(result: Evaluation) -> str:
    """The scores as text for a terminal."""
    lines = [f"{result.split}: {len(result.names)} images"]
    lines += [f"  {name:<6} {_between(interval)}" for name, interval in result.intervals.items()]
    width = max(len(row.name) for row in result.scores.classes)
    lines.append(f"  {'class':<{width}}    IoU   Dice  precision  recall  mean image IoU")
    for row, image_iou in zip(result.scores.classes, result.mean_image_iou, strict=True):
        lines.append(f"  {row.name:<{width}}  {row.iou:.3f}  {row.dice:.3f}      {row.precision:.3f}   {row.recall:.3f}"
                     f"           {image_iou:.3f}")
    lines.append("  trivial baselines (mIoU): " + ", ".join(
        f"{name.replace('_', ' ')} everywhere {baseline.mIoU:.3f}" for name, baseline in result.baselines.items()))
    lines += [f"  level {found.level} mIoU {_between(found.intervals['mIoU'])} ({', '.join(row.name for row in rows)})"
              for found in result.levels if (rows := found.scores.classes)]
    if result.incoherent_share is not None:
        lines.append(f"  selector {result.selector}: labels of {100 * result.incoherent_share:.2f} % of the pixels "
                     "contradict each other")
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def _between(interval: Interval) -> str:
    ends = "" if math.isnan(interval.low) else f"  [{interval.low:.4f}, {interval.high:.4f}]"
    return f"{interval.value:.4f}{ends}"
