"""The number of threads is looked at again while a run trains, by a clock that is told; what was decided is followed."""

from __future__ import annotations

import pytest
import torch

from maskwright.errors import Interrupted
from maskwright.run import Run
from maskwright.training import loop, measuring, precision
from maskwright.training import threads as module
from maskwright.training.precision import StepChoice
from maskwright.training.rounds import Found
from maskwright.training.threads import ThreadChange, Threads, Watch
from maskwright.training.train import resume, train
from tiny import config, write_dataset


class Machine:
    """Seconds of a step by its threads, and a clock that only steps and timing move."""

    def __init__(self, **seconds):
        self.now, self.timed_at, self.step = 0.0, [], 0
        self.quiet = {1: 1.8, 2: 1.0}
        self.busy = {1: 1.9, 2: 4.0}
        self.is_busy = lambda step: False

    def monotonic(self):
        return self.now

    def seconds(self, threads):
        return (self.busy if self.is_busy(self.step) else self.quiet)[threads]

    def timed(self, now, numbers):
        self.timed_at.append(self.step)
        typical = {number: self.seconds(number) for number in numbers}
        self.now += 3 * sum(typical.values())
        return Found(min(typical, key=typical.__getitem__), typical, typical)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(module, "time", machine)
    return machine


def simulated(machine, threads, iterations=1000, first=0):
    for step in range(first, iterations):
        machine.step = step
        took = machine.seconds(torch.get_num_threads())
        machine.now += took
        threads.stepped(took)
        threads.change(step + 1, iterations, machine.timed)
    return threads.changes


def watching(tmp_path, machine, seconds=1.0, iterations=1000):
    threads = Threads((), Watch(2, seconds))
    threads.go_to(0, iterations, 100, Run(tmp_path))
    return threads


def test_a_steady_machine_is_left_alone(machine, tmp_path):
    assert simulated(machine, watching(tmp_path, machine)) == [] and machine.timed_at == []


def test_threads_follow_a_busy_program_that_comes_and_goes(machine, tmp_path):
    machine.is_busy = lambda step: 200 <= step < 500
    changes = simulated(machine, watching(tmp_path, machine), 2000)
    (down, one), (up, two) = ((change.iteration, change.threads) for change in changes)
    assert (one, two) == (1, 2) and 200 < down <= 300 and 500 < up < 1000
    assert torch.get_num_threads() == 2


def test_a_machine_that_only_became_slower_is_timed_once(machine, tmp_path):
    machine.busy, machine.is_busy = {1: 5.0, 2: 3.0}, lambda step: step >= 200
    assert simulated(machine, watching(tmp_path, machine)) == [] and len(machine.timed_at) == 1


def test_timing_takes_little_of_a_run_that_stays_at_one_thread(machine, tmp_path):
    machine.is_busy = lambda _: True
    torch.set_num_threads(1)
    assert simulated(machine, watching(tmp_path, machine, 1.9)) == []
    assert 1 < len(machine.timed_at) < 6
    assert len(machine.timed_at) * 3 * (1.9 + 4.0) < 0.06 * machine.now


def test_a_run_of_five_minutes_beside_a_busy_program_takes_one_thread(machine, tmp_path):
    """129 steps of 1.9 s fit into its budget; 287 of 0.87 s were expected."""
    machine.busy, machine.is_busy = {1: 1.5, 2: 1.9}, lambda _: True
    (change,) = simulated(machine, watching(tmp_path, machine, 0.87, 129), 129)
    assert change.threads == 1 and change.iteration <= 10
    torch.set_num_threads(2)
    machine.is_busy = lambda step: step >= 40
    machine.quiet = {1: 1.5, 2: 0.87}
    (change,) = simulated(machine, watching(tmp_path, machine, 0.87, 129), 129)
    assert change.threads == 1 and 40 < change.iteration < 50


def test_a_run_that_is_too_short_is_not_timed(machine, tmp_path):
    """Timing takes some 8 steps: more than it can win back."""
    machine.is_busy = lambda _: True
    assert simulated(machine, watching(tmp_path, machine, iterations=80), 80) == [] and machine.timed_at == []


def test_without_a_watch_only_known_changes_are_made(machine, tmp_path):
    machine.is_busy = lambda _: True
    known = [ThreadChange(40, 1), ThreadChange(70, 2)]
    threads = Threads(known)
    threads.go_to(0, 1000, 100, Run(tmp_path))
    assert simulated(machine, threads) == known and machine.timed_at == []
    torch.set_num_threads(2)
    Threads(known).go_to(50, 1000, 100, Run(tmp_path))
    assert torch.get_num_threads() == 1


def test_nothing_changes_before_an_evaluation_that_was_begun_is_done_again(machine, tmp_path):
    run = Run(tmp_path)
    run.sample_file(100).parent.mkdir()
    run.sample_file(100).touch()
    machine.is_busy = lambda _: True
    torch.set_num_threads(1)
    machine.busy = {1: 4.0, 2: 2.0}
    threads = Threads((), Watch(2, 1.0))
    threads.go_to(20, 1000, 100, run)
    assert simulated(machine, threads, first=20)[0].iteration == 100


# --- real trainings -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("threads") / "data", {"train": 6, "val": 2})


@pytest.fixture
def decided(monkeypatch):
    """A machine on which one thread becomes faster after iteration 10, and two again after 20."""

    def due(self, usual, left, most):
        return True

    def timed(*arguments):
        now, numbers = arguments[-2:]
        best = 1 if now == 2 else 2
        return Found(best, dict.fromkeys(numbers, 1.0), dict.fromkeys(numbers, 1.0))

    monkeypatch.setattr(module, "SHORTEST", 10)
    monkeypatch.setattr(Threads, "due", due)
    monkeypatch.setattr(loop, "time_threads", timed)
    monkeypatch.setattr(
        measuring, "choose", lambda *_: StepChoice("float32", 1.0, "told", {"float32": 1.0}, True, 2, 2)
    )


def settings_of(data, **changes):
    return config(
        data,
        train={"iterations": 25, "evaluate_every": 7, "threads": None, **changes},
        optimizer={"lr": 0.01},
        model={"dropout": 0.2},
    )


def artifacts(run):
    return {path.name: path.read_bytes() for path in (run.best, run.last, run.metrics.path)}


CHANGES = [{"iteration": 10, "threads": 1}, {"iteration": 20, "threads": 2}]


def test_changes_are_recorded_and_can_be_trained_again(data, tmp_path, decided, monkeypatch):
    run = train(settings_of(data), out=tmp_path / "run")
    assert [record for record in run.metrics.read() if "threads" in record] == CHANGES == run.finished["thread_changes"]
    planned = run.config().train
    assert planned.threads == 2 and [change.model_dump() for change in planned.thread_changes] == CHANGES
    monkeypatch.undo()
    assert artifacts(train(run.path / "config.yaml", out=tmp_path / "again")) == artifacts(run)


@pytest.mark.parametrize("death", [1, 2, 4])
def test_a_killed_run_follows_what_was_decided(data, tmp_path, decided, monkeypatch, death):
    """Killed before a state is saved: those behind evaluations, and those of changes."""
    save, count = loop.save_state, iter(range(100))

    def dying(*arguments):
        if next(count) == death:
            raise MemoryError
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", dying)
        with pytest.raises(MemoryError):
            train(settings_of(data), out=tmp_path / "run")
    torch.set_num_threads(1)
    run = resume(tmp_path / "run")
    assert run.finished["iterations"] == 25
    monkeypatch.undo()
    assert artifacts(train(run.path / "config.yaml", out=tmp_path / "again")) == artifacts(run)


def test_a_stopped_run_takes_its_threads_from_the_log(data, tmp_path, decided, monkeypatch):
    change = Threads.change

    def stopping(self, step, *arguments):
        if step == 13 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise Interrupted("stopped")
        return change(self, step, *arguments)

    monkeypatch.setattr(Threads, "change", stopping)
    with pytest.raises(Interrupted):
        train(settings_of(data), out=tmp_path / "run")
    run = Run(tmp_path / "run")
    seen, step_of = [], Threads.stepped
    monkeypatch.setattr(
        Threads, "stepped", lambda self, seconds: seen.append(torch.get_num_threads()) or step_of(self, seconds)
    )
    resume(run)
    assert seen[:4] == [1] * 4 and run.finished["thread_changes"][0] == CHANGES[0]
    monkeypatch.undo()
    assert artifacts(train(run.path / "config.yaml", out=tmp_path / "again")) == artifacts(run)


def test_threads_that_the_config_fixes_are_not_watched(data, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "usable_threads", lambda _: 2)  # also where there is one core
    run = train(settings_of(data, threads=1, iterations=1), out=tmp_path / "fixed")
    assert "watch" not in run.info()
    run = train(settings_of(data, iterations=1), out=tmp_path / "free")
    assert run.info()["watch"]["most"] == 2
