"""Does the rounds, and resumes where that was stopped.

OUT/NAME_H0/            the dataset with the poor masks, and with the good ones of the trusted samples
OUT/trusted/, OUT/poor/ the trainings that round 0 is chosen from
OUT/NAME_H1/ …          the dataset of each round: the poor masks made better
OUT/provenance/H1/ …    for each of its masks what became of each pixel (see `combining`), and H1.json in numbers
OUT/H1/ …               the training of each round

Nothing is chosen by the trusted samples that judge, but the round: every training ends with its last state, and is
evaluated once. Without trusted samples round 0 learns from what GrabCut makes of the boxes, or from the poor masks as
they are, and all rounds are made, as nothing can stop them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.progress import progress, say
from maskwright.base.stopping import graceful
from maskwright.base.storage import atomic_write_bytes, atomic_write_json, read_json
from maskwright.base.texts import plural
from maskwright.config import RunConfig
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask, grey_png
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, Interrupted
from maskwright.evaluation.metrics import Marginals, iou
from maskwright.evaluation.scoring.evaluation import Evaluation, newest
from maskwright.labels.refining.boxes import boxes_of, grabcut
from maskwright.labels.refining.combining import CHANGED, KEPT, LEFT_OUT, combine, needs_background
from maskwright.labels.refining.config import Refinement
from maskwright.labels.refining.guarding import helps, not_behind
from maskwright.labels.suspecting.copies import planted_copy
from maskwright.labels.suspecting.labelsets import require_same
from maskwright.labels.suspecting.trainings import last_state
from maskwright.run import Run

_UNJUDGED = 10  # without trusted samples, one of so many is kept from learning, which a training needs to end


@dataclass(frozen=True)
class Parts:
    """The samples of a dataset by what they are for: `baseline` and `held` are trusted, `poor` all others to learn
    from."""

    baseline: list[Sample]
    held: list[Sample]
    poor: list[Sample]


@dataclass(frozen=True)
class Round:
    """A training and its dataset; of round 0 and without trusted samples `masks` and `evaluation` may be None. `masks`:
    what became of the poor masks (see `improved`)."""

    name: str
    run: Run
    data: Path
    masks: dict[str, Any] | None
    evaluation: Evaluation | None

    @property
    def counts(self) -> Marginals:
        """Of the trusted images that judge."""
        assert self.evaluation is not None
        return Marginals.of(self.evaluation.confusions)

    @property
    def score(self) -> float:
        """mIoU on these."""
        return float(self.counts.total().mIoU())


def divided(refinement: Refinement, dataset: Dataset, trusted: Dataset | None) -> Parts:
    """DataError for trusted names that are no sample with a mask, and where no poor mask is left. Samples of the splits
    val and test are left alone, unless they are trusted."""
    usable = {sample.name: sample for sample in dataset.samples if sample.status != "exclude"}
    masked = {sample.name for sample in (trusted or dataset).samples if sample.labelled}
    for name in (*refinement.baseline, *refinement.held):
        if name not in usable:
            raise DataError(
                f"{dataset.root}: has no sample {name!r}, which is to be trusted; give names of its samples"
            )
        if name not in masked:
            raise DataError(f"{(trusted or dataset).root}: {name!r} is to be trusted and has no mask; draw it first")
    taken = {*refinement.baseline, *refinement.held}
    poor = [
        sample
        for name, sample in usable.items()
        if name not in taken and sample.labelled and sample.split in (None, "train")
    ]
    if len(poor) < 2:
        raise DataError(
            f"{dataset.root}: {plural(len(poor), 'poor mask')} to make better beside the trusted ones; at least 2 "
            "samples of the split train, or of no split, are needed"
        )
    return Parts([usable[name] for name in refinement.baseline], [usable[name] for name in refinement.held], poor)


class Rounds:
    """The rounds of one refinement in the folder `out`."""

    def __init__(self, refinement: Refinement, out: Path) -> None:
        self.refinement, self.out, self.config = refinement, out, refinement.config
        self.dataset = load_dataset(refinement.data)
        self.dataset.require_contrast()
        self.trusted = load_dataset(refinement.masks) if refinement.masks else None
        if self.trusted:
            require_same(self.dataset, self.trusted, str(refinement.masks))
        self.parts = divided(refinement, self.dataset, self.trusted)
        self.background = self.dataset.classes.background
        if self.background is None and needs_background(self.config.combine.name):
            raise ConfigError(
                f"combine: {self.config.combine.name} is about objects, and {self.dataset.root} has no background; "
                "name it in dataset.yaml, or take confident or model"
            )
        self.judged = bool(refinement.held)

    def done(self) -> list[Round]:
        """All rounds, round 0 first, then the other start if there is one; with trusted samples no more than help."""
        starts = self._starts()
        rounds, seeing = [*starts], starts
        if self.judged:
            rounds.sort(key=lambda one: -one.score)
            # What is clearly worse spoils the masks: a model of coarse masks says that these are right.
            seeing = [starts[place] for place in not_behind([one.counts for one in starts])]
        if len(starts) > 1:
            say(f"round 0 is {rounds[0].name!r}, which is ahead of {rounds[1].name!r} on the trusted images")
        for number in range(1, self.config.rounds + 1):
            seeing = [self._round(number, seeing)]
            rounds += seeing
            if self.judged and not helps([one.counts for one in rounds]):
                say(f"round {number} does not help on the trusted images; no further round is made")
                break
        return rounds

    def _starts(self) -> list[Round]:
        """The trainings before any round; those that are not behind see together for round 1."""
        data = self._place("H0")
        if not data.exists():
            planted_copy(self.refinement.data, data, self._first_masks(), "refine: trusted masks")
        kinds = sorted(self.config.start) if self.judged else ["poor"]
        return [self._trained(kind, data, self.parts.poor if kind == "poor" else []) for kind in kinds]

    def _first_masks(self) -> Iterator[tuple[str, Mask]]:
        """The masks that differ from the dataset's own: the trusted ones, or what GrabCut makes of boxes."""
        if self.trusted:
            good = {sample.name: sample for sample in self.trusted.samples}
            for sample in (*self.parts.baseline, *self.parts.held):
                yield sample.name, self.trusted.read_mask(good[sample.name])
        if not self.judged and self.config.combine.name == "box":
            assert self.background is not None
            with progress("cutting objects out of boxes", len(self.parts.poor)) as advance:
                for number, sample in enumerate(self.parts.poor, 1):
                    image, mask = self.dataset.read(sample)
                    boxes = boxes_of(sample, mask, self.dataset.classes, self.background)
                    cut = grabcut(image, boxes, mask.shape, self.background)
                    yield sample.name, np.where(mask == IGNORE, IGNORE, cut).astype(np.uint8)
                    advance(number)

    def _round(self, number: int, seeing: Sequence[Round]) -> Round:
        name = f"H{number}"
        data = self._place(name)
        say(f"round {number} of at most {self.config.rounds}: poor masks are made better with {_names(seeing)}")
        if not data.exists():
            planted_copy(self._place("H0"), data, self._improved(name, seeing), f"refine: round {number}")
        return self._trained(name, data, self.parts.poor)

    def _improved(self, name: str, seeing: Sequence[Round]) -> Iterator[tuple[str, Mask]]:
        """The better masks, each made from the dataset's own poor one, so that what was drawn is not forgotten, and
        from the mean of the probabilities of the models `seeing`."""
        from maskwright.modeling.models.segmenter import load_segmenter

        segmenters = [load_segmenter(one.run.best, one.run.info()["device"]) for one in seeing]
        folder, rule = self.out / "provenance" / name, self.config.combine
        names = self.dataset.classes.names
        moved = np.zeros((len(names) + 1, len(names) + 1), np.int64)
        rows = []
        with graceful() as stop, progress("making masks better", len(self.parts.poor)) as advance:
            for number, sample in enumerate(self.parts.poor, 1):
                if stop.is_set():
                    raise Interrupted(f"{self.out}: stopped; the same command resumes it")
                image, poor = self.dataset.read_stored(sample)
                all_seen = [next(iter(one.own_probabilities([image]))).cpu().numpy() for one in segmenters]
                seen = np.asarray(np.mean(all_seen, axis=0), np.float32)
                boxes = boxes_of(sample, poor, self.dataset.classes, self.background)
                mask, fate = combine(poor, seen, boxes, self.background, rule.name, rule.probability, rule.ignore_below)
                atomic_write_bytes(folder / f"{sample.name}.png", grey_png(fate))
                shares = np.bincount(fate.reshape(-1), minlength=3) / fate.size
                rows.append(
                    {
                        "sample": sample.name,
                        "kept": shares[KEPT],
                        "changed": shares[CHANGED],
                        "left_out": shares[LEFT_OUT],
                    }
                )
                places = [np.where(one == IGNORE, len(names), one).astype(np.int64) for one in (poor, mask)]
                pairs = places[0] * (len(names) + 1) + places[1]
                moved += np.bincount(pairs.reshape(-1), minlength=moved.size).reshape(moved.shape)
                yield sample.name, mask
                advance(number)
        atomic_write_json(
            folder.with_suffix(".json"),
            {
                "seen_by": _names(seeing),
                "combine": rule.model_dump() | {"least": rule.probability},
                "classes": [*names, "ignored"],
                "moved": moved.tolist(),
                "samples": rows,
            },
        )

    def _trained(self, name: str, data: Path, poor: Sequence[Sample]) -> Round:
        learnt = [sample.name for sample in (*self.parts.baseline, *poor)]
        held = [sample.name for sample in self.parts.held]
        if not self.judged:
            held = learnt[:: max(2, min(_UNJUDGED, len(learnt)))]
            learnt = [one for one in learnt if one not in {*held}]
        from maskwright.training.train import train_or_resume

        say(f"training {name!r} on {plural(len(learnt), 'image')}")
        run = train_or_resume(self._config(data), out=self.out / name, splits=(learnt, held))
        masks = self.out / "provenance" / f"{name}.json"
        return Round(
            name, run, data, read_json(masks) if masks.exists() else None, evaluated(run) if self.judged else None
        )

    def _config(self, data: Path) -> RunConfig:
        """The config of a training: all are as long as the first one."""
        ended = next((ended for name in ("trusted", "poor") if (ended := Run(self.out / name).finished)), None)
        return last_state(self.refinement.run, data, ended["iterations"] if ended else None)

    def _place(self, name: str) -> Path:
        """The dataset of a round."""
        return self.out / f"{self.dataset.name}_{name}"


def _names(seeing: Sequence[Round]) -> str:
    return " and ".join(f"{one.name!r}" for one in seeing)


def evaluated(run: Run) -> Evaluation:
    """The run on the samples that it was evaluated with while it trained."""
    from maskwright.evaluation.scoring.evaluate import evaluate

    return newest(run, "val") or evaluate(run, split="val")


def spread_of_images(found: Round) -> float | None:
    """How much the mean IoU of an image, between what the model says and the masks it was to learn, varies between
    images; None where that is not known. A stand-in for how the real score would vary, where no mask can be trusted."""
    values = np.nanmean(iou(evaluated(found.run).confusions), axis=-1)
    return float(np.nanstd(values, ddof=1)) if np.count_nonzero(~np.isnan(values)) > 1 else None
