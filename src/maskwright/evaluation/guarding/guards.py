"""The guards: each says what is wrong with one number, or with numbers that are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskwright.base.texts import counted, listing, percent, plural
from maskwright.core.class_facts import MISSED
from maskwright.core.findings import Observation
from maskwright.evaluation.guarding.missed import Remark, nothing_to_learn, untrained, what_helps
from maskwright.evaluation.guarding.number import Number, Training

_FEW = 20  # images
_FASTER, _SAME = 1.1, 1.05


@dataclass(frozen=True)
class Case:
    """Numbers that are compared (one alone is a comparison with nothing). `chosen_on` is the split whose scores decide
    between them, None when nothing is chosen; `optimism` is how much the best score gains by being the best."""

    numbers: Sequence[Number]
    chosen_on: str | None = None
    optimism: float | None = None

    @property
    def split(self) -> str | None:
        """That of all numbers, None where they differ."""
        splits = {number.split for number in self.numbers}
        return splits.pop() if len(splits) == 1 else None


def observed(
    case: Case, message: str, fix: str, names: Iterable[str], evidence: Mapping[str, Any] | None = None
) -> Observation:
    """What was observed of the numbers called `names`, what to do, and the numbers behind it."""
    return Observation(message, fix, split=case.split, evidence={"runs": list(names), **(evidence or {})})


def each(look: Callable[[Number], Iterator[Remark]]) -> Callable[[Case], Iterator[Observation]]:
    """A guard of one number as a guard of each of a case. What it says of several numbers in the same words is said
    once."""

    def look_at_each(case: Case) -> Iterator[Observation]:
        said: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
        for number in case.numbers:
            for message, fix, evidence in look(number):
                said.setdefault((message, fix), []).append((number.name, evidence))
        for (message, fix), about in said.items():
            yield observed(case, message, fix, [name for name, _ in about], about[0][1])

    return look_at_each


# --- one number ------------------------------------------------------------------------------------------


def one_image(number: Number) -> Iterator[Remark]:
    """A single image has no interval."""
    if number.images is not None and len(number.images) == 1:
        yield (
            "one image: there is no interval, and the numbers say little about other images",
            "evaluate on more images",
            {"images": 1},
        )


def few_images(number: Number) -> Iterator[Remark]:
    """Fewer images than an interval can be trusted on."""
    if number.images is not None and 1 < len(number.images) < _FEW:
        yield (
            f"only {len(number.images)} images: trust the intervals, not the single values",
            "evaluate on more images",
            {"images": len(number.images)},
        )


def weak_truth(number: Number) -> Iterator[Remark]:
    """Masks that were made of boxes or by a model."""
    if weak := number.origin.weak:
        yield (
            f"{plural(weak, 'ground-truth mask')} {'was' if weak == 1 else 'were'} not drawn by hand: filled boxes, or "
            "made by a model",
            "where they are incomplete, look at recall and dataset_excess_recall, not at precision, IoU and Dice",
            {"masks": weak},
        )


def absent_class(number: Number) -> Iterator[Remark]:
    """Classes without a true pixel."""
    for name, pixels in number.classes:
        if not pixels:
            yield (
                f"class {name!r} does not occur in the ground-truth masks: its scores are undefined or count false "
                "alarms only",
                "add images that show it, or leave it out of what you report",
                {"class": name},
            )


def class_missed(number: Number) -> Iterator[Remark]:
    """Classes that are not found although they were there to be learnt."""
    training = number.training or Training()
    missed = {name: predicted for name, predicted in number.missed if name not in untrained(training.classes)}
    if not missed or any(trivial(number)):
        return
    never = [repr(name) for name, predicted in missed.items() if not predicted]
    wrong = [repr(name) for name, predicted in missed.items() if predicted]
    said = [
        counted(len(names), "class{|es} {is|are} ") + f"{how}: {listing(names, 12)}"
        for names, how in ((never, "never predicted"), (wrong, "predicted, but hardly anywhere correctly"))
        if names
    ]
    yield (
        "; ".join(said) + f" (IoU below {MISSED:g})",
        what_helps(list(missed), training.classes, len(training.train), training.config),
        {"never": [name for name, predicted in missed.items() if not predicted], "classes": list(missed)},
    )


def class_untrained(number: Number) -> Iterator[Remark]:
    """Classes that are in the truth, and of which the training had no pixel."""
    names = untrained(number.training.classes) if number.training else []
    if names := [name for name, pixels in number.classes if pixels and name in names]:
        yield nothing_to_learn(names)


def trivial(number: Number) -> Iterator[Remark]:
    """An mIoU that needs no model."""
    value, bar = (number.scores or {}).get("mIoU"), (number.trivial or {}).get("mIoU")
    if bar is not None and not (value is not None and value > bar):
        yield (
            f"mIoU is no better than predicting one class everywhere ({bar:.3f})",
            "the model is not better than a constant prediction: train for longer, or see what `maskwright doctor "
            "RUN` says of its log",
            {"mIoU": value, "trivial": bar},
        )


def trivial_accuracy(number: Number) -> Iterator[Remark]:
    """A pixel accuracy that needs no model, where the mIoU is not as poor."""
    value, bar = (number.scores or {}).get("aAcc"), (number.trivial or {}).get("aAcc")
    if value is not None and bar is not None and value <= bar and not any(trivial(number)):
        yield (
            f"pixel accuracy {value:.3f} is no better than predicting one class everywhere ({bar:.3f})",
            "report mIoU or Dice instead",
            {"aAcc": value, "trivial": bar},
        )


def _used(number: Number, found: Sequence[str] | None, names: Collection[str]) -> list[str]:
    """The scored samples that were `found` to be used; where that was not looked for, those with one of these names of
    the same dataset."""
    if found is not None:
        return list(found)
    return [name for name in number.images or () if name in names] if number.origin.same_data else []


def trained_on(number: Number) -> Iterator[Remark]:
    """Images that the model has learnt."""
    if number.training and number.images:
        seen = _used(number, number.origin.trained_on, number.training.train)
        if seen:
            which = "these images" if len(seen) == len(number.images) > 1 else f"{len(seen)} of these images"
            yield (
                f"{which} {'was' if len(seen) == 1 else 'were'} trained on: the scores say nothing about new images",
                "evaluate on a split that training has not used",
                {"count": len(seen), "samples": seen[:50]},
            )


def leakage(number: Number) -> Iterator[Remark]:
    """The same image under another name in the training."""
    if copies := number.origin.copies:
        first, second = copies[0]
        yield (
            f"{plural(len(copies), 'image')} {'is an exact copy' if len(copies) == 1 else 'are exact copies'} of "
            f"training images, such as {first} ({second})",
            "keep copies in one split (`maskwright split`), then train and evaluate again",
            {"count": len(copies), "samples": [list(pair) for pair in copies[:50]]},
        )


def same_names(number: Number) -> Iterator[Remark]:
    """Files that are called like training images."""
    if names := number.origin.same_names:
        yield (
            f"{plural(len(names), 'image')} {'has' if len(names) == 1 else 'have'} the file name of a training image, "
            f"such as {names[0]}",
            "if the same name means the same subject, keep it in one split",
            {"count": len(names), "samples": list(names[:50])},
        )


def selected_on(number: Number) -> Iterator[Remark]:
    """Images that have chosen the checkpoint."""
    if number.training and number.images:
        seen = _used(number, number.origin.selected_on, number.training.val)
        if seen:
            where = "this split" if len(seen) == len(number.images) else f"{len(seen)} of these images"
            by = "" if number.training.chosen_by == "mIoU" else f", by {number.training.chosen_by}"
            yield (
                f"the checkpoint was chosen on {where}{by}: its scores are optimistic",
                "report the scores of a split that has chosen nothing, such as test",
                {"count": len(seen), "samples": seen[:50]},
            )


def changed_weights(number: Number) -> Iterator[Remark]:
    """A model file that is not the one that training wrote."""
    if number.origin.changed:
        yield (
            "the weights are no longer those that training ended with: its log and its config are about others",
            "restore checkpoints/best.safetensors, or train again",
            {},
        )


def tuned_on(number: Number) -> Iterator[Remark]:
    """Images that have chosen the post-processing."""
    if seen := number.origin.tuned_on:
        where = "this split" if number.images and len(seen) == len(number.images) else f"{len(seen)} of these images"
        yield (
            f"the post-processing was chosen on {where}: its scores are optimistic",
            "report the scores of a split that has chosen nothing, such as test",
            {"count": len(seen), "samples": list(seen[:50])},
        )


def unchecked(number: Number) -> Iterator[Remark]:
    """A training of which nobody knows any more what it used."""
    if number.training and not number.origin.checked:
        yield (
            "could not be checked: whether these images were trained on, or have chosen the checkpoint; the run "
            "does not say which image files it used, and its dataset is gone or has changed",
            "put the dataset back as it was and evaluate again, or train again: a run stores now what it uses",
            {},
        )


def version(number: Number) -> Iterator[Remark]:
    """A dataset that is not what it was."""
    trained = number.training.version if number.training else None
    if number.origin.same_data and trained and number.version and number.version != trained:
        yield (
            "the dataset has changed since training (another content version)",
            "train again, or restore the dataset",
            {"trained": trained, "scored": number.version},
        )


def other_tree(number: Number) -> Iterator[Remark]:
    """Other groups of classes than in training."""
    if not number.origin.same_tree:
        yield (
            "the class tree is not the one that the run was trained with",
            "compare the leaves only, or train with this tree",
            {},
        )


def unfinished(number: Number) -> Iterator[Remark]:
    """A training that has not ended."""
    if number.training and not number.training.finished:
        yield (
            "training has not finished: this is the best checkpoint so far",
            "`maskwright resume RUN`, then evaluate again",
            {},
        )


def not_the_best(number: Number) -> Iterator[Remark]:
    """The last epoch, or what was best at the time, where the best was meant."""
    made, best = number.origin.iteration, number.training.best if number.training else None
    if made is not None and best is not None and made != best:
        yield (
            f"this is the model of iteration {made:,}, but the best by the validation score is that of {best:,}",
            "evaluate the best checkpoint",
            {"iteration": made, "best": best},
        )


def unknown_training(number: Number) -> Iterator[Remark]:
    """Predictions of unknown origin."""
    if number.training is None:
        yield (
            "nothing is known of what these predictions were trained on or chosen by",
            "make sure that their training has not seen these images",
            {},
        )


# --- numbers that are compared --------------------------------------------------------------------------------


def _differing(case: Case, key: Callable[[Number], Hashable | None]) -> tuple[list[Number], Number | None]:
    """Those whose key is not that of most, and the first of the others."""
    keys = [key(number) for number in case.numbers]
    common = Counter(value for value in keys if value is not None).most_common(1)
    if not common:
        return [], None
    odd = [number for number, value in zip(case.numbers, keys, strict=True) if value not in (None, common[0][0])]
    return odd, case.numbers[keys.index(common[0][0])]


def other_split(case: Case) -> Iterator[Observation]:
    """Scores of different splits."""
    odd, usual = _differing(case, lambda number: number.split)
    for number in odd:
        assert usual
        yield observed(
            case,
            f"{number.name} is scored on {number.split!r}, {usual.name} on {usual.split!r}: they cannot be compared",
            "evaluate all on one split",
            (number.name, usual.name),
        )


def other_images(case: Case) -> Iterator[Observation]:
    """Different images, or different truth for them, under the name of one split."""

    def key(number: Number) -> Hashable | None:
        return None if number.images is None else (frozenset(number.images), number.classes)

    odd, usual = _differing(case, key)
    for number in odd:
        assert usual and usual.images and number.images
        what = (
            "other images than"
            if set(number.images) != set(usual.images)
            else "the images, but not the ground-truth masks, of"
        )
        yield observed(
            case,
            f"{number.name} is scored on {what} {usual.name} ({len(number.images)} and {len(usual.images)}): "
            "they cannot be compared",
            "evaluate both again, on the same data",
            (number.name, usual.name),
        )


def other_version(case: Case) -> Iterator[Observation]:
    """Different versions of a dataset."""
    odd, usual = _differing(case, lambda number: number.version)
    if odd and usual:
        yield observed(
            case,
            f"scored on another version of the dataset than {usual.name}: {listing([n.name for n in odd])}",
            "evaluate all again",
            (*(number.name for number in odd), usual.name),
            {number.name: number.version for number in (*odd, usual)},
        )


def chosen_on_the_scored(case: Case) -> Iterator[Observation]:
    """The best of several by the very scores that are then reported."""
    scored = [number for number in case.numbers if number.split == case.chosen_on]
    if len(scored) > 1 and case.chosen_on is not None:
        by = f", by about {case.optimism:.4f}" if case.optimism is not None else ""
        yield observed(
            case,
            f"the best is chosen on the images that it is scored on ({case.chosen_on}): its score is optimistic{by}",
            "choose on the validation split (`maskwright compare --select val`)",
            tuple(number.name for number in scored),
            {"optimism": case.optimism},
        )


def other_choice(case: Case) -> Iterator[Observation]:
    """Checkpoints that different scores have chosen."""
    odd, usual = _differing(case, lambda number: number.training and number.training.chosen_by)
    for number in odd:
        assert usual and usual.training and number.training
        yield observed(
            case,
            f"the checkpoint of {number.name} was chosen by {number.training.chosen_by}, that of {usual.name} by "
            f"{usual.training.chosen_by}: a part of their difference may come from that",
            "train all with one `train.best`",
            (number.name, usual.name),
        )


def other_selector(case: Case) -> Iterator[Observation]:
    """Pixels of a class tree that were labelled in different ways."""
    odd, usual = _differing(case, lambda number: number.selector)
    for number in odd:
        assert usual
        yield observed(
            case,
            f"the pixels of {number.name} were labelled by the selector {number.selector}, those of {usual.name} by "
            f"{usual.selector}: a part of their difference may come from that",
            "evaluate all with one `selector`; the newest evaluation of a run counts",
            (number.name, usual.name),
        )


def loading(case: Case) -> Iterator[Observation]:
    """A run that is slower only because its model waited for batches."""
    timed = [(number, number.speed) for number in case.numbers if number.speed]
    for slow, low in timed:
        ahead = [
            (high.images_per_second / low.images_per_second, fast, high)
            for fast, high in timed
            if high.machine == low.machine
            and high.images_per_second > _FASTER * low.images_per_second
            and high.busy < _SAME * low.busy
        ]
        if ahead:
            ratio, fast, high = max(ahead, key=lambda item: item[0])
            yield observed(
                case,
                f"{fast.name} trained {ratio:.2f} times as many images a second as {slow.name}, which is only "
                f"data loading: without the waiting for batches ({percent(low.waited)} of the time of "
                f"{slow.name}) it is {high.busy / low.busy:.2f} times",
                "compare the measured steps instead",
                (fast.name, slow.name),
                {"ratio": ratio, "without_waiting": high.busy / low.busy},
            )


def other_machine(case: Case) -> Iterator[Observation]:
    """Times of different machines or settings."""
    odd, usual = _differing(case, lambda number: number.speed and number.speed.machine)
    if odd and usual:
        yield observed(
            case,
            f"trained on another machine, or with another number of threads, than {usual.name}: "
            f"{listing([n.name for n in odd])}; times cannot be compared",
            "time them on one machine",
            (*(number.name for number in odd), usual.name),
        )
