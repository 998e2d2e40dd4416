"""Several label sets of the same images: how far they agree, and with which of two labels models agree that saw
neither.

The models learn from the labels in one of the sets, which gives that set an advantage: what it does wrong everywhere
looks right to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from maskwright.base.progress import progress
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.errors import DataError
from maskwright.evaluation.metrics import confusion_matrix, mIoU
from maskwright.labels.suspecting.candidates import of_label
from maskwright.labels.suspecting.folds import OutOfFold

_WORST = 20
_UNDECIDED = 0.02  # mean probability by which one of two labels must be likelier, where they differ


def require_same(own: Dataset, other: Dataset, name: str) -> None:
    """DataError for other classes and for no labelled sample in common."""
    if other.classes.ids != own.classes.ids:
        raise DataError(
            f"{name}: its class ids {other.classes.ids} are not those of {own.root} ({own.classes.ids}); "
            "give labels of the same classes"
        )
    names = {sample.name for sample in own.samples}
    if not any(sample.labelled and sample.name in names for sample in other.samples):
        raise DataError(
            f"{name}: labels none of the samples of {own.root}; they are called like {own.samples[0].name!r}"
        )


def compare_labels(predicted: OutOfFold, other: Dataset, name: str) -> dict[str, Any]:
    """Compares the labels with those of `other`, over the samples that both have, in the pixels that neither ignores:
    `agreement` is the mIoU of the two, `preferred` counts the samples by the label that the models agree with where
    the two differ, `worst` are the samples that agree least. DataError for what `require_same` refuses."""
    own, classes = predicted.dataset, len(predicted.dataset.classes)
    require_same(own, other, name)
    others = {sample.name: sample for sample in other.samples if sample.labelled}
    shared = [sample for sample in predicted.samples if sample.name in others]
    if not shared:
        raise DataError(f"{name}: labels none of the samples of {own.root} that can be used; choose another")
    counts = np.zeros((classes, classes), np.int64)
    rows = []
    with progress("comparing labels", len(shared)) as advance:
        for done, sample in enumerate(shared, 1):
            first, second = own.read_mask(sample), other.read_mask(others[sample.name])
            if first.shape != second.shape:
                raise DataError(
                    f"{others[sample.name].label_file}: is not of the size of {sample.label_file}; draw it again"
                )
            known = (first != IGNORE) & (second != IGNORE)
            matrix = confusion_matrix(
                np.where(known, first, IGNORE).astype(np.uint8), np.where(known, second, 0).astype(np.uint8), classes
            )
            counts += matrix
            rows.append(
                {
                    "sample": sample.name,
                    "agreement": float(mIoU(matrix)),
                    "preferred": preferred_label(predicted, sample, first, second),
                }
            )
            advance(done)
    rows.sort(key=lambda row: (row["agreement"], row["sample"]))
    preferred = {which: sum(row["preferred"] == which for row in rows) for which in ("this", "other", "undecided")}
    return {
        "name": name,
        "samples": len(rows),
        "agreement": float(mIoU(counts)),
        "preferred": preferred,
        "worst": rows[:_WORST],
    }


def preferred_label(predicted: OutOfFold, sample: Any, first: Any, second: Any) -> str:
    """Which of two labels (H, W) of a sample the models agree with where they differ: "this" (`first`), "other" or
    "undecided"."""
    probabilities = predicted.read(sample)
    height, width = predicted.geometry.inner(first.shape)
    one, two = (predicted.geometry.mask(mask)[:height, :width] for mask in (first, second))
    differing = (one != two) & (one != IGNORE) & (two != IGNORE)
    if not differing.any():
        return "undecided"
    own, others = (of_label(mask, probabilities[:, :height, :width])[differing].mean() for mask in (one, two))
    return "undecided" if abs(own - others) < _UNDECIDED else "this" if own > others else "other"
