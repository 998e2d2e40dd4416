"""Work that was stopped: kept, resumed on the same facts alone, and gone when it is finished."""

import json
from pathlib import Path

import pytest

from maskwright.base.storage import exclusive_lock
from maskwright.base.work_folder import FACTS, WorkFolder, differing_facts, work_folder_of
from maskwright.errors import ConfigError, DataError, Interrupted, LockedError

FACTS_NOW = {"seed": 1, "config": {"train": {"rate": 0.5, "folder": Path("a")}}}


@pytest.fixture
def work(tmp_path):
    return WorkFolder(work_folder_of(tmp_path / "out"), FACTS_NOW)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("run: stopped; resume the run")])
def test_what_was_stopped_is_there_again(work, stop):
    with pytest.raises(Interrupted, match=r"out\.unfinished: stopped; the same command resumes it$"), work.held():
        (work.path / "done").write_text("1")
        raise stop
    with work.held() as held:
        assert held is work and (work.path / "done").read_text() == "1"
    assert work.path.is_dir()  # only its own block ends it


def test_other_errors_pass_and_keep_the_work(work):
    with pytest.raises(ZeroDivisionError), work.held():
        (work.path / "done").write_text("1")
        raise ZeroDivisionError
    assert (work.path / "done").exists()


def test_other_facts_are_refused_with_what_differs(work):
    with work.held():
        (work.path / "done").write_text("1")
    other = WorkFolder(work.path, {"seed": 2, "config": {"train": {"rate": 0.5, "folder": "x" * 40}}, "more": None})
    with (
        pytest.raises(
            ConfigError, match=r"other settings: seed \(1 then, 2 now\), config\.train\.folder; give the same"
        ),
        other.held(),
    ):
        raise AssertionError
    assert (work.path / "done").exists()
    with work.held():
        pass


def test_a_restart_says_why_and_begins_with_nothing(work, capsys):
    with work.held():
        (work.path / "done" / "deep").mkdir(parents=True)
    other = WorkFolder(work.path, FACTS_NOW | {"seed": 2})
    with other.held(restart=True):
        assert {path.name for path in work.path.iterdir()} == {FACTS, ".lock"}
        assert json.loads((work.path / FACTS).read_text())["seed"] == 2
    assert "seed (1 then, 2 now) changed since this work was stopped; it starts again" in capsys.readouterr().err
    with pytest.raises(ConfigError), work.held():
        pass


def test_a_folder_of_something_else_is_left_alone(work):
    work.path.mkdir()
    (work.path / "mine").write_text("mine")
    for restart in (False, True):
        with pytest.raises(DataError, match="holds something else than unfinished work"), work.held(restart=restart):
            pass
    assert (work.path / "mine").read_text() == "mine"


def test_a_kill_before_the_facts_were_written_is_no_work(work):
    work.path.mkdir()
    (work.path / ".lock").touch()
    with work.held():
        assert (work.path / FACTS).exists()


def test_one_process_alone(work):
    work.path.mkdir()
    with exclusive_lock(work.path), pytest.raises(LockedError), work.held():
        pass


def test_the_result_appears_whole_and_alone(work, tmp_path):
    with work.held() as held:
        for name in ("result", "trainings/run", "spare"):
            (work.path / name).parent.mkdir(exist_ok=True)
            (work.path / name).write_text(name)
        held.publish(tmp_path / "out", {"result"})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result"]


def test_a_result_that_is_there_is_not_overwritten(work, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="never overwritten"), work.held() as held:
        held.publish(tmp_path / "out", {"mine"})
    assert work.path.is_dir() and (tmp_path / "out" / "mine").read_text() == "mine"


def test_removed_work_leaves_nothing(work, tmp_path):
    with work.held() as held:
        held.remove()
    assert not [*tmp_path.iterdir()]


def test_differences_name_what_is_only_in_one():
    assert differing_facts({"a": 1, "b": [1]}, {"a": 1, "c": 2}) == ["b ([1] then, None now)", "c (None then, 2 now)"]
    assert differing_facts({"a": {"b": 1}}, {"a": {"b": 1}}) == []
