"""Evaluation: the scores of a run, or of masks on disk, on a split; made of what was counted, written, and read back.

A folder of an evaluation holds `scores.json` (what `Evaluation.to_dict` gives), `images.jsonl` (a record an image),
`confusions.npy` and the like (the counts of every image), and `predictions/` (an index PNG an image). Only files are
read, so reports and comparisons need neither torch nor the dataset. Any folder that holds `evaluations/` will do, a run
or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.display import data_frame
from maskwright.base.storage import Journal, read_json
from maskwright.base.texts import plural
from maskwright.core.class_facts import MISSED
from maskwright.core.classes import Selector
from maskwright.core.findings import Finding
from maskwright.core.postprocessing import PostProcessing
from maskwright.errors import DataError
from maskwright.evaluation.guarding.number import Number, Origin, Training
from maskwright.evaluation.guarding.speed import speed_of
from maskwright.evaluation.metrics import (
    MEASURES,
    Bin,
    BoundaryScores,
    ClassScores,
    Interval,
    Measure,
    Scores,
    Tolerance,
    constant_baseline,
    measures,
    most_frequent_baseline,
)
from maskwright.evaluation.scoring.text import evaluation_text
from maskwright.run import Run

SCORES, IMAGES, CONFUSIONS, CALIBRATIONS = "scores.json", "images.jsonl", "confusions.npy", "calibration.npy"


def level_file(folder: Path, level: int) -> Path:
    """The counts of a level above the leaves."""
    return folder / f"confusions-level-{level}.npy"


def boundaries_file(folder: Path, level: int) -> Path:
    """The scores of the boundaries of a level, which start at 1."""
    return folder / f"boundaries-level-{level}.npy"


@dataclass(frozen=True)
class LevelScores:
    """Scores of one level of a class tree (1 is the top), made as those of `Evaluation` are; the counts of its images
    lie in `file`."""

    level: int
    file: Path
    images: int
    scores: Scores
    intervals: dict[str, Interval]
    measures: dict[str, Measure]
    baselines: dict[str, Scores]

    @property
    def confusions(self) -> npt.NDArray[np.int64]:
        """(N, M, M) int64, one matrix an image, read from the disk. DataError when they cannot be read."""
        return _counts(self.file, self.images, len(self.scores.classes))

    def to_dict(self) -> dict[str, Any]:
        """One entry of `levels` in the JSON of `evaluate`."""
        return {
            "level": self.level,
            "names": [row.name for row in self.scores.classes],
            **self.scores.to_dict(self.intervals),
            "measures": _dicts(self.measures),
            "baselines": _headlines(self.baselines),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], file: Path, images: int) -> LevelScores:
        """The inverse of `to_dict`, for counts of this many images in `file`."""
        found = _scores(data["scores"], data["classes"], data["pixels"])
        return cls(
            data["level"],
            file,
            images,
            found,
            {name: _interval(value) for name, value in data["scores"].items()},
            # Evaluations from before there were measures have the counts that they are made of.
            _measures(data["measures"]) if "measures" in data else measures(_counts(file, images, len(found.classes))),
            {name: _baseline(name, row, found.classes) for name, row in data["baselines"].items()},
        )


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of a run, or of masks on disk, on a split; `Evaluation.load(folder)` reads what `evaluate` has written.

    `names` are those of the N samples. `scores` are aggregated over the dataset (counts summed over images, then
    divided); `intervals` are 95 % bootstrap intervals over images. `measures` are all others, each with its interval
    and its values by class; what they mean and how they are aggregated stands in `metrics.MEASURES`. Those of
    boundaries are there when asked for, with their `tolerance`; so are those of calibration, with the table
    `reliability`. `baselines` are what trivial predictions would reach. Of a class tree, `levels` holds the scores of
    each level, the leaves' again last, and `incoherent_share` (0..1) how many of the counted pixels have labels that
    contradict each other; of a flat list, neither is there. `size` is what the model costs (see `models.size`), as
    `run.json` has it. `origin` is what was seen of how the numbers came about, `findings` what the guard says to all
    this (see `guarding`), and `notes` are its words alone; `remarks` are the notes of an evaluation from before there
    were findings. `inputs` is a hash of all that the numbers follow from; `postprocessing` is what was done with the
    predicted masks, None for nothing.

    What was counted of each image stays on the disk, in `folder`: `images`, `confusions`, `boundaries` and
    `calibration` read it each time they are asked for, and raise DataError where it is missing or damaged.
    """

    folder: Path
    split: str
    names: list[str]
    scores: Scores
    intervals: dict[str, Interval]
    measures: dict[str, Measure]
    baselines: dict[str, Scores]
    levels: list[LevelScores]
    selector: Selector
    incoherent_share: float | None
    dataset_version: str
    tolerance: Tolerance | None = None
    reliability: Sequence[Bin] = ()
    size: dict[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    findings: Sequence[Finding] = ()
    inputs: str = ""
    remarks: Sequence[str] = ()
    postprocessing: PostProcessing | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """The evaluation that `evaluate` has written to a folder, such as `RUN/evaluations/test-001`. DataError where
        there is none, or something else."""
        folder = Path(folder)
        file = folder / SCORES
        if not file.is_file():
            raise DataError(f"{folder}: not an evaluation (no {SCORES}); give the folder that `evaluate` printed")
        stored = read_json(file)
        try:
            names = [row["sample"] for row in Journal(folder / IMAGES).read()]
            return cls._of(stored, folder, names)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(
                f"{file}: is not what this version of `evaluate` writes ({type(error).__name__}: {error}); evaluate "
                "again"
            ) from None

    @classmethod
    def _of(cls, stored: Mapping[str, Any], folder: Path, names: list[str]) -> Evaluation:
        leaves = LevelScores.from_dict({"level": 0, **stored}, folder / CONFUSIONS, len(names))
        rows = stored.get("levels", [])
        files = [*(level_file(folder, row["level"]) for row in rows[:-1]), folder / CONFUSIONS]
        return cls(
            folder,
            stored["split"],
            names,
            leaves.scores,
            leaves.intervals,
            leaves.measures,
            leaves.baselines,
            [LevelScores.from_dict(row, file, len(names)) for row, file in zip(rows, files, strict=False)],
            stored.get("selector", "leaf"),
            stored.get("incoherent_share"),
            stored["dataset_version"],
            _tolerance(stored["tolerance"]) if "tolerance" in stored else None,
            [Bin(**{key: _number(value) for key, value in row.items()}) for row in stored.get("reliability", [])],
            stored.get("size", {}),
            Origin.from_dict(stored.get("origin", {})),
            [Finding.from_dict(row) for row in stored.get("findings", [])],
            stored.get("inputs", ""),
            () if "findings" in stored else stored.get("notes", []),
            PostProcessing.from_dict(stored["postprocessing"], str(folder)) if "postprocessing" in stored else None,
        )

    @property
    def notes(self) -> list[str]:
        """What to keep in mind about the numbers, in words."""
        return [*self.remarks, *(finding.message for finding in self.findings)]

    @property
    def mean_image_iou(self) -> list[float]:
        """The IoU of each class, averaged over the images whose truth has it."""
        return list(self.measures["mean_image_iou"].classes)

    @property
    def trivial(self) -> dict[str, Scores]:
        """Each of the `baselines` under a name that says what it predicts, the same ones once."""
        return {f"all pixels predicted as {predicted_class(scores)}": scores for scores in self.baselines.values()}

    @property
    def classes(self) -> list[str]:
        """The names of the K classes."""
        return [row.name for row in self.scores.classes]

    @property
    def images(self) -> list[dict[str, Any]]:
        """The scores of each image: `sample`, `aAcc`, `mAcc`, `mIoU` and `mDice`, and lists with a value for each class
        such as `iou` and `dice`; None where undefined."""
        return Journal(self.folder / IMAGES).read()

    @property
    def confusions(self) -> npt.NDArray[np.int64]:
        """(N, K, K) int64, one matrix an image."""
        return _counts(self.folder / CONFUSIONS, len(self.names), len(self.scores.classes))

    @property
    def boundaries(self) -> BoundaryScores | None:
        """The scores of the boundaries of each image, (N, K) each, or None when they were not asked for."""
        if self.tolerance is None:
            return None
        found = _array(boundaries_file(self.folder, len(self.levels) or 1))
        if found.shape != (len(BoundaryScores._fields), len(self.names), len(self.scores.classes)):
            raise DataError(f"{self.folder}: holds boundaries of other images; evaluate again")
        return BoundaryScores(*found)

    @property
    def calibration(self) -> npt.NDArray[np.float64] | None:
        """(N, B + 1, 3) sums of each image (see `metrics.calibration_sums`), or None when not asked for."""
        if not self.reliability:
            return None
        found: npt.NDArray[np.float64] = _array(self.folder / CALIBRATIONS)
        if found.shape != (len(self.names), len(self.reliability) + 1, 3):
            raise DataError(f"{self.folder}: holds the calibration of other images; evaluate again")
        return found

    def require_counts(self) -> None:
        """DataError unless all that was counted of the images can be read."""
        _ = self.confusions, self.boundaries, self.calibration, [level.confusions for level in self.levels]

    def number(self, name: str, run: Run | None = None) -> Number:
        """What the guard looks at: these scores called `name`; `run` is None for what no run has predicted."""
        known = {
            key: [value for row in self.baselines.values() if not math.isnan(value := getattr(row, key))]
            for key in self.intervals
        }
        return Number(
            name,
            self.split,
            tuple(self.names),
            tuple((row.name, row.true_pixels) for row in self.scores.classes),
            {key: None if math.isnan(value := getattr(self.scores, key)) else value for key in self.intervals},
            {key: max(values) for key, values in known.items() if values},
            self.dataset_version,
            Training.of(run, {row.id: row.name for row in self.scores.classes}) if run else None,
            self.origin,
            speed_of(run) if run else None,
            tuple(
                (row.name, row.predicted_pixels) for row in self.scores.classes if row.true_pixels and row.iou < MISSED
            ),
            self.selector if self.levels else None,
        )

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row an image, the sample's name as index: the scores of the image, and a column for
        each class such as `iou/tree`; nan where undefined. SetupError without pandas."""
        rows = [
            dict(pair for key, value in record.items() for pair in _columns(key, value, self.classes))
            for record in self.images
        ]
        return data_frame(rows, index="sample")

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row a class, its name as index: `id`, `iou`, `dice`, `precision`, `recall`, and its
        true and predicted pixels and their shares. SetupError without pandas."""
        return data_frame([asdict(row) for row in self.scores.classes], index="name")

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `evaluate`."""
        tree = {"selector": self.selector, "incoherent_share": self.incoherent_share} if self.levels else {}
        asked: dict[str, Any] = {"tolerance": str(self.tolerance)} if self.tolerance else {}
        if self.reliability:
            asked["reliability"] = [row.to_dict() for row in self.reliability]
        if self.postprocessing:
            asked["postprocessing"] = self.postprocessing.to_dict()
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

    def human(self) -> str:
        """The scores as text for a terminal."""
        return evaluation_text(self)

    def __str__(self) -> str:
        return self.human()

    def __repr__(self) -> str:
        return (
            f"Evaluation({str(self.folder)!r}: {self.split}, {plural(len(self.names), 'image')}, "
            f"mIoU {self.scores.mIoU:.4f})"
        )


def evaluations(run: Run, split: str | None = None) -> list[Evaluation]:
    """All finished evaluations, of a split if given; those first that say most (test, other splits, val, train), the
    newest first."""
    rank = {"test": 0, "val": 2, "train": 3}
    splits = (
        [split] if split is not None else sorted(run.evaluated_splits(), key=lambda name: (rank.get(name, 1), name))
    )
    return [Evaluation.load(folder) for name in splits for folder in reversed(run.evaluation_folders(name))]


def newest(run: Run, split: str) -> Evaluation | None:
    """The last evaluation of a split, or None."""
    folders = run.evaluation_folders(split)
    return Evaluation.load(folders[-1]) if folders else None


def predicted_class(scores: Scores) -> str:
    """The name of the class that a trivial prediction consists of."""
    return next((row.name for row in scores.classes if row.predicted_pixels), "")


# --- from the disk ---------------------------------------------------------------------------------------


def _array(file: Path) -> npt.NDArray[Any]:
    """It stays on the disk until it is looked at."""
    try:
        found: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: cannot be read ({error}); evaluate again") from None
    return found


def _counts(file: Path, images: int, classes: int) -> npt.NDArray[np.int64]:
    counts = _array(file)
    if counts.shape != (images, classes, classes) or counts.dtype != np.int64:
        raise DataError(
            f"{file}: holds {counts.dtype} of shape {counts.shape}, not the counts of {plural(images, 'image')} and "
            f"{plural(classes, 'class')}; evaluate again"
        )
    return counts


def _columns(key: str, value: Any, classes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        yield from ((f"{key}/{name}", _number(one)) for name, one in zip(classes, value, strict=True))
    else:
        yield key, _number(value)


# --- to JSON and back, where undefined is None ------------------------------------------------------------------


def _dicts(found: Mapping[str, Measure]) -> dict[str, Any]:
    return {name: measure.to_dict() for name, measure in found.items()}


def _headlines(baselines: Mapping[str, Scores]) -> dict[str, Any]:
    return {name: baseline.to_dict()["scores"] for name, baseline in baselines.items()}


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _interval(row: Mapping[str, Any]) -> Interval:
    return Interval(_number(row["value"]), _number(row["low"]), _number(row["high"]))


def _scores(overall: Mapping[str, Any], classes: Sequence[Mapping[str, Any]], pixels: int) -> Scores:
    rows = tuple(ClassScores(**{key: _number(value) for key, value in row.items()}) for row in classes)
    return Scores(**{name: _number(row["value"]) for name, row in overall.items()}, classes=rows, pixels=pixels)


def _measures(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Measure]:
    return {
        name: Measure(name, _interval(row), tuple(map(_number, row["classes"])), tuple(row["images"]))
        for name, row in rows.items()
        if name in MEASURES
    }


def _baseline(name: str, overall: Mapping[str, Any], classes: Sequence[ClassScores]) -> Scores:
    """A trivial prediction: what it predicts follows from the true pixels, its means are those that were written."""
    true = np.diag([row.true_pixels for row in classes])
    names, ids = [row.name for row in classes], [row.id for row in classes]
    found = (
        constant_baseline(true, names, ids[0], ids)
        if name == "first_class"
        else most_frequent_baseline(true, names, ids)
    )
    return replace(found, **{key: _number(row["value"]) for key, row in overall.items()})


def _tolerance(text: str) -> Tolerance:
    """The inverse of `str`."""
    number, unit = text.split()[:2]
    return Tolerance(share=float(number) / 100) if unit == "%" else Tolerance(pixels=float(number))
