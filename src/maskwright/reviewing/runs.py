"""The trainings of a dataset: where they are, how far they have come, and their pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskwright.base.storage import confine, lock_owner
from maskwright.core.description import FOLDER
from maskwright.errors import DataError, MaskwrightError
from maskwright.run import Run

_DEEP = 4  # folders below the place where runs are looked for
_MOST = 200
_POINTS = 200  # of a curve
_NOT_RUNS = {FOLDER, "checkpoints", "predictions", "evaluations", "explanations", "samples", "node_modules"}


def find_runs(places: list[Path]) -> list[Path]:
    """The run folders at or below these places, the newest first; folders that are links are not entered."""
    found: dict[Path, float] = {}
    for place in places:
        for folder, inner, files in os.walk(place):
            path = Path(folder)
            if "run.json" in files:
                found[path.resolve()] = (path / "run.json").stat().st_mtime
                inner.clear()
            if len(path.relative_to(place).parts) >= _DEEP:
                inner.clear()
            inner[:] = sorted(name for name in inner if name not in _NOT_RUNS and not name.startswith("."))
    return sorted(found, key=lambda path: -found[path])[:_MOST]


def describe_run(path: Path) -> dict[str, Any]:
    """For JSON: name, state (`running`, `finished`, `stopped`), how far it is, its scores and losses, and its pages,
    as paths in the run. A damaged run has an `error`."""
    run = Run(path)
    described: dict[str, Any] = {
        "name": path.name,
        "folder": str(path),
        "pages": list(pages_of(path)),
        "model": run.best.is_file(),
    }
    try:
        history = run.history()
        finished = run.finished
        iteration = history[-1]["iteration"] if history else 0
        # A budget of time changes the number while it trains.
        planned = (finished or {}).get("iterations") or run.config().train.iterations or 0
        described |= {
            "state": "finished" if finished else "running" if lock_owner(path) is not None else "stopped",
            "iteration": iteration,
            "iterations": max(planned, iteration),
            "val_mIoU": max((row["val_mIoU"] for row in history if row.get("val_mIoU") is not None), default=None),
            "loss": _thinned([[row["iteration"], row["loss"]] for row in history if row.get("loss") is not None]),
            "scores": _thinned([[row["iteration"], row["val_mIoU"]] for row in history if row.get("val_mIoU")]),
        }
    except (MaskwrightError, OSError, KeyError, TypeError, ValueError) as error:
        described |= {"state": "unreadable", "error": str(error)}
    return described


def _thinned(points: list[list[float]]) -> list[list[float]]:
    step = max(1, -(-len(points) // _POINTS))
    return points[::step] + points[-1:] * bool(points and (len(points) - 1) % step)


def pages_of(folder: Path) -> Iterator[str]:
    """The pages that verbs have written into a run or the output of a verb: HTML files at most two folders down."""
    for pattern in ("*.html", "*/*.html", "*/*/*.html"):
        for path in sorted(folder.glob(pattern)):
            yield path.relative_to(folder).as_posix()


def page_file(folder: Path, name: str) -> Path:
    """The file `name` of a page in `folder`. DataError for what leads outside or is no page or picture."""
    file = confine(folder, name, "the address of the page")
    if file.suffix.lower() not in PAGE_TYPES or not file.is_file() or file.name.startswith("."):
        raise DataError(f"{name}: no page here; reload the list")
    return file


PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
}
