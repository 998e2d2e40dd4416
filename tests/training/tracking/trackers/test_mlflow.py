"""MLflow: its client against a server of a few lines, and, slowly, against its own server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from made_runs import add_evaluation, log, logged, make_run
from maskwright.training.tracking.delivery import spool
from maskwright.training.tracking.delivery.cursor import Cursor
from maskwright.training.tracking.delivery.sync import sync
from maskwright.training.tracking.trackers.mlflow import allowed_name

pytest.importorskip("mlflow")


def expected(run):
    return Counter({(allowed_name(name), step, value): n for (name, step, value), n in logged(run).items()})


class Server(ThreadingHTTPServer):
    """The endpoints that a delivery needs, with everything kept in memory."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.experiments, self.runs, self.metrics, self.params, self.files = {}, {}, Counter(), {}, {}
        self.requests: list[str] = []
        self.takes_files = True


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, body, status=200):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        server = self.server
        path = urlsplit(self.path).path.removeprefix("/api/2.0/")
        server.requests.append(path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT" and path.startswith("mlflow-artifacts/artifacts/"):
            if not server.takes_files:
                return self.answer({"error_code": "PERMISSION_DENIED", "message": "no files here"}, 403)
            server.files[path.removeprefix("mlflow-artifacts/artifacts/")] = raw
            return self.answer({})
        given = (
            json.loads(raw) if raw else {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
        )
        run = server.runs.get(given.get("run_id"), {})
        match path.removeprefix("mlflow/"):
            case "experiments/get-by-name":
                found = server.experiments.get(given["experiment_name"])
                if not found:
                    return self.answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}, 404)
                return self.answer({"experiment": {"experiment_id": found, "name": given["experiment_name"]}})
            case "experiments/create":
                server.experiments[given["name"]] = "7"
                return self.answer({"experiment_id": "7"})
            case "runs/search":
                found = [
                    run
                    for run in server.runs.values()
                    if any(f"'{tag['value']}'" in given["filter"] for tag in run["data"]["tags"])
                ]
                return self.answer({"runs": found})
            case "runs/create":
                run = {
                    "info": {
                        "run_id": "r1",
                        "run_uuid": "r1",
                        "experiment_id": "7",
                        "status": "RUNNING",
                        "run_name": given["run_name"],
                        "start_time": given["start_time"],
                        "lifecycle_stage": "active",
                        "artifact_uri": "mlflow-artifacts:/7/r1/artifacts",
                    },
                    "data": {"tags": given["tags"]},
                }
                server.runs["r1"] = run
                return self.answer({"run": run})
            case "runs/log-batch":
                server.params |= {param["key"]: param["value"] for param in given.get("params", [])}
                for metric in given.get("metrics", []):
                    server.metrics[metric["key"], metric["step"], metric["value"], metric["timestamp"]] = 1
                return self.answer({})
            case "runs/update":
                run["info"]["status"] = given["status"]
                return self.answer({"run_info": run["info"]})
            case "runs/set-tag":
                run["data"]["tags"].append({"key": given["key"], "value": given["value"]})
                return self.answer({})
            case "runs/get":
                return self.answer({"run": run})
        return self.answer({"error_code": "ENDPOINT_NOT_FOUND", "message": path}, 404)

    do_GET = do_POST = do_PUT = do_PATCH = handle_any


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_against_a_small_server(tmp_path, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden")
    uri = f"http://127.0.0.1:{server.server_port}"
    run = make_run(tmp_path / "run", [{"name": "mlflow", "uri": uri, "experiment": "trees", "artifacts": True}])
    add_evaluation(run, "test-001", 0.75)
    result = sync(run, timeout="120s")
    assert result.complete, result.human()
    assert result.runs[str(run.path)][0].where == f"{uri}/#/experiments/7/runs/r1"
    logged_metrics = Counter((name, step, value) for name, step, value, _ in server.metrics)
    scores = Counter({("test/mIoU", 1, 0.75): 1, ("test/iou/ground", 1, 0.25): 1})
    assert logged_metrics == expected(run) + scores
    assert server.params["model.name"] == "UNet" and server.params["train.iterations"] == "40"
    assert server.experiments == {"trees": "7"}
    tags = {tag["key"]: tag["value"] for tag in server.runs["r1"]["data"]["tags"]}
    assert tags["dataset_version"] == "abc" and tags["best_checkpoint"] == str(run.best)
    assert server.runs["r1"]["info"]["status"] == "FINISHED" and server.runs["r1"]["info"]["run_name"] == "run"
    assert {name.removeprefix("7/r1/artifacts/"): data for name, data in server.files.items()} == {
        "samples/000020.png": run.sample_file(20).read_bytes(),
        "samples/000040.png": run.sample_file(40).read_bytes(),
        "checkpoints/best.safetensors": run.best.read_bytes(),
    }
    assert not any(b"hidden" in path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    requests = len(server.requests)
    assert sync(run, timeout="120s").complete and len(server.requests) == requests


@pytest.mark.slow
def test_a_server_that_takes_no_files_gets_the_rest(tmp_path, server):
    server.takes_files = False
    uri = f"http://127.0.0.1:{server.server_port}"
    run = make_run(tmp_path / "run", [{"name": "mlflow", "uri": uri}])
    result = sync(run, timeout="120s")
    assert result.complete and "without pictures (" in result.human() and not server.files
    assert Counter((name, step, value) for name, step, value, _ in server.metrics) == expected(run)


@pytest.fixture
def real_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = f"sqlite:///{tmp_path}/server.db"
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        str(tmp_path / "server"),
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            end = time.monotonic() + 180
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                        assert answer.status == 200
                        break
                except OSError:
                    assert time.monotonic() < end and process.poll() is None, "mlflow server does not start"
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def asked(uri, path, **body):
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/{path}",
        json.dumps(body).encode() if body else None,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
def test_killed_in_the_middle_of_deliveries_to_a_real_server(tmp_path, real_server):
    """Killed again and again while the log grows; at the end the server has every value once."""
    run = make_run(tmp_path / "run", [{"name": "mlflow", "uri": real_server}], steps=20, finished=False)
    for kill in range(4):
        with spool.start(run, "mlflow", 60.0, follow=True) as child:
            known = Cursor.read(run, "mlflow").records
            log(run, range(30 + 100 * kill, 130 + 100 * kill, 10))
            end = time.monotonic() + 120
            while True:
                cursor = Cursor.read(run, "mlflow")
                if cursor.records > known or (kill % 2 and cursor.sending):  # after an answer, or before
                    break
                assert time.monotonic() < end, cursor
                time.sleep(0.001)
            child.kill()
    run.finish({})
    add_evaluation(run, "test-001")
    assert sync(run, timeout="120s").complete
    cursor = Cursor.read(run, "mlflow")
    (found,) = asked(real_server, "runs/search", experiment_ids=[cursor.state["experiment_id"]])["runs"]
    assert found["info"]["status"] == "FINISHED" and found["info"]["run_id"] == cursor.state["run_id"]
    history = Counter()
    for metric in found["data"]["metrics"]:
        query = f"metrics/get-history?run_id={cursor.state['run_id']}&metric_key={urllib.request.quote(metric['key'])}"
        history.update(
            (metric["key"], int(row["step"]), row["value"])
            for row in asked(real_server, query)["metrics"]
            if "test/" not in metric["key"]
        )
    assert history == expected(run)
    files = asked(real_server, f"artifacts/list?run_id={cursor.state['run_id']}&path=samples")["files"]
    assert [file["path"] for file in files] == [f"samples/{step:06d}.png" for step in range(20, 421, 20)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_dead_servers_are_given_up(tmp_path, kind):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        port = hole.getsockname()[1] if kind == "silent" else 9
        run = make_run(tmp_path / "run", [{"name": "mlflow", "uri": f"http://127.0.0.1:{port}"}])
        result = sync(run, timeout="60s").runs[str(run.path)][0]
    assert result.delivered == 0 and result.problem == {"refusing": "Connection refused", "silent": "timed out"}[kind]


@pytest.mark.slow
def test_a_database_beside_the_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_run(tmp_path / "run", ["mlflow"])
    result = sync(run, timeout="120s")
    assert result.complete and (run.trackers / "mlflow" / "mlflow.db").exists()
    assert list((run.trackers / "mlflow" / "artifacts").rglob("000040.png"))
    assert result.runs[str(run.path)][0].where == f"sqlite:///{run.trackers}/mlflow/mlflow.db"
