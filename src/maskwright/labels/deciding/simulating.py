"""The simulation: on samples that are not suspect, errors like those of the suspects are planted, so that the truth is
known. What is planted in a repeat is a function of the seed and its number.

    WORK/repeat-1/planted.json    who trains, who judges, and what was planted in whom
    WORK/repeat-1/data/           the dataset with the planted masks (see `suspecting.copies`)
    WORK/repeat-1/keep/ …         the trainings, as run folders
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.base.progress import progress
from maskwright.base.storage import atomic_write_json, read_json
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask
from maskwright.errors import DataError, argument
from maskwright.labels.deciding.estimating import Way
from maskwright.labels.suspecting.copies import planted_copy
from maskwright.labels.suspecting.planting import plant, things

_TRIES = 4  # plants of which the one of the most similar size is taken


@dataclass(frozen=True)
class SuspectedError:
    """An error as `suspects` sees it: its kind, how likely it is one (0..1), and the share of the image that is
    wrong."""

    kind: str
    likely: float
    share: float


@dataclass(frozen=True)
class Repeat:
    """A repeat by sample names: `train` and `held_out`, and those of `train` that take the place of the suspects, with
    the kinds of errors that their masks have got; `wanted` is how many these should be."""

    folder: Path
    train: list[str]
    held_out: list[str]
    planted: dict[str, list[str]]
    wanted: int

    def training(self, way: Way, source: Path) -> tuple[Path, list[str]]:
        """The dataset and the samples that a way trains on."""
        if way == "keep":
            return self.folder / "data", self.train
        return source, [name for name in self.train if way == "repair" or name not in self.planted]


def prepared(
    folder: Path,
    source: Path,
    dataset: Dataset,
    parts: Sequence[Sequence[str]],
    place: int,
    models: Sequence[Sequence[SuspectedError]],
    share: float,
    seed: int,
) -> Repeat:
    """The repeat in `folder`, made there if it is not whole: part number `place` is held out, the samples of all others
    are trained on, and a `share` of these become like one of `models` each, drawn at random.

    An error is planted as often as it is likely one, so a sample may stand for a suspect whose mask is right.
    """
    table = folder / "planted.json"
    if not table.exists():
        shutil.rmtree(folder / "data", ignore_errors=True)
        train = [name for number, part in enumerate(parts) if number != place for name in part]
        wanted = min(max(1, round(share * len(train))), len(train) - 1)
        planted: dict[str, list[str]] = {}
        masks = _planting(dataset, train, models, wanted, np.random.default_rng((seed, place)), planted)
        planted_copy(source, folder / "data", masks, "planted to decide")
        if not any(planted.values()):
            raise DataError(
                f"{source}: no error like those of the suspects could be planted in {len(train)} other "
                f"samples; give another {argument('seed')}, or a lower {argument('min_score')} for "
                "suspects of more kinds"
            )
        atomic_write_json(table, {"train": train, "held_out": list(parts[place]), "planted": planted, "wanted": wanted})
    return Repeat(folder, **read_json(table))


def _planting(
    dataset: Dataset,
    names: Sequence[str],
    models: Sequence[Sequence[SuspectedError]],
    wanted: int,
    rng: np.random.Generator,
    planted: dict[str, list[str]],
) -> Iterator[tuple[str, Mask]]:
    """Yields names and masks that got errors, and notes them in `planted`, with those that were drawn to get none. A
    sample that has no place for the errors of its model is passed over."""
    samples = {sample.name: sample for sample in dataset.samples}
    order = [names[i] for i in rng.permutation(len(names))]
    with progress("planting", wanted) as advance:
        for name in order:
            if len(planted) == wanted:
                return
            due = [one for one in models[int(rng.integers(len(models)))] if rng.random() < one.likely]
            mask = before = dataset.read_mask(samples[name])
            donors = dataset.read_mask(samples[order[int(rng.integers(len(order)))]])
            kinds: list[str] = []
            for one in due:
                if (drawn := planted_mask(mask, one, rng, dataset, donors)) is not None:
                    mask, kinds = drawn, [*kinds, one.kind]
            if kinds or not due:
                planted[name] = kinds
                advance(len(planted))
            if mask is not before:
                yield name, mask


def planted_mask(
    mask: Mask, wrong: SuspectedError, rng: np.random.Generator, dataset: Dataset, other: Mask
) -> Mask | None:
    """`mask` (H, W) with such an error, of several that are tried the one whose size is most like it; None where there
    is no place for one. `other` is the mask that hallucinated objects are taken from."""
    background = dataset.classes.background
    donors = things(other, background) if wrong.kind == "hallucinated" else ()
    drawn = [plant(mask, wrong.kind, rng, len(dataset.classes), background, donors) for _ in range(_TRIES)]
    return min(
        (one for one in drawn if one is not None),
        default=None,
        key=lambda one: abs(np.count_nonzero(one != mask) / mask.size - wrong.share),
    )


def kinds_of(repeats: Sequence[Repeat]) -> Mapping[str, int]:
    """How often each kind was planted in all repeats, and under "none" how many masks stayed right."""
    found: dict[str, int] = {}
    for repeat in repeats:
        for kinds in repeat.planted.values():
            for kind in kinds or ["none"]:
                found[kind] = found.get(kind, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))
