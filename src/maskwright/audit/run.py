"""The verb `audit`: every check over one pass of a dataset, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from maskwright.audit import CHECKS
from maskwright.audit.checks import few
from maskwright.audit.statistics import SplitStatistics, Statistics
from maskwright.audit.survey import Survey, survey
from maskwright.core import progress as bar
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset, load_dataset
from maskwright.core.findings import Finding, summarise
from maskwright.errors import DataError

# What keeps the text within a screen.
_NAMES, _CLASSES, _GROUPS = 3, 8, 9


@dataclass(frozen=True)
class AuditResult:
    """What an audit found, worst first. `version` is the dataset's content version, None when a file is unreadable."""

    name: str
    root: Path
    classes: ClassTree
    version: str | None
    samples: int
    excluded: int
    findings: list[Finding]
    statistics: Statistics

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `audit`."""
        return {"dataset": {"name": self.name, "root": str(self.root), "version": self.version, "samples": self.samples,
                            "excluded": self.excluded, "classes": self.classes.to_dict()},
                "findings": [finding.to_dict() for finding in self.findings],
                "summary": summarise(self.findings),
                "statistics": self.statistics.to_dict()}


def audit(data: str | Path | Dataset, *, progress: bool = True, threads: int | None = None) -> AuditResult:
    """Checks a dataset (or the folder of one) and counts what it consists of; nothing is written.

    Every file is decoded once, by `threads` threads (chosen by the cores when left out), and memory does not
    grow with the images' pixels. Samples with status `exclude` are left out. Raises ConfigError or DataError
    when the folder cannot be read as a dataset at all; a broken file is a finding.
    """
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    kept = sum(sample.status != "exclude" for sample in dataset.samples)
    with bar.progress("auditing", kept) if progress else nullcontext() as advance:
        seen = survey(dataset, threads=threads, advance=advance)
    try:
        version = dataset.version()
    except DataError:
        version = None  # a file is missing, which is a finding already
    return AuditResult(dataset.name, dataset.root, dataset.classes, version, kept, len(dataset.samples) - kept,
                       sorted(_findings(seen), key=lambda finding: -finding.severity), seen.statistics)


def _findings(seen: Survey) -> Iterator[Finding]:
    for code, row in CHECKS.items():
        for what in row.check(seen):
            yield Finding(code, row.severity, what.message, what.fix, what.sample.name if what.sample else None,
                          what.split or (what.sample.split if what.sample else None), evidence=what.evidence)


def human(result: AuditResult) -> str:
    """The result as text for a terminal: at most about 40 lines, whatever the size of the dataset."""
    excluded = f" and {result.excluded} excluded" if result.excluded else ""
    lines = [f"{result.name}: {result.samples} images{excluded}, {len(result.classes)} classes, "
             f"version {(result.version or 'unknown')[:12]}"]
    lines += _table(_splits_table(result.statistics)) + _table(_classes_table(result.statistics))
    mean, std = result.statistics.total.mean_std
    lines.append("  channels (RGB, 0..1): mean " + " ".join(f"{value:.3f}" for value in mean)
                 + ", std " + " ".join(f"{value:.3f}" for value in std))
    return "\n".join([*lines, *_finding_lines(result.findings)])


def _splits_table(statistics: Statistics) -> list[list[str]]:
    parts = dict(statistics.splits) | ({"all": statistics.total} if len(statistics.splits) > 1 else {})
    return [["split", "images", "labelled", "ignored", "height", "width"], *(
        [name or "(none)", str(part.images), str(part.labelled), _percent(part.ignored_share), _extent(part, 0),
         _extent(part, 1)] for name, part in parts.items())]


def _extent(part: SplitStatistics, axis: int) -> str:
    found = part.extent(axis)
    return "..".join(dict.fromkeys(f"{value:.0f}" for value in found.values())) or "-"


def _classes_table(statistics: Statistics) -> list[list[str]]:
    """The classes with the most pixels and those with the fewest, with their share of pixels and their images."""
    names = statistics.classes.names
    order = sorted(range(len(names)), key=lambda i: -statistics.total.class_pixels[i])
    shown = order if len(order) <= _CLASSES else order[: _CLASSES // 2] + order[-_CLASSES // 2 :]
    weights = statistics.class_weights
    rows = [["class", *(f"{split or '(none)'}: pixels, images" for split in statistics.splits), "weight"]]
    for i in sorted(shown):
        rows.append([names[i], *(f"{_percent(float(part.shares[i]))} {part.class_images[i]:>5}"
                                 for part in statistics.splits.values()), f"{weights[i]:.3g}"])
    if len(shown) < len(order):
        rows.append([f"({len(order) - len(shown)} in between)"])
    return rows


def _percent(share: float) -> str:
    return f"{share:.2%}" if share == share else "-"


def _table(rows: list[list[str]]) -> list[str]:
    """Columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    lines = [[cell.rjust(widths[i]) if i else cell.ljust(widths[i]) for i, cell in enumerate(row)] for row in rows]
    return ["  " + "  ".join(cells).rstrip() for cells in lines]


def _finding_lines(findings: list[Finding]) -> list[str]:
    if not findings:
        return ["no findings"]
    severities = summarise(findings)["by_severity"]
    lines = [f"{len(findings)} findings: " + ", ".join(f"{n} {label}" for label, n in severities.items() if n)]
    groups = [list(group) for _, group in groupby(findings, key=lambda finding: finding.code)]
    for group in groups[:_GROUPS]:
        first = group[0]
        what = CHECKS[first.code].meaning if len(group) > 1 else first.message
        times = f" x {len(group)}" if len(group) > 1 else ""
        names = few([name for finding in group for name in _subjects(finding)], _NAMES)
        lines.append(f"  {first.severity.label:<7}  {first.code}{times}: {what}" + (f" ({names})" if names else ""))
        lines.append(f"           {first.fix}")
    if len(groups) > _GROUPS:
        lines.append("  and " + ", ".join(f"{group[0].code} x {len(group)}" for group in groups[_GROUPS:]))
    return lines


def _subjects(finding: Finding) -> list[str]:
    """What a finding is about, by name."""
    if finding.sample:
        return [finding.sample]
    return list(finding.evidence.get("samples", ())) or [finding.split or ""] * bool(finding.split)
