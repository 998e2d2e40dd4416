"""What `decide` has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskwright.base.display import Result
from maskwright.base.texts import plural, table
from maskwright.evaluation.metrics import Interval
from maskwright.labels.deciding.estimating import WAYS, Way, WayDifference


@dataclass(frozen=True)
class Question:
    """What was to be decided: the `suspects` in the folder `found_in` with a score of at least `min_score`, in the
    dataset `name` at `root` in that `version`; `minutes` is the work on one mask."""

    name: str
    root: Path
    version: str
    found_in: Path
    min_score: float
    suspects: list[str]
    minutes: float

    @property
    def cost(self) -> float:
        """Minutes of work for repairing all of them."""
        return len(self.suspects) * self.minutes


@dataclass(frozen=True, repr=False)
class Decision(Result):
    """`scores` are the mIoU on held-out images of each way in each repeat, `differences` those of the means with 95 %
    intervals. Of the `trusted` samples, `train` were trained on and `held_out` judged by in each repeat; `planted` says
    how often each kind of error was planted, and under "none" how many stood for suspects whose masks are right.
    `iterations` and `image_size` are those of each training, `seconds` the wall time of all. With nothing to decide
    there are no scores, and the folder is None."""

    question: Question
    verdict: Way | Literal["nothing"]
    reason: str
    folder: Path | None = None
    trusted: int = 0
    train: list[int] = field(default_factory=list)
    held_out: list[int] = field(default_factory=list)
    planted: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[Way, list[float]] = field(default_factory=dict)
    differences: list[WayDifference] = field(default_factory=list)
    iterations: int = 0
    image_size: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def page(self) -> Path | None:
        """The page of the folder, None where there was nothing to decide."""
        return self.folder / "index.html" if self.folder else None

    def facts(self) -> dict[str, object]:
        """See `Display`."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "dataset": self.question.name,
            "suspect samples": len(self.question.suspects),
            **{f"mIoU {way}": float(np.mean(values)) for way, values in self.scores.items()},
            "folder": str(self.folder) if self.folder else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `decide`."""
        asked = self.question
        ways = [
            {
                "way": way,
                "meaning": WAYS[way],
                "mIoU": float(np.mean(values)),
                "repeats": values,
                "minutes": asked.cost if way == "repair" else 0.0,
            }
            for way, values in self.scores.items()
        ]
        return {
            "question": asdict(asked) | {"minutes_of_repair": asked.cost},
            **{key: value for key, value in vars(self).items() if key not in ("question", "scores", "differences")},
            "ways": ways,
            "differences": [one.to_dict() for one in self.differences],
        }

    def human(self) -> str:
        """Text for a terminal."""
        if not self.scores:
            return self.reason
        asked, times = self.question, len(self.train)
        kinds = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in self.planted.items())
        lines = [
            f"{plural(len(asked.suspects), 'sample')} of {asked.root} suspect (score {asked.min_score:g} or more); "
            f"simulated {'once' if times == 1 else f'{times} times'} on {plural(self.trusted, 'other sample')}",
            f"trained on {_range(self.train)} images, evaluated on {_range(self.held_out)}; planted errors: {kinds}",
        ]
        work = f"{_time(asked.cost)} ({plural(len(asked.suspects), 'mask')}, {asked.minutes:g} min each)"
        lines += table(
            [
                ["", "mIoU", "95 % interval", "work"],
                *(
                    [way, f"{np.mean(values):.4f}", "", work if way == "repair" else ""]
                    for way, values in self.scores.items()
                ),
                *([f"{one.first} - {one.second}", *_signed(one.value)] for one in self.differences),
            ]
        )
        return "\n".join([*lines, f"verdict: {self.reason}", *(f"note: {note}" for note in self.notes)])


def reason_for(verdict: Way, found: list[WayDifference], question: Question) -> str:
    """The verdict in a sentence."""
    of = {(one.first, one.second): one for one in found}
    excluding, repairing, between = (
        of[pair] for pair in (("exclude", "keep"), ("repair", "keep"), ("repair", "exclude"))
    )
    if not any(one.significant for one in found):
        return "no significant difference: keep them, which costs nothing"
    if verdict == "keep":
        worse = [word for word, one in (("excluding", excluding), ("repairing", repairing)) if one.value.high < 0]
        return (
            f"keep them: {' and '.join(worse)} them is worse"
            if worse
            else ("keep them: neither excluding nor repairing them is significantly better")
        )
    if verdict == "exclude":
        return (
            f"exclude them: {_with_interval(excluding)} mIoU over keeping them, and repairing is not significantly "
            f"better than that ({_with_interval(between)})"
        )
    compared = (
        f", and {_with_interval(between)} over excluding them"
        if between.significant
        else ", while excluding them is not significantly better"
    )
    return f"repair them: {_with_interval(repairing)} mIoU over keeping them{compared}; {_time(question.cost)} of work"


def _signed(value: Interval) -> tuple[str, str]:
    return f"{value.value:+.4f}", f"[{value.low:+.4f}, {value.high:+.4f}]"


def _with_interval(one: WayDifference) -> str:
    return " ".join(_signed(one.value))


def _range(numbers: list[int]) -> str:
    return f"{min(numbers)}" + f" to {max(numbers)}" * (len({*numbers}) > 1)


def _time(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
