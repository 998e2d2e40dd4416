"""What a check is, and how it words what it saw.

A defect of one file is one finding. A property that thousands of files may share (a palette, an alpha
channel, an empty mask) is one finding that counts and lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from maskwright.core.sample import Sample
from maskwright.data.auditing.facts import ImageFacts, MaskFacts
from maskwright.data.auditing.survey import Record, Survey

Facts = TypeVar("Facts", ImageFacts, MaskFacts)


@dataclass(frozen=True)
class Seen:
    """What a check saw; with its code and severity it becomes a Finding.

    `copies` are all records of a group of equal images, however many of them the evidence lists. `by_person` says
    that the file of `sample` may be right and a setting wrong, which only a person can decide.
    """

    message: str
    fix: str
    sample: Sample | None = None
    split: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    copies: tuple[Record, ...] = ()
    by_person: bool = False


Check = Callable[[Survey], Iterable[Seen]]


def refused(sample: Sample, reason: str) -> Seen:
    """The reader's own words: `where: what is wrong; what to do`."""
    message, _, fix = reason.rpartition("; ")
    # Where `dataset.yaml` may be what is wrong, the file may be right.
    return Seen(
        message or reason,
        fix if message else "restore the file or exclude the sample",
        sample,
        by_person=fix.startswith("set `"),
    )


def listed(
    what: str, samples: Sequence[Sample], total: int, effect: str, fix: str, split: str | None = None, **evidence: Any
) -> Seen:
    """One finding about `samples`, of `total` that could have been meant."""
    return Seen(
        f"{what}: {len(samples)} of {total}" + (f"; {effect}" if effect else ""),
        fix,
        split=split or None,
        evidence={"count": len(samples), "samples": [sample.name for sample in samples], **evidence},
    )


def of_kind(
    files: Sequence[tuple[Sample, Facts]], chosen: Callable[[Facts], bool], what: str, effect: str, fix: str
) -> Iterator[Seen]:
    """One finding about the files whose facts are chosen, if there are any."""
    samples = [sample for sample, facts in files if chosen(facts)]
    if samples:
        yield listed(what, samples, len(files), effect, fix)


def wide(size: tuple[int, int]) -> str:
    """(height, width) as people write it."""
    return f"{size[1]}x{size[0]}"
