"""The page of `refine`: the curve of rounds on the trusted images, what changed by class, and masks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.labels.refining.results import RefineResult
from maskwright.reporting.page import class_rows, write_page
from maskwright.reporting.pictures import Picture, difference, labelled_overlay, picture, present
from maskwright.reporting.svg import Series, line_chart

_CARDS = 12
_MOVED = 40  # rows of the table of what changed


def write_refinement(result: RefineResult, dataset: Dataset, page: Path) -> Path:
    """Writes the page of a result of the poor masks of `dataset`, in place of one that is there."""
    rounds = [row for row in result.rounds if row["masks"]]
    opened = [(row["name"], load_dataset(row["data"])) for row in rounds]
    by_name = {sample.name: sample for sample in dataset.samples}
    cards = [_card(dataset, by_name[name], opened) for name in _shown(rounds)]
    return write_page(
        page,
        "refine.html.j2",
        {
            "result": result,
            "classes": class_rows(dataset.classes),
            "chart": _chart(result),
            "moved": [{"name": row["name"], **_moved(row["masks"])} for row in rounds],
            "cards": cards,
        },
        replace=True,
    )


def _chart(result: RefineResult) -> str:
    """Round 0 and the rounds after it; the other start is in the table."""
    starts = [row for row in result.rounds if not row["masks"]]
    line = [*starts[:1], *(row for row in result.rounds if row["masks"])]
    judged = [(float(place), row["mIoU"]) for place, row in enumerate(line) if "mIoU" in row]
    if len(judged) < 2:
        return ""
    return line_chart(
        "rounds",
        "mIoU on the trusted images by round",
        [
            Series(
                "mIoU",
                [(place, one["value"]) for place, one in judged],
                "var(--series-1)",
                [(place, one["low"], one["high"]) for place, one in judged],
            )
        ],
        x_label="round",
        y_label="mIoU",
        x_text=lambda value: f"{value:.0f}",
    )


def _moved(masks: dict[str, Any]) -> dict[str, Any]:
    """Which class lost pixels to which, the largest parts first, as shares of all pixels of poor masks."""
    names, table = masks["classes"], masks["moved"]
    total = max(1, sum(map(sum, table)))
    rows = [
        {"before": names[i], "after": names[j], "pixels": table[i][j], "share": table[i][j] / total}
        for i in range(len(names))
        for j in range(len(names))
        if i != j and table[i][j]
    ]
    return {"rows": sorted(rows, key=lambda row: -row["pixels"])[:_MOVED], "seen_by": masks["seen_by"]}


def _shown(rounds: Sequence[dict[str, Any]]) -> list[str]:
    """Samples from the most to the least changed in the last round, evenly, so that no kind is left out."""
    if not rounds:
        return []
    rows = sorted(rounds[-1]["masks"]["samples"], key=lambda row: -(row["changed"] + row["left_out"]))
    count = min(_CARDS, len(rows))
    places = [round(place * (len(rows) - 1) / max(1, count - 1)) for place in range(count)]
    return [rows[place]["sample"] for place in dict.fromkeys(places)]


def _card(dataset: Dataset, sample: Sample, rounds: Sequence[tuple[str, Dataset]]) -> dict[str, Any]:
    image, poor = dataset.read(sample)

    def shown(mask: Mask, label: str) -> Picture:
        pixels = labelled_overlay(image, mask, dataset.classes)
        return picture(pixels, label, f"{sample.name}, {label}: {present(mask, dataset.classes)}")

    views = [picture(image, "image", f"{sample.name}: the image"), shown(poor, "poor mask")]
    mask = poor
    for name, made in rounds:
        mask = made.read_mask(made[sample.name])
        views.append(shown(mask, name))
    if rounds:
        views.append(difference(sample.name, image, poor, mask, dataset.classes.background))
    return {"sample": sample.name, "views": views}
