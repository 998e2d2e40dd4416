"""How far a run has come on its way to a tracker: RUN/trackers/NAME.json."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskwright.base.storage import atomic_write_json, read_json
from maskwright.errors import DataError
from maskwright.run import Run


@dataclass(frozen=True)
class Sending:
    """Records under way: when they are sent again, it is with the same time."""

    records: int
    time: float


@dataclass
class Cursor:
    """What has arrived.

    `records` counts lines of `metrics.jsonl`, which stay the same when a resumed training writes them again, and so
    may be ahead of a log that was cut back. `state` is the tracker's, `problem` why the last attempt failed.
    """

    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    records: int = 0
    sending: Sending | None = None
    evaluations: list[str] = field(default_factory=list)
    finished: bool = False
    where: str = ""
    problem: str = ""
    state: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Run, name: str) -> Cursor:
        """The cursor on disk, or a new one. DataError when the file is damaged."""
        file = _file(run, name)
        if not file.exists():
            return cls()
        data = read_json(file)
        try:
            return cls(**data | {"sending": Sending(**data["sending"]) if data["sending"] else None})
        except (KeyError, TypeError):
            raise DataError(f"{file}: is no cursor of a delivery; delete it, and all is sent again") from None

    def write(self, run: Run, name: str) -> None:
        """Replaces the cursor on disk."""
        atomic_write_json(_file(run, name), asdict(self))


def _file(run: Run, name: str) -> Path:
    return run.trackers / f"{name}.json"


@dataclass(frozen=True)
class Status:
    """A run and one of its trackers: so many of the `records` in its log have been `delivered`."""

    tracker: str
    delivered: int
    records: int
    evaluations: int
    complete: bool
    where: str
    problem: str

    def human(self) -> str:
        """One line."""
        line = f"{self.tracker}: {self.delivered} of {self.records} records delivered"
        if self.where:
            line += f" to {self.where}"
        return f"{line} ({self.problem})" if self.problem else line


def statuses(run: Run) -> list[Status]:
    """How far the run has come on its way to each tracker of its config."""
    records = run.metrics.path.read_bytes().count(b"\n") if run.metrics.path.exists() else 0
    found = []
    for entry in run.config().trackers:
        cursor = Cursor.read(run, entry.name)
        complete = (
            not cursor.problem
            and not cursor.sending
            and cursor.records >= records
            and (cursor.finished or run.finished is None)
            and {f.name for f in run.evaluation_folders()} <= set(cursor.evaluations)
        )
        found.append(
            Status(
                entry.name,
                min(cursor.records, records),
                records,
                len(cursor.evaluations),
                complete,
                cursor.where,
                cursor.problem,
            )
        )
    return found
