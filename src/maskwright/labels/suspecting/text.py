"""Suspects as text for a terminal, and the facts of a self-test, for the page too."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from maskwright.base.texts import percent, plural, table
from maskwright.errors import one_line

if TYPE_CHECKING:
    from maskwright.labels.suspecting.results import SuspectSample, SuspectsResult

_SAMPLES = 10
_WHICH = {"this": "these labels", "other": "the others", "undecided": "neither"}


def suspects_text(result: SuspectsResult) -> str:
    """The head of the ranking, counts by kind, the self-test, notes, where the rest is, and what to do next."""
    listed = result.listed
    lines = [_headline(result)]
    if listed:
        kinds = {one.sample: one.kind for one in reversed(result.suspects)}  # of the most likely error in each
        lines += table(
            [
                ["sample", "score", "agreement", "likely error", "wrong pixels", "suspect regions", "split"],
                *(_row(row, kinds.get(row.sample, "none: low agreement")) for row in listed[:_SAMPLES]),
            ]
        )
        lines += [f"  and {len(listed) - _SAMPLES:,} more"] * (len(listed) > _SAMPLES)
        counts = Counter(_words(one.kind) for one in result.suspects).most_common()
        lines.append("errors by kind: " + ", ".join(f"{count:,} {kind}" for kind, count in counts))
    if result.self_test is not None:
        lines += _self_test(result.self_test)
    for labels in result.label_sets:
        preferred = ", ".join(f"{count:,} {_WHICH[which]}" for which, count in labels["preferred"].items())
        lines.append(
            f"compared with {labels['name']}: {plural(labels['samples'], 'sample')}, mIoU "
            f"{_number(labels['agreement'])} between the two; where they differ, the models agree with: {preferred}"
        )
    lines += [f"note: {note}" for note in result.notes]
    lines.append(f"written: {result.folder} (index.html shows the most likely errors, suspects.json lists all)")
    if any(one.number for one in result.suspects):
        apply, undo = commands(result)
        lines.append(f"next: open index.html; `{apply}` applies proposals of high confidence, `{undo}` undoes it")
    return "\n".join(map(one_line, lines))


def _headline(result: SuspectsResult) -> str:
    """How many samples have suspect regions."""
    found = sum(row.suspects > 0 for row in result.samples)
    regions = f", {plural(len(result.suspects), 'region')}" if found else ""
    return f"{result.name}: {found:,} of {plural(len(result.samples), 'sample')} suspect{regions}"


def commands(result: SuspectsResult) -> tuple[str, str]:
    """What applies the proposals of the highest confidence as edits, and what undoes these."""
    folder = shlex.quote(str(result.root))
    return f"maskwright suspects {folder} --apply --min-confidence 0.9", f"maskwright edits {folder} --undo"


def self_test_facts(test: dict[str, Any]) -> list[str]:
    """What a self-test has measured, a sentence each."""
    own = test.get("average_precision")
    others = {
        name: scores["average_precision"]
        for name, scores in test.get("baselines", {}).items()
        if scores.get("average_precision") is not None
    }
    facts = []
    if own is not None:
        others_text = ", ".join(f"{value:.3f} by {name}" for name, value in others.items())
        better = not others or own > max(others.values())
        facts.append(
            f"average precision {own:.3f}"
            + f", compared with {others_text}" * bool(others)
            + ": not better, so do not rely on the ranking" * (not better)
        )
    shares = ", ".join(f"{percent(share)} of {k}" for k, share in test.get("precision", {}).items())
    facts += [f"share with a planted error among the first: {shares}"] * bool(shares)
    for which, part in (("all proposals", test), ("proposals of high confidence", test.get("sure", {}))):
        made, clean = part.get("proposals", {}), part.get("clean", {})
        if made:
            facts.append(
                f"{which} applied: of {plural(made.get('accepted', 0), 'planted mask')} "
                f"{percent(made.get('helped'))} are better and {percent(made.get('harmed'))} worse; IoU "
                f"with the right label {_number(made.get('iou_before'))} before, "
                f"{_number(made.get('iou_after'))} after"
            )
        if clean:
            facts.append(
                f"{which} applied: of {plural(clean.get('masks', 0), 'other mask')} "
                f"{clean.get('harmed', 0):,} {'is' if clean.get('harmed') == 1 else 'are'} worse "
                f"({percent(clean.get('harm_rate'))})"
            )
    return facts


def _self_test(test: dict[str, Any]) -> Iterator[str]:
    yield f"self-test: {plural(test.get('planted', 0), 'error')} planted in copies of the masks"
    yield from (f"  {fact}" for fact in self_test_facts(test))
    yield from table(
        [
            ["  kind", "planted", "found", "average precision"],
            *(
                [
                    f"  {_words(kind)}",
                    f"{row.get('planted', 0):,}",
                    percent(row.get("recalled")),
                    _number(row.get("average_precision")),
                ]
                for kind, row in test.get("kinds", {}).items()
            ),
        ]
    )


def _row(row: SuspectSample, kind: str) -> list[str]:
    return [
        row.sample,
        f"{row.score:.3f}",
        f"{row.agreement:.3f}",
        _words(kind),
        percent(row.error_share),
        f"{row.suspects:,}",
        row.split or "",
    ]


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
