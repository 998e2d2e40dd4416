"""How many threads a run works with, looked at again while it trains.

A busy program beside it takes a core from the run, and then one thread may be faster than two; when it ends, two are
faster again. So when the typical step of a stretch is 1.5 times slower or faster than measured, or the run works with
fewer threads than it could, a few steps are timed with other numbers of threads, on a copy of the model. The number
of threads changes the last bits of sums, and so the model. Each change is therefore a decision like a new length by a
budget (docs/decisions/0011): a record in `metrics.jsonl`, saved with the state, followed by a resumed run, and in the
end in `config.yaml`. Precision and layout stay what they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from maskwright.base.progress import say
from maskwright.base.texts import plural
from maskwright.modeling.models.segmenter import Segmenter
from maskwright.modeling.optim.build import Groups
from maskwright.run import Run
from maskwright.training.distributed.processes import ALONE, Processes
from maskwright.training.precision import Trials, Way, best_threads
from maskwright.training.rounds import Found

# The most that timing other numbers of threads may take: seconds, and steps.
_TIMING_SECONDS, _TIMING_STEPS = 30.0, 10
# A stretch is a share of the run's length, and some steps at least.
_STRETCHES, SHORTEST = 40, 5
_CHANGED = 1.5
# What timing takes, in steps, before it is known; and the share of what is left of the run that it may take. At a tenth
# it pays where the other number of threads is 1.11 times as fast, which is little: beside a busy program one of two
# threads waits for its core most of the time. A run of 5 minutes there has some 130 steps of 2 s; at a twentieth its 8
# steps would never be allowed, at a tenth they are until 80 are left.
_STEPS, _OF_THE_REST = 8, 0.1
# Of the time since the last timing, which changed something or not; twice as rarely after each that changed nothing.
_OF_THE_TIME = 0.05


@dataclass(frozen=True)
class ThreadChange:
    """After `iteration` the run works with `threads`."""

    iteration: int
    threads: int


@dataclass(frozen=True)
class Watch:
    """What a run that may change its threads has to know: the most of them, and the seconds of a step as measured
    before the first."""

    most: int
    step_seconds: float

    @classmethod
    def of(cls, run: Run) -> Watch | None:
        """That of a run whose config fixed no threads."""
        stored = run.info().get("watch")
        return cls(**stored) if stored else None

    @property
    def stored(self) -> dict[str, Any]:
        """What `of` needs in `run.json`."""
        return asdict(self)


class Threads:
    """The number of threads at a step. Without a `watch` only the changes that are known are made."""

    def __init__(
        self, known: Sequence[ThreadChange] = (), watch: Watch | None = None, processes: Processes = ALONE
    ) -> None:
        self.changes: list[ThreadChange] = []
        self._known, self._watch, self._processes = {change.iteration: change for change in known}, watch, processes
        self._usual = watch.step_seconds if watch else None
        self._seconds: list[float] = []
        self._took: float | None = None
        self._in_vain = 0
        self._next, self._since = 0, time.monotonic()

    def go_to(self, step: int, iterations: int, evaluation: int, run: Run) -> None:
        """To be at `step` of a run whose log ends there, with the changes that the log holds. `evaluation` is the step
        of the next one: where that was begun before a kill, nothing may change before it is done again."""
        if self._watch:
            self._known |= self._processes.share(_logged(run) if self._processes.first else {})
        for change in sorted(self._known.values(), key=lambda change: change.iteration):
            if change.iteration <= step:
                self._apply(change)
        if step:
            self._usual = None  # perhaps another machine, and with other threads than measured
        self._restart(step, iterations)
        if self._watch and self._processes.share(self._processes.first and run.sample_file(evaluation).exists()):
            self._next = max(self._next, evaluation)

    def stepped(self, seconds: float) -> None:
        """Records how long a step took."""
        if self._watch:
            self._seconds.append(seconds)

    def change(
        self, step: int, iterations: int, timed: Callable[[int, Sequence[int]], Found[int]]
    ) -> ThreadChange | None:
        """The change after `step` of `iterations` and its evaluation, if there is one: known from before, or found
        now by `timed`, which times the present number of threads and others."""
        change = self._known.get(step)
        if change is None and self._watch and self._next <= step < iterations:
            usual = median(self._seconds)
            if self._processes.share(self.due(usual, iterations - step, self._watch.most)):
                change = self._found(step, self._watch.most, timed)
            elif self._usual is None:
                self._usual = usual
            self._restart(step, iterations)
        if change:
            self._apply(change)
        return change

    def due(self, usual: float, left: int, most: int) -> bool:
        """Whether the machine may have changed, and timing is worth its time."""
        changed = self._usual is not None and not 1 / _CHANGED < usual / self._usual < _CHANGED
        took = self._took or _STEPS * usual
        rest = 0.0 if self._took is None else took * 2**self._in_vain / _OF_THE_TIME
        return (
            (changed or torch.get_num_threads() < most)
            and took <= _OF_THE_REST * left * usual
            and time.monotonic() - self._since >= rest
        )

    def _found(self, step: int, most: int, timed: Callable[[int, Sequence[int]], Found[int]]) -> ThreadChange | None:
        now, began = torch.get_num_threads(), time.monotonic()
        others = [number for number in (now // 2, min(2 * now, most)) if number not in (0, now)]
        found = timed(now, [now, *others])
        torch.set_num_threads(now)
        self._since = time.monotonic()
        self._took, self._usual = self._since - began, found.typical[found.way]
        if found.way == now:
            self._in_vain += 1
            return None
        self._in_vain = 0
        say(
            f"{plural(found.way, 'thread')} from iteration {step + 1} on: {found.typical[found.way] * 1000:.0f} ms per "
            f"training step; {plural(now, 'thread')}: {found.typical[now] * 1000:.0f} ms"
        )
        return ThreadChange(step, found.way)

    def _apply(self, change: ThreadChange) -> None:
        torch.set_num_threads(change.threads)
        self.changes.append(change)

    def _restart(self, step: int, iterations: int) -> None:
        self._seconds.clear()
        self._next = step + max(SHORTEST, iterations // _STRETCHES)


def _logged(run: Run) -> dict[int, ThreadChange]:
    """The changes in the log of a run, by their iteration."""
    return {
        record["iteration"]: ThreadChange(**record)
        for record in run.metrics.read()
        if record.keys() == ThreadChange.__dataclass_fields__.keys()
    }


def time_threads(
    segmenter: Segmenter,
    criterion: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    groups: Groups,
    processes: Processes,
    now: int,
    numbers: Sequence[int],
) -> Found[int]:
    """Which of some numbers of threads is best on the machine as it is, `now` or another."""
    trials = Trials(segmenter, criterion, images, targets, groups, processes)
    return best_threads(
        trials,
        Way(segmenter.precision, segmenter.channels_last, now),
        numbers,
        lambda step: min(_TIMING_SECONDS, _TIMING_STEPS * step),
    )
