"""The page about runs side by side, a study as a rule: the board, what can be told of its differences, and curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.comparing import compare
from maskwright.comparing.gather import find_runs
from maskwright.comparing.results import Comparison
from maskwright.comparing.words import brief
from maskwright.core.progress import say
from maskwright.core.storage import require_absent
from maskwright.curves.charts import By, arrange
from maskwright.curves.curve import Curves
from maskwright.curves.finding import read_curves
from maskwright.reporting.page import free_page, write_page
from maskwright.reporting.plots import draw_svg
from maskwright.reporting.svg import interval_strip

# What the curves are arranged by, each with its title; the last is drawn from the middle of the training on.
_CHARTS: tuple[tuple[By, str, float | None], ...] = (
    ("best", "The best of each network and of each loss", None),
    ("network", "Each network, by loss", None),
    ("loss", "Each loss, by network", None),
    ("best", "The best, second half of the training", 0.5))


def study_report(study: str | Path, *, out: str | Path | None = None, split: str = "test", score: str = "mIoU"
                 ) -> Path:
    """Writes one self-contained HTML page about the runs in a folder: `STUDY/report-001.html`, or `out`.

    `split` and `score` are those of `compare`, which does the ranking. Needs no torch. Raises DataError when no run
    is evaluated on the split, ConfigError when `out` exists.
    """
    folder = Path(study)
    path = require_absent(Path(out) if out else free_page(folder, "report"))
    result = compare(folder, split=split, score=score)
    runs = find_runs([folder])
    write_page(path, "study.html.j2", {
        "name": folder.resolve().name, "folder": folder, "result": result, "rows": _rows(result),
        "matrix": _matrix(result), "apart": [(key, list(map(brief, values))) for key, values in result.config.items()],
        "beside_best": [pair for pair in result.pairs if result.entries[0].name in (pair.first, pair.second)],
        "groups": _charts(read_curves([run.path for run in runs]))})
    say(f"report: {path}")
    return path


def _rows(result: Comparison) -> list[dict[str, Any]]:
    """The board: each entry with its strip and, but for the best, its pair with that one."""
    best = result.entries[0]
    return [{"entry": entry, "pair": None if entry is best else result.pair(best.name, entry.name),
             "strip": interval_strip(entry.score.value, entry.score.low, entry.score.high, baselines=[])}
            for entry in result.entries]


def _matrix(result: Comparison) -> list[tuple[str, list[Any]]]:
    """Rows of models with an entry for each loss, None where there is none."""
    if result.matrix is None:
        return []
    known = {entry.name: entry for entry in result.entries}
    return [(row, [known[name] if name else None for name in cells])
            for row, cells in zip(result.matrix.rows, result.matrix.cells, strict=True)]


def _charts(curves: Sequence[Curves]) -> list[dict[str, Any]]:
    """Groups of charts, each with a title; the single charts have one as well."""
    groups = []
    for number, (by, title, start) in enumerate(_CHARTS):
        charts = [{"title": chart.title, "caption": chart.caption, "svg": draw_svg(chart, f"g{number}-{place}")}
                  for place, chart in enumerate(arrange(curves, by=by, from_=start))]
        groups.append({"title": title, "charts": charts})
    return groups
