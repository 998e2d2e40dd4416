"""Every route, what it answers, and whom it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from review_pages import HOST, ORIGIN, PORT, client_of, make_reviewed, runs_of

from helpers import write
from maskwright import next as choose_next
from maskwright.base.storage import atomic_write_json
from maskwright.core.edits import edits
from maskwright.data.opening import load_dataset
from maskwright.labels.choosing.results import mask_file
from maskwright.reviewing import security
from maskwright.reviewing.queue import TO_DRAW
from maskwright.reviewing.security import Access
from maskwright.reviewing.server import Server, build_app


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_reviewed(tmp_path / "data")


@pytest.fixture
def server(data: Path) -> Server:
    return Server(data)


@pytest.fixture
def client(server: Server) -> TestClient:
    return client_of(server)


def rows(client: TestClient) -> list[dict]:
    return client.get("/api/dataset").json()["rows"]


def mask_of(answer: object) -> np.ndarray:
    return np.frombuffer(answer.content, np.uint8).reshape(
        int(answer.headers["x-height"]), int(answer.headers["x-width"])
    )


# A request for each route; of the ones that change something, with a body that it would understand.
GETS = [
    "/",
    "/static/app.js",
    "/api/dataset",
    "/api/state",
    "/api/samples/0/thumbnail/image",
    "/api/samples/0/thumbnail/label",
    "/api/samples/0/image",
    "/api/samples/0/mask",
    "/api/samples/0/prediction",
    "/api/samples/0/proposal",
    "/api/runs",
    "/pages/output/suspects-001/index.html",
    "/pages/run/0/report.html",
    "/pages/study/0/report.html",
]
POSTS = {
    "/api/samples/0/edit": {"revision": "", "status": "exclude"},
    "/api/samples/0/answer": {"revision": "", "folder": "suspects-001", "number": 1, "accept": True},
    "/api/undo": {"batch": None},
    "/api/redo": {"batch": None},
    "/api/samples/0/scissors": {"start": [1, 1], "end": [9, 9]},
    "/api/samples/0/scribble": {"runs": [0, 96, 1, 96]},
    "/api/samples/0/region": {"class": 1, "box": [2, 2, 9, 8], "runs": [0, 192]},
    "/api/try": {"run": 0, "image": ""},
}


def test_the_lists_above_have_every_route(server: Server) -> None:
    here = {
        route.path.replace("{number}", "0").replace("{place}", "0")
        for route in build_app(server).routes
        if "POST" in route.methods
    }
    assert here == POSTS.keys()
    assert sum("GET" in route.methods for route in build_app(server).routes) == len(GETS) - 1  # one has two kinds


@pytest.mark.parametrize("path", [*GETS, *POSTS])
def test_no_route_without_the_cookie_or_for_others(server: Server, data: Path, path: str) -> None:
    client, stranger = client_of(server), client_of(server, opened=False)

    def ask(client: TestClient, headers: dict[str, str]) -> int:
        if path in POSTS:
            return client.post(path, json=POSTS[path], headers=headers).status_code
        return client.get(path, headers=headers).status_code

    assert ask(stranger, {}) == 401
    assert ask(stranger, {"cookie": f"{stranger.access.cookie}=wrong"}) == 401
    for foreign in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://{HOST}", ORIGIN + ".evil.example"):
        assert ask(client, {"origin": foreign}) == 403
    for host in (
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"127.0.0.1.evil.example:{PORT}",
        "",
    ):
        assert ask(client, {"host": host}) == 403
    assert edits(data).batches == ()


def test_the_token_opens_once(server: Server) -> None:
    client = client_of(server, opened=False)
    token = client.access.token
    assert client.get("/", params={"token": "wrong"}).status_code == 403
    answer = client.get("/", params={"token": token}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and token not in cookie
    assert client.get("/", params={"token": token}).status_code == 200  # the same browser, with its cookie
    client.cookies.clear()
    assert client.get("/", params={"token": token}).status_code == 403
    assert client.access.token != token and client.get("/", params={"token": client.access.token}).status_code == 200
    chosen = Access("10.0.0.1", PORT, "a token of sixteen or more")
    assert chosen.open("a token of sixteen or more") and chosen.open("a token of sixteen or more")


def test_hosts_by_name_and_address() -> None:
    here = {host: Access(host, 80, "t").is_here for host in ("127.0.0.1", "10.0.0.1", "0.0.0.0")}
    assert here["127.0.0.1"]("localhost:80") and here["127.0.0.1"]("[::1]:80") and not here["127.0.0.1"]("10.0.0.1:80")
    assert here["10.0.0.1"]("10.0.0.1:80") and not here["10.0.0.1"]("localhost:80")
    assert here["0.0.0.0"]("192.168.0.7:80") and not here["0.0.0.0"]("evil.example:80")


def test_every_answer_allows_no_script_but_the_pages_own(client: TestClient) -> None:
    for path in ("/", "/api/state", "/api/samples/99/mask", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
    assert client.put("/api/undo", json={}).status_code == 405 and client.get("/docs").status_code == 404


def test_changes_are_json_of_bounded_size(client: TestClient, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = rows(client)[0]
    body = json.dumps({"revision": row["revision"], "status": "exclude"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert client.post("/api/samples/0/edit", content=body, headers={"content-type": kind}).status_code == 415
    monkeypatch.setattr(security, "MOST_BYTES", 1000)
    long = body + " " * 1000
    assert (
        client.post("/api/samples/0/edit", content=long, headers={"content-type": "application/json"}).status_code
        == 413
    )

    def endless():
        for _ in range(50):
            yield b" " * 100

    answer = client.post("/api/samples/0/edit", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code >= 400 and edits(data).batches == ()
    for wrong in (
        {},
        {"revision": "", "status": "gone"},
        {"revision": "", "more": 1},
        {"revision": "", "runs": ["0"]},
        [],
    ):
        answer = client.post("/api/samples/0/edit", json=wrong)
        assert answer.status_code == 422 and answer.json()["error"]
    assert (
        client.post("/api/samples/0/edit", content=body, headers={"content-type": "application/json"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e%2fserver.py",
        "/static/..%5cserver.py",
        "/pages/output/suspects-001/../edits.jsonl",
        "/pages/output/suspects-001/%2e%2e/edits.jsonl",
        "/pages/output/suspects-001//etc/passwd",
        "/pages/output/suspects-001/suspects.json",
        "/pages/output/%2e%2e/index.html",
        "/pages/run/-1/index.html",
        "/pages/study/-1/index.html",
        "/pages/study/0/index.html",
        "/api/samples/-1/image",
        "/api/samples/99/image",
        "/api/samples/x/image",
    ],
)
def test_nothing_leads_outside(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 422) and b"root:" not in answer.content


def test_masks_come_and_go_exactly(client: TestClient, data: Path) -> None:
    dataset = load_dataset(data)
    answer = client.get("/api/samples/0/mask")
    assert (mask_of(answer) == dataset.read_mask(dataset[0])).all()
    mask = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), mask_of(answer).shape)
    body = {"revision": answer.headers["x-revision"], "runs": runs_of(mask)}
    after = client.post("/api/samples/0/edit", json=body)
    assert (
        after.status_code == 200
        and after.json()["rows"][0]["edited"]
        and after.json()["undo"]["what"].startswith("mask")
    )
    dataset = load_dataset(data)
    assert (dataset.read_mask(dataset[0]) == mask).all() and edits(data).batches[0].reason == "review"
    assert client.post("/api/samples/0/edit", json=body).status_code == 409
    new = after.json()["rows"][0]["revision"]
    for wrong in ([0, 1], [0, 12 * 16, 1], [7, 12 * 16], [-1, 12 * 16], [0, -1, 0, 12 * 16 + 1], [0, 2**80]):
        answer = client.post("/api/samples/0/edit", json={"revision": new, "runs": wrong})
        assert answer.status_code == 422 and "reload the page" in answer.json()["error"]
    assert client.post("/api/samples/0/edit", json={"revision": new}).status_code == 400


def test_proposals_are_accepted_and_refused_and_that_is_undone(client: TestClient, data: Path) -> None:
    before, proposed = mask_of(client.get("/api/samples/0/mask")), mask_of(client.get("/api/samples/0/proposal"))
    assert (before != proposed).any() and (proposed[2:5, 1:5] == 2).all()
    listed = rows(client)
    assert [len(row["findings"]) for row in listed] == [1, 1, 0, 0]
    answer = {"revision": listed[0]["revision"], "folder": "suspects-001", "number": 1, "accept": True}
    row = client.post("/api/samples/0/answer", json=answer).json()["rows"][0]
    assert row["findings"][0]["answer"] == "accepted" and not row["judged"]
    assert (mask_of(client.get("/api/samples/0/mask")) == proposed).all()
    refuse = {**answer, "revision": listed[1]["revision"], "accept": False}
    state = client.post("/api/samples/1/answer", json=refuse).json()
    assert state["rows"][0]["findings"][0]["answer"] == "refused" and not state["rows"][0]["edited"]
    fresh = client_of(Server(data))  # after a restart
    assert [row["findings"][0]["answer"] for row in rows(fresh)[:2]] == ["refused", "accepted"][::-1]
    for _ in range(2):
        state = fresh.post("/api/undo", json={"batch": fresh.get("/api/state").json()["undo"]["batch"]}).json()
    assert state["undo"] is None and not any(finding["answer"] for row in rows(fresh) for finding in row["findings"])
    assert (mask_of(fresh.get("/api/samples/0/mask")) == before).all()
    assert fresh.post("/api/redo", json={"batch": state["redo"]["batch"]}).json()["rows"][0]["edited"]
    assert fresh.post("/api/redo", json={"batch": "99"}).status_code == 409
    assert fresh.post("/api/samples/2/answer", json=answer | {"folder": "suspects-002"}).status_code == 422


def test_pictures(client: TestClient, data: Path) -> None:
    dataset = load_dataset(data)
    answer = client.get("/api/samples/0/image")
    assert answer.content == dataset[0].image.read_bytes() and answer.headers["content-type"] == "image/png"
    assert (mask_of(client.get("/api/samples/0/prediction")) == dataset.read_mask(dataset[0])).all()
    thumbs = [client.get(f"/api/samples/0/thumbnail/{kind}").content for kind in ("image", "label")]
    assert thumbs[0][:2] == thumbs[1][:2] == b"\xff\xd8" and thumbs[0] != thumbs[1]
    kept = data / ".maskwright" / "review" / "thumbnails"
    assert len([*kept.iterdir()]) == 2
    assert client.get("/api/samples/3/proposal").status_code == 422
    dataset[0].image.unlink()
    assert [client.get(path).status_code for path in (GETS[4], GETS[6])] == [422, 422]


def test_assistance_answers_with_masks_and_changes_nothing(client: TestClient, data: Path) -> None:
    mask = mask_of(client.get("/api/samples/0/mask"))
    points = client.post("/api/samples/0/scissors", json={"start": [1, 1], "end": [9.7, 9]}).json()["points"]
    assert points[0] == [1.5, 1.5] and points[-1] == [9.5, 9.5]
    strokes = np.full((12, 16), 254, np.uint8)
    strokes[0, :5], strokes[6, 7:9] = 0, 1
    found = mask_of(client.post("/api/samples/0/scribble", json={"runs": runs_of(strokes)}))
    assert (found[strokes != 254] == strokes[strokes != 254]).all() and {*np.unique(found)} == {0, 1}
    box = {"class": 2, "runs": runs_of(mask), "box": [1, 1, 12, 9]}
    found = mask_of(client.post("/api/samples/0/region", json=box))
    assert ((found == mask) | (found == 2) | (mask == 2)).all() and (found == 2).any()
    y, x = (int(at) for at in np.argwhere(mask == 1)[0])
    point = {"class": 2, "runs": runs_of(mask), "point": [x, y]}
    changed = mask_of(client.post("/api/samples/0/region", json=point)) != mask
    assert changed[y, x] and (mask[changed] == 1).all()  # what the models see there, which is the label's region
    for path, wrong in (
        ("scissors", {"start": ["x", 1], "end": [1, 1]}),
        ("scissors", {"start": [1e400, 1], "end": [1, 1]}),
        ("scribble", {"runs": [3, 192]}),
        ("scribble", {"runs": [0, 1]}),
        ("region", {"class": 9, "runs": runs_of(mask), "box": [1, 1, 12, 9]}),
        ("region", {"class": 1, "runs": runs_of(mask)}),
    ):
        body = json.dumps(wrong).replace("Infinity", "1e999")
        answer = client.post(f"/api/samples/0/{path}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422 and answer.json()["error"], (path, wrong)
    assert client.post("/api/samples/0/scribble", json={"runs": [0, 192]}).status_code == 400  # one class alone
    assert edits(data).batches == ()


def test_a_search_that_ended_since_is_taken_up(client: TestClient, data: Path) -> None:
    before = client.get("/api/state").json()["state"]
    old = data / ".maskwright" / "suspects-001"
    shutil.copytree(old, data / ".maskwright" / "suspects-002")
    assert client.get("/api/state").json()["state"] != before
    assert {finding["source"] for row in rows(client) for finding in row["findings"]} == {"suspects-002"}


def test_the_audit_runs_beside_and_is_kept(data: Path) -> None:
    server = Server(data)
    server.queue.audit(server.store.now()[0])
    assert server.queue.audit_state == "done" and {lead.source for lead in server.queue.leads()} == {
        "suspects-001",
        "audit",
    }
    again = Server(data)
    again.queue._run = None  # which would fail
    again.queue.audit(again.store.now()[0])
    assert again.queue.audit_state == "done" and len(again.queue.leads()) == len(server.queue.leads())


def test_pages_of_runs_and_outputs_are_strangers_here(client: TestClient, data: Path) -> None:
    page = data / ".maskwright" / "suspects-001" / "index.html"
    page.write_text("<script>1</script>")
    run = data / "runs" / "small-001"
    atomic_write_json(run / "run.json", {})
    (run / "report-001.html").write_text("<p>")
    listed = client.get("/api/runs").json()
    assert listed["outputs"] == [{"name": "suspects-001", "pages": ["index.html"]}]
    assert [(one["name"], one["pages"], one["state"]) for one in listed["runs"]] == [
        ("small-001", ["report-001.html"], "unreadable")
    ]
    for path in ("/pages/output/suspects-001/index.html", "/pages/run/0/report-001.html"):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-security-policy"].startswith(
            "sandbox allow-scripts "
        )
        assert "allow-same-origin" not in answer.headers["content-security-policy"]


def test_what_next_has_chosen_is_in_the_queue_until_it_has_a_mask(data: Path) -> None:
    before = load_dataset(data)
    names, truth = [before[2].name, before[3].name], before.read_mask(before[2])
    for name in names:
        before[name].mask.unlink()
    chosen = choose_next(data, count=2)
    first = chosen.images[0].sample
    file = mask_file(chosen.folder, first)
    write(file, truth)
    client = client_of(Server(data))

    def listed() -> dict[str, list[dict]]:
        return {
            row["name"]: [one for one in row["findings"] if one["code"] == TO_DRAW]
            for row in rows(client)
            if not row["labelled"]
        }

    found = listed()
    assert {name for name, leads in found.items() if leads} == {*names}
    gains = {name: lead["pixels"] * lead["score"] / lead["seconds"] for name, (lead,) in found.items()}
    assert max(gains, key=gains.get) == first and found[first][0]["message"] == "; ".join(chosen.images[0].reasons)
    number = next(row["id"] for row in rows(client) if row["name"] == first)
    assert (mask_of(client.get(f"/api/samples/{number}/prediction")) == truth).all()
    revision = rows(client)[number]["revision"]
    body = {"revision": revision, "runs": runs_of(truth)}
    assert client.post(f"/api/samples/{number}/edit", json=body).status_code == 200
    assert first not in listed() and not any(one["code"] == TO_DRAW for one in rows(client)[number]["findings"])
    (chosen.folder / "next.json").write_text('{"images": [{}]}')
    assert len(rows(client_of(Server(data)))) == 4
