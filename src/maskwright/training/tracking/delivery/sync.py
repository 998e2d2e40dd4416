"""The verb `sync`: delivers to the trackers of runs what has not arrived yet."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base.display import Result
from maskwright.base.systems import require_posix
from maskwright.config import seconds_argument
from maskwright.errors import ConfigError, LockedError
from maskwright.run import Run
from maskwright.training.tracking.delivery.cursor import Status, statuses
from maskwright.training.tracking.delivery.spool import start
from maskwright.training.tracking.trackers import require

# What a process is given on top, to note by itself that its tool does not answer.
GRACE = 4.0


@dataclass(frozen=True, repr=False)
class SyncResult(Result):
    """The trackers of each run, by its folder."""

    runs: dict[str, list[Status]]

    @property
    def complete(self) -> bool:
        """Whether everything has arrived."""
        return all(status.complete for found in self.runs.values() for status in found)

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        found = [status for run in self.runs.values() for status in run]
        return {"runs": len(self.runs), "trackers": len(found), "complete": sum(status.complete for status in found)}

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `sync`."""
        return {
            "complete": self.complete,
            "runs": [
                {"run": run, "trackers": [asdict(status) for status in found]} for run, found in self.runs.items()
            ],
        }

    def human(self) -> str:
        """A line for each run and tracker."""
        return "\n".join(f"{run}: {status.human()}" for run, found in self.runs.items() for status in found)


def sync(runs: str | Path | Run | Iterable[str | Path | Run], *, timeout: str = "30s") -> SyncResult:
    """Sends to the trackers of each run what has not arrived: log, evaluations, how training ended.

    `timeout` bounds the work on one run, all its trackers at once. May be repeated: what has arrived is not sent
    again. Raises ConfigError for a run whose config names no tracker, SetupError where a tool is not installed.
    """
    require_posix("sync")
    seconds = seconds_argument("timeout", timeout)
    opened = [
        run if isinstance(run, Run) else Run.open(run)
        for run in ([runs] if isinstance(runs, (str, Path, Run)) else runs)
    ]
    entries = [run.config().trackers for run in opened]
    if without := [
        f"{run.path}: its config names no trackers; nothing to deliver"
        for run, found in zip(opened, entries, strict=True)
        if not found
    ]:
        raise ConfigError(without)
    for found in entries:
        require({entry.name: entry.arguments for entry in found})
    return SyncResult({str(run.path): _deliver(run, seconds) for run in opened})


def _deliver(run: Run, seconds: float) -> list[Status]:
    before = statuses(run)
    children = {
        status.tracker: start(run, status.tracker, seconds, follow=False) for status in before if not status.complete
    }
    deadline = time.monotonic() + seconds + GRACE
    problems = {}
    for name, child in children.items():
        with child:
            try:
                said, _ = child.communicate(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                said = f"no answer in {seconds:g} s"
            if child.returncode == LockedError.exit_code:
                said = "another process is delivering"
            problems[name] = said.strip() or f"its process ended with code {child.returncode}"
    return [
        status if status.complete or status.problem else replace(status, problem=problems.get(status.tracker, ""))
        for status in statuses(run)
    ]
