"""The verb `explain`: what is wrong in an evaluation, as a folder with a page. `evaluation.explaining` finds it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maskwright.base.progress import say
from maskwright.base.storage import next_free, require_absent
from maskwright.core.dataset import Dataset
from maskwright.evaluation.explaining import Explanation
from maskwright.evaluation.explaining import explain as explained
from maskwright.reporting.explain_report import write_explanation
from maskwright.run import Run


def explain(
    run: str | Path | Run,
    *,
    split: str = "test",
    out: str | Path | None = None,
    data: str | Path | Dataset | None = None,
    top: int = 6,
    by: str | None = None,
    background: str | None = None,
    tolerance: float | None = None,
    workers: int | None = None,
) -> Explanation:
    """Explains the newest evaluation of a split, and writes the new folder `out`, by default
    `RUN/explanations/SPLIT-001`: the page `index.html` (`page` of the result), `explain.json` and overlays.

    For all else see `evaluation.explaining.explain`, which writes nothing. Raises ConfigError when `out` exists.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    folder = require_absent(Path(out)) if out is not None else next_free(run.explanations, split)
    say(f"explanation: {folder}")
    result = explained(
        run, split=split, data=data, top=top, by=by, background=background, tolerance=tolerance, workers=workers
    )
    page = write_explanation(result, folder)
    say(f"explanation: {page}")
    return replace(result, page=page)
