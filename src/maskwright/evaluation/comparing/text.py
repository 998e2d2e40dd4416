"""A comparison as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from maskwright.base.texts import counted, plural, table
from maskwright.evaluation.comparing.inference import Verdict
from maskwright.evaluation.metrics import Interval
from maskwright.evaluation.naming import brief

if TYPE_CHECKING:
    from maskwright.core.findings import Finding
    from maskwright.evaluation.comparing.results import Comparison, Costs, LeaderboardEntry
    from maskwright.evaluation.curves.curve import Summary

_CLASSES, _KEYS, _WIDE, _NAMES = 8, 12, 40, 3
_VERDICTS: dict[Verdict, str] = {
    "better": "significantly better",
    "worse": "significantly worse",
    "not distinguishable": "not distinguishable",
}


def comparison_text(result: Comparison) -> str:
    """The board, classes, matrix, differences of the configs, the choice, and what to keep in mind."""
    runs = sum(len(entry.runs) for entry in result.entries)
    lines = [
        f"{result.split}: {plural(len(result.samples), 'image')}, {plural(runs, 'run')}, "
        f"{counted(len(result.entries), 'entr{y|ies}')} by {result.score}"
    ]
    lines += table(
        [
            [
                "",
                result.score,
                "95 % interval",
                "compared with the best",
                "points behind",  # not per cent: +10 % of .60 is 6 points
                "p",
                "seeds",
                "parameters",
                "MACs",
                "step",
                "images/s",
                "waiting",
                "trained",
            ],
            *(_row(result, entry) for entry in result.entries),
        ]
    )
    others = [key for key in result.entries[0].scores if key != result.score]
    lines.append("other scores")
    lines += table(
        [
            ["", *(key.replace("_", " ") for key in others)],
            *([entry.name, *(f"{entry.scores[key]:.4f}" for key in others)] for entry in result.entries),
        ]
    )
    lines += _classes(result)
    if result.matrix:
        values = {entry.name: f"{entry.score.value:.4f}" for entry in result.entries}
        lines.append(f"{result.score} by model and loss")
        lines += table(
            [
                ["", *result.matrix.columns],
                *(
                    [row, *(values[name] if name else "" for name in cells)]
                    for row, cells in zip(result.matrix.rows, result.matrix.cells, strict=True)
                ),
            ]
        )
    if result.config:
        lines.append("differences between the configs")
        shown = list(result.config.items())[:_KEYS]
        lines += [f"  {key}: " + " | ".join(_cut(brief(value)) for value in values) for key, values in shown]
        lines += [f"  and {len(result.config) - _KEYS} more keys"] * (len(result.config) > _KEYS)
    if result.choice:
        lines.append(f"choice: {result.choice.proposed}")
        lines.append(f"  {result.choice.reason}")
    if result.seed_sd is not None:
        lines.append(f"random seed variation: {seed_variation(result)}")
    lines += [f"note: {note}" for note in result.notes]
    lines += [
        f"{finding.severity.label}: {whose}{finding.message}; {finding.fix} ({finding.code})"
        for finding, whose in told(result)
    ]
    lines += [f"not compared: {name}" for name in result.apart]
    lines += [f"other tool: {other_tool_line(one)} ({one.remark})" for one in result.others]
    return "\n".join([*lines, *(f"not evaluated: {command}" for command in result.missing.values())])


def seed_variation(result: Comparison) -> str:
    """How far another seed moves the score of a recipe, of which `seed_sd` is known."""
    repetitions = plural(result.seed_freedom, "repetition")
    if not result.seed_sd:
        return f"{result.score} varies by no more than the images explain (from {repetitions})"
    return (
        f"{result.score} varies by {result.seed_sd:.4f} (standard deviation, from {repetitions}, without what the "
        "images explain)"
    )


def told(result: Comparison) -> list[tuple[Finding, str]]:
    """The findings, each with the runs that it is about, with a colon, where it is not about all of them. What is found
    in several single runs is told of the first one, with the names of the others."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for number, finding in enumerate(result.findings):
        names = _runs_of(finding)
        groups.setdefault((finding.code, finding.severity, number if len(names) != 1 else None), []).append(finding)
    found = []
    for first, *others in groups.values():
        names = _runs_of(first)
        about_some = 0 < len(names) < sum(len(entry.runs) for entry in result.entries)
        also = [name for other in others for name in _runs_of(other)]
        message = first.message + (f" (likewise {_listed(also)})" if also else "")
        found.append((replace(first, message=message), f"{_listed(names)}: " if about_some else ""))
    return found


def _runs_of(finding: Finding) -> Sequence[str]:
    names: Sequence[str] = (finding.evidence or {}).get("runs", ())
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + f" and {len(names) - _NAMES} more" * (len(names) > _NAMES)


def other_tool_line(other: Summary) -> str:
    """The training in the log of another tool: the best validation, and the last."""
    if other.chosen_by is None or (found := other.values[other.chosen_by]).at_best is None:
        return f"{other.name}: no validation in its log"
    last = "" if found.last is None else f", {found.last:.4f} at the end"
    return f"{other.name}: {other.chosen_by} {found.at_best:.4f} at {other.axis} {other.best_at:g}{last}"


def verdict_in_words(against_best: Verdict | None) -> str:
    """What an entry is called, compared with the best one."""
    return _VERDICTS[against_best] if against_best else "best"


def _row(result: Comparison, entry: LeaderboardEntry) -> list[str]:
    best = result.entries[0].name
    pair = result.pair(best, entry.name) if entry.name != best else None
    return [
        entry.name,
        f"{entry.score.value:.4f}",
        _between(entry.score),
        verdict_in_words(entry.against_best),
        _points(pair.difference) if pair else "",
        f"{pair.p_corrected:.2g}" if pair else "",
        str(len(entry.runs)),
        *_costs(entry.costs),
    ]


def _points(difference: Interval) -> str:
    """Of the score, in hundredths of its range."""
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:.1f}" + ("" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]")


def _between(interval: Interval) -> str:
    return "" if math.isnan(interval.low) else f"[{interval.low:.4f}, {interval.high:.4f}]"


def _costs(costs: Costs) -> list[str]:
    return [
        _short(costs.parameters),
        _short(costs.macs),
        "" if costs.step_seconds is None else f"{1000 * costs.step_seconds:.0f} ms",
        "" if costs.images_per_second is None else f"{costs.images_per_second:.1f}",
        "" if costs.waited is None else f"{100 * costs.waited:.0f} %",
        "" if costs.train_seconds is None else f"{costs.train_seconds:.0f} s",
    ]


def _short(value: float | None) -> str:
    if value is None:
        return ""
    power = next((unit for unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= unit[0]), (1.0, ""))
    return f"{value / power[0]:.3g} {power[1]}".rstrip()


def _classes(result: Comparison) -> list[str]:
    """IoU of the classes; of many, those in which the entries differ most."""
    spread = [
        max(values) - min(values) if not any(map(math.isnan, values)) else -1.0
        for values in zip(*(entry.class_iou for entry in result.entries), strict=True)
    ]
    shown = sorted(sorted(range(len(spread)), key=lambda k: -spread[k])[:_CLASSES])
    head = "IoU by class" + f" ({_CLASSES} of {len(spread)}, where they differ most)" * (len(spread) > _CLASSES)
    return [
        head,
        *table(
            [
                ["", *(result.classes[k] for k in shown)],
                *(
                    [
                        entry.name,
                        *("-" if math.isnan(entry.class_iou[k]) else f"{entry.class_iou[k]:.3f}" for k in shown),
                    ]
                    for entry in result.entries
                ),
            ]
        ),
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
