"""The page about runs side by side: all its numbers are those of the comparison."""

from __future__ import annotations

import json

import pytest
from pages import check_promises, read, table

from maskwright.cli import main
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.comparing import compare
from maskwright.evaluation.comparing.text import verdict_in_words
from maskwright.reporting.writing import report
from run_folders import add_evaluation, predict, trained_run, truth


@pytest.fixture
def study(tmp_path):
    """Two networks x two losses x two seeds; the networks differ, the losses do not."""
    true = truth(30)
    for m, (model, quality) in enumerate((("UNet", 0.85), ("SegNet", 0.7))):
        for n, loss in enumerate(("ce", "ce+dice")):
            for seed in range(2):
                run = trained_run(
                    tmp_path / "study/runs" / f"{model}-{loss}-seed{seed}".lower(),
                    model=model,
                    loss=loss,
                    seed=seed,
                    macs=(2 - m) * 1e9,
                )
                add_evaluation(run, predict(true, quality, 8 * m + 2 * n + seed))
    return tmp_path / "study"


def test_every_number_of_the_board_is_that_of_the_comparison(study):
    result = compare(study)
    page = read(report(study))
    check_promises(page)
    rows = table(page, "recipe", "mIoU", "95 % interval")
    assert [cells[0][0] for cells in rows] == [entry.name for entry in result.entries]
    for cells, entry in zip(rows, result.entries, strict=True):
        assert cells[1][1] == [repr(entry.score.value)]
        assert cells[2][1] == [repr(entry.score.low), repr(entry.score.high)]
        assert cells[4][0].startswith(verdict_in_words(entry.against_best))
        assert cells[5][0] == "2"
        assert f"{entry.costs.parameters:,.0f}" in [cell[0] for cell in cells]
    assert {entry.against_best for entry in result.entries} == {None, "not distinguishable", "worse"}


def test_the_matrix_marks_what_may_be_the_best(study):
    result = compare(study)
    rows = table(read(report(study)), "network", "ce", "ce + dice")
    known = {(entry.model, entry.loss): entry for entry in result.entries}
    for cells in rows:
        for (text, values), loss in zip(cells[1:], ("ce", "ce + dice"), strict=True):
            entry = known[cells[0][0], loss]
            assert values[0] == repr(entry.score.value)
            assert ("*" in text) == (entry.against_best != "worse")


def test_pairs_choice_findings_and_charts_are_there(study):
    result = compare(study)
    page = read(report(study))
    first, every = (table_of for table_of in page.tables if table_of[0][0][0] == "higher")
    assert len(first) == len(result.entries) and len(every) == 1 + len(result.pairs)
    assert result.choice.reason in page.text and result.findings[0].code in page.text
    assert sum(tag == "svg" and attributes.get("class") == "chart" for tag, attributes in page.tags) > 4
    assert "optimizer" not in page.text.partition("What differs between the recipes")[2].partition("The runs")[0]


def test_another_split_is_taken_where_test_is_not_scored(tmp_path):
    for seed in range(2):
        add_evaluation(
            trained_run(tmp_path / f"run{seed}", model=("UNet", "SegNet")[seed]),
            predict(truth(8), 0.8, seed),
            split="val",
        )
    assert "of the split “val”" in read(report(tmp_path)).text


def test_a_single_image_and_a_single_run_have_a_page(tmp_path):
    add_evaluation(trained_run(tmp_path / "run"), predict(truth(1), 0.8, 0))
    page = read(report([tmp_path / "run", tmp_path / "run"], out=tmp_path / "page.html"))
    check_promises(page)
    assert "compared on the same 1 image" in page.text


def test_by_the_command_line(study, tmp_path, capsys):
    runs = sorted((study / "runs").iterdir())
    with pytest.raises(SystemExit) as end:
        main(["report", *map(str, runs[:3]), "--json"])
    assert end.value.code == 0
    file = study / "runs/report-001.html"
    assert json.loads(capsys.readouterr().out)["report"] == str(file) and file.is_file()
    with pytest.raises(SystemExit) as end:
        main(["report", str(study), "--out", str(file)])
    assert end.value.code == ConfigError.exit_code


def test_nothing_to_report_on(tmp_path):
    trained_run(tmp_path / "run")
    with pytest.raises(DataError, match="first `maskwright evaluate"):
        report(tmp_path)
    with pytest.raises(DataError, match="absent"):
        report(tmp_path / "absent")
    assert not list(tmp_path.rglob("*.html"))


def test_another_score_is_asked_for(study, tmp_path, capsys):
    result = compare(study, score="mDice")
    page = read(report(study, score="mDice"))
    rows = table(page, "recipe", "mDice", "95 % interval")
    assert [cells[1][1] for cells in rows] == [[repr(entry.score.value)] for entry in result.entries]
    with pytest.raises(ConfigError, match="mFice: is not a score; did you mean"):
        report(study, score="mFice")
    with pytest.raises(ConfigError, match="is what several runs are compared by; leave it out"):
        report(next((study / "runs").iterdir()), score="mDice")
