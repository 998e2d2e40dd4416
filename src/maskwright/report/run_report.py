"""The verb `report`: everything about a run on one page, from the run's folder and, where it still is, its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from maskwright.audit.statistics import Statistics
from maskwright.core import strictyaml
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset, load_dataset
from maskwright.core.masks import class_pixels
from maskwright.core.palette import to_hex
from maskwright.core.progress import progress, say
from maskwright.core.sample import Sample, read_image
from maskwright.core.storage import require_absent
from maskwright.errors import MaskwrightError
from maskwright.report.page import free_page, write_page
from maskwright.report.pictures import Picture, picture
from maskwright.report.scored import SCORE_NAMES, best_and_worst, evaluations, headline, trivial, verdict
from maskwright.report.svg import Series, line_chart
from maskwright.run import Run

_LINES = 12  # classes in one chart
_SAMPLES, _SAMPLE_WIDTH = 3, 960


def report(run: str | Path | Run, *, out: Path | None = None) -> Path:
    """Writes one self-contained HTML page about a run and returns its path: `RUN/report-001.html`, or `out`.

    The newest evaluation of `test` is shown, else of another split; without one the page says how to get
    it. The dataset is read again for its summary and the pictures; where it is gone or has changed, the page
    says so. Needs no torch. Raises DataError when `run` is no run folder, ConfigError when `out` exists.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    path = require_absent(Path(out) if out else free_page(run.path, "report"))
    info = run.info()
    classes = ClassTree.from_dict(info["classes"])
    config = strictyaml.read(run.path / "config.yaml").data
    dataset, data_notes = _dataset(info)
    scored = evaluations(run)
    best, worst, ranked = best_and_worst(scored[0], dataset, classes) if scored else ([], [], 0)
    log = run.metrics.read()
    content = {
        "run": run.path.resolve().name, "info": info, "config": config, "finished": run.finished,
        "config_text": (run.path / "config.yaml").read_text("utf-8"),
        "classes": [{"id": leaf.id, "name": leaf.name, "colour": to_hex(leaf.colour)} for leaf in classes.leaves],
        "data": _summary(dataset, info) if dataset else None, "data_notes": data_notes,
        "scored": scored, "score_names": SCORE_NAMES, "best": best, "worst": worst, "ranked": ranked,
        "validations": [row for row in log if "val_loss" in row],
        "charts": _charts(log, classes, run.finished, config), "samples": _samples(run, log),
        "validation_seconds": [row["evaluation_seconds"] for row in run.timing.read() if "evaluation_seconds" in row],
    }
    if scored:
        result = scored[0].result
        content |= {"headline": headline(result), "trivial": list(trivial(result)), "verdict": verdict(result)}
    write_page(path, "run.html.j2", content)
    say(f"report: {path}")
    return path


def _dataset(info: dict[str, Any]) -> tuple[Dataset | None, list[str]]:
    """The run's dataset as it is now, and what is to be said about it."""
    try:
        dataset = load_dataset(info["dataset"]["root"])
        if dataset.version() == info["dataset"]["version"]:
            return dataset, []
        return dataset, ["The dataset has changed since training (another content version): what is said about the data "
                         "here is of today."]
    except MaskwrightError as error:
        return None, [f"The dataset cannot be read any more, so its summary and the pictures are left out ({error})."]


def _summary(dataset: Dataset, info: dict[str, Any]) -> dict[str, Any]:
    """Statistics of the labelled samples by the splits that the run used, as `Statistics.to_dict` has them."""
    statistics = Statistics(dataset.classes)
    splits = _splits(dataset, info["splits"])
    no_levels = np.zeros((3, 256), np.int64)  # the images themselves are not decoded
    problems = []
    with progress("reading masks", sum(map(len, splits.values()))) as advance:
        done = 0
        for split, samples in splits.items():
            for sample in samples:
                try:
                    mask = dataset.read_mask(sample)
                    statistics.add(split, (mask.shape[0], mask.shape[1]), no_levels, class_pixels(mask, len(dataset.classes)))
                except MaskwrightError as error:
                    problems.append(str(error))
                advance(done := done + 1)
    return statistics.to_dict() | {"problems": problems}


def _splits(dataset: Dataset, recorded: dict[str, list[str]]) -> dict[str, list[Sample]]:
    """Labelled samples by split: those that the run recorded (validation may be a part of `train`), then the others."""
    known = {sample.name: sample for sample in dataset.samples if sample.mask is not None}
    used = {split: [known[name] for name in names if name in known] for split, names in recorded.items()}
    taken = {name for names in recorded.values() for name in names}
    for split, samples in dataset.splits.items():
        left = [sample for sample in samples if sample.name in known and sample.name not in taken]
        if left:
            used.setdefault(split, []).extend(left)
    return used
