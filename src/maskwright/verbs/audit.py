"""The verb `audit`, with a folder and a page where one is asked for. `data.auditing` finds out what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maskwright.base.progress import say
from maskwright.base.storage import require_absent
from maskwright.base.work_folder import work_folder_of
from maskwright.core.dataset import Dataset
from maskwright.core.edits import home_of, with_edits
from maskwright.data.auditing import AuditResult
from maskwright.data.auditing import audit as audited
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, argument
from maskwright.reporting.audit_report import write_audit


def audit(
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    overlays: int | None = None,
    fix: bool = False,
    progress: bool = True,
    workers: int | None = None,
) -> AuditResult:
    """Checks a dataset (or the folder of one) and counts what it consists of; see `maskwright.data.auditing.audit`.

    With `out`, that new folder gets the page `index.html` (`page` of the result) and `audit.json`, and the same call
    resumes an audit that was stopped. With `overlays` too, `out/overlays/` gets so many images with their masks, 0 for
    all. Raises ConfigError when `out` exists and for `overlays` without it, DataError when none of them can be drawn
    (the page is written all the same). For an opened Dataset see there too.
    """
    if out is None:
        if overlays is not None:
            raise ConfigError(f"{argument('overlays')} needs {argument('out')}, the folder they go into")
        return audited(data, fix=fix, progress=progress, workers=workers)
    folder = require_absent(Path(out))
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    # Beside the output, for the data may be read-only; outputs appear only when they are whole.
    result = audited(data, fix=fix, progress=progress, workers=workers, unfinished=work_folder_of(folder))
    if result.fixed:
        dataset = with_edits(dataset, home_of(data))
    source = dataset.root if isinstance(data, Dataset) else Path(data)
    page = write_audit(result, folder, dataset=dataset, source=source, overlays=overlays, progress=progress)
    say(f"report: {page}")
    return replace(result, folder=folder)
