"""The verb `decide`: whether to keep, exclude or repair what is suspect, estimated before anyone spends the time.

Nobody knows the true masks of the suspects, so the question is put where the truth is known: errors like theirs are
planted in samples that are not suspect, and small models are really trained three ways on the same images, equally
long, and judged on others that were held out (docs/decisions/0016-decide-simulates.md).

    OUT/decision.json     the result
    OUT/index.html        its page
    OUT.unfinished/       the work (see `running`), deleted in the end
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from maskwright import __version__
from maskwright.base.extras import require_train
from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_json, next_free, require_absent
from maskwright.base.systems import require_posix
from maskwright.base.texts import plural
from maskwright.base.work_folder import WorkFolder, work_folder_of
from maskwright.config import seconds_argument
from maskwright.core.dataset import Dataset
from maskwright.core.edits import FOLDER, home_of
from maskwright.core.hashes import file_hash
from maskwright.core.sample import Sample
from maskwright.data.opening import folder_of, load_dataset
from maskwright.errors import ConfigError, DataError, argument
from maskwright.evaluation.metrics import most_frequent_baseline
from maskwright.labels.deciding.estimating import choose_way, way_differences, way_scores
from maskwright.labels.deciding.results import Decision, Question, reason_for
from maskwright.labels.deciding.running import DecideSettings, TrainedWays, train_ways
from maskwright.labels.deciding.simulating import SuspectedError, kinds_of
from maskwright.labels.suspecting.stored import FILE, StoredSuspect, newest_suspects, read_stored
from maskwright.reporting.decision_report import FILE as DECISION
from maskwright.reporting.decision_report import draw_decision
from maskwright.reporting.page import PAGE

LEAST_TRUSTED = 12
_EACH = 3  # trusted samples a held-out part
_LATE = 1.25  # of the budget: from here on it is said that it took longer
_LEARNT = 0.05  # mIoU above the most frequent class everywhere, for models that have learnt something


def decide(
    data: str | Path | Dataset,
    *,
    suspects: str | Path | None = None,
    min_score: float = 0.5,
    budget: str = "10m",
    repeats: int = 3,
    minutes_per_mask: float = 3.0,
    weights: str | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
) -> Decision:
    """Estimates which way with the suspect samples of a dataset gives the best model.

    `data` is its folder, its `dataset.yaml`, or a Dataset that was loaded from one, whose folder is used. `suspects` is
    an output folder of the verb of that name, the newest when left out; a sample with a region of `min_score` or more
    is suspect. `budget` is the wall time of everything: the first training takes its share, and all others do as many
    iterations. Their config is that of `plan` with `weights` and `overrides`; where these name `train.iterations` and
    no budget, that is the length. The test split has no part in it. The result goes to `out`, or to
    `.maskwright/decision-001` of the dataset; the same call resumes what was stopped or killed.
    `device` is where the models compute, as for `train`.

    Raises DataError when there are no suspects of this version of the dataset, and for fewer than 12 other samples;
    ConfigError for arguments out of range and a budget that is too short; Interrupted when it is stopped.
    """
    require_train("decide")
    require_posix("decide")
    from maskwright.modeling.models.devices import preferring

    asked = DecideSettings(
        folder_of(data, "decide"), repeats, seconds_argument("budget", budget), weights, overrides, seed
    )
    for name, value, right in (
        (argument("min_score"), min_score, 0 <= min_score <= 1),
        (argument("repeats"), repeats, repeats >= 1),
        (argument("minutes_per_mask"), minutes_per_mask, minutes_per_mask >= 0),
    ):
        if not right:
            raise ConfigError(f"{name} {value:g}: out of range; give 0 to 1 for a score, else a positive number")
    home = home_of(asked.source)
    dataset = load_dataset(asked.source)
    stored = read_stored(Path(suspects) if suspects is not None else newest_suspects(home))
    stored.require_version(dataset)
    usable = {
        sample.name: sample
        for sample in dataset.samples
        if sample.labelled and sample.status != "exclude" and sample.split != "test"
    }
    everywhere = stored.by_sample(min_score)
    doubted = {name: found for name, found in everywhere.items() if name in usable}
    question = Question(
        dataset.name, dataset.root, stored.version, stored.folder, min_score, sorted(doubted), minutes_per_mask
    )
    if not doubted:
        return Decision(
            question,
            "nothing",
            f"nothing to decide: no sample of {dataset.root} to train on is suspect "
            f"with a score of {min_score:g} or more",
        )
    trusted = [sample for name, sample in usable.items() if name not in doubted]
    if len(trusted) < max(LEAST_TRUSTED, _EACH * asked.parts):
        raise DataError(
            f"{dataset.root}: {len(trusted)} labelled samples are not suspect, and {asked.parts} parts of "
            f"them are needed with {_EACH} each; raise {argument('min_score')}, label more, or ask for "
            f"fewer {argument('repeats')}"
        )
    target = require_absent(Path(out) if out is not None else next_free(home / FOLDER, "decision"))
    facts = {
        "maskwright": __version__,
        "version": stored.version,
        "suspects": file_hash(stored.folder / FILE),
        "min_score": min_score,
        "budget": budget,
        "repeats": repeats,
        "weights": weights,
        "set": list(overrides),
        "seed": seed,
    }
    say(f"decision: {target}")
    with preferring(device), WorkFolder(work_folder_of(target), facts).held() as held:
        work = held.path
        models = [_wrongs(dataset, usable[name], found) for name, found in doubted.items()]
        trained = train_ways(asked, dataset, trusted, models, len(doubted) / len(usable), work)
        apart = way_differences(trained.counts, seed=seed)
        verdict = choose_way(apart)
        height, width = trained.config.data.image_size
        result = Decision(
            question,
            verdict,
            reason_for(verdict, apart, question),
            target,
            len(trusted),
            [len(repeat.train) for repeat in trained.repeats],
            [len(repeat.held_out) for repeat in trained.repeats],
            kinds_of(trained.repeats),
            way_scores(trained.counts),
            apart,
            trained.iterations,
            (height, width),
            trained.seconds,
            _notes(dataset, everywhere, asked, trained),
        )
        atomic_write_json(work / DECISION, result.to_dict())
        draw_decision(work)
        held.publish(target, {DECISION, PAGE})
    say(f"decision: {target}")
    return result


def _wrongs(dataset: Dataset, sample: Sample, found: Sequence[StoredSuspect]) -> list[SuspectedError]:
    height, width = dataset.image_size(sample)
    return [SuspectedError(one.kind, one.score, one.error_pixels / (height * width)) for one in found]


def _notes(dataset: Dataset, doubted: Collection[str], asked: DecideSettings, trained: TrainedWays) -> list[str]:
    """What the numbers do not say."""
    height, width = trained.config.data.image_size
    notes = [
        "an estimate: errors were planted in samples that are not suspect, whose labels are assumed to be right, "
        f"and a suspect is assumed to be wrong as often as its score says; by {trained.config.model.name} at "
        f"{width}x{height} in {trained.iterations} iterations; a larger model or a longer training may differ",
        *trained.left_out,
    ]
    if asked.repeats == 1:
        notes.append(
            "with one repeat the intervals include the choice of images, but not the random variation of training "
            f"and planting; ask for more {argument('repeats')}"
        )
    planted, wanted = (
        sum(counts)
        for counts in zip(*((len(repeat.planted), repeat.wanted) for repeat in trained.repeats), strict=True)
    )
    if planted < wanted:
        notes.append(
            f"only {planted} of {plural(wanted, 'error')} could be planted; other samples have no object for them"
        )
    truth = np.concatenate([counts["repair"] for counts in trained.counts]).sum(0)
    trivial = most_frequent_baseline(truth, dataset.classes.names).mIoU
    if np.mean(way_scores(trained.counts)["repair"]) < trivial + _LEARNT:
        notes.append(
            f"the models have learnt hardly anything: predicting the most frequent class everywhere has mIoU "
            f"{trivial:.4f}; give more {argument('budget')} before you rely on the verdict"
        )
    if trained.by_budget and trained.seconds > _LATE * asked.seconds:
        notes.append(
            f"took {trained.seconds:.0f} s instead of {asked.seconds:.0f} s, as the machine got slower after "
            "the first training; the others were not shortened, so that all are equally long"
        )
    if tested := sum(sample.name in doubted and sample.split == "test" for sample in dataset.samples):
        notes.append(
            f"{plural(tested, 'more suspect sample')} in the test split, which is not trained on and was left out; "
            "correct them in any case, since all scores depend on them"
        )
    return notes
