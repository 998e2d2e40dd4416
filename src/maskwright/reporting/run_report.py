"""The verb `report` for a run: all about it on one page, from its folder and, where it still is, its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.progress import progress, say
from maskwright.base.storage import require_absent
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.masks import class_pixels
from maskwright.core.palette import colour_of, to_hex
from maskwright.core.sample import Sample, read_image
from maskwright.data.auditing.statistics import Statistics
from maskwright.data.opening import load_dataset
from maskwright.errors import MaskwrightError
from maskwright.evaluation.guarding.number import best_score
from maskwright.reporting.evaluation_summary import best_and_worst, headline_rows, verdict
from maskwright.reporting.page import class_rows, free_page, plural, write_page
from maskwright.reporting.pictures import Picture, picture
from maskwright.reporting.svg import Series, line_chart
from maskwright.run import Run
from maskwright.training.doctor import examine
from maskwright.training.tracking.delivery.cursor import statuses

_LINES = 8  # classes in one chart
_SAMPLE_WIDTH = 960


def run_report(run: str | Path | Run, *, out: str | Path | None = None) -> Path:
    """Writes one self-contained HTML page about a run and returns its path: `RUN/report-001.html`, or `out`.

    The newest evaluation of `test` is shown, else of another split; without one the page says how to get
    it. The dataset is read again for its summary and the pictures; where it is gone or has changed, the page
    says so. Needs no torch. Raises DataError when `run` is no run folder, ConfigError when `out` exists.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    path = require_absent(Path(out) if out else free_page(run.path, "report"))
    info = run.info()
    classes = ClassTree.from_dict(info["classes"])
    config = strictyaml.read(run.config_file).data
    dataset, data_notes = _dataset(config["data"]["root"], info["dataset"]["version"], run.path)
    scored = run.evaluations()
    best, worst, ranked = best_and_worst(scored[0], dataset, classes) if scored else ([], [], 0)
    log = run.metrics.read()
    content = {
        "run": run.path,
        "name": run.path.resolve().name,
        "info": info,
        "config": config,
        "finished": run.finished,
        "trackers": statuses(run) if config.get("trackers") else [],
        "config_text": run.config_file.read_text("utf-8"),
        "classes": class_rows(classes),
        "data": _summary(dataset, info) if dataset else None,
        "data_notes": data_notes,
        "doctor": examine(run),
        "chosen_by": best_score(config),
        "scored": scored,
        "best": best,
        "worst": worst,
        "ranked": ranked,
        "validations": [row for row in log if "val_loss" in row],
        "charts": _charts(log, classes, config["train"]["batch_size"]),
        "samples": _samples(run, log),
        "validation_seconds": [row["evaluation_seconds"] for row in run.timing.read() if "evaluation_seconds" in row],
    }
    if scored:
        first = scored[0]
        content |= {
            "result": first.to_dict(),
            "headline": headline_rows(first),
            "trivial": list(first.trivial),
            "postprocessing": str(first.postprocessing or ""),
            "verdict": verdict(first),
        }
    write_page(path, "run.html.j2", content)
    say(f"report: {path}")
    return path


def _dataset(root: str, version: str, run: Path) -> tuple[Dataset | None, list[str]]:
    """The run's dataset as it is now, and what is to be said about it."""
    try:
        dataset = load_dataset(root)
        changed = dataset.version(dataset.file_hashes(run)) != version
    except MaskwrightError as error:
        return None, [f"The dataset cannot be read any more, so its summary and the pictures are left out ({error})."]
    return dataset, [
        "The dataset has changed since training (another content version): the summary shows it as it is now."
    ] * changed


def _summary(dataset: Dataset, info: dict[str, Any]) -> dict[str, Any]:
    """Statistics of the labelled samples by the splits that the run used, as `Statistics.to_dict` has them."""
    splits = _splits(dataset, info["splits"])
    statistics = Statistics(dataset.classes, splits)
    problems = []
    with progress("reading masks", sum(map(len, splits.values()))) as advance:
        done = 0
        for split, samples in splits.items():
            for sample in samples:
                try:
                    mask = dataset.read_mask(sample)
                    pixels = class_pixels(mask, len(dataset.classes))
                    # The images themselves are not decoded.
                    statistics.add(split, (mask.shape[0], mask.shape[1]), None, pixels)
                except MaskwrightError as error:
                    problems.append(str(error))
                advance(done := done + 1)
    return statistics.to_dict() | {"problems": problems}


def _splits(dataset: Dataset, recorded: dict[str, list[str]]) -> dict[str, list[Sample]]:
    """Labelled samples by split: those that the run recorded (validation may be a part of `train`), then the others."""
    known = {sample.name: sample for sample in dataset.samples if sample.labelled}
    used = {split: [known[name] for name in names if name in known] for split, names in recorded.items()}
    taken = {name for names in recorded.values() for name in names}
    for split, samples in dataset.splits.items():
        left = [sample for sample in samples if sample.name in known and sample.name not in taken]
        if left:
            used.setdefault(split, []).extend(left)
    return used


def _charts(log: list[dict[str, Any]], classes: ClassTree, batch_size: int) -> list[dict[str, Any]]:
    """Curves over iterations, one quantity a chart, each with what is to be known to read it."""
    validations = [row for row in log if "val_loss" in row]
    steps = f"iterations of {plural(batch_size, 'image')}"
    best = next((row["iteration"] for row in reversed(validations) if row["best"]), None)
    mark = (float(best), f"best: {best:,}") if best else None

    def series(name: str, key: str, colour: int) -> Series:
        return Series(name, [(row["iteration"], row[key]) for row in log if key in row], f"var(--series-{colour})")

    # Of many classes, those that are worst at the end are the ones to look at.
    last = validations[-1]["val_iou"] if validations else []
    order = sorted(range(len(last)), key=lambda i: (last[i] is None, last[i] or 0.0))
    shown = sorted(order[:_LINES])
    ious = [
        Series(
            classes.names[i],
            [(row["iteration"], row["val_iou"][i]) for row in validations],
            to_hex(classes.leaves[i].colour),
        )
        for i in shown
    ]
    few = f" The {_LINES} of {len(order)} classes with the lowest IoU at the end." * (len(order) > _LINES)
    levels = [
        Series(
            f"level {number}",
            [(row["iteration"], row["val_mIoU_levels"][number - 1]) for row in validations],
            to_hex(colour_of(number)),
        )
        for number in range(1, classes.depth + 1)
        if validations and "val_mIoU_levels" in validations[-1]
    ]
    charts = [
        (
            "loss",
            "Loss",
            [series("training", "loss", 1), series("validation", "val_loss", 2)],
            "loss (no unit)",
            "Training: mean over the last few batches, augmented. Validation: the whole split, unaugmented, with "
            "averaged weights where that is set (EMA).",
        ),
        (
            "scores",
            "Validation scores",
            [series("mIoU", "val_mIoU", 1), series("mDice", "val_mDice", 2)],
            "score (0 to 1)",
            "Over the whole validation split, at the images' own sizes.",
        ),
        ("class-iou", "Validation IoU by class", ious, "IoU (0 to 1)", "Over the whole validation split." + few),
        (
            "level-miou",
            "Validation mIoU by level",
            levels,
            "mIoU (0 to 1)",
            "Levels of the class tree; level 1 is the top, the last one holds the classes of the masks.",
        ),
    ]
    return [
        {"title": title, "caption": caption, "svg": drawn}
        for key, title, lines, unit, caption in charts
        if (drawn := line_chart(key, title, lines, x_label=steps, y_label=unit, mark=mark))
    ]


def _samples(run: Run, log: list[dict[str, Any]]) -> list[Picture]:
    """The sample pictures of the first, the best and the last evaluation."""
    rows = [row for row in log if "val_loss" in row and run.sample_file(row["iteration"]).is_file()]
    best = [row["iteration"] for row in rows if row["best"]][-1:]
    pictures = []
    for iteration in sorted({*best, *(row["iteration"] for row in (*rows[:1], *rows[-1:]))}):
        label = f"iteration {iteration:,}" + " (best)" * (iteration in best)
        alt = f"Validation samples at {label}: image, ground truth, prediction and difference, from left to right"
        pictures.append(picture(read_image(run.sample_file(iteration)), label, alt, _SAMPLE_WIDTH))
    return pictures
