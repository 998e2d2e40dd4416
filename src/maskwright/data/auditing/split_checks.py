"""Checks of splits, and of images that are equal or look alike, in one split or in two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from maskwright.base.texts import listing, plural
from maskwright.core.findings import Observation
from maskwright.data.auditing.facts import MaskFacts
from maskwright.data.auditing.observations import SampleObservation, at, listed
from maskwright.data.auditing.statistics import SPLITS
from maskwright.data.auditing.survey import Survey, SurveyedSample

_NAMES = 50
_CUT = " (the search stopped early: far too many images are similar)"


def split_unlabelled(survey: Survey) -> Iterator[Observation]:
    """Splits without a single mask, while others have some."""
    bare = [name for name, records in survey.by_split.items() if all(record.mask is None for record in records)]
    if len(bare) < len(survey.by_split):
        for name in bare:
            yield Observation(
                f"{plural(len(survey.by_split[name]), 'image')}, none with a mask",
                "draw masks for this split, or keep it for prediction only",
                split=name or None,
            )


def split_missing(survey: Survey) -> Iterator[Observation]:
    """Which of train, val and test there is none of."""
    here = set(survey.statistics.splits)
    missing = [name for name in SPLITS if name not in here]
    if len(missing) == len(SPLITS):
        yield Observation(
            "no train, val or test split",
            "training validates on a share of the images that it holds back; "
            "set some aside as `test` for a score that counts",
        )
    elif "train" in missing:
        yield Observation("no train split", "name the split that training may use `train`")
    elif missing:
        effects = {
            "val": "training validates on a share of `train` that it holds back",
            "test": "there is nothing to score on that training has not seen",
        }
        yield Observation(f"no {' and no '.join(missing)} split", "; ".join(effects[name] for name in missing))


def split_unassigned(survey: Survey) -> Iterator[Observation]:
    """Samples without a split where others have one."""
    samples = [record.sample for record in survey.records if not record.sample.split]
    if samples and len(samples) < len(survey.records):
        yield listed(
            "samples without a split",
            samples,
            len(survey.records),
            "no training and no score uses them",
            "give them a split, or exclude them",
        )


def split_same_name(survey: Survey) -> Iterator[Observation]:
    """File names that occur in two splits."""
    names = {split: {r.sample.image.stem for r in records} for split, records in survey.by_split.items() if split}
    for one, other in combinations(names, 2):
        if same := sorted(names[one] & names[other]):
            yield Observation(
                f"{plural(len(same), 'file name')} in both {one} and {other}, such as {same[0]}",
                "if the same name means the same subject, keep it in one split",
                evidence={"splits": [one, other], "names": same},
            )


# --- images that are equal or look alike -----------------------------------------------------------------


def _splits(records: list[SurveyedSample]) -> list[str]:
    return sorted({record.sample.split for record in records if record.sample.split})


def _about(words: str, records: list[SurveyedSample], fix: str, also: str = "", **more: Any) -> SampleObservation:
    names = [record.sample.name for record in records]
    return at(
        records[0].sample,
        f"{words} {listing(names[1:], 3)}{also}",
        fix,
        count=len(names),
        samples=names[:_NAMES],
        splits=_splits(records),
        **more,
    )


def masks_differ(records: Iterable[SurveyedSample]) -> bool:
    """Whether two of the readable masks are not equal."""
    return len({record.mask.digest for record in records if isinstance(record.mask, MaskFacts)}) > 1


def _same(records: list[SurveyedSample], fix: str) -> SampleObservation:
    differ = masks_differ(records)
    if differ:
        fix = f"the masks differ, so a person has to choose: look which one is right, and exclude the others; {fix}"
    also = ", but another mask" * differ
    return _about("has the same pixels as", records, fix, also, masks_differ=differ, copies=records)


def split_leakage(survey: Survey) -> Iterator[Observation]:
    """The same image in two splits."""
    return (
        _same(records, "keep it in one split: scores on images that were trained on mean nothing")
        for records in survey.same
        if len(_splits(records)) > 1
    )


def image_duplicate(survey: Survey) -> Iterator[Observation]:
    """The same image twice in a split, or without one."""
    return (
        _same(records, "keep one of them: each copy counts as an image of its own")
        for records in survey.same
        if len(_splits(records)) < 2
    )


def _similar(survey: Survey, across: bool, fix: str) -> Iterator[Observation]:
    groups, complete = survey.look_alikes
    cut = "" if complete else _CUT
    for records in groups:
        if (len(_splits(records)) > 1) is across:
            # Those of other splits are named first.
            first = records[0].sample.split
            others = sorted(records[1:], key=lambda record: record.sample.split == first)
            yield _about("looks like", [records[0], *others], fix, cut)


def split_near_leakage(survey: Survey) -> Iterator[Observation]:
    """Images that look alike in two splits, also when one of them is mirrored or turned."""
    yield from _similar(survey, True, "keep copies, and frames of one scene, in one split: else scores are too good")
    copies, complete = survey.turned
    cut = "" if complete else _CUT
    for copy, original, turn in copies:
        yield at(
            copy.sample,
            f"looks like {original.sample.name} {turn}{cut}",
            "keep mirrored and turned copies in one split: else scores are too good",
            count=2,
            samples=[copy.sample.name, original.sample.name],
            splits=_splits([copy, original]),
            turn=turn,
        )


def image_near_duplicate(survey: Survey) -> Iterator[Observation]:
    """Images that look alike in a split, or without one."""
    return _similar(survey, False, "exclude copies; frames of one scene may stay, but count for less than their number")
