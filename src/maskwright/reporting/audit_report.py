"""What an audit found as one page: findings by code with what to do, what the data consists of, a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.progress import progress as bar
from maskwright.base.progress import say
from maskwright.base.storage import dump_json, jsonable, read_json, require_absent, staged_folder
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Finding, Severity
from maskwright.core.sample import Sample
from maskwright.data.auditing import CHECKS, AuditResult
from maskwright.data.auditing.statistics import GRID
from maskwright.data.formats.source import NOTES
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError, MaskwrightError
from maskwright.reporting.overlays import overlays as draw_overlays
from maskwright.reporting.page import PAGE, class_rows, plural, write_page
from maskwright.reporting.pictures import Picture, heat_picture, labelled_overlay, picture, present, ramp

FILE = "audit.json"
_PICTURES = 24
_CELL = 6  # pixels of a cell of a heat map


@dataclass(frozen=True)
class Tile:
    """One sample of the contact sheet: its overlay, or why there is none."""

    sample: Sample
    picture: Picture | None
    text: str


def audit_report(result: AuditResult, out: Path, *, dataset: Dataset | None = None) -> Path:
    """Writes one self-contained HTML page to `out` and returns its path.

    The pictures are read from `dataset`, or from `result.root` when it is left out (a dataset.yaml that is
    elsewhere is not found there). Raises ConfigError when `out` exists.
    """
    return _draw(jsonable(result.to_dict()), result.root if dataset is None else dataset, require_absent(out))


def write_audit(
    result: AuditResult,
    out: Path,
    *,
    dataset: Dataset | None = None,
    source: Path | None = None,
    overlays: int | None = None,
    progress: bool = True,
) -> Path:
    """Writes the new folder `out` with `index.html` and `audit.json` (all of `result.to_dict()`, and in `data` where
    the dataset was opened: `source`, else `result.root`), and with `overlays` in `overlays/` so many images with their
    masks, 0 for all; returns the page.

    Raises ConfigError when `out` exists and is not empty, DataError when no overlay can be drawn, once all else is
    there; see `audit_report` for `dataset`.
    """
    problem = None
    stored = result.to_dict() | {"data": str((source or result.root).resolve())}
    with staged_folder(out) as staging:
        (staging / FILE).write_text(dump_json(stored, indent=2) + "\n", "utf-8")
        audit_report(result, staging / PAGE, dataset=dataset)
        if overlays is not None:
            try:
                drawn = draw_overlays(
                    load_dataset(source or result.root) if dataset is None else dataset,
                    staging / "overlays",
                    count=overlays or None,
                    progress=progress,
                )
                say(f"overlays: {out / 'overlays'} ({len(drawn.overlays)} drawn, {len(drawn.skipped)} skipped)")
            except DataError as error:  # of a dataset so broken, the page is wanted most
                problem = error
    if problem:
        raise problem
    return out / PAGE


def redraw_audit(folder: Path) -> Path:
    """Draws the page of what an audit has written to `folder` again, in place of one that is there. DataError when it
    holds something else."""
    stored = read_json(folder / FILE)
    try:
        return _draw(stored, Path(stored.get("data") or stored["dataset"]["root"]), folder / PAGE, replace=True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder / FILE}: is no result of `audit` ({type(error).__name__}: {error}); run `maskwright audit` again"
        ) from None


def _draw(stored: dict[str, Any], source: Dataset | Path, page: Path, *, replace: bool = False) -> Path:
    """Writes the page of an audit as its JSON holds it, with pictures of the dataset `source`, or of what is there."""
    statistics = stored["statistics"]
    classes = ClassTree.from_dict(stored["dataset"]["classes"])
    splits = dict(statistics["splits"])
    if len(splits) > 1:
        splits["all"] = statistics["total"]
    bands = len(statistics["total"]["channels"]["mean"])
    tiles, problem = _contact_sheet(source, classes)
    heat = _heat(statistics.get("heat_maps"), classes)
    return write_page(
        page,
        "audit.html.j2",
        {
            **stored,
            "classes": class_rows(classes),
            "splits": splits,
            "channels": ["red", "green", "blue"] if bands == 3 else [f"band {band}" for band in range(1, bands + 1)],
            "groups": _groups(list(map(Finding.from_dict, stored["findings"]))),
            "weights": _weights(statistics),
            "objects": statistics["total"]["objects"],
            "heat": heat,
            "nowhere": [name for name, found in zip(classes.names, heat, strict=True) if not found],
            "ramp": ramp(),
            "tiles": tiles,
            "problem": problem,
        },
        replace=replace,
    )


def _groups(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings of one code and severity together, worst first, as rows of those that say the same."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity):
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    return [
        {
            "code": code,
            "severity": severity.label,
            "count": len(found),
            "meaning": CHECKS[code].meaning if code in CHECKS else NOTES.get(code, ""),
            "rows": _rows(found),
        }
        for (severity, code), found in groups.items()
    ]


def _weights(statistics: dict[str, Any]) -> dict[str, list[float | None]]:
    """The suggested weights of each kind; None for a class without a training pixel, of which nothing can be told."""
    splits = statistics["splits"]
    parts = [splits[name] for name in ("train", "") if name in splits]  # as for `Statistics.training`
    training = next((part for part in parts if part["labelled"]), statistics["total"])
    seen = [row["pixels"] for row in training["classes"]]
    return {
        kind: [weight if pixels else None for weight, pixels in zip(weights, seen, strict=True)]
        for kind, weights in statistics["class_weights"].items()
    }


def _names(evidence: dict[str, Any]) -> list[str]:
    """The samples that a finding lists, those first of which it tells where they are worst."""
    worst = {
        row["sample"]: "{sample}: {count}, {class} at x {region[0]}, y {region[1]}".format_map(row)
        for row in evidence.get("worst", [])
    }
    return [*worst.values(), *(name for name in evidence.get("samples", []) if name not in worst)]


def _rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """Rows of `where`, `message`, `fix` and the names of several samples."""
    rows: dict[tuple[str, str, str | None], list[str]] = {}
    for finding in findings:
        about = [finding.sample] if finding.sample else _names(finding.evidence)
        rows.setdefault((finding.message, finding.fix, None if finding.sample else finding.split), []).extend(about)

    def where(names: list[str], split: str | None) -> str:
        if len(names) == 1:
            return names[0]
        return split or (plural(len(names), "sample") if names else "the dataset")

    return [
        {"where": where(names, split), "message": message, "fix": fix, "names": names if len(names) > 1 else []}
        for (message, fix, split), names in rows.items()
    ]


@dataclass(frozen=True)
class Heat:
    """Where a class lies: the picture of its map, and its share in the cell where it is most frequent."""

    picture: Picture
    most: float


def _heat(stored: dict[str, Any] | None, classes: ClassTree) -> list[Heat | None]:
    """The map of each class, each on its own scale; None for a class that occurs nowhere."""
    if stored is None:
        return [None] * len(classes)
    maps: list[Heat | None] = []
    for name, row in zip(classes.names, stored["classes"], strict=True):
        share = np.array(row["share"], np.float64)  # nowhere counted is None, which becomes NaN
        most = float(np.nanmax(share)) if (share > 0).any() else 0.0
        rows, columns = np.unravel_index(int(np.nan_to_num(share).argmax()), share.shape)
        told = f"{name}: most frequent {_place(int(rows), int(columns))}, in {100 * most:.1f} % of the counted pixels"
        maps.append(Heat(picture(heat_picture(share / most, _CELL), "", told, exact=True), most) if most else None)
    return maps


def _place(row: int, column: int) -> str:
    """A cell of the grid in words."""
    down, across = ("top", "middle", "bottom")[3 * row // GRID], ("left", "centre", "right")[3 * column // GRID]
    return f"at the {down} {across}"


def _contact_sheet(source: Dataset | Path, classes: ClassTree) -> tuple[list[Tile], str]:
    """Samples at even distances through the dataset, or the reason why it cannot be shown."""
    try:
        dataset = source if isinstance(source, Dataset) else load_dataset(source)
    except MaskwrightError as error:
        return [], str(error)
    if dataset.classes != classes:
        return [], "the classes of the dataset are not those that were audited"
    samples = [sample for sample in dataset.samples if sample.status != "exclude"]
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(_PICTURES, len(samples))).astype(int)).tolist()
    tiles = []
    with bar("drawing", len(chosen)) as advance:
        for index in chosen:
            tiles.append(_tile(dataset, samples[index]))
            advance(len(tiles))
    return tiles, ""


def _tile(dataset: Dataset, sample: Sample) -> Tile:
    try:
        if not sample.labelled:
            return Tile(sample, picture(dataset.read_image(sample), "", f"{sample.name}: no mask"), "no mask")
        image, mask = dataset.read(sample)
    except MaskwrightError as error:
        return Tile(sample, None, str(error))
    text = present(mask, dataset.classes)
    return Tile(sample, picture(labelled_overlay(image, mask, dataset.classes), "", f"{sample.name}: {text}"), text)
