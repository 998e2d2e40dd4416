"""From what was counted to an evaluation: its scores, and the files of its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import atomic_write_json, dump_json
from maskwright.core.classes import Level, Selector
from maskwright.errors import DataError
from maskwright.evaluation.metrics import (
    CALIBRATION,
    BoundaryScores,
    calibration_measures,
    constant_baseline,
    headline,
    image_scores,
    measures,
    most_frequent_baseline,
    reliability,
    scores,
)
from maskwright.evaluation.scoring.evaluation import (
    CALIBRATIONS,
    CONFUSIONS,
    IMAGES,
    SCORES,
    Evaluation,
    LevelScores,
    boundaries_file,
    level_file,
)
from maskwright.evaluation.scoring.tally import Counted


def evaluation_of(
    folder: Path, split: str, names: Sequence[str], counted: Counted, version: str, selector: Selector = "leaf"
) -> Evaluation:
    """All scores of the samples `names` from what was counted of them, for `write` into `folder`. DataError when no
    pixel counts."""
    leaves_of = counted.confusions[-1]
    if not leaves_of.any():
        raise DataError(f"{split}: no pixel counts (all are ignored); check the masks")
    known = counted.classes.levels
    outlines: Sequence[BoundaryScores | None] = counted.boundaries or [None] * len(known)
    files = [*(level_file(folder, level.number) for level in known[:-1]), folder / CONFUSIONS]
    levels = [_level(*row) for row in zip(known, files, counted.confusions, outlines, strict=True)]
    leaves, sums = levels[-1], counted.calibration
    tree = len(levels) > 1
    return Evaluation(
        folder,
        split,
        list(names),
        leaves.scores,
        leaves.intervals,
        leaves.measures | (calibration_measures(sums) if sums is not None else {}),
        leaves.baselines,
        levels if tree else [],
        selector,
        counted.incoherent / leaves.scores.pixels if tree else None,
        version,
        counted.tolerance,
        reliability(sums.sum(axis=0)) if sums is not None else (),
    )


def _level(level: Level, file: Path, counts: npt.NDArray[np.int64], boundaries: BoundaryScores | None) -> LevelScores:
    total, known = counts.sum(0), level.classes
    return LevelScores(
        level.number,
        file,
        len(counts),
        scores(total, known.names, known.ids),
        headline(counts),
        measures(counts, boundaries),
        {
            "first_class": constant_baseline(total, known.names, known.ids[0], known.ids),
            "most_frequent": most_frequent_baseline(total, known.names, known.ids),
        },
    )


def write(folder: Path, result: Evaluation, counted: Counted) -> None:
    """Writes the scores, those of each image, and what was counted of it into `folder`, which may be a staged one."""
    atomic_write_json(folder / SCORES, result.to_dict())
    rows = [dump_json({"sample": name, **_image(counted, i)}) for i, name in enumerate(result.names)]
    (folder / IMAGES).write_bytes("".join(f"{row}\n" for row in rows).encode())
    *above, leaves = counted.confusions
    np.save(folder / CONFUSIONS, leaves, allow_pickle=False)
    for number, confusions in enumerate(above, 1):
        np.save(level_file(folder, number), confusions, allow_pickle=False)
    for number, found in enumerate(counted.boundaries, 1):
        np.save(boundaries_file(folder, number), np.stack(found), allow_pickle=False)
    if counted.calibration is not None:
        np.save(folder / CALIBRATIONS, counted.calibration, allow_pickle=False)


def _image(counted: Counted, i: int) -> dict[str, Any]:
    """The scores of one image; lists have a value for each class."""
    row = image_scores(counted.confusions[-1][i]).to_dict()
    if counted.boundaries:
        row |= {f"boundary_{name}": values[i] for name, values in counted.boundaries[-1]._asdict().items()}
    if counted.calibration is not None:
        row |= {name: measure(counted.calibration[i]) for name, measure in CALIBRATION.items()}
    return row
