"""Which post-processing helps: a small grid for each class, chosen by cross-validation over images.

One step of one class (an `Option`) is taken when, on the images that choose, it gives the most of its kind and its
paired 95 % interval lies above 0. Of all classes together these are the rules. How good they are is judged on images
that have not chosen: the images are cut into `FOLDS` blocks of neighbours (frames of one film stay together), the rules
are chosen on all blocks but one and applied to that one, and the blocks are put together again. They are worth using
when the paired interval of that, too, lies above 0. The sizes to try are quantiles of what the model predicts; no truth
is looked at for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.masks import Mask
from maskwright.core.postprocessing import ClassRule, PostProcessing, components_of, holes_of
from maskwright.evaluation.comparing.inference import paired
from maskwright.evaluation.metrics import Interval, Marginals, confusion_matrix
from maskwright.evaluation.metrics.marginals import SCORES

Kind = Literal["min_pixels", "fill_holes", "largest_only"]
Sizes = npt.NDArray[np.int64]

FOLDS = 5
_SIZES, _HOLES = (0.25, 0.5, 0.75, 0.9, 0.95), (0.5, 0.9, 1.0)
# `largest_only` is tried where so many of the images that have the class have one component of it at most.
_SINGLE = 0.95
_RESAMPLES = 1000  # for each step; what is reported has as many as everywhere


@dataclass(frozen=True)
class Option:
    """One step of the class with this index."""

    index: int
    kind: Kind
    value: int

    def on(self, rule: ClassRule) -> ClassRule:
        """The rule of its class with this step."""
        if self.kind == "largest_only":
            return replace(rule, largest_only=True)
        if self.kind == "fill_holes":
            return replace(rule, fill_holes=self.value)
        return replace(rule, min_pixels=self.value)


@dataclass(frozen=True)
class Step:
    """A step that is part of the rules: the class, what it does, the paired `difference` of it alone to none on the
    images that chose it (optimistic), and in how many folds it, or another size of its kind, was chosen too."""

    name: str
    kind: Kind
    value: int
    difference: Interval
    folds: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {"class": self.name, "kind": self.kind, "value": self.value}
        return {**found, "difference": self.difference.to_dict(), "folds": self.folds}


@dataclass(frozen=True)
class Tuning:
    """`rules` chosen on all images; scores without them (`none`) and, of rules that the scored images did not choose,
    with them (`held_out`), `difference` with its paired 95 % interval; of each class what was chosen and how its IoU
    moves (`classes`). `tried` counts the options."""

    rules: PostProcessing
    steps: tuple[Step, ...]
    score: str
    none: float
    held_out: float
    difference: Interval
    classes: dict[str, Interval]
    folds: int
    tried: int

    @property
    def helps(self) -> bool:
        """Beyond chance, on images that have not chosen."""
        return bool(self.rules) and self.difference.low > 0


class Pair:
    """The truth and the prediction (H, W) of one image, kept compressed; what can change in the prediction."""

    def __init__(self, truth: Mask, prediction: Mask, classes: int) -> None:
        self._files = [cv2.imencode(".png", np.ascontiguousarray(mask))[1] for mask in (truth, prediction)]
        self.classes = classes
        _, sizes, owners = components_of(prediction)
        self.sizes: list[Sizes] = [sizes[owners == index] for index in range(classes)]
        self.holes: list[Sizes] = [
            holes_of(prediction, index)[1][1:] if len(self.sizes[index]) else np.zeros(0, np.int64)
            for index in range(classes)
        ]
        _, _, true = components_of(truth)
        self.true = np.bincount(true[true != IGNORE], minlength=classes)

    @cached_property
    def unchanged(self) -> npt.NDArray[np.int64]:
        """The counts (3, K) of the prediction as it is: hit, true, predicted."""
        return self.counts(None)

    def counts(self, rules: PostProcessing | None) -> npt.NDArray[np.int64]:
        """Those after post-processing."""
        truth, prediction = (np.asarray(cv2.imdecode(file, cv2.IMREAD_UNCHANGED), np.uint8) for file in self._files)
        found = rules.apply(prediction) if rules else prediction
        confusion = confusion_matrix(truth, found, self.classes)
        return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)])

    def changes(self, option: Option) -> bool:
        """Whether the option can do anything here."""
        sizes = self.sizes[option.index]
        if option.kind == "min_pixels":
            return bool((sizes < option.value).any())
        if option.kind == "fill_holes":
            return bool((self.holes[option.index] <= option.value).any())
        return len(sizes) > 1


def tuned(
    pairs: Sequence[Pair], classes: ClassTree, score: str, advance: Callable[[int], object] = lambda done: None
) -> Tuning:
    """The rules for these images, of which there are `FOLDS` at least; `advance` hears how many are counted."""
    grid = list(_grid(pairs, classes))
    none = np.stack([pair.unchanged for pair in pairs])
    alone: dict[Option, npt.NDArray[np.int64]] = {option: none.copy() for option in grid}
    for place, pair in enumerate(pairs):
        for option in grid:
            if pair.changes(option):
                alone[option][place] = pair.counts(_rules(classes, [option]))
        advance(place + 1)
    everything = np.arange(len(pairs))
    chosen = _choose(alone, none, everything, score)
    held_out, seen = none.copy(), []
    for block in np.array_split(everything, FOLDS):
        options = _choose(alone, none, np.setdiff1d(everything, block), score)
        seen.append({(option.index, option.kind) for option in options})
        rules = _rules(classes, options)
        for place in block if rules else ():
            held_out[place] = pairs[place].counts(rules)
    before, after = _marginals(none), _marginals(held_out)
    measure = SCORES[score]
    return Tuning(
        _rules(classes, chosen),
        tuple(
            Step(
                classes.names[option.index],
                option.kind,
                option.value,
                difference,
                sum((option.index, option.kind) in one for one in seen),
            )
            for option, difference in chosen.items()
        ),
        score,
        float(measure(before.total())),
        float(measure(after.total())),
        paired(after, before, measure),
        {
            name: paired(after, before, _iou_of(index))
            for index, name in enumerate(classes.names)
            if before.predicted[:, index].any() or before.true[:, index].any()
        },
        FOLDS,
        len(grid),
    )


def _grid(pairs: Sequence[Pair], classes: ClassTree) -> Iterator[Option]:
    """What is tried: nothing for the background, which is no object."""
    for index in range(len(classes)):
        if index == classes.background:
            continue
        sizes = np.concatenate([pair.sizes[index] for pair in pairs])
        if len(sizes):
            least = {int(size) + 1 for size in np.quantile(sizes, _SIZES, method="lower")}
            yield from (Option(index, "min_pixels", size) for size in sorted(least - {0, 1}))
        holes = np.concatenate([pair.holes[index] for pair in pairs])
        if len(holes):
            most = {int(size) for size in np.quantile(holes, _HOLES, method="lower")}
            yield from (Option(index, "fill_holes", size) for size in sorted(most))
        there = [int(pair.true[index]) for pair in pairs if pair.true[index]]
        if there and np.mean([count == 1 for count in there]) >= _SINGLE:
            yield Option(index, "largest_only", 1)


def _choose(
    alone: dict[Option, npt.NDArray[np.int64]], none: npt.NDArray[np.int64], places: Sizes, score: str
) -> dict[Option, Interval]:
    """Of each class and kind the option that gives the most on the images at these places, the mildest of equal ones,
    if it gives something beyond chance there; with its difference."""
    measure, before = SCORES[score], _marginals(none[places])
    base = float(measure(before.total()))
    best: dict[tuple[int, Kind], tuple[float, Option]] = {}
    for option, counts in alone.items():
        gain = float(measure(_marginals(counts[places]).total())) - base
        key = option.index, option.kind
        if gain > max(0.0, best[key][0] if key in best else 0.0):
            best[key] = gain, option
    found = {
        option: paired(_marginals(alone[option][places]), before, measure, resamples=_RESAMPLES)
        for _, option in best.values()
    }
    return {option: difference for option, difference in found.items() if difference.low > 0}


def _rules(classes: ClassTree, options: Sequence[Option] | dict[Option, Interval]) -> PostProcessing:
    rules = [ClassRule(name) for name in classes.names]
    for option in options:
        rules[option.index] = option.on(rules[option.index])
    return PostProcessing(tuple(rules))


def _marginals(table: npt.NDArray[np.int64]) -> Marginals:
    return Marginals.of_table(table.astype(np.float64))


def _iou_of(index: int) -> Callable[[Marginals], npt.NDArray[np.float64]]:
    return lambda counts: counts.iou()[..., index]
