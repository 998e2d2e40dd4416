"""Reports: what a run, a study or an audit found, as one HTML file that needs nothing else to be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskwright.reporting.audit_report import audit_report, write_audit
from maskwright.reporting.explain_report import write_explanation
from maskwright.reporting.run_report import run_report
from maskwright.reporting.study_report import study_report
from maskwright.reporting.suspects_report import write_sheet
from maskwright.run import Run

__all__ = ["audit_report", "report", "run_report", "study_report", "write_audit", "write_explanation", "write_sheet"]


def report(runs: str | Path | Run | Sequence[str | Path | Run], *, out: str | Path | None = None) -> Path:
    """Writes one self-contained HTML page, `report-001.html` in the folder or `out`, and returns its path.

    A single run gets a page about itself (`run_report`); several, or a folder that holds runs such as a study, one that
    compares them (`study_report`). Needs no torch. Raises DataError where there is nothing to report on, ConfigError
    when `out` exists.
    """
    given = [runs] if isinstance(runs, (str, Path, Run)) else list(runs)
    paths = [run.path if isinstance(run, Run) else Path(run) for run in given]
    one = len(paths) == 1 and Run(paths[0]).info_file.is_file()
    return run_report(paths[0], out=out) if one else study_report(paths, out=out)
