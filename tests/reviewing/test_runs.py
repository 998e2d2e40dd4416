"""Runs on the page: how far they are, and what one makes of an image."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from pathlib import Path

import pytest
from review_pages import client_of, make_reviewed

from maskwright.base.storage import exclusive_lock
from maskwright.core.findings import Finding, Severity
from maskwright.data.opening import load_dataset
from maskwright.reviewing import state
from maskwright.reviewing.queue import ACCEPT, DECIDE, DRAW, Lead, audit_leads, explanation_leads
from maskwright.reviewing.runs import _settings, describe_run, describe_study, find_runs
from maskwright.reviewing.server import Server
from scenes import distorted, evaluated, write_data

pytest.importorskip("torch")
from maskwright.studies.folder import write_yaml
from maskwright.studies.searching.folder import Search
from maskwright.studies.study import study
from maskwright.training.train import train
from tiny import config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a run of ten iterations in `runs/`."""
    root = write_dataset(tmp_path_factory.mktemp("runs") / "data", {"train": 6, "val": 3, "test": 2})
    train(config(root), out=root / "runs" / "small-001")
    return root


def test_a_run_is_described(data: Path) -> None:
    (found,) = find_runs([data])
    told = describe_run(found)
    assert (told["name"], told["state"], told["iteration"], told["iterations"]) == ("small-001", "finished", 10, 10)
    assert told["model"] and 0 <= told["val_mIoU"] <= 1 and [x for x, _ in told["scores"]] == [5, 10]
    ended = json.loads((found / "finished.json").read_text())
    (found / "finished.json").write_text(json.dumps(ended | {"iterations": 14}))  # as a budget may have made of it
    assert describe_run(found)["iterations"] == 14
    (found / "finished.json").write_text(json.dumps(ended))
    (found / "finished.json").rename(found / "was.json")
    assert describe_run(found)["state"] == "stopped"
    with exclusive_lock(found):
        assert describe_run(found)["state"] == "running"
    (found / "was.json").rename(found / "finished.json")
    (data / "linked").symlink_to(data, target_is_directory=True)
    assert find_runs([data]) == [found]


def test_the_first_pictures_come_before_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_FIRST", 60.0)
    monkeypatch.setattr(state, "_THEN", 0.0)
    server, audited = Server(make_reviewed(tmp_path / "data")), threading.Event()
    monkeypatch.setattr(server.queue, "audit", lambda _: audited.set())
    server.start()
    assert not audited.wait(0.3)
    assert client_of(server).get("/api/samples/0/thumbnail/label").status_code == 200
    assert audited.wait(30)
    server.stop()


def test_runs_are_found_in_the_folder_beside_it_and_in_runs(tmp_path: Path, data: Path) -> None:
    root = make_reviewed(tmp_path / "work" / "data")
    for place in ("data/run", "run", "runs/run", "other/deeper/run"):
        shutil.copytree(data / "runs/small-001", tmp_path / "work" / place)
    found = {str(run.relative_to(tmp_path / "work")) for run in Server(root).run_folders()}
    assert found == {"data/run", "run", "runs/run"}


def test_a_study_is_a_board_of_its_runs(tmp_path: Path) -> None:
    """The best validation score first, with the settings that differ; its runs have no card of their own."""
    root = write_dataset(tmp_path / "data", {"train": 6, "val": 3, "test": 2})
    base = config(root).to_dict()
    write_yaml(tmp_path / "lr.yaml", {"base": base, "matrix": {"optimizer.lr": [1e-4, 1e-2], "seed": [3]}})
    study(tmp_path / "lr.yaml")
    server = Server(root)
    (path,) = server.study_folders()
    assert path == (tmp_path / "studies" / "lr").resolve() and len(server.run_folders()) == 2
    told = describe_study(path)
    assert (told["kind"], told["keys"]) == ("study", ["optimizer.lr"])
    assert told["compare"] == f"maskwright compare {path}"
    scores = [row["val_mIoU"] for row in told["runs"]]
    assert scores == sorted(scores, reverse=True) and {*scores} == {
        describe_run(Path(row["run"]))["val_mIoU"] for row in told["runs"]
    }
    assert {row["name"]: row["values"] for row in told["runs"]} == {"lr0.0001_seed3": [1e-4], "lr0.01_seed3": [1e-2]}
    answer = client_of(server).get("/api/runs").json()
    assert all(run["in_study"] for run in answer["runs"]) and answer["studies"] == [told]

    first, second = (Path(row["run"]) for row in told["runs"])
    Search(path).prune(first.name, "worse than others")
    (second / "finished.json").unlink()
    with exclusive_lock(path / "jobs" / second.name):
        assert {row["state"] for row in describe_study(path)["runs"]} == {"ended early", "running"}
    (path / "jobs" / second.name / "failed.json").write_text('{"code": 3, "message": "no"}')
    assert {row["state"] for row in describe_study(path)["runs"]} == {"ended early", "failed"}
    shutil.rmtree(second)
    (path / "jobs" / second.name / "failed.json").unlink()
    assert [row["state"] for row in describe_study(path)["runs"]] == ["ended early", "waiting"]
    (path / "jobs" / second.name / "config.yaml").write_text("a: [")
    _settings.cache_clear()
    assert "config.yaml" in describe_study(path)["error"]


def test_a_run_is_tried_on_an_image(data: Path) -> None:
    client = client_of(Server(data))
    assert client.get("/api/runs").json()["lacking"] is None
    image = load_dataset(data)[0].image.read_bytes()
    answer = client.post("/api/try", json={"run": 0, "image": base64.b64encode(image).decode()})
    assert answer.status_code == 200 and base64.b64decode(answer.json()["overlay"])[:2] == b"\xff\xd8"
    assert {one["name"] for one in answer.json()["classes"]} <= {"class_0", "class_1"}
    for wrong in ("", "no base64", base64.b64encode(b"no image").decode()):
        answer = client.post("/api/try", json={"run": 0, "image": wrong})
        assert answer.status_code == 422 and answer.json()["error"].startswith("the image: is not readable")
    assert client.post("/api/try", json={"run": 7, "image": ""}).status_code == 422


def test_the_order_is_wrong_pixels_by_likelihood_by_second(tmp_path: Path) -> None:
    finding = Finding("label.missing", Severity.WARNING, "", "", "a")
    assert Lead("s", finding, 300, 0.5, ACCEPT, 1).gain == 50 > Lead("s", finding, 300, 0.5, DRAW).gain == 5
    dataset = load_dataset(make_reviewed(tmp_path / "data"))
    findings = [Finding("x.y", severity, "", "", dataset[0].name) for severity in Severity]
    gains = [lead.gain for lead in audit_leads(dataset, findings)]
    assert gains == sorted(gains) and gains[-1] == 12 * 16 / DECIDE


def test_explanations_are_in_the_queue(tmp_path: Path) -> None:
    from maskwright.verbs.explain import explain

    root = write_data(tmp_path / "data", 4)
    run = evaluated(root / "runs" / "planted-001", root, distorted)
    explained = explain(run)
    leads = list(explanation_leads([run.path]))
    regions = [region for kind in explained.kinds for region in kind.regions]
    assert len(leads) == len(regions) > 3
    assert sum(lead.pixels for lead in leads) == sum(region.pixels for region in regions)
    server = Server(root)
    assert {lead.source for lead in server.queue.leads()} == {"planted-001 test-001"}
    client = client_of(server)
    row = next(row for row in client.get("/api/dataset").json()["rows"] if row["findings"])
    assert client.get(f"/api/samples/{row['id']}/prediction").status_code == 200  # of the evaluation
    (run.explanations / "test-001" / "explain.json").write_text('{"kinds": 1}')
    assert list(explanation_leads([run.path])) == []
