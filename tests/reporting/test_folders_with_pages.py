"""Verbs whose result is a folder with a page: they draw it themselves, from Python too, a crash while drawing loses
nothing, and `report FOLDER` draws it again from what is stored."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pages import check_promises, read

import maskwright
from maskwright.base.storage import atomic_write_json, jsonable
from maskwright.cli import main
from maskwright.core.classes import ClassTree
from maskwright.core.edits import FOLDER
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.explaining.stored import read_explanation
from maskwright.evaluation.metrics import Interval
from maskwright.labels.deciding.estimating import WAYS, WayDifference
from maskwright.labels.deciding.results import Decision, Question
from maskwright.labels.suspecting.results import Redrawing, SuspectsResult
from maskwright.reporting.decision_report import draw_decision
from maskwright.reporting.writing import report
from maskwright.verbs import audit as auditing
from maskwright.verbs import suspects as searching
from scenes import distorted, evaluated, write_data
from suspected import LABEL_SETS, SELF_TEST, suspected
from tiny import write_dataset


class Crash(Exception):
    """What nobody has thought of."""


def crash(*given, **named):
    raise Crash


def timeless(page: Path) -> str:
    return re.sub("<time.*?</time>", "", page.read_text("utf-8"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A dataset whose search finds by hand what is suspect, without a training."""
    root = write_dataset(tmp_path / "data", {"train": 4}, ids=(0, 1, 2))
    dataset = load_dataset(root)
    made = suspected([sample.name for sample in dataset.samples[:3]], [dataset.samples[3].name], dataset.classes)
    predicted = SimpleNamespace(
        facts=[], left_out=[], samples=dataset.samples, geometry=SimpleNamespace(keep_ratio=True)
    )
    found = SimpleNamespace(
        suspects=made.suspects,
        samples=made.samples,
        snapped=True,
        outlines=[],
        redrawing=Redrawing(0, 0, 0.0, 0.0, 0.0, 0.0),
    )
    monkeypatch.setattr(searching, "search", lambda *given: (predicted, found))
    monkeypatch.setattr(
        searching,
        "small_config",
        lambda *given: SimpleNamespace(train=SimpleNamespace(budget=None), to_dict=lambda: {}),
    )
    return root


def test_suspects_draws_its_page(home):
    result = maskwright.suspects(home)
    assert result.page == home / FOLDER / "suspects-001" / "index.html"
    page = read(result.page)
    check_promises(page)
    assert all(one.sample in page.text for one in result.suspects)


def test_a_crash_while_the_page_of_suspects_is_drawn_loses_nothing(home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(searching, "write_sheet", crash)
        with pytest.raises(Crash):
            maskwright.suspects(home)
    assert not (home / FOLDER / "suspects-001").exists()
    assert maskwright.suspects(home).page.is_file()
    assert [path.name for path in (home / FOLDER).iterdir()] == ["suspects-001"]


def test_report_draws_the_page_of_suspects_again(home, tmp_path):
    result = maskwright.suspects(home)
    before = timeless(result.page)
    for spoil in (lambda page: page.unlink(), lambda page: page.write_text("old")):
        spoil(result.page)
        assert report(result.folder) == result.page and timeless(result.page) == before
    shutil.move(home, tmp_path / "moved")  # with the folder in it
    again = report(tmp_path / "moved" / FOLDER / "suspects-001")
    assert "cannot be read" not in again.read_text("utf-8") and again.read_text("utf-8").count("<img") == before.count(
        "<img"
    )


def test_suspects_are_read_back_as_they_were(tmp_path):
    made = suspected(
        ["a", "b <i>"],
        ["c"],
        ClassTree.flat(["sky", "cat"]),
        folder=tmp_path,
        self_test=SELF_TEST,
        label_sets=LABEL_SETS,
        keep_ratio=True,
    )
    atomic_write_json(tmp_path / "suspects.json", made.to_dict())
    again = SuspectsResult.from_dict(json.loads((tmp_path / "suspects.json").read_text()), tmp_path)
    assert again == made


def test_suspects_without_their_dataset_are_one_line(home, tmp_path, capsys):
    result = maskwright.suspects(home, out=tmp_path / "out")
    shutil.rmtree(home)
    with pytest.raises(
        DataError, match="out: its dataset cannot be read, so the page cannot be drawn: .*no such folder"
    ):
        report(result.folder)


@pytest.fixture
def run(tmp_path):
    return evaluated(tmp_path / "run", write_data(tmp_path / "data", 4), distorted)


def test_explain_writes_its_folder_from_python(run, tmp_path):
    result = maskwright.explain(run, top=1, workers=1)
    assert result.page == run.explanations / "test-001" / "index.html"
    check_promises(read(result.page))
    assert maskwright.explain(run, top=1, workers=1, out=tmp_path / "out").page == tmp_path / "out" / "index.html"
    with pytest.raises(ConfigError, match="never overwritten"):
        maskwright.explain(run, top=1, workers=1, out=tmp_path / "out")


def test_a_crash_while_an_explanation_is_drawn_leaves_no_folder(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("maskwright.reporting.explain_report.write_page", crash)
        with pytest.raises(Crash):
            maskwright.explain(run, top=1, workers=1)
    assert not run.explanations.exists() or not [*run.explanations.iterdir()]
    assert maskwright.explain(run, top=1, workers=1).page == run.explanations / "test-001" / "index.html"


def test_report_draws_an_explanation_again(run):
    result = maskwright.explain(run, top=2, workers=1)
    folder, before = result.page.parent, timeless(result.page)
    overlays = {path: path.read_bytes() for path in folder.rglob("*.jpg")}
    again = read_explanation(folder)
    assert jsonable(again.to_dict()) == json.loads((folder / "explain.json").read_text())
    result.page.unlink()
    next(iter(overlays)).unlink()
    assert report(folder) == result.page and timeless(result.page) == before
    assert {path: path.read_bytes() for path in folder.rglob("*.jpg")} == overlays and len(overlays) == 4


def test_audit_writes_its_folder_from_python(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4})
    assert maskwright.audit(root, workers=1).page is None
    result = maskwright.audit(root, out=tmp_path / "out", overlays=2, workers=1, progress=False)
    assert result.page == tmp_path / "out" / "index.html" and result.folder == tmp_path / "out"
    check_promises(read(result.page))
    assert len([*(tmp_path / "out/overlays/overlays").rglob("*.jpg")]) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.json", "index.html", "overlays"]
    with pytest.raises(ConfigError, match="`overlays` needs `out`"):
        maskwright.audit(root, overlays=2)


def test_a_crash_while_an_audit_is_drawn_leaves_no_folder(tmp_path, monkeypatch):
    root = write_dataset(tmp_path / "data", {"train": 4})
    for name in ("write_page", "draw_overlays"):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["maskwright.reporting.audit_report"], name, crash)
            with pytest.raises(Crash):
                maskwright.audit(root, out=tmp_path / "out", overlays=0, workers=1)
        assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert auditing.audit(root, out=tmp_path / "out", workers=1).page.is_file()


def test_a_dataset_of_which_nothing_can_be_drawn_still_gets_its_page(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 3})
    for path in (root / "images").rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the 3 samples can be drawn"):
        maskwright.audit(root, out=tmp_path / "out", overlays=0, workers=1)
    assert "image.unreadable" in (tmp_path / "out/index.html").read_text("utf-8")


def test_report_draws_an_audit_again(tmp_path, capsys):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    description = f"root: {root}\n" + (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").unlink()  # so that only where it was opened says what it is
    elsewhere = tmp_path / "described"
    elsewhere.mkdir()
    (elsewhere / "dataset.yaml").write_text(description)
    result = maskwright.audit(elsewhere, out=tmp_path / "out", workers=1)
    before = timeless(result.page)
    result.page.write_text("old")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "out"), "--json"])
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out) == {"report": str(result.page)}
    assert timeless(result.page) == before and before.count("<img") > 3


def decided(folder: Path) -> Decision:
    pairs = [("exclude", "keep"), ("repair", "keep"), ("repair", "exclude")]
    return Decision(
        Question("pets", Path("data"), "v", Path("data/.maskwright/suspects-001"), 0.5, ["a", "b"], 3.0),
        "repair",
        "repair them: <b>",
        folder,
        20,
        [15, 15],
        [5, 5],
        {"swollen": 2, "none": 1},
        {way: [0.5, 0.6] for way in WAYS},
        [WayDifference(*pair, Interval(0.01 * place, -0.02, 0.05), [0.1, 0.2]) for place, pair in enumerate(pairs)],
        100,
        (32, 32),
        12.0,
        ["an `estimate`"],
    )


def test_a_decision_has_a_page(tmp_path):
    atomic_write_json(tmp_path / "decision.json", decided(tmp_path).to_dict())
    assert draw_decision(tmp_path) == report(tmp_path) == decided(tmp_path).page
    page = read(tmp_path / "index.html")
    check_promises(page)
    assert "repair them: <b>" in page.text and all(way in page.text for way in WAYS) and "repair – exclude" in page.text
    assert page.source.count('class="strip"') == 3


@pytest.mark.parametrize("name", ["audit", "suspects", "decision", "explain"])
def test_what_is_no_result_is_one_line(tmp_path, name):
    (tmp_path / f"{name}.json").write_text('{"dataset": 3}')
    with pytest.raises(DataError, match=rf"{name}\.json: is no result of "):
        report(tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_an_unknown_folder_names_what_is_known(tmp_path, home):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: nothing to report on; give a run, a study .*`audit --out`, `suspects`"):
        report(tmp_path / "empty")
    result = maskwright.suspects(home)
    with pytest.raises(ConfigError, match="leave `out` out"):
        report(result.folder, out=tmp_path / "page.html")
