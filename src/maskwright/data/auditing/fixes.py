"""What an audit can fix automatically: each fix is an edit in the journal, and no file is changed.

A sample that cannot be used is excluded, copies are excluded but for one, and masks that had to be interpreted are
stored as they were read. What only a person can decide is left alone: copies with different masks, and files that
another setting in `dataset.yaml` would make right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.texts import plural
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Batch, Edit, add_edits, mask_edit
from maskwright.core.findings import Finding, Observation
from maskwright.data.auditing.observations import SampleObservation
from maskwright.data.auditing.split_checks import masks_differ
from maskwright.data.auditing.survey import SurveyedSample


@dataclass(frozen=True)
class State:
    """What fixes know beside what was seen: the folder of the edits, the dataset, the names of the samples that are
    excluded by now, and of those about whose masks a person has to decide."""

    home: Path
    dataset: Dataset
    excluded: set[str]
    undecided: set[str]


Fix = Callable[[State, SampleObservation], list[Edit]]
# Copies stay where they are scored: what is taken from training cannot flatter a score.
_KEPT_FIRST = ("test", "val")


@dataclass(frozen=True)
class Fixed:
    """What was fixed: the edits, and the findings that they answer."""

    batch: Batch
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """`fixed` in the JSON of `audit`."""
        return asdict(self.batch) | {"findings": [finding.to_dict() for finding in self.findings], "text": str(self)}

    def __str__(self) -> str:
        counts = Counter("mask" if edit.kind == "mask" else "sample" for edit in self.batch.edits)
        done = {"sample": "excluded", "mask": "stored as read"}
        codes = Counter(finding.code for finding in self.findings)
        return (
            ", ".join(f"{plural(counts[noun], noun)} {how}" for noun, how in done.items() if counts[noun])
            + f" (edit batch {self.batch.name}; "
            + ", ".join(f"{code} x {n}" for code, n in codes.items())
            + ")"
        )


def _exclude(state: State, found: SampleObservation) -> list[Edit]:
    return [Edit("status", found.sample, "exclude")] if found.sample else []


def _all_but_one(state: State, found: SampleObservation) -> list[Edit]:
    """All copies but one are excluded, of the whole group and not of those that the evidence lists."""
    copies = [record for record in found.copies if record.sample.name not in state.excluded]
    open_ = any(record.sample.name in state.undecided for record in copies)
    if len(copies) < 2 or open_ or masks_differ(copies):
        return []
    kept = min(copies, key=_rank).sample.name
    return [Edit("status", record.sample.name, "exclude") for record in copies if record.sample.name != kept]


def _rank(copy: SurveyedSample) -> tuple[bool, bool, int]:
    """What stays comes first: a mask to learn from and to score on counts more than the split."""
    split = copy.sample.split
    place = _KEPT_FIRST.index(split) if split in _KEPT_FIRST else len(_KEPT_FIRST)
    return not copy.usable, not copy.sample.labelled, place


def _as_read(state: State, found: SampleObservation) -> list[Edit]:
    """The mask as an index PNG, with unknown ids as ignored pixels."""
    if found.sample is None or found.sample in state.excluded:
        return []
    dataset, sample = state.dataset, state.dataset[found.sample]
    ids = dataset.read_mask_pixels(sample).ids
    known = np.isin(ids, [*dataset.classes.ids, dataset.classes.ignore])
    mask = dataset.classes.to_indices(np.where(known, ids, dataset.classes.ignore))
    return [mask_edit(state.home, sample, mask, dataset.classes)] if (mask != IGNORE).any() else []


# In the order in which they are made: a sample that is excluded is no copy that stays and needs no other mask.
FIXES: dict[str, tuple[str, Fix]] = {
    "image.unreadable": ("the sample is excluded", _exclude),
    "mask.unreadable": ("the sample is excluded, unless a setting in dataset.yaml would make its mask right", _exclude),
    "mask.size": ("the sample is excluded, unless another `exif` setting would make its mask right", _exclude),
    "mask.all_ignore": ("the sample is excluded", _exclude),
    "split.leakage": (
        "all copies but one are excluded, unless their masks differ: one with a mask stays, that in test "
        "before that in val",
        _all_but_one,
    ),
    "image.duplicate": (
        "all copies but one are excluded, unless their masks differ: one with a mask stays",
        _all_but_one,
    ),
    "mask.unknown_ids": ("pixels with unknown ids are ignored", _as_read),
    "mask.inexact": ("the mask is stored as it was read: each pixel as its nearest class", _as_read),
}


def fix(home: Path, dataset: Dataset, found: Iterable[tuple[Finding, Observation]]) -> Fixed | None:
    """Adds the edits that fix what was found to the journal in `home`, as one batch; None when there are none.

    A sample that is excluded gets no other edit.
    """
    at_samples = [(finding, one) for finding, one in found if isinstance(one, SampleObservation)]
    state = State(home, dataset, set(), {one.sample for _, one in at_samples if one.by_person and one.sample})
    fixable = [(finding, one) for finding, one in at_samples if finding.code in FIXES and not one.by_person]
    fixable.sort(key=lambda pair: [*FIXES].index(pair[0].code))
    edits: dict[tuple[str, str], Edit] = {}
    fixed = []
    for finding, one in fixable:
        made = FIXES[finding.code][1](state, one)
        state.excluded.update(edit.sample for edit in made if edit.kind == "status")
        edits |= {(edit.kind, edit.sample): edit for edit in made}
        fixed += [finding] * bool(made)
    if not edits:
        return None
    codes = Counter(finding.code for finding in fixed)
    batch = add_edits(
        home, list(edits.values()), "audit --fix: " + ", ".join(f"{code} x {count}" for code, count in codes.items())
    )
    return Fixed(batch, tuple(fixed))
