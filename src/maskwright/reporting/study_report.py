"""The verb `report` for several runs, such as a study: the leaderboard, which differences are significant, curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.base.progress import say
from maskwright.base.storage import read_json, require_absent
from maskwright.errors import DataError
from maskwright.evaluation.comparing import compare
from maskwright.evaluation.comparing.results import Comparison
from maskwright.evaluation.comparing.text import other_tool_line, seed_variation, told, verdict_in_words
from maskwright.evaluation.curves.charts import By, arrange
from maskwright.evaluation.curves.finding import read_curves
from maskwright.evaluation.naming import brief
from maskwright.evaluation.run_folders import find_runs
from maskwright.reporting.page import free_page, write_page
from maskwright.reporting.plots import draw_svg
from maskwright.reporting.svg import interval_strip, ticks

# What the curves are arranged by, each with its title; the last is drawn from the middle of the training on.
_CHARTS: tuple[tuple[By, str, float | None], ...] = (
    ("best", "The best of each network and of each loss", None),
    ("network", "Each network, by loss", None),
    ("loss", "Each loss, by network", None),
    ("best", "The best, second half of the training", 0.5),
)


def study_report(sources: Sequence[str | Path], *, out: str | Path | None = None, score: str = "mIoU") -> Path:
    """Writes one self-contained HTML page about runs side by side: `report-001.html` in the first folder that holds
    runs, else beside the first run, or `out`.

    `sources` are those of `compare`, which ranks by `score` on the split that most runs are evaluated on, `test` where
    another has as many. Of a search, the page also has its trials. Needs no torch. Raises DataError when no run is
    evaluated, ConfigError when `out` exists.
    """
    runs, logs = find_runs(sources)
    first = Path(sources[0])
    folder = first.parent if runs and runs[0].path == first else first
    path = require_absent(Path(out) if out else free_page(folder, "report"))
    splits = Counter(split for run in runs for split in run.evaluated_splits())
    most = max(splits, key=lambda split: (splits[split], split == "test"), default="test")
    result = compare(sources, split=most, score=score)
    board = scale(result)
    write_page(
        path,
        "study.html.j2",
        {
            "name": folder.resolve().name,
            "result": result,
            "findings": told(result),
            "seed_variation": seed_variation(result),
            "scale": board,
            "rows": _rows(result, board),
            "others": [(other_tool_line(one), one.remark) for one in result.others],
            "matrix": _matrix(result),
            "search": _search(first),
            "apart": [(key, list(map(brief, values))) for key, values in result.config.items()],
            "with_best": [pair for pair in result.pairs if result.entries[0].name in (pair.first, pair.second)],
            # A folder of masks is compared by its scores, and has no log.
            "groups": _charts([*(run.path for run in runs if run.info_file.is_file()), *logs]),
        },
    )
    say(f"report: {path}")
    return path


def _rows(result: Comparison, board: tuple[float, float]) -> list[dict[str, Any]]:
    """The board: each entry with its strip and, but for the best, its pair with that one."""
    best = result.entries[0]
    low, high = board

    def place(value: float) -> float | None:
        return None if math.isnan(value) else (value - low) / (high - low)

    return [
        {
            "entry": entry,
            "verdict": verdict_in_words(entry.against_best),
            "pair": None if entry is best else result.pair(best.name, entry.name),
            "strip": interval_strip(
                place(entry.score.value) or 0.0, place(entry.score.low), place(entry.score.high), baselines=[]
            ),
        }
        for entry in result.entries
    ]


def scale(result: Comparison) -> tuple[float, float]:
    """Round ends of what the scores and their intervals span: on 0 to 1 they would all look the same."""
    ends = [end for entry in result.entries for end in (entry.score.value, entry.score.low, entry.score.high)]
    known = [end for end in ends if not math.isnan(end)]
    rows = ticks(min(known, default=0.0), max(known, default=1.0))
    return rows[0], rows[-1]


def _matrix(result: Comparison) -> list[tuple[str, list[Any]]]:
    """Rows of models with an entry for each loss, None where there is none."""
    if result.matrix is None:
        return []
    known = {entry.name: entry for entry in result.entries}
    return [
        (row, [known[name] if name else None for name in cells])
        for row, cells in zip(result.matrix.rows, result.matrix.cells, strict=True)
    ]


def _search(folder: Path) -> dict[str, Any] | None:
    """What a search has found, with the keys of its space; None for what is no search."""
    file = folder / "search.json"
    if not file.is_file():
        return None
    found = read_json(file)
    try:
        keys = dict.fromkeys(key for trial in found["trials"] for key in trial["values"])
        rows = [
            {**trial, "cells": [brief(trial["values"].get(key)) for key in keys]}
            for trial in sorted(
                found["trials"],
                key=lambda trial: (
                    trial["score"] is None,
                    (trial["score"] or 0) * (1 if found["lower_is_better"] else -1),
                ),
            )
        ]
        return {**found, "keys": [*keys], "trials": rows}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: is no result of `search` ({error}); run `maskwright search {folder}` again") from None


def _charts(sources: Sequence[Path]) -> list[dict[str, Any]]:
    """Groups of charts, each with a title; the single charts have one as well."""
    curves = read_curves(sources) if sources else []
    groups = []
    for number, (by, title, start) in enumerate(_CHARTS if curves else ()):
        charts = [
            {"title": chart.title, "caption": chart.caption, "svg": draw_svg(chart, f"g{number}-{place}")}
            for place, chart in enumerate(arrange(curves, by=by, from_=start))
        ]
        groups.append({"title": title, "charts": charts})
    return groups
