"""The honest-number guard: what is wrong with a score, or with scores that are compared, before anyone believes them.

A guard is a function of `Number`s, which say what a model reached and how that came about, and a row of the table
here: its finding code, how bad that is, and what it means in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskwright.core.findings import Check, Finding, Severity, run_checks
from maskwright.evaluation.guarding import guards
from maskwright.evaluation.guarding.guards import Case, each
from maskwright.evaluation.guarding.number import Number

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


# What `doctor` says of a run, too.
UNLEARNT = "number.trivial"
# Worst first, which is the order of findings.
GUARDS: dict[str, Check[Case]] = {
    "number.trained_on": Check(ERROR, "the scored images were trained on", each(guards.trained_on)),
    "number.leakage": Check(ERROR, "scored image files are copies of training images", each(guards.leakage)),
    UNLEARNT: Check(ERROR, "predicting one class everywhere scores as high", each(guards.trivial)),
    "number.one_image": Check(ERROR, "a single image was scored", each(guards.one_image)),
    "number.changed_weights": Check(
        ERROR, "the weights have been changed since training ended", each(guards.changed_weights)
    ),
    "number.other_split": Check(ERROR, "scores of different splits are compared", guards.other_split),
    "number.other_images": Check(
        ERROR, "scores of different images, or by different ground-truth masks, are compared", guards.other_images
    ),
    "number.selected_on": Check(WARNING, "the scored images have chosen the checkpoint", each(guards.selected_on)),
    "number.tuned_on": Check(WARNING, "the scored images have chosen the post-processing", each(guards.tuned_on)),
    "number.unchecked": Check(
        WARNING, "could not be checked: which image files the training used is not known", each(guards.unchecked)
    ),
    "number.chosen_on_scored": Check(
        WARNING, "the best of several is chosen by the reported scores", guards.chosen_on_the_scored
    ),
    "number.not_best": Check(WARNING, "the model is not the best checkpoint of its run", each(guards.not_the_best)),
    "number.unfinished": Check(WARNING, "training has not finished", each(guards.unfinished)),
    "number.few_images": Check(WARNING, "fewer than 20 images were scored", each(guards.few_images)),
    "number.absent_class": Check(
        WARNING, "a class does not occur in the ground-truth masks", each(guards.absent_class)
    ),
    "number.class_missed": Check(WARNING, "a class is not found (IoU below 0.01)", each(guards.class_missed)),
    "number.class_untrained": Check(WARNING, "a class had no training pixel", each(guards.class_untrained)),
    "number.version": Check(WARNING, "the dataset has changed since training", each(guards.version)),
    "number.other_version": Check(
        WARNING, "scores on different versions of a dataset are compared", guards.other_version
    ),
    "number.other_tree": Check(WARNING, "the class tree is not that of the training", each(guards.other_tree)),
    "number.other_choice": Check(
        WARNING, "checkpoints that different scores have chosen are compared", guards.other_choice
    ),
    "number.other_selector": Check(
        WARNING, "pixels that different selectors have labelled are compared", guards.other_selector
    ),
    "number.loading": Check(WARNING, "a run is faster only by less waiting for batches", guards.loading),
    "number.trivial_accuracy": Check(
        INFO, "pixel accuracy is no better than that of one class everywhere", each(guards.trivial_accuracy)
    ),
    "number.weak_truth": Check(INFO, "ground-truth masks were not drawn by hand", each(guards.weak_truth)),
    "number.same_names": Check(INFO, "scored image files are called like training images", each(guards.same_names)),
    "number.other_machine": Check(INFO, "times of different machines or settings are compared", guards.other_machine),
    "number.unknown_training": Check(INFO, "nothing is known of the training", each(guards.unknown_training)),
}


def guard(numbers: Sequence[Number], *, chosen_on: str | None = None, optimism: float | None = None) -> list[Finding]:
    """What the guards find in numbers that are compared, or in one alone, worst first; empty when nothing is wrong.

    `chosen_on`: the split whose scores decide between them, None when nothing is chosen; `optimism`: an estimate of
    how much the best score gains by being the best. `evidence` of each finding has the names of the `runs` it is about.
    """
    return [finding for finding, _ in run_checks(GUARDS, Case(numbers, chosen_on, optimism))]
