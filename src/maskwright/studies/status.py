"""The verb `study status`: how far a study has come, read from its runs."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskwright.base import strictyaml
from maskwright.base.display import Result, data_frame
from maskwright.base.storage import Journal, lock_owner
from maskwright.base.texts import clock, plural
from maskwright.errors import LostError
from maskwright.run import Run
from maskwright.studies.folder import Study
from maskwright.studies.matrix import name_of

if TYPE_CHECKING:
    import pandas

State = Literal["waiting", "training", "evaluating", "stopped", "failed", "finished"]


@dataclass(frozen=True)
class RunStatus:
    """One run of a study.

    `values` are the names of its values for the keys of the matrix. `iterations` is its length, None where that is not
    known before it begins; `seconds` were spent on it so far, repeated steps included. `pid` is the process that works
    on it, `reason` why it has failed and `code` the exit code of that.
    """

    name: str
    run: Path
    values: dict[str, str]
    state: State
    iteration: int = 0
    iterations: int | None = None
    best_val_mIoU: float | None = None
    evaluated: list[str] = field(default_factory=list)
    seconds: float = 0.0
    pid: int | None = None
    reason: str = ""
    code: int = 0

    @property
    def share(self) -> float:
        """How much of it is done, 0..1."""
        if self.state == "finished":
            return 1.0
        return min(1.0, self.iteration / self.iterations) if self.iterations else 0.0

    def human(self, width: int = 0) -> str:
        """One line."""
        best = "" if self.best_val_mIoU is None else f"  best val mIoU {self.best_val_mIoU:.4f}"
        scored = f"  scored on {', '.join(self.evaluated)}" if self.evaluated else ""
        reason = f"  {self.reason}" if self.reason else ""
        done = f"{self.iteration}/{self.iterations or '?'}"
        return f"{self.name:<{width}}  {self.state:<10}  {done}{best}{scored}{reason}"


@dataclass(frozen=True, repr=False)
class StudyStatus(Result):
    """A study's runs in the order of its matrix."""

    path: Path
    runs: list[RunStatus]

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state that some are in."""
        return dict(Counter(run.state for run in self.runs))

    @property
    def seconds_left(self) -> float | None:
        """A guess from the time that the runs have taken so far, the others being like them; None where none has
        begun. Failed runs are left out."""
        whole = {run.name: run.seconds / run.share for run in self.runs if run.share > 0 and run.seconds > 0}
        if not whole:
            return None
        mean = sum(whole.values()) / len(whole)
        left = sum((1 - run.share) * whole.get(run.name, mean) for run in self.runs if run.state != "failed")
        return left / max(1, sum(run.pid is not None for run in self.runs))

    @property
    def exit_code(self) -> int:
        """0 when all have finished, else that of the first failure, or of a process that was lost."""
        codes = [run.code for run in self.runs if run.state == "failed"]
        return (codes or [0 if self.states.keys() == {"finished"} else LostError.exit_code])[0]

    @property
    def next_command(self) -> str:
        """What to do with the runs that have finished; empty where none has."""
        finished = [run for run in self.runs if run.state == "finished"]
        if not finished:
            return ""
        splits = finished[0].evaluated
        path = shlex.quote(str(self.path))
        return f"maskwright compare {path}" if "test" in splits else f"maskwright compare {path} --split {splits[0]}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `study` and `study status`."""
        return {
            "study": str(self.path),
            "states": self.states,
            "seconds_left": self.seconds_left,
            "runs": [asdict(run) | {"run": str(run.run)} for run in self.runs],
        }

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        return {"study": self.path, "runs": len(self.runs), **self.states}

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each run, with a column for each key of the matrix. SetupError without pandas."""
        return data_frame(
            {
                "run": run.name,
                **run.values,
                "state": run.state,
                "iteration": run.iteration,
                "iterations": run.iterations,
                "best_val_mIoU": run.best_val_mIoU,
            }
            for run in self.runs
        )

    def human(self) -> str:
        """A line for each run, and one for all."""
        width = max(len(run.name) for run in self.runs)
        return "\n".join([*(run.human(width) for run in self.runs), self.summary()])

    def summary(self) -> str:
        """One line for all runs."""
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items())
        left = self.seconds_left
        return f"{plural(len(self.runs), 'run')}: {counts}" + (f"; about {clock(left)} left" if left else "")


def study_status(study: str | Path) -> StudyStatus:
    """How far the study in the folder `study` has come. Raises DataError when it is none."""
    found = Study.open(study)
    splits = found.config.evaluate or []
    return StudyStatus(found.path, [_status(found, values, splits) for values in found.runs()])


def scored(run: Run, split: str) -> bool:
    """Whether the run has an evaluation on `split`."""
    return bool(run.evaluation_folders(split))


def _status(study: Study, values: dict[str, str], splits: Sequence[str]) -> RunStatus:
    name = name_of(values)
    run, pid, failure = study.run(name), lock_owner(study.job(name)), study.failure(name)
    finished, begun = run.finished, run.info_file.is_file()
    evaluated = [split for split in splits if scored(run, split)]
    state: State
    if finished and evaluated == splits:
        state = "finished"
    elif pid is not None:
        state = "evaluating" if finished else "training"
    elif failure:
        state = "failed"
    else:
        state = "stopped" if begun else "waiting"
    known = progress_of(run) if begun else {"iterations": _length(study.config_file(name))}
    if state == "failed" and failure:
        known |= {"reason": failure["message"], "code": failure["code"]}
    return RunStatus(name, run.path, values, state, evaluated=evaluated, pid=pid, **known)


def progress_of(run: Run) -> dict[str, Any]:
    """What the logs of a run that has begun tell: `iteration`, `iterations`, `seconds` and `best_val_mIoU`."""
    seconds = _seconds(run.timing.path, run.timing.size)
    if finished := run.finished:
        return {
            "iteration": finished["iterations"],
            "iterations": finished["iterations"],
            "seconds": seconds,
            "best_val_mIoU": finished["best_val_mIoU"],
        }
    records = run.metrics.read()
    refits = [record["iterations"] for record in records if "iterations" in record]  # by a budget
    return {
        "iteration": max((record["iteration"] for record in records), default=0),
        "seconds": seconds,
        "iterations": refits[-1] if refits else _length(run.config_file),
        "best_val_mIoU": next((row["val_mIoU"] for row in reversed(records) if row.get("best")), None),
    }


def _values(records: Sequence[dict[str, Any]], key: str) -> Iterator[float]:
    for record in records:
        if record.get(key) is not None:
            yield record[key]


@lru_cache(1024)
def _length(config: Path) -> int | None:
    """The iterations in a config, which do not change before a run has finished; reading YAML takes a while."""
    train = strictyaml.read(config).data.get("train")
    return train.get("iterations") if isinstance(train, dict) else None


@lru_cache(1024)
def _seconds(timing: Path, size: int) -> float:
    """The time of all steps and evaluations in a log of `size` bytes."""
    records = Journal(timing).read()
    return math.fsum(value for key in ("seconds_since", "evaluation_seconds") for value in _values(records, key))
