"""How the checks of an audit word what they found.

A defect of one file is one finding. A property that thousands of files may share (a palette, an alpha channel, an empty
mask) is one finding that counts and lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from maskwright.core.findings import Observation
from maskwright.core.sample import Sample
from maskwright.data.auditing.facts import ImageFacts, MaskFacts
from maskwright.data.auditing.survey import SurveyedSample

FileFacts = TypeVar("FileFacts", ImageFacts, MaskFacts)


@dataclass(frozen=True)
class SampleObservation(Observation):
    """What a check has found at one sample, with what a fix needs to know.

    `copies` are all of a group of equal images, however many of them the evidence lists. `by_person` says that the
    file of the sample may be right and a setting wrong, which only a person can decide.
    """

    copies: tuple[SurveyedSample, ...] = ()
    by_person: bool = False


def at(
    sample: Sample,
    message: str,
    fix: str,
    *,
    copies: Sequence[SurveyedSample] = (),
    by_person: bool = False,
    **evidence: object,
) -> SampleObservation:
    """What was found at `sample`."""
    return SampleObservation(message, fix, sample.name, sample.split, evidence, tuple(copies), by_person)


def refused(sample: Sample, reason: str) -> Observation:
    """The reader's own words: `where: what is wrong; what to do`."""
    message, _, fix = reason.rpartition("; ")
    # Where `dataset.yaml` may be what is wrong, the file may be right.
    by_person = fix.startswith("set `")
    return at(
        sample, message or reason, fix if message else "restore the file or exclude the sample", by_person=by_person
    )


def listed(
    what: str,
    samples: Sequence[Sample],
    total: int,
    effect: str,
    fix: str,
    split: str | None = None,
    **evidence: object,
) -> Observation:
    """One finding about `samples`, of `total` that could have been meant."""
    return Observation(
        f"{what}: {len(samples)} of {total}" + (f"; {effect}" if effect else ""),
        fix,
        split=split or None,
        evidence={"count": len(samples), "samples": [sample.name for sample in samples], **evidence},
    )


def of_kind(
    files: Sequence[tuple[Sample, FileFacts]], chosen: Callable[[FileFacts], bool], what: str, effect: str, fix: str
) -> Iterator[Observation]:
    """One finding about the files whose facts are chosen, if there are any."""
    samples = [sample for sample, facts in files if chosen(facts)]
    if samples:
        yield listed(what, samples, len(files), effect, fix)


def wide(size: tuple[int, int]) -> str:
    """(height, width) as people write it."""
    return f"{size[1]}x{size[0]}"
