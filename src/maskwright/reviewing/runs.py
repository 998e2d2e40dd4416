"""The trainings of a dataset: where they are, how far they have come, and their pages."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.storage import confine, lock_owner
from maskwright.core.description import FOLDER
from maskwright.errors import DataError, MaskwrightError
from maskwright.run import Run, flat
from maskwright.studies.folder import RunsFolder, Study
from maskwright.studies.searching.folder import Search
from maskwright.studies.status import progress_of

_DEEP = 4  # folders below the place where runs are looked for
_MOST = 200
_POINTS = 200  # of a curve
_COLUMNS = 6  # settings that are shown beside the scores of a study
_KINDS = (Study, Search)
_STUDIES = {f"{kind.verb}.yaml" for kind in _KINDS}
_NOT_RUNS = {FOLDER, "checkpoints", "predictions", "evaluations", "explanations", "samples", "node_modules"}


def find_runs(places: list[Path]) -> list[Path]:
    """The run folders at or below these places, the newest first; folders that are links are not entered."""
    return _newest(places, lambda folder, files: "run.json" in files, "run.json")


def find_studies(places: list[Path]) -> list[Path]:
    """The folders of studies and searches at or below these places, the newest first."""
    return _newest(
        places, lambda folder, files: not _STUDIES.isdisjoint(files) and study_in(folder) is not None, "jobs"
    )


def study_in(folder: Path) -> RunsFolder | None:
    """The study or search that a folder is of."""
    return next((found for kind in _KINDS if (found := kind(folder)).begun), None)


def _newest(places: list[Path], wanted: Callable[[Path, list[str]], bool], dated: str) -> list[Path]:
    """Those folders at or below these places that are `wanted`, by the time of what they hold; such are not entered."""
    found: dict[Path, float] = {}
    for place in places:
        for folder, inner, files in os.walk(place):
            path = Path(folder)
            if wanted(path, files):
                found[path.resolve()] = (path / dated).stat().st_mtime
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


def describe_study(path: Path) -> dict[str, Any]:
    """For JSON: name, pages, the `keys` that its runs differ in, and `runs`, the best validation score first: name,
    state, how far it is, its score, its `values` for the keys, and the folder. `compare` is the command that says which
    differences are noise. A damaged one has an `error`."""
    described: dict[str, Any] = {"name": path.name, "folder": str(path), "pages": list(pages_of(path))}
    try:
        if (found := study_in(path)) is None:
            raise DataError(f"{path}: is no study any more; reload the list")
        rows = [_row(found, name) for name in found.prepared]
        settings = [_settings(found.config_file(row["name"])) for row in rows]
        keys = dict.fromkeys(key for one in settings for key in one)
        differing = [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1][:_COLUMNS]
        for row, one in zip(rows, settings, strict=True):
            row["values"] = [one.get(key) for key in differing]
        rows.sort(key=lambda row: (row["val_mIoU"] is None, -(row["val_mIoU"] or 0)))
        place, splits = shlex.quote(str(path)), [*found.evaluate]
        compare = f"maskwright compare {place}"
        if splits and "test" not in splits:
            compare = f"maskwright compare {place} --split {splits[0]}"
        described |= {"kind": found.verb, "keys": differing, "runs": rows, "compare": compare}
    except (MaskwrightError, OSError, KeyError, TypeError, ValueError) as error:
        described["error"] = str(error)
    return described


def _row(found: RunsFolder, name: str) -> dict[str, Any]:
    run, state = found.run(name), "waiting"
    begun = run.info_file.is_file()
    if run.pruned_file.is_file():
        state = "ended early"
    elif lock_owner(found.job(name)) is not None:
        state = "running"
    elif found.failure(name):
        state = "failed"
    elif begun:
        state = "finished" if run.finished else "stopped"
    known = progress_of(run) if begun else {}
    return {
        "name": name,
        "run": str(run.path.resolve()),
        "state": state,
        "iteration": known.get("iteration", 0),
        "iterations": known.get("iterations"),
        "val_mIoU": known.get("best_val_mIoU"),
    }


@lru_cache(1024)
def _settings(config: Path) -> dict[str, Any]:
    """The values of a config by their keys (`optimizer.lr`)."""
    return flat(strictyaml.read(config).data)


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
