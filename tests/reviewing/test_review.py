"""The verb: what it refuses, and a whole visit from the command line."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import maskwright
from helpers import make_dataset
from maskwright.base import extras
from maskwright.cli import main
from maskwright.errors import ConfigError, DataError, SetupError


def test_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset(tmp_path / "data", images=4, size=(8, 8))
    for token in (None, "short"):
        with pytest.raises(ConfigError, match=r"others can reach it there; give `token` with it"):
            maskwright.review(data, host="0.0.0.0", token=token, browser=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SetupError, match="cannot listen there"):
            maskwright.review(data, port=taken.getsockname()[1], browser=False)
    with pytest.raises(DataError):
        maskwright.review(tmp_path / "nothing", browser=False)
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        main(["review", str(data), "--no-browser"])
    assert stopped.value.code == 4
    with pytest.raises(SetupError, match=r"fastapi, uvicorn: not installed; `pip install maskwright\[review\]`"):
        maskwright.review(data)


def test_a_visit_that_ends_with_ctrl_c(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", images=4, size=(8, 8), describe=True)
    command = [sys.executable, "-m", "maskwright", "review", str(data), "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        link = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)[0]
        with httpx.Client(follow_redirects=True) as client:
            page = client.get(link)
            assert page.status_code == 200 and "Maskwright review" in page.text
            origin = link.partition("/?")[0]
            row = client.get(f"{origin}/api/dataset").json()["rows"][0]
            change = {"revision": row["revision"], "status": "exclude"}
            answer = client.post(f"{origin}/api/samples/0/edit", json=change, headers={"origin": origin})
            assert answer.status_code == 200
            assert httpx.get(f"{origin}/api/dataset").status_code == 401
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=60)
    assert process.returncode == 0 and out == "" and rest.endswith("ended; all edits are saved\n"), rest
    assert maskwright.load_dataset(data)[0].status == "exclude"


def test_the_server_needs_no_torch() -> None:
    code = "import sys\nfor name in ('torch', 'sklearn', 'timm'): sys.modules[name] = None\nimport maskwright.reviewing.server"
    subprocess.run([sys.executable, "-c", code], check=True)
