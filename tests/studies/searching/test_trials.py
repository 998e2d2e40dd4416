"""Trials of a search, without trainings: logs are written by hand, and processes end as they are told to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
import yaml

from maskwright.base.storage import lock_owner
from maskwright.errors import ConfigError, SetupError
from maskwright.studies.searching import folder as module_of_folder
from maskwright.studies.searching import sampling
from maskwright.studies.searching import trials as module
from maskwright.studies.searching.folder import Search
from maskwright.studies.searching.sampling import PRUNERS, SAMPLERS, opened
from maskwright.studies.searching.space import AxisConfig, PrunerConfig, SamplerConfig, Space, load_search
from maskwright.studies.searching.trials import Trials

SEARCH = {
    "base": {
        "data": {"root": "data", "image_size": [32, 32]},
        "model": "UNet",
        "loss": "ce",
        "train": {"iterations": 100, "batch_size": 4},
    },
    "space": {"optimizer.lr": {"low": 0.0001, "high": 0.1, "log": True}, "train.ema": [0.5, 0.9]},
    "trials": 8,
    "pruner": {"name": "median", "startup": 2, "warmup": 0},
}


def begun(folder: Path, **more: object) -> tuple[Search, Space]:
    (folder / "search.yaml").write_text(yaml.safe_dump(SEARCH | more))
    search = Search(folder / "found")
    space = search.begin(load_search(folder / "search.yaml").config)
    return search, space


@pytest.fixture
def study(tmp_path: Path) -> Iterator[tuple[Search, Space, optuna.Study]]:
    search, space = begun(tmp_path)
    with opened(search, space.config, lower_is_better=False) as found:
        yield search, space, found


def log(search: Search, name: str, *scores: float) -> None:
    """Of a run of 100 iterations, an evaluation after every tenth."""
    run = search.run(name)
    run.path.mkdir(parents=True, exist_ok=True)
    run.info_file.write_text("{}")
    run.config_file.write_text("train: {iterations: 100}\n")
    rows = [{"iteration": 10 * (i + 1), "val_mIoU": score} for i, score in enumerate(scores)]
    run.metrics.path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Callable[[Search, str], None]:
    """Makes a run count as trained and scored."""
    monkeypatch.setattr(module, "scored", lambda run, split: (run.path / "evaluations").exists())

    def finish(search: Search, name: str) -> None:
        run = search.run(name)
        (run.path / "finished.json").write_text(json.dumps({"iterations": 100, "best_val_mIoU": 0.5}))
        (run.path / "evaluations").mkdir()

    return finish


def led(study: tuple[Search, Space, optuna.Study], stopping: bool = False) -> Trials:
    return Trials(*study, lambda: stopping)


def look(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", -1.0)
    trials.look()


def test_one_that_falls_behind_the_others_is_ended_and_says_why(study, done, monkeypatch) -> None:
    search, _, noted = study
    trials = led(study)
    with trials.leading():
        for scores in ([0.2, 0.6], [0.3, 0.7]):
            name = trials.next_run()
            log(search, name, *scores)
            done(search, name)
            trials.ended(name, 0)
        name = trials.next_run()
        log(search, name, 0.25, 0.4)
        look(trials, monkeypatch)
        assert trials.unwanted(name)
        trials.ended(name, 130)
        good = trials.next_run()
        log(search, good, 0.4, math.nan, 0.9)
        look(trials, monkeypatch)
        assert not trials.unwanted(good)
    assert [one.state.name for one in noted.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "RUNNING"]
    assert [one.value for one in noted.trials[:2]] == [0.6, 0.7]
    assert noted.trials[2].intermediate_values == {10: 0.25, 20: 0.4}
    assert "ended early at iteration 20 of 100 with a validation score of 0.4000" in str(search.run(name).pruned)
    found = trials.status().trials
    assert [one.state for one in found] == ["finished", "finished", "pruned", "running"]
    assert [one.score for one in found] == [0.6, 0.7, 0.4, 0.9] and "worse than the median" in found[2].reason


def test_of_the_loss_the_lowest_is_best(tmp_path, done, monkeypatch) -> None:
    search, space = begun(tmp_path, objective="loss")
    with opened(search, space.config, lower_is_better=True) as noted:
        trials = led((search, space, noted))
        with trials.leading():
            for scores in ([0.5], [0.4], [0.9]):
                name = trials.next_run()
                log(search, name, *scores)
                look(trials, monkeypatch)
                if scores != [0.9]:
                    done(search, name)
                    trials.ended(name, 0)
            assert trials.unwanted(name)
        assert noted.best_value == 0.4 and trials.status().trials[1].score == 0.4


def test_what_a_process_leaves_behind_is_gone_on_with(study) -> None:
    search = study[0]
    first = led(study)
    with first.leading():
        name = first.next_run()
        config = search.config_file(name).read_bytes()
        other = led(study)
        with other.leading():
            assert other.next_run() == "trial-0001"  # the first one is at work on its own
    again = led(study)
    with again.leading():
        assert again.next_run() == name and again.next_run() == "trial-0001" and again.next_run() == "trial-0002"
    assert search.config_file(name).read_bytes() == config
    assert {path.name for path in search.leaders.iterdir()} == {".lock"}  # those who have led are gone


def test_a_trial_that_was_only_asked_for_gets_its_values(study) -> None:
    search, _, noted = study
    noted.ask()
    trials = led(study)
    with trials.leading():
        assert trials.next_run() == "trial-0000"
    assert search.run_config("trial-0000").optimizer.lr == noted.trials[0].params["optimizer.lr"]


def test_several_processes_make_as_many_trials_as_were_asked_for(study) -> None:
    leaders = [led(study) for _ in range(3)]
    names = []
    with ExitStack() as stack:
        for one in leaders:
            stack.enter_context(one.leading())
        while name := leaders[len(names) % 3].next_run():
            names.append(name)
    assert names == [f"trial-{i:04d}" for i in range(8)]


def test_no_trial_begins_after_the_time(tmp_path, monkeypatch) -> None:
    search, space = begun(tmp_path, trials=None, time="10s")
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with opened(search, space.config, lower_is_better=False) as noted:
        trials = led((search, space, noted))
        with trials.leading():
            assert trials.next_run() == "trial-0000"
            now[0] = 106.0
        assert noted.user_attrs["seconds"] == 6.0
        later = led((search, space, noted))
        now[0] = 109.0
        assert later.seconds == 9.0 and later.left
        now[0] = 110.5
        assert not later.left


def test_failures_are_told_and_end_the_search_when_nothing_works(study, monkeypatch) -> None:
    search, _, noted = study
    monkeypatch.setattr(module, "_MOST_FAILED", 3)
    trials = led(study)
    for _ in range(2):
        name = trials.next_run()
        search.fail(name, 3, "x.png: cannot be read")
        trials.ended(name, 3)
    name = trials.next_run()
    search.fail(name, 3, "x.png: cannot be read")
    with pytest.raises(ConfigError, match="3 trials in a row have failed, the last one: x.png"):
        trials.ended(name, 3)
    assert [one.state.name for one in noted.trials] == ["FAIL"] * 3
    assert trials.status().trials[0].reason == "x.png: cannot be read"


def test_a_process_that_is_lost_is_started_again_but_not_for_ever(study) -> None:
    trials = led(study)
    for _ in range(3):
        assert trials.next_run() == "trial-0000"
        trials.ended("trial-0000", -9)
    assert trials.next_run() == "trial-0001"
    assert study[2].trials[0].state.name == "FAIL"


def test_one_that_is_stopped_stays_to_be_resumed(study) -> None:
    trials = led(study, stopping=True)
    name = trials.next_run()
    trials.ended(name, 130)
    assert study[2].trials[0].state.name == "RUNNING" and not study[0].run(name).pruned_file.exists()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_that_goes_on_chooses_what_it_would_have_chosen(name: str, tmp_path: Path, done) -> None:
    def values(folder: Path, calls: int) -> list[dict[str, object]]:
        folder.mkdir()
        search, space = begun(folder, sampler={"name": name, "seed": 3}, trials=14)
        for _ in range(calls):
            with opened(search, space.config, lower_is_better=False) as noted:
                trials = led((search, space, noted))
                for _ in range(14 // calls):
                    one = trials.next_run()
                    log(search, one, search.run_config(one).optimizer.lr)
                    done(search, one)
                    trials.ended(one, 0)
        with opened(search, space.config, lower_is_better=False) as noted:
            return [one.params for one in noted.trials]

    whole = values(tmp_path / "whole", 1)
    assert whole == values(tmp_path / "parts", 7) and len({str(one) for one in whole}) == 14


def test_the_tables_have_a_row_for_each_name() -> None:
    assert {*SAMPLERS} == {*SamplerConfig.model_fields["name"].annotation.__args__}
    assert {*PRUNERS} == {*PrunerConfig.model_fields["name"].annotation.__args__}
    for name, make in PRUNERS.items():
        assert isinstance(make(PrunerConfig(name=name)), optuna.pruners.BasePruner)


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_trials_are_noted_in_a_file(storage: str, tmp_path: Path) -> None:
    search, space = begun(tmp_path, storage=storage)
    with opened(search, space.config, lower_is_better=False) as noted:
        assert led((search, space, noted)).next_run() == "trial-0000"
    with opened(search, space.config, lower_is_better=False) as noted:
        assert len(noted.trials) == 1
    assert (search.path / {"sqlite": "trials.db", "journal": "trials.journal"}[storage]).is_file()


def test_a_storage_that_cannot_be_used(tmp_path: Path) -> None:
    search, space = begun(tmp_path, storage="postgresql+psycopg://me:secret@127.0.0.1:1/none")
    told = pytest.raises(SetupError, match=r"storage postgresql\+psycopg://me:\*\*\*@.* cannot be used")
    with told as raised, opened(search, space.config, lower_is_better=False):
        pass
    assert "secret" not in str(raised.value)
    other = tmp_path / "other"
    other.mkdir()
    search, space = begun(other, storage="nothing://here")
    with pytest.raises(SetupError, match="cannot be used"), opened(search, space.config, lower_is_better=False):
        pass


def test_a_name_in_a_database_belongs_to_one_search(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    search, space = begun(tmp_path, storage=storage, name="mine")
    with opened(search, space.config, lower_is_better=False):
        pass
    other = tmp_path / "other"
    other.mkdir()
    search, space = begun(other, storage=storage, name="mine", space={"train.ema": [0.5, 0.6]})
    told = pytest.raises(ConfigError, match="has another search of the name 'mine'")
    with told, opened(search, space.config, lower_is_better=False):
        pass


def test_a_search_is_not_changed_but_for_its_length(tmp_path: Path) -> None:
    search, space = begun(tmp_path)
    longer = space.config.model_copy(update={"trials": 20, "name": None})
    assert search.begin(longer).config.trials == 20
    with pytest.raises(
        ConfigError, match="was begun with another space; only pruner, sampler, time, trials may change"
    ):
        search.begin(space.config.model_copy(update={"space": {"train.ema": AxisConfig(low=0.1, high=0.2)}}))


def test_of_two_that_begin_at_once_the_slower_joins(tmp_path, monkeypatch) -> None:
    real, entered = module_of_folder.staged_folder, []

    def staged(path: Path) -> object:
        if not entered:
            entered.append(path)
            begun(tmp_path)  # the other one, between the look and the rename
        return real(path)

    monkeypatch.setattr(module_of_folder, "staged_folder", staged)
    _, space = begun(tmp_path)
    assert entered and space.config.trials == 8
    monkeypatch.setattr(module_of_folder, "staged_folder", real)
    entered.clear()
    with pytest.raises(ConfigError, match="already exists"):  # something else is in its place
        (tmp_path / "x" / "found").mkdir(parents=True)
        (tmp_path / "x" / "found" / "mine.txt").write_text("mine")
        begun(tmp_path / "x")


def test_the_tables_of_a_storage_are_made_by_one_at_a_time(tmp_path, monkeypatch) -> None:
    search, space = begun(tmp_path)
    real, held = sampling._storage, []

    def storage(*given: object) -> object:
        held.append(lock_owner(search.path))
        return real(*given)

    monkeypatch.setattr(sampling, "_storage", storage)
    with opened(search, space.config, lower_is_better=False):
        assert held == [os.getpid()] and lock_owner(search.path) is None
