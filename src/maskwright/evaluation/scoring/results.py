"""From what was counted to an Evaluation: its scores, its files, its text. Needs no model and no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import atomic_write_json, dump_json
from maskwright.core.classes import ClassTree, Level, Selector
from maskwright.core.findings import Finding
from maskwright.errors import DataError
from maskwright.evaluation.guarding.number import Origin
from maskwright.evaluation.metrics import (
    CALIBRATION,
    Bin,
    BoundaryScores,
    Interval,
    Measure,
    Scores,
    Tolerance,
    calibration_measures,
    constant_baseline,
    headline,
    image_scores,
    measures,
    most_frequent_baseline,
    reliability,
    scores,
)


@dataclass(frozen=True)
class LevelScores:
    """Scores of one level of a class tree (1 is the top), made as those of `Evaluation` are: `confusions` (N, M, M)
    int64, one matrix an image."""

    level: int
    confusions: npt.NDArray[np.int64]
    scores: Scores
    intervals: dict[str, Interval]
    measures: dict[str, Measure]
    baselines: dict[str, Scores]

    def to_dict(self) -> dict[str, Any]:
        """One entry of `levels` in the JSON of `evaluate`."""
        return {
            "level": self.level,
            "names": [row.name for row in self.scores.classes],
            **self.scores.to_dict(self.intervals),
            "measures": _dicts(self.measures),
            "baselines": _headlines(self.baselines),
        }


@dataclass(frozen=True)
class Evaluation:
    """Scores of a run, or of masks on disk, on a split.

    `scores` are aggregated over the dataset (counts summed over images, then divided); `intervals` are
    95 % bootstrap intervals over images. `measures` are all others, each with its interval and its values by class;
    what they mean and how they are aggregated stands in `metrics.MEASURES`. Those of boundaries are there when asked
    for, with their `tolerance` and the `boundaries` of each image, (N, K); so are those of calibration, with the table
    `reliability` and the sums of each image in `calibration`, (N, B + 1, 3). `baselines` are what trivial predictions
    would reach. Of a class tree, `levels` holds the scores of each level, the leaves' again last, and
    `incoherent_share` (0..1) how many of the counted pixels have labels that contradict each other; of a flat list,
    neither is there. `size` is what the model costs (see `models.size`), as `run.json` has it. `origin` is what was
    seen of how the numbers came about, `findings` what the guard says to all this (see `guarding`), and `notes` are
    its words alone. `inputs` is a hash of all that the numbers follow from.
    """

    folder: Path
    split: str
    names: list[str]
    confusions: npt.NDArray[np.int64]
    scores: Scores
    intervals: dict[str, Interval]
    measures: dict[str, Measure]
    baselines: dict[str, Scores]
    levels: list[LevelScores]
    selector: Selector
    incoherent_share: float | None
    dataset_version: str
    tolerance: Tolerance | None = None
    boundaries: BoundaryScores | None = None
    calibration: npt.NDArray[np.float64] | None = None
    size: dict[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    findings: Sequence[Finding] = ()
    inputs: str = ""

    @property
    def notes(self) -> list[str]:
        """What to keep in mind about the numbers, in words."""
        return [finding.message for finding in self.findings]

    @property
    def mean_image_iou(self) -> list[float]:
        """The IoU of each class, averaged over the images whose truth has it."""
        return list(self.measures["mean_image_iou"].classes)

    @property
    def reliability(self) -> list[Bin]:
        """The reliability table over all images, or nothing."""
        return [] if self.calibration is None else reliability(self.calibration.sum(axis=0))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `evaluate`."""
        tree = {"selector": self.selector, "incoherent_share": self.incoherent_share} if self.levels else {}
        asked: dict[str, Any] = {"tolerance": str(self.tolerance)} if self.tolerance else {}
        if self.calibration is not None:
            asked["reliability"] = [row.to_dict() for row in self.reliability]
        return {
            "split": self.split,
            "images": len(self.names),
            **self.scores.to_dict(self.intervals),
            "aggregation": "dataset: counts summed over images, then divided; intervals: 95 % bootstrap over images",
            "measures": _dicts(self.measures),
            **asked,
            "mean_image_iou": self.mean_image_iou,
            "baselines": _headlines(self.baselines),
            "levels": [level.to_dict() for level in self.levels],
            **tree,
            "notes": self.notes,
            "findings": [finding.to_dict() for finding in self.findings],
            "origin": self.origin.to_dict(),
            "size": self.size,
            "dataset_version": self.dataset_version,
            "inputs": self.inputs,
            "folder": str(self.folder),
        }


def _headlines(baselines: dict[str, Scores]) -> dict[str, Any]:
    return {name: baseline.to_dict()["scores"] for name, baseline in baselines.items()}


def _dicts(found: dict[str, Measure]) -> dict[str, Any]:
    return {name: measure.to_dict() for name, measure in found.items()}


def score(
    folder: Path,
    split: str,
    names: Sequence[str],
    confusions: Sequence[npt.NDArray[np.int64]],
    classes: ClassTree,
    version: str,
    selector: Selector = "leaf",
    incoherent: int = 0,
    *,
    tolerance: Tolerance | None = None,
    boundaries: Sequence[BoundaryScores] = (),
    calibration: npt.NDArray[np.float64] | None = None,
) -> Evaluation:
    """All scores from the confusion counts of each level, top first: (N, M, M) int64, one matrix an image; the last
    are the leaves'. `incoherent` is the number of pixels with labels that contradict each other, `boundaries` are the
    (N, M) scores of each level within `tolerance`, `calibration` the (N, B + 1, 3) sums of the images, where these were
    asked for. DataError when no pixel counts."""
    if not confusions[-1].any():
        raise DataError(f"{split}: no pixel counts (all are ignored); check the masks")
    outlines: Sequence[BoundaryScores | None] = boundaries or [None] * len(confusions)
    levels = [_level(*counted) for counted in zip(classes.levels, confusions, outlines, strict=True)]
    leaves, tree = levels[-1], len(levels) > 1
    return Evaluation(
        folder,
        split,
        list(names),
        leaves.confusions,
        leaves.scores,
        leaves.intervals,
        leaves.measures | (calibration_measures(calibration) if calibration is not None else {}),
        leaves.baselines,
        levels if tree else [],
        selector,
        incoherent / leaves.scores.pixels if tree else None,
        version,
        tolerance,
        outlines[-1],
        calibration,
    )


def _level(level: Level, counts: npt.NDArray[np.int64], boundaries: BoundaryScores | None) -> LevelScores:
    total, known = counts.sum(0), level.classes
    return LevelScores(
        level.number,
        counts,
        scores(total, known.names, known.ids),
        headline(counts),
        measures(counts, boundaries),
        {
            "first_class": constant_baseline(total, known.names, known.ids[0], known.ids),
            "most_frequent": most_frequent_baseline(total, known.names, known.ids),
        },
    )


def write(folder: Path, result: Evaluation, boundaries: Sequence[BoundaryScores] = ()) -> None:
    """Writes `scores.json`, `images.jsonl` and what was counted of each image; `boundaries` are those of each level."""
    atomic_write_json(folder / "scores.json", result.to_dict())
    rows = [dump_json({"sample": name, **_image(result, i)}) for i, name in enumerate(result.names)]
    (folder / "images.jsonl").write_bytes("".join(f"{row}\n" for row in rows).encode())
    np.save(folder / "confusions.npy", result.confusions, allow_pickle=False)
    for level in result.levels[:-1]:
        np.save(folder / f"confusions-level-{level.level}.npy", level.confusions, allow_pickle=False)
    for number, found in enumerate(boundaries, 1):
        np.save(folder / f"boundaries-level-{number}.npy", np.stack(found), allow_pickle=False)
    if result.calibration is not None:
        np.save(folder / "calibration.npy", result.calibration, allow_pickle=False)


def read(
    folder: Path,
    stored: Mapping[str, Any],
    split: str,
    names: Sequence[str],
    classes: ClassTree,
    version: str,
    selector: Selector,
    tolerance: Tolerance | None,
    calibration: bool,
) -> Evaluation:
    """The evaluation that `write` has put into `folder`, scored again from what was counted; `stored` is its
    `scores.json`, the others are as for `score`. Raises OSError or ValueError where a file is missing or damaged."""
    levels = [*classes.levels]
    files = [*(f"confusions-level-{level.number}.npy" for level in levels[:-1]), "confusions.npy"]
    confusions = [np.load(folder / name, allow_pickle=False) for name in files]
    for level, counts in zip(levels, confusions, strict=True):
        if counts.shape != (len(names), len(level), len(level)) or counts.dtype != np.int64:
            raise ValueError(f"{folder}: holds other counts")
    pixels = int(confusions[-1].sum())
    return score(
        folder,
        split,
        names,
        confusions,
        classes,
        version,
        selector,
        round((stored.get("incoherent_share") or 0.0) * pixels),
        tolerance=tolerance,
        boundaries=[
            BoundaryScores(*np.load(folder / f"boundaries-level-{number}.npy", allow_pickle=False))
            for number in range(1, len(levels) + 1)
        ]
        if tolerance
        else (),
        calibration=np.load(folder / "calibration.npy", allow_pickle=False) if calibration else None,
    )


def _image(result: Evaluation, i: int) -> dict[str, Any]:
    """The scores of one image; lists have a value for each class."""
    row = image_scores(result.confusions[i]).to_dict()
    if result.boundaries is not None:
        row |= {f"boundary_{name}": values[i] for name, values in result.boundaries._asdict().items()}
    if result.calibration is not None:
        row |= {name: measure(result.calibration[i]) for name, measure in CALIBRATION.items()}
    return row


# How a measure is called in the text for people, and whether it has a column by class.
_TEXT = {
    "mean_image_iou": "IoU",
    "mean_image_thresholded_iou": "IoU over thresholds",
    "mean_image_boundary_f": "boundary F",
    "mean_image_nsd": "surface Dice",
    "mean_image_hd95": "HD95 (px)",
    "mean_image_assd": "boundary distance (px)",
    "dataset_excess_recall": "recall - predicted share",
    "dataset_ece": "calibration error",
    "dataset_mce": "largest in a bin",
    "dataset_brier": "Brier score",
    "dataset_nll": "log loss (nats)",
}


def human(result: Evaluation) -> str:
    """The scores as text for a terminal: first what is aggregated over the dataset, then means over images."""
    rows = result.scores.classes
    width = max(len(row.name) for row in rows)
    lines = [
        f"{result.split}: {len(result.names)} images",
        "  over the dataset (counts summed over images, then divided; 95 % intervals over images)",
    ]
    lines += [f"    {name:<6} {_between(interval)}" for name, interval in result.intervals.items()]
    lines += _listed(result, "dataset_")
    lines.append(f"    {'class':<{width}}    IoU   Dice  precision  recall  predicted %  recall - predicted share")
    excess = result.measures["dataset_excess_recall"].classes
    lines += [
        f"    {row.name:<{width}}  {row.iou:.3f}  {row.dice:.3f}      {row.precision:.3f}   {row.recall:.3f}"
        f"     {100 * row.predicted_share:8.3f}  {value:24.3f}"
        for row, value in zip(rows, excess, strict=True)
    ]
    bounded = f"; boundaries agree within {result.tolerance}" if result.tolerance else ""
    lines += [f"  means over images, then over classes{bounded}", *_listed(result, "mean_image_")]
    columns = {
        _TEXT[name]: measure.classes for name, measure in result.measures.items() if name.startswith("mean_image_")
    }
    lines.append(f"    {'class':<{width}}  {'  '.join(columns)}")
    lines += [
        "    "
        + "  ".join([f"{row.name:<{width}}", *(f"{values[i]:{len(name)}.3f}" for name, values in columns.items())])
        for i, row in enumerate(rows)
    ]
    lines.append(
        "  trivial baselines (mIoU): "
        + ", ".join(f"{name} {baseline.mIoU:.4f}" for name, baseline in constant(result.baselines).items())
    )
    lines += [
        f"  level {found.level} mIoU {_between(found.intervals['mIoU'])} "
        f"({', '.join(row.name for row in found.scores.classes)})"
        for found in result.levels
    ]
    if result.incoherent_share is not None:
        lines.append(
            f"  selector {result.selector}: labels of {100 * result.incoherent_share:.2f} % of the pixels "
            "contradict each other"
        )
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def constant(baselines: Mapping[str, Scores]) -> dict[str, Scores]:
    """Each trivial prediction under a name that says what it predicts, the same ones once."""
    found = {}
    for baseline in baselines.values():
        name = next((row.name for row in baseline.classes if row.predicted_pixels), "")
        found[f"all pixels predicted as {name}"] = baseline
    return found


def _listed(result: Evaluation, prefix: str) -> list[str]:
    found = {_TEXT[name]: measure for name, measure in result.measures.items() if name.startswith(prefix)}
    width = max(map(len, found))
    return [f"    {name:<{width}} {_between(measure.interval)}" for name, measure in found.items()]


def _between(interval: Interval) -> str:
    ends = "" if math.isnan(interval.low) else f"  [{interval.low:.4f}, {interval.high:.4f}]"
    return f"{interval.value:.4f}{ends}"
