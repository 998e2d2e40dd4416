"""Which post-processing helps: a small grid for each class, chosen by cross-validation over images.

First comes the smoothing of all probabilities (`SMOOTHINGS`) that is best on the images that choose, if its paired 95 %
interval to none lies above 0 there, and no class loses more IoU than the score gains. All else builds on it.

One step of one class (an `Option`) is taken when, on the images that choose, it gives the most of its kind, its paired
95 % interval lies above 0, and its own class does not get worse for it: of a poor model the score would often rise if
it gave up its classes for the background. The best one comes first, and each other one has to make those before it
better; together these are the rules. How good they are is judged on images that have not chosen: the images are cut
into `FOLDS` blocks of neighbours (frames of one film stay together), the rules are chosen on all blocks but one and
applied to that one, and the blocks are put together again. They are worth using when the paired interval of that, too,
lies above 0. The sizes to try are quantiles of what the model predicts; no truth is looked at for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.masks import Mask
from maskwright.core.postprocessing import ClassRule, PostProcessing, components_of, holes_of
from maskwright.core.smoothing import Smoothing
from maskwright.evaluation.comparing.inference import paired
from maskwright.evaluation.metrics import Interval, Marginals, confusion_matrix
from maskwright.evaluation.metrics.marginals import SCORES

Kind = Literal["smoothing", "min_probability", "min_pixels", "fill_holes", "largest_only"]
Sizes = npt.NDArray[np.int64]

FOLDS = 5
# What differs less than one hundredth of the range is noise of a camera; larger edges were worse wherever it helped.
SMOOTHINGS = tuple(Smoothing(radius, 0.01) for radius in (2, 4, 8))
LEAST = (0.5, 0.6, 0.7, 0.8, 0.9)  # of `min_probability`
# Of a pixel, the most probable classes that are looked at; a fifth one that wins is too rare to keep it.
_LIKELIEST = 4
_SIZES, _HOLES = (0.25, 0.5, 0.75, 0.9, 0.95), (0.5, 0.9, 1.0)
# `largest_only` is tried where so many of the images that have the class have one component of it at most.
_SINGLE = 0.95
_RESAMPLES = 1000  # for each step; what is reported has as many as everywhere


@dataclass(frozen=True)
class Option:
    """One step of the class with this index."""

    index: int
    kind: Kind
    value: float

    def on(self, rule: ClassRule) -> ClassRule:
        """The rule of its class with this step."""
        if self.kind == "largest_only":
            return replace(rule, largest_only=True)
        if self.kind == "min_probability":
            return replace(rule, min_probability=self.value)
        if self.kind == "fill_holes":
            return replace(rule, fill_holes=int(self.value))
        return replace(rule, min_pixels=int(self.value))


@dataclass(frozen=True)
class Step:
    """A step that is part of the rules: the class (None for all), what it does, the paired `difference` of it alone to
    none (of a class, to what is smoothed) on the images that chose it (optimistic), and in how many folds it, or
    another size of its kind, was chosen too. The `value` of a smoothing is its radius."""

    name: str | None
    kind: Kind
    value: float
    difference: Interval
    folds: int

    def __str__(self) -> str:
        return f"{self.name or 'all classes'}: {self.kind}" + (
            "" if self.kind == "largest_only" else f" {self.value:,}"
        )

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


class Doubtful:
    """The pixels of an image whose class is less probable than the largest of `LEAST`: their places, their most
    probable classes in order, and how many of `LEAST` each of these reaches (P, 4)."""

    def __init__(self, prediction: Mask, probabilities: npt.NDArray[np.float32]) -> None:
        labels = np.where(prediction == IGNORE, 0, prediction)
        own = np.take_along_axis(probabilities, labels[None].astype(np.intp), 0)[0]
        self.places = np.flatnonzero(own < LEAST[-1])
        values = probabilities.reshape(len(probabilities), -1)[:, self.places].T
        order = np.argsort(-values, axis=1, kind="stable")[:, :_LIKELIEST]
        self.classes = order.astype(np.uint8)
        least = np.array(LEAST, np.float32)
        self.reached = np.searchsorted(least, np.take_along_axis(values, order, 1), "right").astype(np.uint8)

    def changes(self, option: Option) -> bool:
        """Whether a `min_probability` takes any pixel from its class."""
        needed = LEAST.index(option.value) + 1
        return bool(((self.classes[:, 0] == option.index) & (self.reached[:, 0] < needed)).any())

    def chosen(self, thresholds: Sequence[float]) -> Mask:
        """(P,) the classes of the pixels by these thresholds, 0 or one of `LEAST` for each class."""
        needed = np.array([LEAST.index(least) + 1 if least else 0 for least in thresholds])
        first = (self.reached >= needed[self.classes]).argmax(1)  # 0, the most probable one, where none may
        found: Mask = np.take_along_axis(self.classes, first[:, None], 1)[:, 0]
        return found


class Pair:
    """The truth and the prediction (H, W) of one image, kept compressed; what can change in the prediction. Without its
    `probabilities` (K, H, W) no `min_probability` is tried."""

    def __init__(
        self, truth: Mask, prediction: Mask, classes: int, probabilities: npt.NDArray[np.float32] | None = None
    ) -> None:
        self.doubtful = None if probabilities is None else Doubtful(prediction, probabilities)
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
        if rules and rules.thresholds and self.doubtful:
            prediction = prediction.copy()
            prediction.reshape(-1)[self.doubtful.places] = self.doubtful.chosen(rules.thresholds)
        found = rules.apply(prediction) if rules else prediction
        confusion = confusion_matrix(truth, found, self.classes)
        return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)])

    def changes(self, option: Option) -> bool:
        """Whether the option can do anything here."""
        if option.kind == "min_probability":
            return self.doubtful is not None and self.doubtful.changes(option)
        sizes = self.sizes[option.index]
        if option.kind == "min_pixels":
            return bool((sizes < option.value).any())
        if option.kind == "fill_holes":
            return bool((self.holes[option.index] <= option.value).any())
        return len(sizes) > 1


def tuned(
    pairs: Sequence[Pair],
    classes: ClassTree,
    score: str,
    advance: Callable[[int], object] = lambda done: None,
    smoothed: Mapping[Smoothing, Sequence[Pair]] | None = None,
) -> Tuning:
    """The rules for these images, of which there are `FOLDS` at least; `smoothed` are the same images with smoothed
    probabilities. `advance` hears how many are counted."""
    everything = range(len(pairs))
    blocks = [block.tolist() for block in np.array_split(everything, FOLDS)]
    choosing = [[*everything], *(np.setdiff1d(everything, block).tolist() for block in blocks)]
    ways: dict[Smoothing | None, _Counts] = {
        smoothing: _Counts(own, classes) for smoothing, own in [(None, pairs), *(smoothed or {}).items()]
    }
    taken = [_smoothing(ways, places, score) for places in choosing]
    for place in everything:
        for counts in {ways[smoothing] for smoothing, _ in taken}:
            for option in counts.grid:
                counts.of((option,), [place])
        advance(place + 1)
    chosen = [_choose(ways[smoothing], places, score) for (smoothing, _), places in zip(taken, choosing, strict=True)]
    held_out = [
        ways[smoothing].of(tuple(options), block)
        for (smoothing, _), options, block in zip(taken[1:], chosen[1:], blocks, strict=True)
    ]
    before = ways[None].of((), everything)
    after = Marginals(*map(np.concatenate, zip(*held_out, strict=True)))
    measure, (smoothing, gain) = SCORES[score], taken[0]
    seen = [{(option.index, option.kind) for option in options} for options in chosen[1:]]
    steps = [
        Step(
            classes.names[option.index],
            option.kind,
            option.value,
            difference,
            sum((option.index, option.kind) in one for one in seen),
        )
        for option, difference in chosen[0].items()
    ]
    if smoothing and gain:
        folds = sum(other is not None for other, _ in taken[1:])
        steps.insert(0, Step(None, "smoothing", smoothing.radius, gain, folds))
    return Tuning(
        replace(_rules(classes, chosen[0]), smoothing=smoothing),
        tuple(steps),
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
        len({option for smoothing, _ in taken for option in ways[smoothing].grid}) + len(ways) - 1,
    )


def _smoothing(
    ways: Mapping[Smoothing | None, _Counts], places: Sequence[int], score: str
) -> tuple[Smoothing | None, Interval | None]:
    """The smoothing that is best on the images at these places, with its difference to none; None where it is no
    better beyond chance, or costs a class more IoU than the score gains."""
    measure = SCORES[score]
    found = {smoothing: counts.of((), places) for smoothing, counts in ways.items()}
    values = {smoothing: float(measure(counts.total())) for smoothing, counts in found.items()}
    best = max(values, key=values.__getitem__)  # of equal ones the first, which is none
    if best is None:
        return None, None
    difference = paired(found[best], found[None], measure, resamples=_RESAMPLES)
    before, after = found[None].total(), found[best].total()
    there = before.true > 0
    lost = float((before.iou() - after.iou())[there].max())
    return (best, difference) if difference.low > 0 and lost <= difference.value else (None, None)


def _grid(pairs: Sequence[Pair], classes: ClassTree) -> Iterator[Option]:
    """What is tried: nothing for the background, which is no object."""
    for index in range(len(classes)):
        if index == classes.background:
            continue
        thresholds = [Option(index, "min_probability", value) for value in LEAST]
        yield from (option for option in thresholds if any(pair.changes(option) for pair in pairs))
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


class _Counts:
    """What is counted of images after some options together, each only once."""

    def __init__(self, pairs: Sequence[Pair], classes: ClassTree) -> None:
        self._pairs, self._classes = pairs, classes
        self._known: dict[tuple[Option, ...], dict[int, npt.NDArray[np.int64]]] = {}

    @cached_property
    def grid(self) -> list[Option]:
        """What is tried."""
        return list(_grid(self._pairs, self._classes))

    def of(self, options: tuple[Option, ...], places: Sequence[int]) -> Marginals:
        """Those (N, K) of the images at these places."""
        known = self._known.setdefault(options, {})
        for place in places:
            if place not in known:
                pair = self._pairs[place]
                changed = any(pair.changes(option) for option in options)
                known[place] = pair.counts(_rules(self._classes, options)) if changed else pair.unchanged
        return Marginals.of_table(np.stack([known[place] for place in places]).astype(np.float64))


def _choose(counts: _Counts, places: Sequence[int], score: str) -> dict[Option, Interval]:
    """Of each class and kind the option that gives the most on the images at these places, the mildest of equal ones,
    if it gives something beyond chance there, and its class is found no worse; with its difference. The best comes
    first, and each other one has to make those before it better."""
    measure, before = SCORES[score], counts.of((), places)
    found_before = before.total()

    def value(*options: Option) -> float:
        return float(measure(counts.of(options, places).total()))

    def spares(*options: Option) -> bool:
        """Whether no class of the options has a lower IoU than without them; one that is not there cannot lose."""
        after = counts.of(options, places).total()
        changed = [option.index for option in options if found_before.true[option.index]]
        return bool((after.iou()[changed] >= found_before.iou()[changed]).all())

    gains = {option: value(option) - value() for option in counts.grid if spares(option)}
    best: dict[tuple[int, Kind], Option] = {}
    for option, gain in gains.items():
        key = option.index, option.kind
        if gain > max(0.0, gains[best[key]] if key in best else 0.0):
            best[key] = option
    found: dict[Option, Interval] = {}
    for option in sorted(best.values(), key=gains.__getitem__, reverse=True):
        difference = paired(counts.of((option,), places), before, measure, resamples=_RESAMPLES)
        better = value(*found, option) > value(*found) and spares(*found, option)
        if difference.low > 0 and better:
            found[option] = difference
    return found


def _rules(classes: ClassTree, options: Iterable[Option]) -> PostProcessing:
    rules = [ClassRule(name) for name in classes.names]
    for option in options:
        rules[option.index] = option.on(rules[option.index])
    return PostProcessing(tuple(rules))


def _iou_of(index: int) -> Callable[[Marginals], npt.NDArray[np.float64]]:
    return lambda counts: counts.iou()[..., index]
