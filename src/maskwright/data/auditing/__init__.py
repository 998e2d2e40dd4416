"""The verb `audit`: what is wrong with a dataset and what it consists of, told without changing a byte of it.

`survey` reads every file once; a check is a function of what was read and a row of the table here: its
finding code, how bad that is, and what it means in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base import progress as bar
from maskwright.base.work_folder import WorkFolder
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.edits import home_of
from maskwright.core.findings import Finding, Severity, summarise
from maskwright.data.auditing import fixes
from maskwright.data.auditing.checks import classes, images, masks, splits
from maskwright.data.auditing.checks.check import Check, Seen
from maskwright.data.auditing.statistics import Statistics
from maskwright.data.auditing.survey import Survey, survey
from maskwright.data.auditing.text import human as human
from maskwright.data.auditing.unfinished import survey_facts
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


@dataclass(frozen=True)
class Row:
    """A check with the severity of its findings and what they mean, in one sentence."""

    severity: Severity
    meaning: str
    check: Check


# Worst first, which is the order of findings.
CHECKS: dict[str, Row] = {
    "mask.none": Row(ERROR, "no image has a usable mask", masks.mask_none),
    "image.unreadable": Row(ERROR, "an image cannot be read", images.image_unreadable),
    "mask.unreadable": Row(ERROR, "a mask cannot be read, or cannot mean class ids", masks.mask_unreadable),
    "mask.size": Row(ERROR, "a mask is not of the size of its image", masks.mask_size),
    "mask.unknown_ids": Row(ERROR, "a mask holds unknown class ids", masks.mask_unknown_ids),
    "split.leakage": Row(ERROR, "the same image is in two splits", splits.split_leakage),
    "class.not_in_train": Row(ERROR, "a class that occurs is never in train", classes.class_not_in_train),
    "mask.missing": Row(WARNING, "an image has no mask", masks.mask_missing),
    "mask.orphan": Row(WARNING, "a mask belongs to no image", masks.mask_orphan),
    "mask.inexact": Row(WARNING, "mask pixels are no class value and were moved to the nearest", masks.mask_inexact),
    "mask.all_ignore": Row(WARNING, "every pixel of a mask is ignored", masks.mask_all_ignore),
    "mask.rotated": Row(WARNING, "a mask has an EXIF orientation, which is not applied", masks.mask_rotated),
    "mask.hidden": Row(WARNING, "drawn regions of one class hide those of another", masks.mask_hidden),
    "image.duplicate": Row(WARNING, "the same image occurs twice", splits.image_duplicate),
    "split.near_leakage": Row(WARNING, "images that look alike are in two splits", splits.split_near_leakage),
    "image.near_duplicate": Row(WARNING, "images of a split look alike", splits.image_near_duplicate),
    "mask.duplicate": Row(WARNING, "different images have the same mask", masks.mask_duplicate),
    "image.constant": Row(WARNING, "an image has a single colour", images.image_constant),
    "image.tiny": Row(WARNING, "an image has a side below 32 pixels", images.image_tiny),
    "image.depth": Row(WARNING, "an image of 16 bits is read as 8 bits", images.image_depth),
    "image.colour_space": Row(WARNING, "an image in CMYK, Lab or YCbCr is read as RGB", images.image_colour_space),
    "split.unlabelled": Row(WARNING, "a split has no mask at all", splits.split_unlabelled),
    "split.unassigned": Row(WARNING, "a sample is in no split, while others are", splits.split_unassigned),
    "class.absent": Row(WARNING, "a class has no pixel in any mask", classes.class_absent),
    "class.not_in_split": Row(WARNING, "a class of train has no pixel in another split", classes.class_not_in_split),
    "class.rare_images": Row(WARNING, "a class is in very few training images", classes.class_rare_images),
    "class.imbalance": Row(WARNING, "a class has very few pixels in training", classes.class_imbalance),
    "mask.specks": Row(INFO, "a mask has tiny objects", masks.mask_specks),
    "mask.slivers": Row(INFO, "a mask has long, thin objects", masks.mask_slivers),
    "mask.pinholes": Row(INFO, "a mask has tiny holes", masks.mask_pinholes),
    "mask.all_background": Row(INFO, "a mask holds nothing but the background", masks.mask_all_background),
    "mask.palette": Row(INFO, "a mask has a palette", masks.mask_palette),
    "mask.depth": Row(INFO, "a mask has 16 bits", masks.mask_depth),
    "mask.colour": Row(INFO, "a grey mask is stored as a colour image", masks.mask_colour),
    "image.palette": Row(INFO, "an image has a palette", images.image_palette),
    "image.alpha": Row(INFO, "an image has an alpha channel, which is dropped", images.image_alpha),
    "image.rotated": Row(INFO, "an image has an EXIF orientation", images.image_rotated),
    "image.size_outlier": Row(INFO, "an image has far more or fewer pixels than the rest", images.image_size_outlier),
    "image.aspect": Row(INFO, "an image is far wider or higher than the rest", images.image_aspect),
    "name.odd": Row(INFO, "a file name is not safe everywhere", images.name_odd),
    "split.missing": Row(INFO, "there is no train, val or test split", splits.split_missing),
    "split.same_name": Row(INFO, "a file name occurs in two splits", splits.split_same_name),
}


@dataclass(frozen=True)
class AuditResult:
    """What an audit found, worst first. `version` is the dataset's content version, None when a file is unreadable.
    `fixed` is what `fix` has done; all the rest describes the dataset with it. `folder` is what was written, if
    anything was."""

    name: str
    root: Path
    classes: ClassTree
    version: str | None
    samples: int
    excluded: int
    findings: list[Finding]
    statistics: Statistics
    fixed: fixes.Fixed | None = None
    folder: Path | None = None

    @property
    def page(self) -> Path | None:
        """The page of the `folder` that was written, None without one."""
        return self.folder / "index.html" if self.folder else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `audit`."""
        return {
            "dataset": {
                "name": self.name,
                "root": str(self.root),
                "version": self.version,
                "samples": self.samples,
                "excluded": self.excluded,
                "classes": self.classes.to_dict(),
            },
            "findings": [finding.to_dict() for finding in self.findings],
            "summary": summarise(self.findings),
            "fixed": self.fixed.to_dict() if self.fixed else None,
            "statistics": self.statistics.to_dict(),
        }


def audit(
    data: str | Path | Dataset,
    *,
    fix: bool = False,
    progress: bool = True,
    workers: int | None = None,
    unfinished: Path | None = None,
) -> AuditResult:
    """Checks a dataset (or the folder of one) and counts what it consists of; nothing is written, but with `fix`,
    where `data` is a folder, the edits that fix what needs no person (`fixes.FIXES`). After these the dataset is
    audited again, so that the result describes it as it is then.

    Every file is decoded once, by `workers` processes (as many as there are cores when left out), and of each
    sample about a kilobyte is kept. With a work folder `unfinished`, what was seen so far is kept there: the same call
    resumes what was stopped, starts again where the data have changed, and deletes the folder when it ends. Samples
    with status `exclude` are left out. Raises ConfigError or DataError when the folder cannot be read as a dataset at
    all; a broken file is a finding.
    """
    if fix and isinstance(data, Dataset):
        raise ConfigError("audit: fixes are edits beside a folder; give the folder, not an opened Dataset")
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    kept = sum(sample.status != "exclude" for sample in dataset.samples)
    with (
        WorkFolder(unfinished, survey_facts(dataset)).held(restart=True) if unfinished else nullcontext() as work,
        bar.progress("auditing", kept) if progress else nullcontext() as advance,
    ):
        seen = survey(dataset, workers=workers, advance=advance, unfinished=unfinished)
        if work:
            work.remove()
    try:
        version = seen.version()
    except DataError:
        version = None  # a file is missing, which is a finding already
    # What was noted while annotation files were read comes first among its equals.
    found = list(_found(seen))
    if fix and not isinstance(data, Dataset) and (fixed := fixes.fix(home_of(Path(data)), dataset, found)):
        return replace(audit(data, progress=progress, workers=workers), fixed=fixed)
    findings = sorted([*dataset.notes, *(finding for finding, _ in found)], key=lambda finding: -finding.severity)
    return AuditResult(
        dataset.name,
        dataset.root,
        dataset.classes,
        version,
        kept,
        len(dataset.samples) - kept,
        findings,
        seen.statistics,
    )


def _found(survey: Survey) -> Iterator[tuple[Finding, Seen]]:
    for code, row in CHECKS.items():
        for what in row.check(survey):
            yield (
                Finding(
                    code,
                    row.severity,
                    what.message,
                    what.fix,
                    what.sample.name if what.sample else None,
                    what.split or (what.sample.split if what.sample else None),
                    evidence=what.evidence,
                ),
                what,
            )
