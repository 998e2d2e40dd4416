"""Budgets by a clock of their own: they are met whatever the machine does, and what was decided can be done again."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from itertools import pairwise

import pytest

from maskwright.base.storage import Journal
from maskwright.errors import Interrupted
from maskwright.modeling.optim.build import Schedule
from maskwright.run import Run
from maskwright.training import length as module
from maskwright.training import loop, measuring
from maskwright.training.length import Budget, Length, Refit, Speed, spacing
from maskwright.training.precision import StepChoice
from maskwright.training.progressive import FULL_SIZE, Progressive
from maskwright.training.train import resume, train
from tiny import config, write_dataset


class Clock:
    """Time that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class End:
    """What became of a simulated run."""

    first: int
    steps: int
    refits: int
    evaluations: int
    error: float


@pytest.fixture
def simulate(monkeypatch, tmp_path):
    """A run without a model: `told` seconds a step are measured before the first, `step` and `evaluation` seconds
    it takes as functions of the time since then."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def simulate(seconds, told, step, evaluation=lambda _: 2.0, every=None, progressive=FULL_SIZE):
        began = clock.now
        budget = Budget(seconds, evaluation(0.0), every, began)
        first = Speed(told, evaluation(0.0), every, progressive).fitted(0, budget.left)
        length = Length(first, every or spacing(first), (), budget, progressive=progressive)
        length.go_to(0, Run(tmp_path))
        done = evaluations = 0
        factors = []
        while done < length.iterations:
            factors.append(length.factor(Schedule("poly", 0, {"power": 1.0}), done))
            clock.now += step(clock.now - began) * (progressive.cost if length.small(done) else 1)
            done += 1
            if done == length.next_evaluation(done - 1):
                took = evaluation(clock.now - began)
                clock.now += took
                length.evaluated(took)
                evaluations += 1
            length.refit(done)
        assert factors[0] == 1 and all(a > b > 0 for a, b in pairwise(factors))
        return End(first, done, len(length.refits), evaluations, budget.result()["error"])

    return simulate


@pytest.mark.parametrize(("seconds", "step"), [(60, 0.05), (300, 0.3), (300, 10.0), (3600, 0.7)])
@pytest.mark.parametrize("every", [None, 20])
def test_a_steady_machine_needs_no_refit(simulate, seconds, step, every):
    end = simulate(seconds, step, lambda _: step, lambda _: step, every)
    assert end.refits <= 1 and -0.07 < end.error < 0.02  # one of the longest steps is 3 % of the time
    assert every or end.evaluations in (7, 8)


@pytest.mark.parametrize("wrong", [0.1, 1 / 3, 3, 10])
@pytest.mark.parametrize(("seconds", "step"), [(60, 0.05), (300, 0.3), (300, 10.0)])
def test_a_wrong_first_measurement_is_mended(simulate, seconds, step, wrong):
    end = simulate(seconds, step * wrong, lambda _: step)
    right = simulate(seconds, step, lambda _: step)
    assert end.first == pytest.approx(right.first / wrong, rel=0.3)
    assert end.steps == pytest.approx(right.steps, rel=0.06)
    assert abs(end.error) < 0.06 and end.refits <= 3


@pytest.mark.parametrize("times", [1 / 3, 3])
@pytest.mark.parametrize("when", [0.02, 0.1, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97])
@pytest.mark.parametrize(("seconds", "step"), [(60, 0.05), (300, 0.3), (300, 5.0)])
def test_a_machine_that_turns_slower_or_faster(simulate, seconds, step, when, times):
    def slowed(now):
        return times if now > when * seconds else 1.0

    end = simulate(seconds, step, lambda now: step * slowed(now), lambda now: 1.5 * slowed(now))
    assert abs(end.error) < 0.1, end


def test_a_restless_machine(simulate):
    rng = random.Random(0)
    assert abs(simulate(300, 0.3, lambda _: 0.3 * rng.choice([0.5, 1, 3])).error) < 0.05
    assert abs(simulate(300, 0.3, lambda now: 0.3 * (3 if now // 15 % 3 == 0 else 1)).error) < 0.05


@pytest.mark.parametrize("cost", [0.2, 0.5, 1.0])
def test_a_budget_with_small_steps_is_met(simulate, cost):
    for change in (1.0, 2.5, 0.4):
        progressive = Progressive(0.7, 0.5, cost)
        end = simulate(300, 0.3, lambda now, change=change: 0.3 * (change if now > 60 else 1), progressive=progressive)
        assert abs(end.error) < 0.05 and end.evaluations in (1, 2, 3, 4)


def test_evaluations_that_turn_out_dear(simulate):
    end = simulate(300, 0.3, lambda _: 0.3, lambda now: 4.0 if now else 1.0)
    assert abs(end.error) < 0.05 and end.evaluations in (7, 8, 9)
    end = simulate(300, 0.3, lambda _: 0.3, lambda now: 4.0 if now else 1.0, 50)
    assert abs(end.error) < 0.05 and end.evaluations == -(-end.steps // 50)


def test_needed_counts_evaluations_as_the_loop_does():
    for step in range(0, 30, 7):
        for iterations in range(step + 1, 40):
            for every in (1, 3, 8, 100, None):
                apart = every or spacing(iterations)
                done = sum(n % apart == 0 or n == iterations for n in range(step + 1, iterations + 1))
                assert Speed(2.0, 5.0, every).needed(step, iterations) == 2.0 * (iterations - step) + 5.0 * done


def test_fitted_is_the_longest_that_fits():
    for every in (3, 10, None):
        for seconds in range(-5, 90, 4):
            speed = Speed(1.0, 2.5, every)
            best = max((n for n in range(7, 200) if speed.needed(7, n) <= seconds), default=7)
            assert speed.fitted(7, seconds) == pytest.approx(best, abs=0 if every else 1)


def test_the_schedule_goes_on_from_where_it_is():
    length = Length(100, 13, [Refit(40, 60, 8), Refit(50, 200, 25)])
    schedule = Schedule("poly", 10, {"power": 1.0})
    done = []
    for step in range(200):
        done.append(1 - length.factor(schedule, step) / min(1.0, (step + 1) / 11))
        length.refit(step + 1)
    assert done[:40] == pytest.approx([step / 100 for step in range(40)])
    assert done[40] == pytest.approx(0.4) and done[50] == pytest.approx(0.7)
    assert done[45] == pytest.approx(0.55) and done[125] == pytest.approx(0.85)
    assert length.iterations == 200 and length.evaluate_every == 25


def test_without_a_refit_the_factor_is_that_of_the_step_to_the_last_bit():
    length, schedule = Length(97, 10), Schedule("poly", 5)
    assert [length.factor(schedule, step) for step in range(97)] == [schedule.factor(step, 97) for step in range(97)]
    assert length.furthest == 97


# --- real trainings -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("length") / "data", {"train": 6, "val": 2})


@pytest.fixture
def clock(monkeypatch):
    """Steps take a second, evaluations two; from step `slow_from` on, steps take three."""
    clock = Clock()
    clock.slow_from, clock.done = 30, 0
    train_step, validate = loop.train_step, loop.validate

    def slow_step(*arguments):
        step = train_step(*arguments)

        def timed(images, targets):
            clock.now += 1.0 if clock.done < clock.slow_from else 3.0
            clock.done += 1
            return step(images, targets)

        return timed

    def slow_validate(*arguments):
        clock.now += 2.0
        return validate(*arguments)

    for room in (loop, measuring):
        monkeypatch.setattr(room, "validate", slow_validate)
    monkeypatch.setattr(loop, "train_step", slow_step)
    monkeypatch.setattr(measuring, "choose", lambda *_: StepChoice("float32", 1.0, "told", {"float32": 1.0}))
    monkeypatch.setattr(measuring.time, "monotonic", clock.monotonic)
    return clock


def settings_of(data, **changes):
    return config(
        data,
        train={"iterations": None, "evaluate_every": None, "budget": "2m", **changes},
        optimizer={"lr": 0.01},
        model={"dropout": 0.2},
    )


def refits_of(run):
    return [record for record in run.metrics.read() if record.keys() == {"iteration", "iterations", "evaluate_every"}]


def artifacts(run):
    return {path.name: path.read_bytes() for path in (run.best, run.last, run.metrics.path)}


def again(run, out, monkeypatch):
    """What training the run's resolved config gives, by the real clock."""
    with monkeypatch.context() as patch:
        patch.undo()
        return artifacts(train(run.path / "config.yaml", out=out))


def test_a_budget_is_met_and_can_be_trained_again(data, tmp_path, clock, monkeypatch, capsys):
    run = train(settings_of(data), out=tmp_path / "run")
    planned, ended = run.config().train, run.finished
    assert 95 < planned.iterations < 102 and ended["iterations"] < 65
    assert ended["budget"]["seconds"] == 120 and abs(ended["budget"]["error"]) < 0.06
    assert ended["budget"]["used"] == pytest.approx(120 * (1 + ended["budget"]["error"]))
    assert (
        f"budget 120 s: took {ended['budget']['used']:.0f} s, {ended['budget']['error']:+.1%}"
        in capsys.readouterr().err
    )
    assert refits_of(run) == ended["refits"] == [refit.model_dump() for refit in planned.refits] != []
    assert refits_of(run)[-1]["iterations"] == ended["iterations"]
    evaluated = [record["iteration"] for record in run.metrics.read() if "val_loss" in record]
    assert evaluated[-1] == ended["iterations"] and 5 <= len(evaluated) <= 9
    assert not ended["early_stopped"]
    assert again(run, tmp_path / "again", monkeypatch) == artifacts(run)


@pytest.mark.parametrize("stop", [20, 45])
def test_a_stopped_run_follows_what_was_decided_and_time_used_counts(data, tmp_path, clock, monkeypatch, stop):
    step_of = loop.Length.refit

    def stopping(self, step):
        if step == stop and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            signal.raise_signal(signal.SIGINT)
        return step_of(self, step)

    monkeypatch.setattr(loop.Length, "refit", stopping)
    with pytest.raises(Interrupted):
        train(settings_of(data), out=tmp_path / "run")
    run = Run(tmp_path / "run")
    decided = refits_of(run)
    assert all(refit["iteration"] <= stop for refit in decided)
    clock.now += 10_000.0  # the time in which nothing ran
    resume(run)
    assert refits_of(run)[: len(decided)] == decided
    assert abs(run.finished["budget"]["error"]) < 0.1
    assert again(run, tmp_path / "again", monkeypatch) == artifacts(run)


@pytest.mark.parametrize("death", [2, 5])
def test_a_run_killed_before_a_state_is_saved_ends_with_a_true_best(data, tmp_path, clock, monkeypatch, death):
    """At the given state: those of refits and those behind evaluations whose best checkpoint is on the disk already."""
    save, count = loop.save_state, iter(range(100))

    def dying(*arguments):
        if next(count) == death:
            raise MemoryError
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", dying)
        with pytest.raises(MemoryError):
            train(settings_of(data), out=tmp_path / "run")
    run = Run(tmp_path / "run")
    clock.slow_from = 0  # now every step is slow: a refit is due at once
    resume(run)
    assert abs(run.finished["budget"]["error"]) < 0.15
    assert again(run, tmp_path / "again", monkeypatch) == artifacts(run)


def test_nothing_changes_before_an_evaluation_that_was_begun_is_done_again(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    run = Run(tmp_path)
    run.sample_file(20).parent.mkdir()
    run.sample_file(20).touch()
    length = Length(100, 10, (), Budget(100.0, 0.0, None, clock.now))
    length.go_to(12, run)
    found = []
    for step in range(13, 30):
        clock.now += 3.0
        found += [step] if length.refit(step) else []
    assert found[0] == 20


def test_time_of_earlier_attempts_counts(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    run = Run(tmp_path)
    Journal(run.info_file).append({"budget": {"seconds": 60.0, "evaluation_seconds": 1.0, "evaluate_every": None}})
    assert Budget.of(run, 3.0).used == 3.0
    for used in (7.0, 12.5):
        run.timing.append({"iteration": 1, "seconds": 1.0, "used_seconds": used})
    run.timing.append({"iteration": 1, "evaluation_seconds": 1.0})
    budget = Budget.of(run, 3.0)
    clock.now += 2.0
    assert budget.used == 17.5 and budget.left == pytest.approx(60 * 0.98 - 17.5)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_budget_with_loader_processes(data, tmp_path, clock, monkeypatch):
    run = train(settings_of(data, workers=1), out=tmp_path / "run")
    assert abs(run.finished["budget"]["error"]) < 0.06
    assert again(run, tmp_path / "again", monkeypatch) == artifacts(run)


def test_a_run_without_a_budget_is_as_it_was(data, tmp_path, clock):
    run = train(settings_of(data, budget=None, iterations=12), out=tmp_path / "run")
    assert not {"budget", "refits"} & run.finished.keys() and "budget" not in run.info()
    assert not refits_of(run) and not any("used_seconds" in record for record in run.timing.read())
