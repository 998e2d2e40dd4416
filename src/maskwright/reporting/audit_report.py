"""What an audit found as one page: findings by code with what to do, what the data consists of, a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.auditing import CHECKS, AuditResult
from maskwright.core.dataset import Dataset, load_dataset
from maskwright.core.findings import Finding
from maskwright.core.progress import progress
from maskwright.core.sample import Sample
from maskwright.core.storage import dump_json, require_absent, staged_folder
from maskwright.errors import MaskwrightError
from maskwright.reporting.page import class_rows, plural, write_page
from maskwright.reporting.pictures import Picture, labelled_overlay, picture, present

_PICTURES = 24


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
    return write_page(out, "audit.html.j2", {
        **content, "classes": class_rows(result.classes), "splits": splits, "groups": _groups(result.findings),
        "weights": content["statistics"]["class_weights"]["inverse_frequency"], "tiles": tiles, "problem": problem})


def write_audit(result: AuditResult, out: Path, *, dataset: Dataset | None = None) -> Path:
    """Writes the new folder `out` with `audit.html` and `audit.json` (all of `result.to_dict()`); returns the page.

    Raises ConfigError when `out` exists and is not empty; see `audit_report` for `dataset`.
    """
    with staged_folder(out) as staging:
        (staging / "audit.json").write_text(dump_json(result.to_dict(), indent=2) + "\n", "utf-8")
        audit_report(result, staging / "audit.html", dataset=dataset)
    return out / "audit.html"


def _groups(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings of one code together, worst first, as rows of those that say the same."""
    by_code: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity):
        by_code.setdefault(finding.code, []).append(finding)
    return [{"code": code, "severity": found[0].severity.label, "count": len(found), "meaning": CHECKS[code].meaning,
             "rows": _rows(found)} for code, found in by_code.items()]


def _rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """Rows of `where`, `message`, `fix` and the names of several samples."""
    rows: dict[tuple[str, str, str | None], list[str]] = {}
    for finding in findings:
        about = [finding.sample] if finding.sample else finding.evidence.get("samples", [])
        rows.setdefault((finding.message, finding.fix, None if finding.sample else finding.split), []).extend(about)

    def where(names: list[str], split: str | None) -> str:
        if len(names) == 1:
            return names[0]
        return split or (plural(len(names), "sample") if names else "the dataset")

    return [{"where": where(names, split), "message": message, "fix": fix, "names": names if len(names) > 1 else []}
            for (message, fix, split), names in rows.items()]


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
        if sample.mask is None:
            return Tile(sample, picture(dataset.read_image(sample), "", f"{sample.name}: no mask"), "no mask")
        image, mask = dataset.read(sample)
    except MaskwrightError as error:
        return Tile(sample, None, str(error))
    text = present(mask, dataset.classes)
    return Tile(sample, picture(labelled_overlay(image, mask, dataset.classes), "", f"{sample.name}: {text}"), text)
