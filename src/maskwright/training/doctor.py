"""The training doctor: what a run's log says about how it went, in one sentence each, with what to do.

Every symptom is a function of the log alone and a row of the table here, so that the doctor can look at a run while
it trains, when it has ended, or years later, without torch. Likely causes come first and speak alone: a learning rate
that is far too high also ends in one class, or in a plateau.

`bench/doctor.py` plants each symptom in small runs and tells how often the doctor is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base import strictyaml
from maskwright.base.texts import counted, listing, percent
from maskwright.core.class_facts import MISSED, ClassFacts
from maskwright.core.findings import Check, Finding, Observation, Severity, run_checks
from maskwright.evaluation.guarding.missed import nothing_to_judge, nothing_to_learn, untrained, what_helps
from maskwright.evaluation.guarding.number import best_score
from maskwright.run import Run

Floats = npt.NDArray[np.float64]
# Records of the loss and evaluations below which nothing can be said of a course.
_RECORDS, _EVALUATIONS = 8, 3
# The share of a loss's fall that comes in the second half, below which it has come to rest.
_LATE = 0.1
# A best validation mIoU that is higher than that of the first half by more is no chance.
_RISE = 0.005


@dataclass(frozen=True)
class Course:
    """A run's log as arrays.

    `start` is the loss of the first batch, before anything was learnt. Of R loss records: `iteration` (R,) at their
    ends, `loss` (R,) the mean since the record before, `peak` (R,) the largest of a single batch, `lr` (R,). Of V
    evaluations: `evaluated` (V,) iterations, `val_loss` (V,), `miou` (V,) and `ious` (V, K), NaN for a class without
    pixels. `waited` is the share of the time that went into waiting for batches, NaN when it was not taken.
    `per_epoch` is the iterations of an epoch. `finished`: whether training has ended. `facts` of the classes in the
    masks of the training `images`, by name, the `config` (run.yaml), and the `validated` pixels (K,) of each class,
    None where not known. `chosen` is the place of the evaluation that the best checkpoint is from; None: that of the
    highest mIoU. `crops`: what drawing windows changes (`training.crops.Seen`), where there are any;
    `repeats`: what drawing images more often changes (`core.class_weights.Repeats`).
    """

    start: float
    iteration: Floats
    loss: Floats
    peak: Floats
    lr: Floats
    evaluated: Floats
    val_loss: Floats
    miou: Floats
    ious: Floats
    classes: Sequence[str]
    waited: float
    per_epoch: float
    finished: bool = False
    facts: Mapping[str, ClassFacts] = field(default_factory=dict)
    images: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    validated: Sequence[int] | None = None
    chosen: int | None = None
    crops: Mapping[str, Any] | None = None
    repeats: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, run: Run) -> Course:
        """The course of a run, finished or not."""
        log, info = run.metrics.read(), run.info()
        steps, scores = [row for row in log if "loss" in row], [row for row in log if "val_loss" in row]

        def column(rows: list[dict[str, Any]], key: str) -> Floats:
            return np.array([row.get(key) for row in rows], np.float64)

        names = [leaf["name"] for leaf in info["classes"]["leaves"]]
        times = [row for row in run.timing.read() if "waited" in row]
        busy = sum(row["seconds_since"] for row in times)
        epochs = steps[-1]["epoch"] if steps else 0.0
        start = steps[0].get("loss_first", steps[0]["loss"]) if steps else float("nan")
        return cls(
            start,
            column(steps, "iteration"),
            column(steps, "loss"),
            np.fmax(column(steps, "loss_max"), column(steps, "loss")),
            column(steps, "lr"),
            column(scores, "iteration"),
            column(scores, "val_loss"),
            column(scores, "val_mIoU"),
            np.array([row["val_iou"] for row in scores], np.float64).reshape(len(scores), len(names)),
            names,
            sum(row["waited"] for row in times) / busy if busy else float("nan"),
            steps[-1]["iteration"] / epochs if epochs else float("nan"),
            run.finished is not None,
            run.training_classes(),
            len(info.get("splits", {}).get("train", ())),
            strictyaml.read(run.config_file).data,
            info.get("validation_pixels"),
            max((i for i, row in enumerate(scores) if row.get("best")), default=None),
            info.get("crops"),
            info.get("repeats"),
        )

    @property
    def short(self) -> bool:
        """Whether the log is too short to tell of a course."""
        return len(self.loss) < _RECORDS or len(self.val_loss) < _EVALUATIONS

    @property
    def kept(self) -> Floats | None:
        """(K,) the IoU of each class in the best evaluation, NaN for a class without a validation pixel; None while it
        is too early to say that something is missed."""
        if not len(self.miou) or not (self.finished or len(self.miou) >= _EVALUATIONS):
            return None
        row = self.ious[int(np.nan_to_num(self.miou).argmax()) if self.chosen is None else self.chosen]
        return row if self.validated is None else np.where(np.array(self.validated) > 0, row, np.nan)

    @property
    def checkpoint(self) -> str:
        """The best checkpoint in words: with the score that has chosen it where that is not mIoU."""
        by = best_score(self.config)
        return "best checkpoint" + ("" if by == "mIoU" else f" (chosen by {by})")

    def when(self, iteration: float) -> str:
        """An iteration in words."""
        return f"iteration {iteration:,.0f} (epoch {iteration / self.per_epoch:.1f})"


def _smooth(values: Floats, width: int) -> Floats:
    """Running medians of an odd width, shorter at the ends."""
    half = width // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _level(values: Floats, begin: float, end: float) -> float:
    """The median of a part of a course, given as shares of its length; of three values at least."""
    first = min(int(begin * len(values)), len(values) - 3)
    return float(np.median(values[first : max(int(np.ceil(end * len(values))), first + 3)]))


def collapse(course: Course) -> Iterator[Observation]:
    """All validation pixels get one class, in the last evaluations."""
    present = ~np.isnan(course.ious)
    alone = ((course.ious > 0).sum(1) <= 1) & (present.sum(1) > 1)
    if len(alone) < 2 or not alone[-2:].all():
        return
    first = len(alone) - int(np.argmin(alone[::-1])) if not alone.all() else 0
    only = int(np.nan_to_num(course.ious[-1]).argmax())
    yield Observation(
        f"every validation pixel is predicted as {course.classes[only]!r} since "
        f"{course.when(course.evaluated[first])}: the model has collapsed to one class",
        "add a dice term to the loss or class_weights: inverse_frequency, lower optimizer.lr, and look at the "
        "masks with `maskwright audit`",
        evidence={"class": course.classes[only], "since": course.evaluated[first]},
    )


def rate_too_high(course: Course) -> Iterator[Observation]:
    """The loss rises far above where it began, or keeps jumping up while the rate is high."""
    loss, start = _smooth(course.loss, 3), course.start
    most, end = float(loss.max()), _level(loss, 0.75, 1)
    # How much it rises, from record to record, in the part where the rate is high; without the one largest rise,
    # which a single bad batch may have made.
    rises = np.maximum(np.diff(np.log(np.maximum(course.loss, 1e-12))), 0)[: 2 * len(loss) // 3]
    jump = float((rises.sum() - rises.max()) / len(rises))
    late = course.val_loss[len(course.val_loss) // 4 :]
    wild = bool(late.max() > 20 * max(np.median(late), start))
    # A model that ends in one class after it was thrown about has been thrown there.
    thrown = course.peak.max() > 1.5 * start or course.val_loss.max() > 5 * start
    if (most > 2 * start and end > 0.7 * start) or jump > 0.05 or wild or (thrown and any(collapse(course))):
        yield Observation(
            f"the training loss began at {start:.3g}, rose to {most:.3g} and ended at {end:.3g}: the learning "
            f"rate of {course.lr.max():.3g} is too high",
            "divide optimizer.lr by 10, or let `maskwright plan --lr-find` choose it",
            evidence={"first": start, "most": most, "last": end, "jump": jump},
        )


def rate_too_low(course: Course) -> Iterator[Observation]:
    """The loss hardly moves, or falls little and as steadily at the end as at the beginning: it follows the rate."""
    loss = _smooth(course.loss, 5)
    start, middle, end = course.start, _level(loss, 0.45, 0.55), _level(loss, 0.9, 1)
    fall = start - end
    order = np.corrcoef(np.arange(len(loss)), loss)[0, 1] if np.ptp(loss) > 0 else 0.0
    # Of a rate that decays to zero over the run the second half has a quarter; a loss that was learnt has less left.
    evenly = 0 < fall < 0.25 * start and order < -0.8 and middle - end > _LATE * (loss[0] - end)
    # Any sane rate learns at least how frequent the classes are.
    if evenly or abs(fall) < 0.05 * start:
        yield Observation(
            f"the training loss only went from {start:.3g} to {end:.3g}: the learning rate of "
            f"{course.lr.max():.3g} is too low for this length",
            "multiply optimizer.lr by 10, or let `maskwright plan --lr-find` choose it; or train for longer",
            evidence={"first": start, "middle": middle, "last": end},
        )


def plateau(course: Course) -> Iterator[Observation]:
    """Hardly anything gets better over the second half, though the loss is still high and the rate is not. Where the
    last evaluation is the best of all by more than chance, training goes on to learn."""
    if len(course.miou) < 4:
        return
    loss = _smooth(course.loss, 5)
    start, middle, end = course.start, _level(loss, 0.4, 0.6), _level(loss, 0.9, 1)
    half = len(course.miou) // 2
    best = float(np.max(course.miou))
    better = best - float(np.max(course.miou[:half]))
    rising = int(np.argmax(course.miou)) == len(course.miou) - 1 and better > _RISE
    if end > 0.25 * start and middle - end < _LATE * max(start - end, 0.2 * start) and better < 0.02 and not rising:
        # Not where the best one is, which a lucky evaluation may be, but from where on little was gained.
        first = int(np.argmax(course.miou > best - 0.02))
        since, gained = course.evaluated[first], best - float(course.miou[first])
        yield Observation(
            f"hardly anything has got better since {course.when(since)}: the training loss stays at {end:.3g} "
            f"(it began at {start:.3g}), and the best validation mIoU is {best:.3f}, only {gained:.3f} more than then",
            "check that masks belong to their images (`maskwright audit --overlays`), raise optimizer.lr, or "
            "take a larger model or image_size",
            evidence={"first": start, "middle": middle, "last": end},
        )


def overfitting(course: Course) -> Iterator[Observation]:
    """The validation loss rises while the training loss falls, and the scores do not gain by it."""
    if len(course.val_loss) < 4:
        return
    smooth = _smooth(course.val_loss, 3)
    best = int(np.argmin(smooth[:-1]))
    least, end = float(smooth[best]), float(np.median(course.val_loss[-2:]))
    at = course.evaluated[best]
    before, after = course.loss[course.iteration <= at], course.loss[course.iteration > at]
    if len(before) < 2 or len(after) < 4 or best >= len(smooth) - 2:
        return
    fall = (float(np.median(before[-3:])) - float(np.median(after[-3:]))) / abs(float(np.median(before[-3:])))
    # The smallest of running medians may stand one before that of the values.
    gained = float(np.median(course.miou[-2:]) - np.max(course.miou[: best + 2]))
    if end > 1.1 * least and fall > 0.1 and gained < 0.02:
        yield Observation(
            f"overfitting since {course.when(at)}: the validation loss rose from {least:.3g} to {end:.3g} while "
            f"the training loss fell by {100 * fall:.0f} %; the {course.checkpoint} is kept",
            "add images or augmentation, set train.early_stopping, or take a smaller model",
            evidence={"since": at, "least": least, "last": end, "fall": fall},
        )


def spike(course: Course) -> Iterator[Observation]:
    """A batch whose loss stands far out of those around it."""
    worst: tuple[float, int, float] | None = None
    for i in range(2, len(course.peak)):
        around = np.concatenate([course.peak[max(0, i - 8) : i - 1], course.peak[i + 2 : i + 9]])
        middle = float(np.median(around))
        spread = 1.4826 * float(np.median(np.abs(around - middle)))
        height = (course.peak[i] - middle) / max(spread, 0.08 * abs(middle), 1e-12)
        jumped = course.peak[i] > 2 * max(middle, course.peak[i - 1], 0.1 * course.start)
        if height > 12 and jumped and (worst is None or height > worst[0]):
            worst = height, i, middle
    if worst:
        _, i, middle = worst
        since = course.iteration[i - 1] + 1
        yield Observation(
            f"the loss jumped to {course.peak[i]:.3g} between iterations {since:,.0f} and "
            f"{course.iteration[i]:,.0f} (around it: {middle:.3g})",
            "look at the masks of those batches (`maskwright audit`), or lower optimizer.lr",
            evidence={"iterations": [since, course.iteration[i]], "loss": course.peak[i], "around": middle},
        )


def loader_bound(course: Course) -> Iterator[Observation]:
    """The model waits for its batches."""
    if course.waited > 0.2:
        yield Observation(
            f"{100 * course.waited:.0f} % of the training time went into waiting for batches: loading the data "
            "is the bottleneck",
            "set train.workers, drop costly augmentation, or store smaller images",
            evidence={"waited": course.waited},
        )


def unjudged(course: Course) -> Iterator[Observation]:
    """No evaluation has a score: runs from before such a training was refused."""
    if len(course.miou) and np.isnan(course.miou).all():
        yield Observation(
            "no validation pixel counts (all are ignored): the checkpoint that is kept was chosen by no score",
            "check the masks of the validation split (`maskwright audit`), then train again",
        )


def class_missed(course: Course) -> Iterator[Observation]:
    """Classes that are not found in validation, although they were there to be learnt."""
    if course.kept is None:
        return
    nothing = untrained(course.facts)
    missed = [
        course.classes[i] for i in np.flatnonzero(course.kept < MISSED).tolist() if course.classes[i] not in nothing
    ]
    causes = () if course.short else (rate_too_high, rate_too_low)
    if missed and not any(any(look(course)) for look in (*causes, collapse)):
        yield Observation(
            counted(len(missed), "class{|es} {is|are} not found: ")
            + f"{listing(map(repr, missed), 12)} (validation IoU below {MISSED:g} in the {course.checkpoint})",
            what_helps(missed, course.facts, course.images, course.config),
            evidence={"classes": missed},
        )


def class_untrained(course: Course) -> Iterator[Observation]:
    """Classes without a training pixel."""
    if names := untrained(course.facts):
        message, fix, evidence = nothing_to_learn(names)
        yield Observation(message, fix, evidence=evidence)


def class_unvalidated(course: Course) -> Iterator[Observation]:
    """Classes without a counted validation pixel."""
    if course.kept is None or any(unjudged(course)):
        return
    if names := [course.classes[i] for i in np.flatnonzero(np.isnan(course.kept)).tolist()]:
        message, fix, evidence = nothing_to_judge(names)
        yield Observation(message, fix, evidence=evidence)


def rare_windows(course: Course) -> Iterator[Observation]:
    """How much more often classes are seen than they are there, because windows are drawn around them."""
    crops = course.crops
    if not crops or not crops["drawn"] or not (more := _seen_more(course.classes, crops)):
        return
    yield Observation(
        f"{percent(crops['drawn'])} of the {crops['windows']:,} windows of an epoch are drawn around classes other "
        "than the largest: " + more,
        "this is data.crop.rare; lower it where these classes are predicted too often",
        evidence=dict(crops),
    )


def repeated_images(course: Course) -> Iterator[Observation]:
    """How much more often classes are seen than they are there, because images with rare ones are drawn more often."""
    repeats = course.repeats
    if not repeats:
        return
    if not repeats["images"]:
        yield Observation(
            "data.repeat_rare changes nothing: no class is in so few of the images",
            "leave it out, or raise it",
            evidence=dict(repeats),
        )
    elif more := _seen_more(course.classes, repeats):
        yield Observation(
            f"{counted(repeats['images'], 'image{|s} {is|are}')} drawn more often, up to {repeats['most']:.1f} times "
            f"as often as others: {more}",
            "this is data.repeat_rare; lower it where these classes are predicted too often",
            evidence=dict(repeats),
        )


def _seen_more(classes: Sequence[str], shares: Mapping[str, Any]) -> str:
    """The classes with a larger share of what is drawn than of the images, the most favoured one first."""
    both = zip(classes, shares["natural"], shares["seen"], strict=True)
    more = sorted((row for row in both if row[2] > row[1] > 0), key=lambda row: row[2] / row[1], reverse=True)
    told = [
        f"{name!r} has {percent(seen)} of their pixels and {percent(had)} of those of the images"
        for name, had, seen in more
    ]
    return listing(told, 6) if told else ""


NOT_FINITE, PRUNED, LOADER = "train.not_finite", "train.pruned", "train.loader"
# Of these a short log tells, too.
_OF_CLASSES: dict[str, Check[Course]] = {
    "train.unjudged": Check(Severity.ERROR, "no validation pixel counts", unjudged),
    "train.class_missed": Check(Severity.WARNING, "a class is not found in validation (IoU below 0.01)", class_missed),
    "train.class_untrained": Check(Severity.WARNING, "a class has no training pixel", class_untrained),
    "train.class_unvalidated": Check(Severity.INFO, "a class has no validation pixel", class_unvalidated),
    "train.rare_windows": Check(Severity.INFO, "windows are drawn around rare classes", rare_windows),
    "train.repeated_images": Check(Severity.INFO, "images with rare classes are drawn more often", repeated_images),
}
# Likely causes before consequences.
SYMPTOMS: dict[str, Check[Course]] = {
    "train.rate_high": Check(Severity.ERROR, "the learning rate is too high", rate_too_high),
    "train.rate_low": Check(Severity.WARNING, "the learning rate is too low", rate_too_low, consequence=True),
    "train.overfitting": Check(
        Severity.WARNING, "validation gets worse while training gets better", overfitting, consequence=True
    ),
    "train.collapse": Check(Severity.ERROR, "the model predicts one class only", collapse, consequence=True),
    "train.plateau": Check(
        Severity.WARNING, "training no longer gets better, far from done", plateau, consequence=True
    ),
    "train.spike": Check(
        Severity.WARNING, "the loss of one batch is far above those around it", spike, consequence=True
    ),
    LOADER: Check(Severity.WARNING, "the model waits for its data", loader_bound),
    **_OF_CLASSES,
}


def examine(run: Run) -> list[Finding]:
    """What the log of a run tells, the likely cause first; empty when nothing is wrong.

    A run that was stopped because its loss was not finite says so alone: what it logged before is of no use. So does
    one that a search has ended early, whose course says little.
    """
    if (stopped := run.stopped) is not None:
        return [Finding(NOT_FINITE, Severity.ERROR, stopped["message"], stopped["fix"], evidence=stopped["evidence"])]
    if (why := run.pruned) is not None:
        return [Finding(PRUNED, Severity.INFO, why, "`maskwright resume` trains it to its end")]
    return diagnose(Course.of(run))


def diagnose(course: Course) -> list[Finding]:
    """What the course of a run tells, the likely cause first; of a short log only whether loading is slow and
    which classes are not found."""
    table = {LOADER: SYMPTOMS[LOADER], **_OF_CLASSES} if course.short else SYMPTOMS
    return [finding for finding, _ in run_checks(table, course)]


def sentences(findings: Sequence[Finding]) -> str:
    """One line each, for people."""
    return "\n".join(f"{finding.severity.label}: {finding.message}; {finding.fix}" for finding in findings)
