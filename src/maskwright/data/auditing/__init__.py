"""The verb `audit`: what is wrong with a dataset and what it consists of, without changing a byte of it.

`survey` reads every file once; a check is a function of what was read and a row of the table here: its
finding code, how bad that is, and what it means in one sentence.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base import progress as bar
from maskwright.base.display import Result
from maskwright.base.texts import plural
from maskwright.base.work_folder import WorkFolder
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.edits import home_of, with_edits
from maskwright.core.findings import Check, Finding, Severity, run_checks, summarise
from maskwright.data.auditing import class_checks as classes
from maskwright.data.auditing import fixes, text
from maskwright.data.auditing import image_checks as images
from maskwright.data.auditing import mask_checks as masks
from maskwright.data.auditing import split_checks as splits
from maskwright.data.auditing.statistics import Statistics
from maskwright.data.auditing.survey import Survey, survey
from maskwright.data.auditing.unfinished import survey_facts
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


# Worst first, which is the order of findings.
CHECKS: dict[str, Check[Survey]] = {
    "mask.none": Check(ERROR, "no image has a usable mask", masks.mask_none),
    "image.unreadable": Check(ERROR, "an image cannot be read", images.image_unreadable),
    "mask.unreadable": Check(ERROR, "a mask cannot be read, or cannot mean class ids", masks.mask_unreadable),
    "mask.size": Check(ERROR, "a mask is not of the size of its image; a scaled copy is told", masks.mask_size),
    "mask.unknown_ids": Check(ERROR, "a mask holds unknown class ids", masks.mask_unknown_ids),
    "split.leakage": Check(ERROR, "the same image is in two splits", splits.split_leakage),
    "class.not_in_train": Check(ERROR, "a class that occurs is never in train", classes.class_not_in_train),
    "mask.missing": Check(WARNING, "an image has no mask", masks.mask_missing),
    "mask.orphan": Check(WARNING, "a mask belongs to no image", masks.mask_orphan),
    "mask.inexact": Check(
        WARNING, "mask pixels are no class value and were moved to the nearest, or are ignored", masks.mask_inexact
    ),
    "mask.all_ignore": Check(WARNING, "every pixel of a mask is ignored", masks.mask_all_ignore),
    "mask.rotated": Check(WARNING, "a mask has an EXIF orientation, which is not applied", masks.mask_rotated),
    "mask.hidden": Check(WARNING, "drawn regions of one class hide those of another", masks.mask_hidden),
    "image.duplicate": Check(WARNING, "the same image occurs twice", splits.image_duplicate),
    "split.near_leakage": Check(
        WARNING, "very similar images, also mirrored or turned, are in two splits", splits.split_near_leakage
    ),
    "image.near_duplicate": Check(WARNING, "images of a split are very similar", splits.image_near_duplicate),
    "mask.duplicate": Check(WARNING, "different images have the same mask", masks.mask_duplicate),
    "image.constant": Check(WARNING, "an image has a single colour", images.image_constant),
    "image.tiny": Check(WARNING, "an image has a side below 32 pixels", images.image_tiny),
    "image.depth": Check(WARNING, "an image of 16 bits is read as 8 bits", images.image_depth),
    "image.bands": Check(WARNING, "an image has a fourth band, which is dropped", images.image_bands),
    "image.colour_space": Check(WARNING, "an image in CMYK, Lab or YCbCr is read as RGB", images.image_colour_space),
    "split.unlabelled": Check(WARNING, "a split has no mask at all", splits.split_unlabelled),
    "split.unassigned": Check(WARNING, "a sample is in no split, while others are", splits.split_unassigned),
    "class.absent": Check(WARNING, "a class has no pixel in any mask", classes.class_absent),
    "class.not_in_split": Check(WARNING, "a class of train has no pixel in another split", classes.class_not_in_split),
    "class.rare_images": Check(WARNING, "a class is in very few training images", classes.class_rare_images),
    "class.imbalance": Check(WARNING, "a class has very few pixels in training", classes.class_imbalance),
    "mask.specks": Check(INFO, "a mask has tiny objects", masks.mask_specks),
    "mask.slivers": Check(INFO, "a mask has long, thin objects", masks.mask_slivers),
    "mask.pinholes": Check(INFO, "a mask has tiny holes", masks.mask_pinholes),
    "mask.all_background": Check(INFO, "a mask holds nothing but the background", masks.mask_all_background),
    "mask.palette": Check(INFO, "a mask has a palette", masks.mask_palette),
    "mask.depth": Check(INFO, "a mask has 16 bits", masks.mask_depth),
    "mask.colour": Check(INFO, "a grey mask is stored as a colour image", masks.mask_colour),
    "image.palette": Check(INFO, "an image has a palette", images.image_palette),
    "image.alpha": Check(INFO, "an image has an alpha channel, which is dropped", images.image_alpha),
    "image.rotated": Check(INFO, "an image has an EXIF orientation", images.image_rotated),
    "image.size_outlier": Check(INFO, "an image has far more or fewer pixels than the rest", images.image_size_outlier),
    "image.aspect": Check(INFO, "an image is far wider or higher than the rest", images.image_aspect),
    "name.odd": Check(INFO, "a file name is not safe everywhere", images.name_odd),
    "split.missing": Check(INFO, "there is no train, val or test split", splits.split_missing),
    "split.same_name": Check(INFO, "a file name occurs in two splits", splits.split_same_name),
}


@dataclass(frozen=True, repr=False)
class AuditResult(Result):
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

    def human(self) -> str:
        """The result as text for a terminal: at most about 40 lines, whatever the size of the dataset."""
        return text.audit_text(self)

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        counts = summarise(self.findings)["by_severity"]
        return {
            "name": self.name,
            "samples": self.samples,
            "excluded": self.excluded or None,
            "errors": counts["error"],
            "warnings": counts["warning"],
            "infos": counts["info"],
            "fixed": plural(len(self.fixed.batch.edits), "edit") if self.fixed else None,
            "fingerprint": (self.version or "unknown")[:12],
            "page": self.page,
        }

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
    """Checks a dataset (or the folder of one) and counts what it consists of; nothing is written, but with `fix` the
    edits that fix what needs no person (`fixes.FIXES`). After these the dataset is audited again, so that the result
    describes it as it is then.

    An opened Dataset is audited as it is, with the samples and edits that it has; with `fix`, edits go to the folder
    that it was opened from, and the object itself is not changed: open it again to use them.

    Every file is decoded once, by `workers` processes (as many as there are cores when left out), and of each
    sample about a kilobyte is kept. With a work folder `unfinished`, what was seen so far is kept there: the same call
    resumes what was stopped, starts again where the data have changed, and deletes the folder when it ends. Samples
    with status `exclude` are left out. Raises ConfigError or DataError when the folder cannot be read as a dataset at
    all; a broken file is a finding.
    """
    home = home_of(data) if fix else None
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
    found = list(run_checks(CHECKS, seen))
    if home is not None and (fixed := fixes.fix(home, dataset, found)):
        return replace(audit(with_edits(dataset, home), progress=progress, workers=workers), fixed=fixed)
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
