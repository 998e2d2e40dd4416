"""How far a search has come, and what it has found."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskwright.base.display import Result, data_frame
from maskwright.base.texts import clock, plural

if TYPE_CHECKING:
    import pandas

State = Literal["finished", "pruned", "failed", "running"]
_SHOWN = 10


@dataclass(frozen=True)
class TrialStatus:
    """One trial: its run, the value or the name of the choice for each key that is there for it, and its best
    validation score (None before the first one); `reason` why it was ended early or has failed."""

    name: str
    run: Path
    values: dict[str, Any]
    state: State
    score: float | None = None
    reason: str = ""

    def human(self, width: int = 0) -> str:
        """One line."""
        score = "      " if self.score is None else f"{self.score:.4f}"
        values = "  ".join(f"{key}={_brief(value)}" for key, value in self.values.items())
        return f"{self.name:<{width}}  {score}  {self.state:<8}  {values}"


@dataclass(frozen=True, repr=False)
class SearchStatus(Result):
    """The trials of a search in the order in which they began.

    `score` is the validation score that is searched for. `importance` says of each key how much of the differences in
    it comes from that key alone (fANOVA, Hutter et al. 2014, ICML; together at most 1); empty for less than 10 finished
    trials and for keys that are not in all of them. `optimism` is how much the best score gains by being the best of
    them, None where that is not known (`compare`). `test` has the scores of the best trial on the test split, if there
    is one. `complete` says that no more trials are to come.
    """

    path: Path
    score: str
    lower_is_better: bool
    trials: list[TrialStatus]
    seconds: float
    complete: bool = False
    importance: dict[str, float] = field(default_factory=dict)
    optimism: float | None = None
    best_config: Path | None = None
    test: dict[str, Any] | None = None

    @property
    def states(self) -> dict[str, int]:
        """How many trials are in each state that some are in."""
        return dict(Counter(trial.state for trial in self.trials))

    @property
    def ranked(self) -> list[TrialStatus]:
        """The trials that have finished, the best first."""
        finished = [trial for trial in self.trials if trial.state == "finished" and trial.score is not None]
        return sorted(finished, key=lambda trial: (trial.score or 0.0) * (1 if self.lower_is_better else -1))

    @property
    def best(self) -> TrialStatus | None:
        """The finished trial with the best validation score."""
        return next(iter(self.ranked), None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `search`."""
        return {
            "search": str(self.path),
            "score": self.score,
            "lower_is_better": self.lower_is_better,
            "complete": self.complete,
            "states": self.states,
            "seconds": self.seconds,
            "best": self.best.name if self.best else None,
            "best_config": str(self.best_config) if self.best_config else None,
            "optimism": self.optimism,
            "importance": self.importance,
            "test": self.test,
            "trials": [asdict(trial) | {"run": str(trial.run)} for trial in self.trials],
        }

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        return {"search": self.path, "trials": len(self.trials), "best": self.best and self.best.score}

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each trial, with a column for each key of the space. SetupError without pandas."""
        keys = dict.fromkeys(key for trial in self.trials for key in trial.values)
        return data_frame(
            {
                "trial": trial.name,
                "state": trial.state,
                self.score: trial.score,
                **{key: trial.values.get(key) for key in keys},
            }
            for trial in self.trials
        )

    def human(self) -> str:
        """The best trials, and what was found."""
        width = max((len(trial.name) for trial in self.trials), default=0)
        ranked = self.ranked
        lines = [trial.human(width) for trial in ranked[:_SHOWN]]
        if len(ranked) > _SHOWN:
            lines.append(f"and {plural(len(ranked) - _SHOWN, 'more finished trial')}")
        lines += [f"{trial.name}: {trial.reason}" for trial in self.trials if trial.state == "failed"]
        lines.append(self.summary())
        if best := self.best:
            optimism = f", which is too high by about {self.optimism:.4f}" if self.optimism else ""
            lines.append(
                f"best: {best.name}, chosen among {plural(len(ranked), 'finished trial')} for its validation "
                f"{self.score} {best.score:.4f}{optimism}"
            )
        if self.test:
            score = self.test["scores"]["mIoU"]
            lines.append(
                f"on test, which chose nothing: mIoU {score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]"
            )
        if self.importance:
            parts = ", ".join(f"{key} {100 * share:.0f} %" for key, share in self.importance.items())
            lines.append(f"differences between trials come from: {parts}")
        if self.best_config:
            lines.append(f"best config: {self.best_config}")
        return "\n".join(lines)

    def summary(self) -> str:
        """One line for all trials."""
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items())
        return f"{plural(len(self.trials), 'trial')}" + f": {counts}" * bool(counts) + f"; {clock(self.seconds)}"

    @property
    def next_command(self) -> str:
        """What to do with the trials that have finished; empty where none has."""
        return f"maskwright compare {shlex.quote(str(self.path))} --split val" if self.best else ""


def _brief(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
