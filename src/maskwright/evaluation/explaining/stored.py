"""An explanation read back from its folder, to draw its page again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.storage import read_json
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Finding
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from maskwright.evaluation.explaining.results import ErrorRegion, Explanation, KindResult, RankedImage
from maskwright.evaluation.explaining.slices import Slice
from maskwright.evaluation.metrics import Interval

FILE = "explain.json"


def read_explanation(folder: Path) -> Explanation:
    """What `explain` has written to `folder`. DataError when it holds something else, or the dataset is gone.

    The evaluation is looked for where it was, and in the run that the folder lies in now.
    """
    file = folder / FILE
    stored = read_json(file)
    try:
        source, evaluation = Path(stored["data"]), Path(stored["evaluation"])
        if not evaluation.is_dir():
            evaluation = folder.resolve().parent.parent / "evaluations" / evaluation.name
        return _explanation(stored, load_dataset(source), source, evaluation)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{file}: is no result of this version of `explain` ({type(error).__name__}: {error}); run "
            "`maskwright explain` again"
        ) from None


def _explanation(stored: dict[str, Any], dataset: Dataset, source: Path, evaluation: Path) -> Explanation:
    names, tolerance = dataset.classes.names, stored["tolerance"]
    if names != [row["name"] for row in stored["classes"]]:
        raise DataError(f"{source}: its classes are not those that were explained; run `maskwright explain` again")
    empty = None if stored["background"] is None else names.index(stored["background"])
    return Explanation(
        evaluation,
        stored["split"],
        stored["images"],
        dataset,
        np.array(stored["confusion"], np.int64),
        empty,
        tolerance["asked"],
        (tolerance["least"], tolerance["most"]),
        list(map(_kind, stored["kinds"])),
        [RankedImage(**row) for row in stored["best"]],
        [RankedImage(**row) for row in stored["worst"]],
        stored["ranked"],
        stored["by"],
        list(map(_slice, stored["slices"])),
        list(map(Finding.from_dict, stored["findings"])),
        stored["notes"],
        source,
    )


def _kind(row: dict[str, Any]) -> KindResult:
    regions = [ErrorRegion(**one | {"region": tuple(one["region"])}) for one in row["regions"]]
    return KindResult(
        row["name"],
        row["pixels"],
        row["share"],
        row["whole"],
        row["images"],
        row["lost"],
        row["invented"],
        {name: _interval(value) for name, value in row["worth"].items()},
        row["class_worth"],
        row["related"],
        regions,
    )


def _slice(row: dict[str, Any]) -> Slice:
    return Slice(
        **row
        | {
            "score": _interval(row["score"]),
            "difference": _interval(row["difference"]),
            "p": math.nan if row["p"] is None else row["p"],
        }
    )


def _interval(row: dict[str, float | None]) -> Interval:
    """Undefined ends are None in JSON."""
    return Interval(**{key: math.nan if value is None else value for key, value in row.items()})
