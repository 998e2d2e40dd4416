"""An explanation as a folder: one page, its JSON, and overlays of the best and the worst images in full size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from maskwright.base.progress import progress
from maskwright.base.storage import atomic_write_bytes, dump_json, staged_folder
from maskwright.errors import DataError, MaskwrightError
from maskwright.evaluation.explaining.anatomy import dissect
from maskwright.evaluation.explaining.evaluated import read
from maskwright.evaluation.explaining.kinds import KINDS
from maskwright.evaluation.explaining.results import Explanation, RankedImage
from maskwright.evaluation.explaining.slices import AXES, FEW_IMAGES, FEW_OBJECTS, Slice
from maskwright.evaluation.explaining.stored import FILE
from maskwright.evaluation.explaining.text import percentages
from maskwright.reporting.error_pictures import error_views, full_errors, swatches
from maskwright.reporting.overlays import file_name, jpeg, safe_colours
from maskwright.reporting.page import PAGE, class_rows, write_page
from maskwright.reporting.pictures import Picture
from maskwright.reporting.svg import interval_strip

_DICE = 8  # classes whose Dice stands beside an image


@dataclass(frozen=True)
class ErrorCard:
    """One image: its rank, the Dice of its classes from the lowest up, its views, and where its overlay lies in the
    folder, or why there is none."""

    row: RankedImage
    dice: list[tuple[str, float]]
    views: list[Picture]
    overlay: str = ""
    problem: str = ""


def write_explanation(result: Explanation, out: Path) -> Path:
    """Writes the new folder `out` with `index.html`, which holds all that it shows, `explain.json` (all of
    `result.to_dict()`) and `overlays/{worst,best}/`; returns the page.

    Raises ConfigError when `out` exists and is not empty.
    """
    with staged_folder(out) as staging:
        (staging / FILE).write_text(dump_json(result.to_dict(), indent=2) + "\n", "utf-8")
        draw_explanation(result, staging)
    return out / PAGE


def draw_explanation(result: Explanation, folder: Path) -> Path:
    """Draws the page of what lies in `folder`, in place of one that is there, with the overlays that are missing."""
    cards: dict[str, list[ErrorCard]] = {"worst": [], "best": []}
    with progress("drawing", len(result.worst) + len(result.best)) as advance:
        taken: set[str] = set()
        for name, rows in (("worst", result.worst), ("best", result.best)):
            for place, row in enumerate(rows, 1):
                path = file_name(["overlays", name, f"{place:02d}-{row.sample}"], taken, ".jpg")
                cards[name].append(_card(result, row, folder, path))
                advance(sum(map(len, cards.values())))
    return write_page(folder / PAGE, "explain.html.j2", _content(result, cards), replace=True)


def _card(result: Explanation, row: RankedImage, folder: Path, path: str) -> ErrorCard:
    classes = result.classes
    known = [(name, value) for name, value in zip(classes.names, row.class_dice, strict=True) if value is not None]
    dice = sorted(known, key=lambda pair: pair[1])[:_DICE]
    try:
        sample = next((sample for sample in result.dataset.samples if sample.name == row.sample), None)
        if sample is None:
            raise DataError(f"{row.sample}: is not in the dataset any more")
        image, truth, prediction = read(result.dataset, result.folder, sample)
        kinds = dissect(image, truth, prediction, background=result.empty, tolerance=result.tolerance).kinds
        views = error_views(row.sample, image, truth, prediction, kinds, classes)
        title = f"{row.sample}, Dice {row.dice:.3f}"
        data = jpeg(full_errors(title, image, truth, prediction, kinds, classes, safe_colours(classes)), sample)
    except MaskwrightError as error:  # gone since it was explained
        return ErrorCard(row, dice, [], problem=str(error))
    if not (folder / path).exists():
        atomic_write_bytes(folder / path, data)
    return ErrorCard(row, dice, views, path)


def _content(result: Explanation, cards: dict[str, list[ErrorCard]]) -> dict[str, Any]:
    kinds = [kind for kind in result.kinds if kind.pixels]
    percent = dict(zip((kind.name for kind in kinds), percentages([kind.pixels for kind in kinds]), strict=True))
    return {
        "result": result,
        "scores": result.scores,
        "kinds": KINDS,
        "looks": swatches(),
        "percent": percent,
        "classes": class_rows(result.classes),
        "rows": _class_rows(result, [kind.name for kind in result.by_worth]),
        "levels": result.classes.levels[:-1],
        "cards": cards,
        "slices": _slices(result),
        "worse": [one for one in result.slices if one.worse],
        "few": {"images": FEW_IMAGES, "objects": FEW_OBJECTS},
    }


def _class_rows(result: Explanation, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each class what it has lost and invented by each of the kinds `names`, and whether its outlines lie too far
    out (1) or too far in (0)."""
    kinds = {kind.name: kind for kind in result.kinds}
    boundary = result.kinds[0]
    rows = []
    for index, row in enumerate(result.scores.classes):
        off = 0 if index == result.empty else boundary.lost[index] + boundary.invented[index]
        rows.append(
            {
                "name": row.name,
                "iou": row.iou,
                "outside": boundary.invented[index] / off if off else None,
                "kinds": [
                    {
                        "lost": kinds[name].lost[index],
                        "invented": kinds[name].invented[index],
                        "worth": kinds[name].class_worth[index],
                    }
                    for name in names
                ],
            }
        )
    return rows


def _slices(result: Explanation) -> list[dict[str, Any]]:
    """The slices of each axis that has some, each with its score drawn."""
    found = []
    for name, axis in AXES.items():
        rows = [one for one in result.slices if one.axis == name]
        if rows:
            found.append(
                {
                    "name": name,
                    "axis": axis,
                    "counted": rows[0].objects is not None,
                    "rows": [(one, _strip(one)) for one in rows],
                }
            )
    return found


def _strip(one: Slice) -> Markup:
    score = one.score
    if math.isnan(score.value):
        return Markup("")
    known = not math.isnan(score.low)
    return interval_strip(score.value, score.low if known else None, score.high if known else None, [])
