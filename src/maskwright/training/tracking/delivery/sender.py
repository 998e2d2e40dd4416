"""One run on its way to one tracker: reads what is new in the log, sends it, and notes what has arrived.

Each record arrives once, whenever this is killed: what is about to be sent is noted first, with the time that it
is sent with; what was noted but not confirmed is sent again as it was, which the tracker does not count twice.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.storage import read_json
from maskwright.core.classes import ClassTree
from maskwright.errors import one_line
from maskwright.run import Run
from maskwright.training.tracking.delivery.cursor import Cursor, Sending, evaluations
from maskwright.training.tracking.trackers import Tracker, build
from maskwright.training.tracking.trackers.base import Scalar, TrackedRecord, TrackedRun, TrackedScores

BATCH = 200


class TooLong(BaseException):
    """A tool has not answered in time. No Exception, which the tools' own loops would catch and try again."""


class Courier:
    """Carries the records of `run` to the tracker `name` of its config."""

    def __init__(self, run: Run, name: str, clock: Callable[[], float] = time.time) -> None:
        self.run, self.name, self.clock = run, name, clock
        self.cursor = Cursor.read(run, name)
        self._arguments = next(entry.arguments for entry in run.config().trackers if entry.name == name)
        info = run.info()
        self._classes = ClassTree.from_dict(info["classes"]).names
        self._tags = {
            "dataset": info["dataset"]["name"],
            "dataset_version": info["dataset"]["version"],
            "maskwright": info["maskwright"],
            "run_folder": str(run.path.resolve()),
        }
        self._tracker: Tracker | None = None
        # What this session has sent; ahead of the cursor where a tracker confirms at its close.
        self._records, self._evaluations = 0, list[str]()

    def deliver(self, last: bool) -> bool:
        """Sends what is new; `last` also ends the session. False when it failed, with the problem in the cursor."""
        try:
            self._deliver(last)
        except (Exception, TooLong) as error:
            self._tracker = None  # its session is not to be trusted any more
            self._note(problem=said(error))
            return False
        if self.cursor.problem:
            self._note(problem="")
        return True

    def _note(self, **changes: Any) -> None:
        """Changes the cursor, on disk too."""
        for name, value in changes.items():
            setattr(self.cursor, name, value)
        self.cursor.write(self.run, self.name)

    def _deliver(self, last: bool) -> None:
        finished = self.run.finished is not None
        if self._tracker is None:
            due = self._lines(self.cursor.records) or self._unsent(self.cursor.evaluations)
            if not (due or not self.cursor.state or (last and finished != self.cursor.finished)):
                return
            self._open()
        tracker = self._tracker
        assert tracker is not None
        records = [self._record(json.loads(line)) for line in self._lines(self._records)]
        while records:
            sending = self.cursor.sending or Sending(min(len(records), BATCH), self.clock())
            part, records = records[: sending.records], records[sending.records :]
            if not tracker.anew:
                self._note(sending=sending)
            tracker.send(part, sending.time)
            self._records += len(part)
            # After a resume the log may not reach yet as far as what was under way: the rest keeps its time.
            left = sending.records - len(part)
            self._confirm(sending=Sending(left, sending.time) if left else None)
        for folder in self._unsent(self._evaluations):
            tracker.score(_scores(folder))
            self._evaluations.append(folder.name)
            self._confirm()
        if last:
            best = self.run.best.resolve()
            tracker.close(finished, best if best.exists() else None)
            self._confirm(closed=True, finished=finished)
            self._tracker = None

    def _open(self) -> None:
        if not self.cursor.state:
            self._note()  # the key, before anything is made under it
        folder = self.run.trackers / self.name
        folder.mkdir(parents=True, exist_ok=True)
        self._tracker = build(self.name, self._arguments)
        self._tracker.state = dict(self.cursor.state)
        self._records, self._evaluations = self.cursor.records, list(self.cursor.evaluations)
        if self._tracker.anew:
            self._records, self._evaluations = 0, []
        self._tracker.open(
            TrackedRun(
                self.run.path.resolve().name,
                self.cursor.key,
                dict(_flat(strictyaml.read(self.run.config_file).data | {"trackers": None})),
                self._tags,
                self.run.info_file.stat().st_mtime,
                folder.resolve(),
            )
        )
        self._confirm()

    def _confirm(self, closed: bool = False, **changes: Any) -> None:
        """Notes what the session has sent, unless that is certain only at its end."""
        assert self._tracker is not None
        if closed or not self._tracker.anew:
            self._note(
                records=self._records,
                evaluations=list(self._evaluations),
                state=dict(self._tracker.state),
                where=self._tracker.where,
                **changes,
            )

    def _lines(self, skip: int) -> list[bytes]:
        """Complete lines of the log behind the first `skip`."""
        file = self.run.metrics.path
        return file.read_bytes().split(b"\n")[skip:-1] if file.exists() else []

    def _unsent(self, sent: list[str]) -> list[Path]:
        return [folder for folder in evaluations(self.run) if folder.name not in sent]

    def _record(self, logged: dict[str, Any]) -> TrackedRecord:
        iteration = int(logged.pop("iteration"))
        picture = self.run.sample_file(iteration)
        return TrackedRecord(
            iteration,
            dict(_values(logged, self._classes)),
            picture if "val_loss" in logged and picture.exists() else None,
        )


def _values(logged: Any, classes: Sequence[str], name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by name; those of a list as `NAME/0`, or for IoUs as `NAME/CLASS`. JSON has no NaN: null is none."""
    if isinstance(logged, dict):
        for key, value in logged.items():
            yield from _values(value, classes, f"{name}/{key}" if name else key)
    elif isinstance(logged, list):
        keys = classes if name.endswith("_iou") and len(classes) == len(logged) else range(len(logged))
        yield from _values(dict(zip(map(str, keys), logged, strict=True)), classes, name)
    elif isinstance(logged, (int, float)) and not isinstance(logged, bool):
        yield name, float(logged)


def _flat(config: Any, name: str = "") -> Iterator[tuple[str, Scalar]]:
    """The values of a config with dotted names; a list of plain values is one value."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(config, list) and any(isinstance(item, (dict, list)) for item in config):
        for index, item in enumerate(config):
            yield from _flat(item, f"{name}.{index}")
    elif config is not None:
        yield name, ", ".join(map(str, config)) if isinstance(config, list) else config


def _scores(folder: Path) -> TrackedScores:
    result = read_json(folder / "scores.json")
    values = {name: score["value"] for name, score in result["scores"].items()}
    values |= {f"iou/{row['name']}": row["iou"] for row in result["classes"]}
    return TrackedScores(
        result["split"],
        int(folder.name.rpartition("-")[2]),
        {name: value for name, value in values.items() if value is not None},
        (folder / "scores.json").stat().st_mtime,
    )


def said(error: BaseException) -> str:
    """The innermost cause that an error tells in one line, without the secrets that an address may hold."""
    text, seen = "", set[int]()
    cause: BaseException | None = TimeoutError("no answer in time") if isinstance(error, TooLong) else error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        text = (getattr(cause, "strerror", None) or str(cause)).strip() or text
        cause = cause.__cause__ or cause.__context__
    return one_line(re.sub(r"://[^/\s@]+@", "://", (text or type(error).__name__).splitlines()[0])[:200])
