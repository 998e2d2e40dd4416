"""Which folders count as runs: the same for the board, the charts and the page."""

from __future__ import annotations

from evaluation.curves.logs import own
from maskwright.evaluation.curves.finding import read_curves
from maskwright.evaluation.run_folders import find_runs


def test_runs_of_a_study_with_a_folder_for_each_cell_are_found_by_all(tmp_path):
    places = [own(tmp_path / "study" / "runs" / cell / f"seed-{seed}") for cell in ("a", "b") for seed in (1, 2)]
    runs, others = find_runs([tmp_path / "study"])
    assert [run.path for run in runs] == places and others == []
    assert [one.source for one in read_curves(tmp_path / "study")] == [place.resolve() for place in places]


def test_one_folder_above_a_study_is_read_by_all_too(tmp_path):
    own(tmp_path / "studies" / "one" / "runs" / "a")
    own(tmp_path / "studies" / "two" / "runs" / "b")
    runs, _ = find_runs([tmp_path / "studies"])
    assert [run.path.name for run in runs] == ["a", "b"]
    assert [one.name for one in read_curves(tmp_path / "studies")] == ["a", "b"]


def test_what_lies_in_a_run_or_is_hidden_is_no_run(tmp_path):
    run = own(tmp_path / "run")
    own(run / "old")
    own(tmp_path / ".trash" / "b")
    runs, _ = find_runs([tmp_path])
    assert [found.path for found in runs] == [run]
    deep = own(tmp_path / "x" / "1" / "2" / "3")
    assert [found.path for found in find_runs([tmp_path / "x"])[0]] == [deep]
    assert find_runs([tmp_path])[0] == runs  # four levels down is too deep
