"""The verb `report`: the page of a run, of several, or of the folder of another verb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from maskwright.base.progress import say
from maskwright.base.storage import read_json
from maskwright.core.edits import FOLDER
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument
from maskwright.evaluation.curves.finding import read_curves
from maskwright.evaluation.explaining.stored import FILE as EXPLANATION
from maskwright.evaluation.explaining.stored import read_explanation
from maskwright.evaluation.run_folders import find_runs
from maskwright.labels.suspecting.results import SuspectsResult
from maskwright.labels.suspecting.stored import FILE as SUSPECTS
from maskwright.reporting.audit_report import FILE as AUDIT
from maskwright.reporting.audit_report import redraw_audit
from maskwright.reporting.decision_report import FILE as DECISION
from maskwright.reporting.decision_report import draw_decision
from maskwright.reporting.explain_report import draw_explanation
from maskwright.reporting.page import PAGE
from maskwright.reporting.run_report import run_report
from maskwright.reporting.study_report import study_report
from maskwright.reporting.suspects_report import write_sheet
from maskwright.run import Run


def report(
    runs: str | Path | Run | Sequence[str | Path | Run], *, out: str | Path | None = None, score: str | None = None
) -> Path:
    """Writes one self-contained HTML page and returns its path.

    A single run gets a page about itself (`run_report`); several, or a folder that holds runs such as a study, one that
    compares them (`study_report`) by `score` (mIoU, mDice, mAcc or aAcc; mIoU when left out): `report-001.html` in the
    folder or the next number, or `out`. The folder of an audit, of suspects, of an explanation or of a decision gets
    its page `index.html` drawn again from what is stored, in place of the one that is there; `out` has no meaning for
    it. Needs no torch. Raises DataError where there is nothing to report on, ConfigError when `out` exists and for a
    `score` where nothing is compared.
    """
    given = [runs] if isinstance(runs, (str, Path, Run)) else list(runs)
    paths = [run.path if isinstance(run, Run) else Path(run) for run in given]
    draw = _drawer(paths[0]) if len(paths) == 1 else None
    one = len(paths) == 1 and Run(paths[0]).info_file.is_file()
    if score is not None and (draw or one):
        raise ConfigError(
            f"{argument('score')} {score}: is what several runs are compared by; leave it out for {paths[0]}"
        )
    if draw is not None:
        if out is not None:
            raise ConfigError(
                f"{argument('out')} {out}: the page of {paths[0]} is drawn in it, as {PAGE}; leave "
                f"{argument('out')} out"
            )
        page = draw(paths[0])
        say(f"report: {page} (drawn again from what is stored)")
        return page
    if len(paths) == 1 and not one:
        _require_known(paths[0])
    return run_report(paths[0], out=out) if one else study_report(paths, out=out, score=score or "mIoU")


def _drawer(folder: Path) -> Callable[[Path], Path] | None:
    """What draws the page of a folder of one of the verbs, by the JSON that lies in it."""
    drawers = {
        AUDIT: redraw_audit,
        SUSPECTS: _redraw_suspects,
        DECISION: draw_decision,
        EXPLANATION: lambda place: draw_explanation(read_explanation(place), place),
    }
    return next((draw for file, draw in drawers.items() if (folder / file).is_file()), None)


def _redraw_suspects(folder: Path) -> Path:
    file = folder / SUSPECTS
    try:
        result = SuspectsResult.from_dict(read_json(file), folder)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{file}: is no result of `suspects` ({type(error).__name__}: {error}); run `maskwright suspects` again"
        ) from None
    # The dataset may have moved together with the folder, which lies in it unless --out said otherwise.
    inside = folder.resolve().parent
    places = [result.root, *([inside.parent] if inside.name == FOLDER else [])]
    for place in places:
        try:
            dataset = load_dataset(place)
            break
        except MaskwrightError as error:
            problem = error
    else:
        raise DataError(f"{folder}: its dataset cannot be read, so the page cannot be drawn: {problem}")
    return write_sheet(result, dataset, folder, folder / PAGE, replace=True)


def _require_known(folder: Path) -> None:
    """DataError for a folder that is nothing to report on."""
    runs, logs = find_runs([folder])
    try:
        known = runs or read_curves(logs)
    except MaskwrightError:
        known = []
    if not known:
        raise DataError(
            f"{folder}: nothing to report on; give a run, a study or a folder of runs, or a folder that "
            "`audit --out`, `suspects`, `explain` or `decide` has written"
        )
