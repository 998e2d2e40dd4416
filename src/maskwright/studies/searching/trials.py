"""Trials: what a process that leads a search does with Optuna. It asks for trials, reports the validation scores of
those at work, and tells how each has ended; several processes, on several machines, may lead the same search."""

from __future__ import annotations

import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from maskwright.base.progress import say
from maskwright.base.storage import exclusive_lock, lock_owner, patient_lock
from maskwright.config import seconds_of
from maskwright.errors import ConfigError
from maskwright.run import Run
from maskwright.studies.searching.folder import Search
from maskwright.studies.searching.sampling import STEPS, sampler
from maskwright.studies.searching.space import Space
from maskwright.studies.searching.status import SearchStatus, State, TrialStatus
from maskwright.studies.status import progress_of, scored

if TYPE_CHECKING:
    import optuna

# Seconds between two looks at the logs of the trials at work, between two questions for a trial where there was none,
# and between two notes of the time that has passed.
_LOOK_EVERY, _ASK_EVERY, _NOTE_EVERY = 1.0, 5.0, 10.0
# How often the process of a trial may be lost, and how many trials in a row may fail, before that is given up.
_MOST_LOST, _MOST_FAILED = 3, 20
_PATIENCE = 60.0
_STATES: dict[str, State] = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}


# Why a pruner ends a trial.
_WHY = {
    "median": "its best so far is worse than the median of the other trials at that moment",
    "halving": "it is not among the best of those that came as far",
    "hyperband": "it is not among the best of those that came as far",
}


def name_of(number: int) -> str:
    """The name of a trial's run."""
    return f"trial-{number:04d}"


def scores_of(run: Run) -> Iterator[tuple[int, float]]:
    """The iteration and the score of each evaluation that a run has logged."""
    for record in run.metrics.read():
        score = record.get("val_best_score", record.get("val_mIoU"))
        if score is not None and math.isfinite(score):
            yield record["iteration"], score


class Trials:
    """The trials of this process. It has the search for itself only while it asks for the next one."""

    def __init__(self, search: Search, space: Space, study: optuna.Study, stopping: Callable[[], bool]) -> None:
        self._search, self._space, self._study, self._stopping = search, space, study, stopping
        self._own = uuid.uuid4().hex
        self._at_work: dict[str, optuna.Trial] = {}
        self._steps: dict[str, set[int]] = {}
        self._pruned: dict[str, str] = {}
        self._lost: Counter[str] = Counter()
        self._failed = 0
        self._began, self._before = time.monotonic(), float(study.user_attrs.get("seconds", 0.0))
        self._looked = self._noted = self._began
        self._none = -math.inf  # when there was no trial to work on, since none has ended

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Others leave the trials of this process alone until it ends, in any way."""
        folder = self._search.leaders / self._own
        folder.mkdir(parents=True)
        try:
            with exclusive_lock(folder):
                yield
        finally:
            self._note_time()
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def seconds(self) -> float:
        """Wall time of the search so far."""
        return self._before + time.monotonic() - self._began

    @property
    def left(self) -> bool:
        """Whether a trial may still begin: there are fewer than were asked for, and there is time."""
        config = self._space.config
        enough = config.trials is not None and len(self._study.get_trials(deepcopy=False)) >= config.trials
        return not enough and (config.time is None or self.seconds < seconds_of(config.time))

    def next_run(self) -> str | None:
        """The name of the next trial to work on: one that a process has left behind, else a new one; None when there
        are enough, or when the time is over."""
        while time.monotonic() - self._none >= _ASK_EVERY:
            with patient_lock(self._search.leaders, _PATIENCE):
                trial = self._left_behind() or (self._new() if self.left else None)
                if trial is None:
                    self._none = time.monotonic()
                    return None
                trial.set_user_attr("leader", self._own)
            name = name_of(trial.number)
            try:
                self._search.prepare(name, self._space.run_config(self._space.suggested(trial)))
            except ConfigError as error:
                self._fail(trial, str(error))
                continue
            self._at_work[name] = trial
            return name
        return None

    def _new(self) -> optuna.Trial:
        before = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = sampler(self._space.config.sampler, before)
        trial = self._study.ask()
        self._steps[name_of(trial.number)] = set()
        return trial

    def _left_behind(self) -> optuna.Trial | None:
        from optuna.trial import Trial, TrialState

        for found in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            name, leader = name_of(found.number), found.user_attrs.get("leader")
            if name in self._at_work:
                continue
            if leader in (None, self._own) or lock_owner(self._search.leaders / leader) is None:
                self._steps[name] = {*found.intermediate_values}
                return Trial(self._study, found._trial_id)
        return None

    def look(self) -> None:
        """Reports what the trials at work have logged, and notes the time, when it is time to."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            for name, trial in self._at_work.items():
                self._report(name, trial)
        if now - self._noted >= _NOTE_EVERY:
            self._note_time()

    def unwanted(self, name: str) -> bool:
        """Whether a trial is to be ended early."""
        return name in self._pruned

    def _report(self, name: str, trial: optuna.Trial) -> None:
        run = self._search.run(name)
        if name in self._pruned or not run.info_file.is_file():
            return
        whole = progress_of(run)["iterations"]
        for iteration, score in scores_of(run):
            step = round(STEPS * iteration / whole) if whole else STEPS
            if step in self._steps[name]:
                continue
            self._steps[name].add(step)
            trial.report(score, step)
            if step < STEPS and trial.should_prune():
                self._pruned[name] = (
                    f"ended early at iteration {iteration} of {whole} with a validation score of {score:.4f}: "
                    f"{_WHY[self._space.config.pruner.name]}"
                )
                return

    @property
    def _lower(self) -> bool:
        from optuna.study import StudyDirection

        return self._study.direction == StudyDirection.MINIMIZE

    def ended(self, name: str, code: int) -> None:
        """Tells Optuna how the process of a trial has ended. ConfigError when one trial after the other fails."""
        trial, run = self._at_work.pop(name), self._search.run(name)
        self._none = -math.inf
        if run.finished and scored(run, "val"):
            self._pruned.pop(name, None)
            self._report(name, trial)
            values = [score for _, score in scores_of(run)]
            self._failed = 0
            self._tell(trial, min(values) if self._lower else max(values))
        elif why := self._pruned.pop(name, None):
            self._search.prune(name, why)
            self._tell(trial, None, "PRUNED", why)
        elif failure := self._search.failure(name):
            self._fail(trial, failure["message"])
        elif not self._stopping():
            self._lost[name] += 1
            if self._lost[name] >= _MOST_LOST:
                self._fail(trial, f"its process was lost {_MOST_LOST} times; see {self._search.log(name)}")

    def _fail(self, trial: optuna.Trial, why: str) -> None:
        self._tell(trial, None, "FAIL", why)
        self._failed += 1
        if self._failed >= _MOST_FAILED:
            raise ConfigError(f"{self._search.path}: {_MOST_FAILED} trials in a row have failed, the last one: {why}")

    def _tell(self, trial: optuna.Trial, value: float | None, state: str = "COMPLETE", why: str = "") -> None:
        from optuna.trial import TrialState

        if why:
            trial.set_user_attr("reason", why)
        self._study.tell(trial.number, value, TrialState[state], skip_if_finished=True)
        score = "" if value is None else f"  {value:.4f}"
        say(f"{name_of(trial.number)}  {_STATES[state]}{score}{f'  {why}' if why else ''}")

    def _note_time(self) -> None:
        self._noted = time.monotonic()
        known = float(self._study.user_attrs.get("seconds", 0.0))  # of another process that leads too
        self._study.set_user_attr("seconds", max(known, self.seconds))

    def status(self) -> SearchStatus:
        """How far the search has come, with the trials of all processes in the order in which they began."""
        found = []
        for one in self._study.get_trials(deepcopy=False):
            name = name_of(one.number)
            run = self._search.run(name)
            best = (min if self._lower else max)((score for _, score in scores_of(run)), default=None)
            state, reason = _STATES.get(one.state.name, "running"), one.user_attrs.get("reason", "")
            found.append(TrialStatus(name, run.path, dict(one.params), state, best, reason))
        result = SearchStatus(self._search.path, str(self._space.best), self._lower, found, self.seconds)
        return replace(result, complete="running" not in result.states and not self.left)
