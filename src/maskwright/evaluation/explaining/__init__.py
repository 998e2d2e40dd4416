"""The verb `explain`: what is wrong in an evaluation, of which kind, where, and what fixing it would gain.

Only files are read: the predictions of the newest evaluation of a split, and the dataset. Every image is looked at
once, by several processes, and of each some counts are kept (about twenty for each class); pictures are drawn by
`reporting`. The kinds of errors are defined in `kinds`, found by `anatomy` and `labels`, and weighed by `worth`;
`slices` are the parts that may be worse than others, and `against_rest` says what could be chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maskwright.base import progress as bar
from maskwright.base.strictyaml import did_you_mean
from maskwright.base.workers import in_order, worker_count
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset_of
from maskwright.errors import ConfigError, argument
from maskwright.evaluation.explaining.evaluated import EvaluatedSamples, newest_evaluation
from maskwright.evaluation.explaining.findings import findings_of
from maskwright.evaluation.explaining.image_errors import Cells, ImageRecord, look_at
from maskwright.evaluation.explaining.kinds import HALLUCINATED, KINDS, MISSED, NAMES
from maskwright.evaluation.explaining.results import ErrorRegion, Explanation, KindResult, RankedImage
from maskwright.evaluation.explaining.slices import slices
from maskwright.evaluation.explaining.worth import fixed, fixed_counts
from maskwright.evaluation.metrics import Interval, Marginals, iou, level_confusion
from maskwright.evaluation.metrics.confusion import Counts
from maskwright.evaluation.metrics.marginals import Floats
from maskwright.evaluation.metrics.statistics import percentile_interval, resampled_table
from maskwright.run import Run

__all__ = ["KINDS", "Explanation", "explain"]

_REGIONS = 10  # of a kind that are named
_FEW = 20  # images


def explain(
    run: str | Path | Run,
    *,
    split: str = "test",
    data: str | Path | Dataset | None = None,
    top: int = 6,
    by: str | None = None,
    background: str | None = None,
    tolerance: float | None = None,
    workers: int | None = None,
) -> Explanation:
    """Explains the newest evaluation of a split; nothing is written.

    `data` is the dataset that was evaluated, its folder or a Dataset, the run's own when left out. `top` is how many of
    the best and of the worst images are named, ranked by mean Dice or by the Dice of the class `by`. `background` is
    the class that stands for "no object": the background of the dataset when left out, "none" where every class is an
    object. `tolerance` of boundaries is in pixels; see `anatomy.tolerance_of` for when it is left out. The number of
    `workers` is without effect on the result.

    Raises ConfigError where there is no evaluation of the split or no such class, DataError where what was evaluated
    cannot be read any more, or has changed since: the counts of every image must be those that were scored.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if top < 0 or (tolerance is not None and not 0 <= tolerance < np.inf):
        raise ConfigError(f"explain: top = {top}, tolerance = {tolerance}; give numbers of 0 or more")
    evaluation = newest_evaluation(run, split)
    given = data or run.config().data.root
    dataset = given if isinstance(given, Dataset) else load_dataset_of(run.path, given)
    source = dataset.root if isinstance(given, Dataset) else Path(given)
    scored = EvaluatedSamples.of(evaluation, dataset)
    classes = scored.dataset.classes
    empty = classes.background_of(background)
    ranked_by = None if by is None else _index_of(classes, by, argument("by"))
    records, errors = _records(scored, empty, tolerance, workers or worker_count())

    names = [sample.name for sample in scored.samples]
    confusion = scored.confusions.sum(0, dtype=np.int64)
    drawn = resampled_table(np.stack([np.concatenate([one.facts.counts, one.lost, one.invented]) for one in records]))
    kinds = [_kind(place, records, names, errors[place], confusion, drawn, classes) for place in range(len(NAMES))]
    best, worst, ranked = _ranked(records, names, top, ranked_by)
    parts = slices([record.facts for record in records], classes.names, empty)
    reaches = [record.tolerance for record in records]
    return Explanation(
        evaluation.folder,
        split,
        len(records),
        scored.dataset,
        confusion,
        empty,
        tolerance,
        (min(reaches), max(reaches)),
        kinds,
        best,
        worst,
        ranked,
        by,
        parts,
        findings_of(kinds, parts, {sample.name: sample.split for sample in scored.samples}),
        [*_notes(len(records), classes)],
        source.resolve(),
    )


def _index_of(classes: ClassTree, name: str, where: str) -> int:
    if name not in classes.names:
        raise ConfigError(f"{where} {name}: there is no such class{did_you_mean(name, classes.names)}")
    return classes.names.index(name)


def _records(
    scored: EvaluatedSamples, background: int | None, tolerance: float | None, workers: int
) -> tuple[list[ImageRecord], Counts]:
    """What is kept of each image, and the wrong pixels (kinds, K, K) of all."""
    classes = len(scored.dataset.classes)

    def look(place: int) -> tuple[ImageRecord, Cells]:
        return look_at(*scored.read(place), classes, background, tolerance)

    records: list[ImageRecord] = []
    errors = np.zeros((len(NAMES), classes, classes), np.int64)
    with bar.progress("explaining", len(scored.samples)) as advance:
        for record, (cells, pixels) in in_order(look, range(len(scored.samples)), workers):
            records.append(record)
            errors.reshape(-1)[cells] += pixels
            advance(len(records))
    return records, errors


def _kind(
    place: int,
    records: Sequence[ImageRecord],
    names: Sequence[str],
    errors: Counts,
    confusion: Counts,
    drawn: Floats,
    classes: ClassTree,
) -> KindResult:
    """drawn: (R, 3 + 2 kinds, K) resampled hit, true and predicted pixels, then lost and invented ones by kind."""
    name, pixels = NAMES[place], int(errors.sum())
    wrong = int(confusion.sum() - np.trace(confusion))
    after = fixed(confusion, errors, name)
    gain = iou(after) - iou(confusion)
    whole = sum(int(record.whole[place]) for record in records) if place + 1 in (MISSED, HALLUCINATED) else None
    leaf = classes.names
    regions = [
        ErrorRegion(sample, found.pixels, found.region, leaf[found.true], leaf[found.predicted])
        for sample, record in zip(names, records, strict=True)
        if (found := record.largest[place])
    ]
    regions.sort(key=lambda region: (-region.pixels, region.sample))
    return KindResult(
        name,
        pixels,
        pixels / wrong if wrong else 0.0,
        whole,
        len(regions),
        errors.sum(1).tolist(),
        errors.sum(0).tolist(),
        _worth(place, len(records), confusion, after, drawn),
        [None if np.isnan(value) else value for value in gain.tolist()],
        [int(np.trace(level_confusion(errors, level))) for level in classes.levels[:-1]],
        regions[:_REGIONS],
    )


def _worth(place: int, images: int, confusion: Counts, after: Counts, drawn: Floats) -> dict[str, Interval]:
    counts, lost = drawn[:, :3], drawn[:, 3 + place]
    changed = fixed_counts(counts, lost, drawn[:, 3 + len(NAMES) + place], NAMES[place])
    then, now = Marginals.of_table(changed), Marginals.of_table(counts)
    return {
        name: percentile_interval(
            float(score(Marginals.of(after)) - score(Marginals.of(confusion))), score(then) - score(now), images
        )
        for name, score in (("mIoU", Marginals.mIoU), ("mDice", Marginals.mDice))
    }


def _ranked(
    records: Sequence[ImageRecord], names: Sequence[str], top: int, by: int | None
) -> tuple[list[RankedImage], list[RankedImage], int]:
    """Up to `top` of the best and of the worst images, none in both, and how many have a rank."""
    rows = []
    for name, record in zip(names, records, strict=True):
        by_class = Marginals.of_table(record.facts.counts).dice()
        value = float(Marginals.of_table(record.facts.counts).mDice() if by is None else by_class[by])
        if not np.isnan(value):
            rows.append(
                RankedImage(
                    name,
                    value,
                    [None if np.isnan(one) else one for one in by_class.tolist()],
                    dict(zip(NAMES, record.pixels.tolist(), strict=True)),
                )
            )
    rows.sort(key=lambda row: (-row.dice, row.sample))
    return rows[: min(top, (len(rows) + 1) // 2)], rows[::-1][: min(top, len(rows) // 2)], len(rows)


def _notes(images: int, classes: ClassTree) -> Iterator[str]:
    yield "the gains do not add up: each is what fixing this kind alone would give; together they give 1.0"
    if images < _FEW:
        yield f"only {images} images: trust the intervals, and expect other kinds of errors on other images"
    if classes.depth > 1:
        yield "only the leaves of the class tree are explained; `related` pixels are correct at a level above"
