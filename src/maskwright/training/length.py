"""How long a run is, in iterations; with a time budget, fitted again and again while it trains.

A machine's speed changes while other programs come and go, so what was measured before the first step is only a
guess. After every fortieth of the length the speed is measured, and when the end would miss the budget by more than
2 % of it and a tenth of what is left, the length is set anew. Each such refit is a record in `metrics.jsonl` and the
state is saved with it, so that a resumed run follows what was decided; in the end `config.yaml` names them all, so
that training it again gives the same model. The schedule continues from where it is and is stretched over what is left.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maskwright.modeling.optim.build import Schedule
from maskwright.modeling.optim.schedules import warm_up
from maskwright.run import Run
from maskwright.training.distributed.processes import ALONE, Processes
from maskwright.training.progressive import FULL_SIZE, Progressive

EVALUATIONS = 8
# Of a budget: what is kept for the last checkpoint, and the miss of the end that is accepted; of the time that is left:
# the miss that is accepted, since there is time to correct it.
_MARGIN, _TOLERANCE, _EARLY_TOLERANCE = 0.02, 0.02, 0.1
_STRETCHES = 40
_ENDLESS = 1 << 31


@dataclass(frozen=True)
class Refit:
    """After `iteration` the length became `iterations`, and evaluations `evaluate_every` apart."""

    iteration: int
    iterations: int
    evaluate_every: int


@dataclass(frozen=True)
class Budget:
    """`seconds` of wall time, set-up included. `began` is when that was on the monotonic clock, had the run never been
    stopped; `evaluate_every` is what the user asked for, if anything."""

    seconds: float
    evaluation_seconds: float
    evaluate_every: int | None
    began: float

    @classmethod
    def of(cls, run: Run, setup_seconds: float) -> Budget | None:
        """That of a run which was set up in `setup_seconds` until now. Attempts before this one count as far as
        `timing.jsonl` knows of them; the time between them does not."""
        stored = run.info().get("budget")
        if stored is None:
            return None
        used = max((record["used_seconds"] for record in run.timing.read() if "used_seconds" in record), default=0.0)
        return cls(**stored, began=time.monotonic() - setup_seconds - used)

    @property
    def stored(self) -> dict[str, Any]:
        """What `of` needs in `run.json`."""
        return {key: value for key, value in asdict(self).items() if key != "began"}

    @property
    def used(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds for steps and evaluations from now on."""
        return self.seconds * (1 - _MARGIN) - self.used

    def result(self) -> dict[str, float]:
        """How well it was met, at the end: `error` is the share of it that was too much (above 0) or unused."""
        used = self.used
        return {"seconds": self.seconds, "used": used, "error": used / self.seconds - 1}


def spacing(iterations: int) -> int:
    """Iterations between evaluations where nothing is said."""
    return max(1, math.ceil(iterations / EVALUATIONS))


@dataclass(frozen=True)
class Speed:
    """Seconds of a full step and of an evaluation; evaluations are `every` iterations apart (None: `spacing`)."""

    step: float
    evaluation: float
    every: int | None = None
    progressive: Progressive = FULL_SIZE

    def needed(self, step: int, iterations: int, done: float = 0.0) -> float:
        """Seconds from `step` to the end after `iterations`, where the share `done` of the schedule lies behind."""
        apart, left = self.every or spacing(iterations), iterations - step
        first = step + math.floor(self.progressive.small_steps(done, left))
        evaluations = (iterations - 1) // apart - first // apart + 1
        return self.progressive.full_steps(done, left) * self.step + evaluations * self.evaluation

    def fitted(self, step: int, seconds: float, done: float = 0.0) -> int:
        """The length that ends `seconds` after `step`; `step` itself when there is no time for more."""
        lengths = range(step, step + max(0, int(seconds / (self.step * self.progressive.cost))) + 1)
        fitting = bisect_right(lengths, seconds, key=lambda iterations: self.needed(step, iterations, done))
        return lengths[max(0, fitting - 1)]


class Length:
    """The length of a run as it stands at a step, and where in its schedule that step lies."""

    def __init__(
        self,
        iterations: int,
        evaluate_every: int,
        refits: Sequence[Refit] = (),
        budget: Budget | None = None,
        processes: Processes = ALONE,
        progressive: Progressive = FULL_SIZE,
    ) -> None:
        self._progressive = progressive
        self.iterations, self.evaluate_every, self.refits = iterations, evaluate_every, list[Refit]()
        self._first, self._known, self._budget = iterations, {refit.iteration: refit for refit in refits}, budget
        self._processes = processes
        self._start, self._position = 0, 0.0
        self._step_seconds: float | None = None
        self._evaluation_seconds = budget.evaluation_seconds if budget else 0.0
        self._next = 0
        self._restart(0)

    @property
    def furthest(self) -> int:
        """A length that is never exceeded."""
        return _ENDLESS if self._budget or self._known else self.iterations

    def go_to(self, step: int, run: Run) -> None:
        """To be at `step` of a run whose log ends there, with the refits that the log holds; measuring begins."""
        if self._budget:
            self._known |= self._processes.share(_logged(run) if self._processes.first else {})
        for refit in sorted(self._known.values(), key=lambda refit: refit.iteration):
            if refit.iteration <= step:
                self._apply(refit)
        self._restart(step)
        # A kill between the picture of an evaluation and its state may have left a new best checkpoint. Only the same
        # evaluation again makes it true, so nothing may change before it.
        evaluation = self.next_evaluation(step)
        if self._budget and self._processes.share(self._processes.first and run.sample_file(evaluation).exists()):
            self._next = max(self._next, evaluation)

    def next_evaluation(self, step: int) -> int:
        """The first iteration after `step` that is evaluated: none before small steps end."""
        following = (step // self.evaluate_every + 1) * self.evaluate_every
        while following < self.iterations and self.small(following):
            following += self.evaluate_every
        return min(self.iterations, following)

    def small(self, step: int) -> bool:
        """Whether the step after so many has smaller images."""
        return self._done(step) < self._progressive.until

    def factor(self, schedule: Schedule, step: int) -> float:
        """The factor on the base learning rate at `step`. The warm-up is that of the first length."""
        place = self._at(step)
        if self._progressive.until:
            place = self._progressive.worked(place / self.iterations) * self.iterations
        return schedule.shape(place, self.iterations) * warm_up(step, self._first, schedule.warmup)

    def refit(self, step: int) -> Refit | None:
        """The refit after `step` iterations and their evaluation, if there is one: known from before, or found now by
        the clock."""
        refit = self._known.get(step)
        if refit is None and self._budget and self._next <= step < self.iterations:
            refit = self._processes.share(self._measured(step, self._budget) if self._processes.first else None)
            self._restart(step)
        if refit:
            self._apply(refit)
            self._restart(step)
        return refit

    def evaluated(self, seconds: float) -> None:
        """Records how long an evaluation took."""
        self._evaluation_seconds = seconds
        self.paused(seconds)

    def paused(self, seconds: float) -> None:
        """Records time that went to neither steps nor evaluations."""
        self._paused += seconds

    def used(self) -> dict[str, float]:
        """What `Budget.of` finds again in a record of `timing.jsonl`."""
        return {"used_seconds": self._budget.used} if self._budget else {}

    def _at(self, step: int) -> float:
        """The place in the schedule: the step itself until a refit, then stretched so that it ends with the run."""
        stretch = (self.iterations - self._position) / (self.iterations - self._start)
        return self._position + (step - self._start) * stretch

    def _done(self, step: int) -> float:
        """The share of the schedule that lies behind at `step`."""
        return self._at(step) / self.iterations

    def _apply(self, refit: Refit) -> None:
        # The share of the schedule that is done stays what it is.
        self._position = self._done(refit.iteration) * refit.iterations
        self._start, self.iterations, self.evaluate_every = refit.iteration, refit.iterations, refit.evaluate_every
        self.refits.append(refit)

    def _restart(self, step: int) -> None:
        self._from, self._since, self._paused = step, time.monotonic(), 0.0
        self._next = step + max(1, self.iterations // _STRETCHES)

    def _measured(self, step: int, budget: Budget) -> Refit | None:
        """What the clock of the first process says."""
        made = sum(self._progressive.cost if self.small(index) else 1 for index in range(self._from, step))
        recent = (time.monotonic() - self._since - self._paused) / made
        # Half new, half old: a busy moment counts less, a lasting change soon counts in full.
        self._step_seconds = recent if self._step_seconds is None else (self._step_seconds + recent) / 2
        speed = Speed(self._step_seconds, self._evaluation_seconds, budget.evaluate_every, self._progressive)
        left, done = budget.left, self._done(step)
        accepted = max(_TOLERANCE * budget.seconds, _EARLY_TOLERANCE * left)
        if abs(left - speed.needed(step, self.iterations, done)) <= accepted:
            return None
        # One more at least: the end is evaluated, and this step may not have been.
        iterations = max(step + 1, speed.fitted(step, left, done))
        if iterations == self.iterations:
            return None
        return Refit(step, iterations, budget.evaluate_every or spacing(iterations))


def _logged(run: Run) -> dict[int, Refit]:
    """The refits in the log of a run, by their iteration."""
    return {
        record["iteration"]: Refit(**record)
        for record in run.metrics.read()
        if record.keys() == Refit.__dataclass_fields__.keys()
    }
