"""The honest-number guard: what is wrong with a score, or with scores side by side, before anyone believes them.

A guard is a function of `Number`s, which say what a model reached and how that came about, and a row of the table
here: its finding code, how bad that is, and what it means in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from maskwright.core.findings import Finding, Severity
from maskwright.evaluation.guarding import guards
from maskwright.evaluation.guarding.guards import Case, Look, each
from maskwright.evaluation.guarding.number import Number

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


class Row(NamedTuple):
    """A guard with the severity of its findings and what they mean, in one sentence."""

    severity: Severity
    meaning: str
    look: Look


# What `doctor` says of a run, too.
UNLEARNT = "number.trivial"
# Worst first, which is the order of findings.
GUARDS: dict[str, Row] = {
    "number.trained_on": Row(ERROR, "the scored images were trained on", each(guards.trained_on)),
    "number.leakage": Row(ERROR, "scored image files are copies of training images", each(guards.leakage)),
    UNLEARNT: Row(ERROR, "predicting one class everywhere scores as high", each(guards.trivial)),
    "number.one_image": Row(ERROR, "a single image was scored", each(guards.one_image)),
    "number.other_split": Row(ERROR, "scores of different splits stand side by side", guards.other_split),
    "number.other_images": Row(
        ERROR, "scores of different images, or by different truth, stand side by side", guards.other_images
    ),
    "number.selected_on": Row(WARNING, "the scored images have chosen the checkpoint", each(guards.selected_on)),
    "number.unchecked": Row(
        WARNING, "could not be checked: which image files the training used is not known", each(guards.unchecked)
    ),
    "number.chosen_on_scored": Row(
        WARNING, "the best of several is chosen by the scores that are told", guards.chosen_on_the_scored
    ),
    "number.not_best": Row(WARNING, "the model is not the best checkpoint of its training", each(guards.not_the_best)),
    "number.unfinished": Row(WARNING, "training has not finished", each(guards.unfinished)),
    "number.few_images": Row(WARNING, "fewer than 20 images were scored", each(guards.few_images)),
    "number.absent_class": Row(WARNING, "a class does not occur in the truth", each(guards.absent_class)),
    "number.version": Row(WARNING, "the dataset has changed since training", each(guards.version)),
    "number.other_version": Row(
        WARNING, "scores on different versions of a dataset stand side by side", guards.other_version
    ),
    "number.other_tree": Row(WARNING, "the class tree is not that of the training", each(guards.other_tree)),
    "number.loading": Row(WARNING, "a run is faster only by less waiting for batches", guards.loading),
    "number.trivial_accuracy": Row(
        INFO, "pixel accuracy is no better than that of one class everywhere", each(guards.trivial_accuracy)
    ),
    "number.weak_truth": Row(INFO, "masks of the truth were not drawn by hand", each(guards.weak_truth)),
    "number.same_names": Row(INFO, "scored image files are called like training images", each(guards.same_names)),
    "number.other_machine": Row(
        INFO, "times of different machines or settings stand side by side", guards.other_machine
    ),
    "number.unknown_training": Row(INFO, "nothing is known of the training", each(guards.unknown_training)),
}


def guard(numbers: Sequence[Number], *, chosen_on: str | None = None, optimism: float | None = None) -> list[Finding]:
    """What the guards see in numbers side by side, or in one alone, worst first; empty when nothing is wrong.

    `chosen_on`: the split whose scores decide between them, None when nothing is chosen; `optimism`: an estimate of
    how much the best score gains by being the best. `evidence` of each finding has the names of the `runs` it is about.
    """
    case = Case(numbers, chosen_on, optimism)
    splits = {number.split for number in numbers}
    split = splits.pop() if len(splits) == 1 else None
    return [
        Finding(
            code,
            row.severity,
            seen.message,
            seen.fix,
            split=split,
            evidence={"runs": list(seen.names), **seen.evidence},
        )
        for code, row in GUARDS.items()
        for seen in row.look(case)
    ]
