"""The verb `refine`: rounds that make many poor masks better, judged by a few good ones.

OUT/refine.json     the result, when all rounds are made
OUT/index.html      its page
OUT/facts.json      what all of it depends on
OUT/…               datasets and runs of the rounds (see `labels.refining.running`), which stay
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright import __version__
from maskwright.base.extras import require_train
from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_json, jsonable, read_json
from maskwright.base.systems import require_posix
from maskwright.base.texts import plural
from maskwright.base.work_folder import WorkFolder
from maskwright.errors import ConfigError, argument
from maskwright.evaluation.metrics import excess_recall
from maskwright.labels.refining.config import Refinement, load_refinement
from maskwright.labels.refining.guarding import RoundDifference, chosen
from maskwright.labels.refining.results import FILE, RefineResult, enough_masks
from maskwright.labels.refining.running import Round, Rounds, spread_of_images
from maskwright.reporting.page import PAGE
from maskwright.reporting.refine_report import write_refinement

_FEW = 10  # trusted images to judge by, below which it is said that they tell little


def refine(config: str | Path, *, out: str | Path | None = None, overrides: Sequence[str] = ()) -> RefineResult:
    """Makes the poor masks of a dataset better in rounds, as the file `config` (a refine.yaml) says.

    Models are trained on the trusted masks and on the poor ones; what they see in the images of the poor masks makes
    these better, by a rule that knows what kind of masks they are; a new model is trained on the better masks, and so
    on. Each round is a dataset of its own, with what became of each pixel. The trusted masks that no model has learnt
    from judge each round; a round that does not help is the last one, and the result is the best round that is better
    than round 0 beyond chance, else round 0. Without trusted masks nothing is judged, and the result says so.

    `overrides` are settings such as `rounds=1` or `run.train.iterations=300`. Everything goes to `out`, by default
    `rounds/NAME` beside the file, and stays there; the same call resumes what was stopped or killed, and returns what
    is finished. Raises ConfigError with every problem of the file at once, DataError for samples that cannot be used,
    LockedError while another process works in the folder, Interrupted when it is stopped.
    """
    require_train("refine")
    require_posix("refine")
    path = Path(config)
    refinement = load_refinement(path, tuple(overrides))
    folder = Path(out) if out is not None else path.parent / "rounds" / path.stem
    say(f"rounds: {folder}")
    rounds = Rounds(refinement, folder)
    facts = {
        "maskwright": __version__,
        "version": rounds.dataset.version(),
        "trusted": rounds.trusted.version() if rounds.trusted else None,
        "config": refinement.config.model_dump() | {"run": refinement.run.to_dict(), "trusted": None},
        "baseline": refinement.baseline,
        "eval": refinement.held,
    }
    if (folder / FILE).exists():
        if read_json(folder / "facts.json") != jsonable(facts):
            raise ConfigError(
                f"{folder}: holds finished rounds with other settings or data; give another {argument('out')}"
            )
        return RefineResult.from_dict(read_json(folder / FILE))
    with WorkFolder(folder, facts).held():
        made = rounds.done()
        result = _result(refinement, rounds, made, folder)
        # The page first: what is killed before the result is there resumes by the same call.
        write_refinement(result, rounds.dataset, folder / PAGE)
        atomic_write_json(folder / FILE, result.to_dict())
    say(f"rounds: {folder}")
    return result


def _result(refinement: Refinement, rounds: Rounds, made: Sequence[Round], folder: Path) -> RefineResult:
    parts = rounds.parts
    best, reason, enough, apart = None, "", None, list[RoundDifference]()
    names = [one.name for one in made]
    if rounds.judged:
        place, apart = chosen(names, [one.counts for one in made])
        best, reason = names[place], _reason(names[place], names[0], apart)
    else:
        enough = enough_masks(spread_of_images(made[-1]))
        reason = (
            "no mask is trusted, so nothing tells whether a round helped: look at the masks, and draw some "
            "(`maskwright split DIR --trusted 40` says which)"
        )
    rows = [_row(one, next((each for each in apart if each.first == one.name), None)) for one in made]
    return RefineResult(
        rounds.dataset.name,
        folder,
        len(parts.baseline),
        len(parts.held),
        len(parts.poor),
        rows,
        best,
        reason,
        enough,
        _notes(rounds, made, best, enough),
    )


def _reason(best: str, first: str, apart: Sequence[RoundDifference]) -> str:
    if best != first:
        value = next(one for one in apart if one.first == best).value
        return (
            f"{best} is better than round 0 ({first}) by {value.value:.3f} mIoU, 95 % interval {value.low:.3f} to "
            f"{value.high:.3f}"
        )
    ahead = max(apart, key=lambda one: one.value.value, default=None)
    if ahead is not None and ahead.value.value > 0:
        return (
            f"round 0 ({first}) stays: {ahead.first} is ahead of it by {ahead.value.value:.3f} mIoU, which may be "
            f"chance (95 % interval {ahead.value.low:.3f} to {ahead.value.high:.3f}); more trusted masks would tell"
        )
    return f"round 0 ({first}) stays: no round was better on the trusted images"


def _row(one: Round, apart: RoundDifference | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": one.name, "run": str(one.run.path), "data": str(one.data), "masks": one.masks}
    if one.evaluation is None:
        return row
    excess = excess_recall(one.evaluation.confusions.sum(0)).tolist()
    return row | {
        "mIoU": one.evaluation.intervals["mIoU"].to_dict(),
        "difference": apart.value.to_dict() if apart else None,
        "classes": [
            {
                "name": scored.name,
                "iou": scored.iou,
                "recall": scored.recall,
                "precision": scored.precision,
                "excess_recall": more,
            }
            for scored, more in zip(one.evaluation.scores.classes, excess, strict=True)
        ],
    }


def _notes(rounds: Rounds, made: Sequence[Round], best: str | None, enough: int | None) -> list[str]:
    """What the numbers do not say."""
    notes = []
    held = len(rounds.parts.held)
    if rounds.judged:
        if held < _FEW:
            notes.append(f"only {plural(held, 'trusted image')} to judge by: the intervals are wide, and rough")
        if best != made[0].name:
            notes.append("the best of several rounds was chosen on the images that judge it: its score is optimistic")
        for scored in made[-1].evaluation.scores.classes if made[-1].evaluation else ():
            if scored.recall > 0.9 and scored.predicted_pixels > 2 * max(1, scored.true_pixels):
                notes.append(
                    f"{scored.name}: found nearly everywhere it is ({scored.recall:.2f} recall), but on "
                    f"{scored.predicted_pixels / max(1, scored.true_pixels):.1f} times its pixels; a loss that weighs "
                    "false alarms more (tversky with a larger alpha) predicts less"
                )
    elif enough is not None:
        notes.append(
            f"about {enough} drawn masks would give a score within .05, if the real score varies between images as the "
            "agreement of model and masks does"
        )
    for one in made:
        rows = one.masks["samples"] if one.masks else []
        if rows and sum(row["left_out"] for row in rows) > 0.5 * len(rows):
            notes.append(f"{one.name}: more than half of the pixels were left out as uncertain; lower ignore_below")
    return notes
