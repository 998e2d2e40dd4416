"""What an audit found as one page: findings by code with what to do, what the data consists of, a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.auditing import CHECKS, AuditResult
from maskwright.auditing.statistics import GRID, Statistics
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Finding, Severity
from maskwright.core.progress import progress
from maskwright.core.sample import Sample
from maskwright.core.storage import dump_json, require_absent, staged_folder
from maskwright.errors import MaskwrightError
from maskwright.formats.opening import load_dataset
from maskwright.formats.source import NOTES
from maskwright.reporting.page import class_rows, plural, write_page
from maskwright.reporting.pictures import Picture, heat_picture, labelled_overlay, picture, present, ramp

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
    require_absent(out)
    content = result.to_dict()
    splits = dict(content["statistics"]["splits"])
    if len(splits) > 1:
        splits["all"] = content["statistics"]["total"]
    tiles, problem = _contact_sheet(result, dataset)
    heat = _heat(result)
    return write_page(out, "audit.html.j2", {
        **content, "classes": class_rows(result.classes), "splits": splits, "groups": _groups(result.findings),
        "weights": _weights(result.statistics), "objects": content["statistics"]["total"]["objects"],
        "heat": heat, "nowhere": [name for name, found in zip(result.classes.names, heat, strict=True) if not found],
        "ramp": ramp(),
        "tiles": tiles, "problem": problem, "fixed_text": str(result.fixed)})


def write_audit(result: AuditResult, out: Path, *, dataset: Dataset | None = None) -> Path:
    """Writes the new folder `out` with `audit.html` and `audit.json` (all of `result.to_dict()`); returns the page.

    Raises ConfigError when `out` exists and is not empty; see `audit_report` for `dataset`.
    """
    with staged_folder(out) as staging:
        (staging / "audit.json").write_text(dump_json(result.to_dict(), indent=2) + "\n", "utf-8")
        audit_report(result, staging / "audit.html", dataset=dataset)
    return out / "audit.html"


def _groups(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings of one code and severity together, worst first, as rows of those that say the same."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity):
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    return [{"code": code, "severity": severity.label, "count": len(found),
             "meaning": CHECKS[code].meaning if code in CHECKS else NOTES.get(code, ""), "rows": _rows(found)}
            for (severity, code), found in groups.items()]


def _weights(statistics: Statistics) -> dict[str, list[float | None]]:
    """The suggested weights of each kind; None for a class without a training pixel, of which nothing can be told."""
    seen = statistics.training.class_pixels.tolist()
    return {kind: [weight if pixels else None for weight, pixels in zip(weights.tolist(), seen, strict=True)]
            for kind, weights in statistics.class_weights.items()}


def _names(evidence: dict[str, Any]) -> list[str]:
    """The samples that a finding lists, those first of which it tells where they are worst."""
    worst = {row["sample"]: "{sample}: {count}, {class} at x {region[0]}, y {region[1]}".format_map(row)
             for row in evidence.get("worst", [])}
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

    return [{"where": where(names, split), "message": message, "fix": fix, "names": names if len(names) > 1 else []}
            for (message, fix, split), names in rows.items()]


@dataclass(frozen=True)
class Heat:
    """Where a class lies: the picture of its map, and its share in the cell where it is most frequent."""

    picture: Picture
    most: float


def _heat(result: AuditResult) -> list[Heat | None]:
    """The map of each class, each on its own scale; None for a class that occurs nowhere."""
    maps: list[Heat | None] = []
    for name, share in zip(result.classes.names, result.statistics.heat_maps, strict=True):
        most = float(np.nanmax(share)) if (share > 0).any() else 0.0
        rows, columns = np.unravel_index(int(np.nan_to_num(share).argmax()), share.shape)
        told = f"{name}: most frequent {_place(int(rows), int(columns))}, in {100 * most:.1f} % of the counted pixels"
        maps.append(Heat(picture(heat_picture(share / most, _CELL), "", told, exact=True), most) if most else None)
    return maps


def _place(row: int, column: int) -> str:
    """A cell of the grid in words."""
    down, across = ("top", "middle", "bottom")[3 * row // GRID], ("left", "centre", "right")[3 * column // GRID]
    return f"at the {down} {across}"


def _contact_sheet(result: AuditResult, dataset: Dataset | None) -> tuple[list[Tile], str]:
    """Samples at even distances through the dataset, or the reason why it cannot be shown."""
    try:
        dataset = dataset or load_dataset(result.root)
    except MaskwrightError as error:
        return [], str(error)
    if dataset.classes != result.classes:
        return [], "the classes of the dataset are not those that were audited"
    samples = [sample for sample in dataset.samples if sample.status != "exclude"]
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(_PICTURES, len(samples))).astype(int)).tolist()
    tiles = []
    with progress("drawing", len(chosen)) as advance:
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
