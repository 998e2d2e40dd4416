"""An audit as text for a terminal: at most about 40 lines, whatever the size of the dataset."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from maskwright.base.texts import listing, plural, table
from maskwright.core.findings import Finding, summarise
from maskwright.data.auditing.statistics import SplitStatistics, Statistics

if TYPE_CHECKING:
    from maskwright.data.auditing import AuditResult

# What keeps the text within a screen.
_NAMES, _CLASSES, _SPLITS, _GROUPS = 3, 8, 4, 9


def audit_text(result: AuditResult) -> str:
    """The result as text for a terminal: at most about 40 lines, whatever the size of the dataset."""
    excluded = f" and {result.excluded} excluded" if result.excluded else ""
    lines = [
        f"{result.name}: {plural(result.samples, 'image')}{excluded}, {plural(len(result.classes), 'class')}, "
        f"dataset fingerprint {(result.version or 'unknown')[:12]}"
    ]
    lines += table(_splits_table(result.statistics)) + table(_classes_table(result.statistics))
    mean, std = result.statistics.total.mean_std
    lines.append(
        f"  channels ({result.statistics.bands}, 0..1): mean "
        + " ".join(f"{value:.3f}" for value in mean)
        + ", std "
        + " ".join(f"{value:.3f}" for value in std)
    )
    lines += _finding_lines(result.findings)
    if result.fixed:
        lines.append(f"fixed: {result.fixed}; `maskwright edits DIR --undo` takes it back")
    return "\n".join(lines)


def _shown(statistics: Statistics) -> dict[str, SplitStatistics]:
    return dict(list(statistics.splits.items())[:_SPLITS])


def _splits_table(statistics: Statistics) -> list[list[str]]:
    parts = _shown(statistics)
    if len(statistics.splits) > 1:
        parts |= {f"all {len(statistics.splits)} splits": statistics.total}
    return [
        ["split", "images", "labelled", "ignored", "height", "width"],
        *(
            [
                name or "(none)",
                str(part.images),
                str(part.labelled),
                _percent(part.ignored_share),
                _extent(part, 0),
                _extent(part, 1),
            ]
            for name, part in parts.items()
        ),
    ]


def _extent(part: SplitStatistics, axis: int) -> str:
    found = part.extent(axis)
    return "..".join(dict.fromkeys(f"{value:.0f}" for value in found.values())) or "-"


def _classes_table(statistics: Statistics) -> list[list[str]]:
    """The classes with the most pixels and those with the fewest, with their share of pixels and their images."""
    names = statistics.classes.names
    total = statistics.total
    order = sorted(range(len(names)), key=lambda i: -total.class_pixels[i])
    shown = order if len(order) <= _CLASSES else order[: _CLASSES // 2] + order[-_CLASSES // 2 :]
    weights, objects = statistics.class_weights["inverse_frequency"], total.objects
    rows = [
        [
            "class",
            *(f"{split or '(none)'}: pixels, images" for split in _shown(statistics)),
            "objects",
            "median object size (px)",
            "inverse-frequency class weight",
        ]
    ]
    for i in sorted(shown):
        rows.append(
            [
                names[i],
                *(
                    f"{_percent(float(part.shares[i]))} {part.class_images[i]:>5}"
                    for part in _shown(statistics).values()
                ),
                str(objects.counts[i]),
                str(objects.median(i) or "-"),
                f"{weights[i]:.3g}",
            ]
        )
    if len(shown) < len(order):
        rows.append([f"({len(order) - len(shown)} in between)"])
    return rows


def _percent(share: float) -> str:
    return f"{share:.2%}" if share == share else "-"


def _finding_lines(findings: list[Finding]) -> list[str]:
    if not findings:
        return ["no findings"]
    severities = summarise(findings)["by_severity"]
    lines = [
        f"{plural(len(findings), 'finding')}: "
        + ", ".join(f"{n:,} info" if label == "info" else plural(n, label) for label, n in severities.items() if n)
    ]
    groups = [list(group) for _, group in groupby(findings, key=lambda finding: finding.code)]
    for group in groups[:_GROUPS]:
        first = group[0]
        times = f" x {len(group)}" if len(group) > 1 else ""
        what = f"{first.sample}: {first.message}" if first.sample else first.message
        if listed := listing(first.evidence.get("samples", []) if first.sample is None else [], _NAMES):
            what += f" ({listed})"
        if others := listing([other.sample or other.message for other in group[1:]], _NAMES - 1):
            what += f"; also {others}"
        lines += [f"  {first.severity.label:<7}  {first.code}{times}: {what}", f"           {first.fix}"]
    if len(groups) > _GROUPS:
        lines.append("  and " + ", ".join(f"{group[0].code} x {len(group)}" for group in groups[_GROUPS:]))
    return lines
