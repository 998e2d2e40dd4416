"""What an audit can mend without a person: each fix is an edit in the journal, and no file is changed.

A sample that cannot be used is excluded, copies are excluded but for one, and masks that had to be interpreted are
stored as they were read. Everything that needs a look at the picture is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Batch, Edit, add_edits, mask_edit
from maskwright.core.findings import Finding
from maskwright.core.sample import Sample

# Given the folder of the edits, the dataset, its samples by name, and the finding.
Fix = Callable[[Path, Dataset, dict[str, Sample], Finding], list[Edit]]
# Copies stay where they are scored: what is taken from training cannot flatter a score.
_KEPT_FIRST = ("test", "val")


def _exclude(_: Path, dataset: Dataset, samples: dict[str, Sample], finding: Finding) -> list[Edit]:
    return [Edit("status", finding.sample, "exclude")] if finding.sample else []


def _one_of_several(_: Path, dataset: Dataset, samples: dict[str, Sample], finding: Finding) -> list[Edit]:
    """All but one copy are excluded. Copies with different masks in one split need a person to choose."""
    names = [name for name in finding.evidence["samples"] if name in samples]
    if finding.code == "image.duplicate" and finding.evidence["masks_differ"]:
        return []

    def rank(name: str) -> int:
        split = samples[name].split
        return _KEPT_FIRST.index(split) if split in _KEPT_FIRST else len(_KEPT_FIRST)

    kept = min(names, key=rank)
    return [Edit("status", name, "exclude") for name in names if name != kept]


def _as_read(home: Path, dataset: Dataset, samples: dict[str, Sample], finding: Finding) -> list[Edit]:
    """The mask as an index PNG, with unknown ids as ignored pixels."""
    sample = samples[finding.sample or ""]
    ids = dataset.read_mask_pixels(sample).ids
    known = np.isin(ids, [*dataset.classes.ids, dataset.classes.ignore])
    mask = dataset.classes.to_indices(np.where(known, ids, dataset.classes.ignore))
    return [mask_edit(home, sample, mask, dataset.classes)] if (mask != IGNORE).any() else []


FIXES: dict[str, tuple[str, Fix]] = {
    "image.unreadable": ("the sample is excluded", _exclude),
    "mask.unreadable": ("the sample is excluded", _exclude),
    "mask.size": ("the sample is excluded", _exclude),
    "mask.all_ignore": ("the sample is excluded", _exclude),
    "split.leakage": ("all copies but one are excluded: that in test stays, else that in val", _one_of_several),
    "image.duplicate": ("all copies but the first are excluded, if their masks agree", _one_of_several),
    "mask.unknown_ids": ("pixels with unknown ids are ignored", _as_read),
    "mask.inexact": ("the mask is kept as it was read: each pixel as its nearest class", _as_read),
}


def fix(home: Path, dataset: Dataset, findings: Iterable[Finding]) -> Batch | None:
    """Adds the edits that mend `findings` to the journal in `home`, as one batch; None when there is nothing to mend.

    A sample that is excluded gets no other edit.
    """
    samples = {sample.name: sample for sample in dataset.samples}
    edits: dict[tuple[str, str], Edit] = {}
    codes: dict[str, int] = {}
    for finding in findings:
        if finding.code in FIXES:
            made = [edit for edit in FIXES[finding.code][1](home, dataset, samples, finding)
                    if edit.sample in samples and ("status", edit.sample) not in edits]
            edits |= {(edit.kind, edit.sample): edit for edit in made}
            codes[finding.code] = codes.get(finding.code, 0) + bool(made)
    if not edits:
        return None
    mended = ", ".join(f"{code} x {count}" for code, count in codes.items() if count)
    return add_edits(home, list(edits.values()), f"audit --fix: {mended}")
