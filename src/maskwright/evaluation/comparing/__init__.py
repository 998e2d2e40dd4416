"""The verb `compare`: runs side by side on the same images, and which of their differences are significant.

Everything is read from run folders and their evaluations; nothing is predicted or trained, and no torch is needed.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from maskwright.base.strictyaml import did_you_mean
from maskwright.base.texts import plural
from maskwright.errors import ConfigError, DataError, argument
from maskwright.evaluation.comparing.choosing import by_logs, by_scores
from maskwright.evaluation.comparing.grid import network_loss_grid
from maskwright.evaluation.comparing.inference import LEVEL, RESAMPLES, Inference, Verdict, infer
from maskwright.evaluation.comparing.members import Member, differing, members_of, recipe_name, recipes
from maskwright.evaluation.comparing.results import Comparison, Costs, LeaderboardEntry, ModelChoice, Pair
from maskwright.evaluation.curves.finding import read_curves
from maskwright.evaluation.guarding import guard
from maskwright.evaluation.metrics.marginals import SCORES, Floats
from maskwright.evaluation.naming import loss_name, network_names
from maskwright.evaluation.run_folders import find_runs
from maskwright.run import Run


def compare(
    runs: str | Path | Run | Sequence[str | Path | Run],
    *,
    split: str = "test",
    score: str = "mIoU",
    select: str | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Ranks runs by a score on a split, and says which differences are more than chance.

    `runs` are run folders, or folders that hold runs up to three levels deep, such as a study, or logs of other tools:
    these stand beside the others by what they say of themselves, untested. Of each run, the newest evaluation of
    `split` counts; those without one are listed as missing. Runs whose configs differ only in the seed are one entry.
    `select` is the split that the choice is made on: its evaluations, or for `val` without them the best validation
    mIoU of the logs; left out, it is `split` itself, which the guard remarks. The method is described in `inference`.

    Raises ConfigError for an unknown score, DataError where nothing can be read and where no run is evaluated.
    """
    if score not in SCORES:
        raise ConfigError(
            f"{argument('score')} {score}: is not a score{did_you_mean(score, SCORES)}; known: {', '.join(SCORES)}"
        )
    given = [runs] if isinstance(runs, (str, Path, Run)) else runs
    own, logs = find_runs([run.path if isinstance(run, Run) else run for run in given])
    others = [curves.summary() for curves in read_curves(logs)] if logs else []
    if not own:
        raise DataError(
            f"{', '.join(map(str, logs))}: no run of maskwright to compare with; `maskwright plot` shows "
            "logs of other tools alone"
        )
    found, unscored = members_of(own, split)
    missing = {
        str(run.path): f"maskwright evaluate {shlex.quote(str(run.path))} --split {shlex.quote(split)}"
        for run in unscored
        if not run.pruned
    }
    if not found:
        first = f"; first `{next(iter(missing.values()))}`" if missing else ", and all were ended early by a search"
        raise DataError(f"{', '.join(str(run.path) for run in unscored)}: not evaluated on {split!r}{first}")
    # Only scores on the same images, by the same truth, can be compared: those of most.
    common = Counter(member.scored_on for member in found).most_common(1)[0][0]
    members = [member for member in found if member.scored_on == common]
    groups = sorted(recipes(members), key=lambda group: -np.mean(_scores(group, score)))
    inference = infer([[member.counts for member in group] for group in groups], SCORES[score], resamples=resamples)
    entries = _entries(groups, inference, score)
    choice = _choice(groups, entries, inference, score, split, select, resamples)
    samples, seeds, config = members[0].scored.names, inference.seeds, differing(groups)
    findings = guard(
        [member.number for member in found],
        chosen_on=choice.on if choice else None,
        optimism=inference.optimism if choice and choice.on == split and len(samples) > 1 else None,
    )
    return Comparison(
        split,
        score,
        samples,
        members[0].scored.classes,
        entries,
        _pairs(entries, inference),
        seeds.pooled**0.5 if seeds.freedom else None,
        seeds.freedom,
        resamples,
        config,
        network_loss_grid(
            [entry.name for entry in entries],
            [entry.model for entry in entries],
            [entry.loss for entry in entries],
            list(config),
        ),
        choice,
        _notes(groups, inference, len(samples), len(unscored) - len(missing)),
        findings,
        [member.name for member in found if member.scored_on != common],
        missing,
        others,
    )


def _scores(group: Sequence[Member], score: str) -> list[float]:
    return [float(SCORES[score](member.counts.total())) for member in group]


def _entry_names(groups: Sequence[Sequence[Member]]) -> list[str]:
    names = [recipe_name(group) for group in groups]
    return [name if names.count(name) == 1 else group[0].name for name, group in zip(names, groups, strict=True)]


def _entries(groups: Sequence[Sequence[Member]], inference: Inference, score: str) -> list[LeaderboardEntry]:
    """Those of groups that are in the order of their scores."""
    configs = [group[0].config for group in groups]
    verdicts: dict[int, Verdict] = {
        d.second: "worse" if d.verdict == "better" else d.verdict for d in inference.differences if d.first == 0
    }
    models = [
        {key.removeprefix("model."): value for key, value in config.items() if key.startswith("model.")}
        for config in configs
    ]
    losses = [loss_name(config["loss"]) if config.get("loss") else "" for config in configs]
    rows = zip(groups, _entry_names(groups), inference.scores, network_names(models), losses, strict=True)
    return [
        LeaderboardEntry(
            name,
            [member.run.path for member in group],
            [member.scored.folder for member in group],
            [member.config.get("seed") for member in group],
            value,
            _scores(group, score),
            {key: float(np.mean(_scores(group, key))) for key in SCORES} | _more_scores(group),
            _means([member.counts.total().iou() for member in group]),
            _means([SCORES[score](member.counts) for member in group]),
            Costs.of(group),
            _mean(member.best_on_val for member in group),
            list(differing([[member] for member in group])),
            model,
            loss,
            verdicts.get(e),
        )
        for e, (group, name, value, model, loss) in enumerate(rows)
    ]


def _more_scores(group: Sequence[Member]) -> dict[str, float]:
    """Means over the seeds: of the mIoU at each level of a class tree above its leaves, and of the measures that are
    means over images."""
    scored = [member.scored for member in group]
    above = min(len(one.levels) for one in scored) - 1
    levels = {f"mIoU_level_{i + 1}": [one.levels[i].scores.mIoU for one in scored] for i in range(above)}
    images = {
        name: [one.measures[name].interval.value for one in scored]
        for name in ("mean_image_iou", "mean_image_thresholded_iou")
    }
    return {name: float(np.mean(values)) for name, values in (levels | images).items()}


def _means(rows: Sequence[Floats]) -> list[float]:
    """Of each column the mean over the seeds that have it defined."""
    values = np.stack(rows)
    defined = ~np.isnan(values)
    counts = defined.sum(0)
    sums = np.where(defined, values, 0).sum(0)
    return [float(total / count) if count else math.nan for total, count in zip(sums, counts, strict=True)]


def _pairs(entries: Sequence[LeaderboardEntry], inference: Inference) -> list[Pair]:
    pairs = []
    for one in inference.differences:
        first, second = entries[one.first], entries[one.second]
        apart = np.array(first.image_scores) - np.array(second.image_scores)
        pairs.append(
            Pair(
                first.name,
                second.name,
                one.value,
                one.p,
                one.p_corrected,
                one.verdict,
                int((apart > 0).sum()),
                int((apart < 0).sum()),
            )
        )
    return pairs


def _choice(
    groups: Sequence[Sequence[Member]],
    entries: Sequence[LeaderboardEntry],
    inference: Inference,
    score: str,
    split: str,
    select: str | None,
    resamples: int,
) -> ModelChoice | None:
    if len(groups) < 2:
        return None
    names, costs = [entry.name for entry in entries], [entry.costs for entry in entries]
    if select is None or select == split:
        return by_scores(names, costs, inference, score, split)
    found, missing = members_of([member.run for group in groups for member in group], select)
    if missing or len({member.scored_on for member in found}) > 1:
        if select == "val":
            return by_logs(names, [entry.val_mIoU for entry in entries])
        raise DataError(
            f"{argument('select')} {select}: not all runs are evaluated on the same images of it; first `maskwright "
            f"evaluate {shlex.quote(str((missing or [found[0].run])[0].path))} --split {select}`"
        )
    counts = {member.run.path: member.counts for member in found}
    return by_scores(
        names,
        costs,
        infer([[counts[member.run.path] for member in group] for group in groups], SCORES[score], resamples=resamples),
        score,
        select,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, if all are known."""
    given = list(values)
    known = [value for value in given if value is not None]
    return sum(known) / len(known) if len(known) == len(given) else None


def _notes(groups: Sequence[Sequence[Member]], inference: Inference, images: int, pruned: int) -> list[str]:
    """What limits the conclusions."""
    notes = []
    if pruned:
        notes.append(
            f"{plural(pruned, 'run')} {'was' if pruned == 1 else 'were'} ended early by a search: not compared"
        )
    once = sum(len(group) == 1 for group in groups)
    if not inference.seeds.freedom:
        notes.append(
            "each was trained once, so the random seed variation is unknown: intervals and verdicts are about "
            "these trained models, not about their settings; train with more seeds to learn more"
        )
    elif once:
        notes.append(f"{once} of {len(groups)} trained once only: assumed to vary with the seed as the others do")
    pairs = len(inference.differences)
    if pairs and pairs * 2.0 ** (1 - images) > LEVEL:
        notes.append(
            f"{images} images are too few to show any difference in {pairs} "
            f"{'comparison' if pairs == 1 else 'comparisons'}: even one that is better on each image "
            "could be so by chance"
        )
    return notes
