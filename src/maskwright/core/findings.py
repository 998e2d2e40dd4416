"""Finding: the one way in which every check says what it found; and what a table of checks is.

The checks of an audit, the guards of numbers and the symptoms of a training are tables of the same kind: from a finding
code to a `Check`, worst first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, Generic, TypeVar

from maskwright.errors import one_line

Subject = TypeVar("Subject")


class Severity(IntEnum):
    """Ordered, so that `--fail-on warning` means warning or worse."""

    INFO = 0
    WARNING = 1
    ERROR = 2

    @property
    def label(self) -> str:
        """The name as written on the command line and in JSON."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One thing that was seen in a dataset.

    `message` is made one line, since parts of it come from files. `code` is stable (`mask.size`), `sample` is None for
    a finding about the whole dataset, `region` is (x, y, width, height) in pixels of the stored image or None for all
    of it, `evidence` holds the numbers behind the message and `fix` says what to do.
    """

    code: str
    severity: Severity
    message: str
    fix: str
    sample: str | None = None
    split: str | None = None
    region: tuple[int, int, int, int] | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with the severity by name."""
        return asdict(self) | {"severity": self.severity.label}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Finding:
        """The inverse of `to_dict`; further keys are not read."""
        return cls(
            data["code"],
            Severity[data["severity"].upper()],
            data["message"],
            data["fix"],
            data["sample"],
            data["split"],
            tuple(data["region"]) if data["region"] else None,
            data["evidence"],
        )


@dataclass(frozen=True)
class Observation:
    """What a check has found; with the code and the severity of its row it becomes a Finding."""

    message: str
    fix: str
    sample: str | None = None
    split: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A row of a table of checks: how bad its findings are, what they mean in one sentence, and what looks for them.

    A check that is a `consequence` may only follow from one above it in the table: where that has found something, this
    one is not asked.
    """

    severity: Severity
    meaning: str
    look: Callable[[Subject], Iterable[Observation]]
    consequence: bool = False


def run_checks(table: Mapping[str, Check[Subject]], subject: Subject) -> Iterator[tuple[Finding, Observation]]:
    """What the checks of a table find in `subject`, in the order of the table, each with what it was made of."""
    found = False
    for code, check in table.items():
        if check.consequence and found:
            continue
        for one in check.look(subject):
            found = True
            yield Finding(code, check.severity, one.message, one.fix, one.sample, one.split, evidence=one.evidence), one


def summarise(findings: Iterable[Finding]) -> dict[str, Any]:
    """Counts by severity and by code."""
    items = list(findings)
    return {
        "findings": len(items),
        "by_severity": {s.label: sum(f.severity is s for f in items) for s in reversed(Severity)},
        "by_code": dict(Counter(f.code for f in items).most_common()),
    }
