"""The trials of a search in a real PostgreSQL server, which the test starts."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskwright.studies.searching.folder import Search
from maskwright.studies.searching.sampling import opened
from maskwright.studies.searching.space import load_search
from maskwright.studies.searching.trials import Trials
from tiny import write_dataset

SEARCH: dict[str, Any] = {
    "base": {
        "data": {"root": "data", "image_size": [32, 32]},
        "loss": "ce",
        "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4}},
        "train": {"iterations": 6, "batch_size": 4, "evaluate_every": 2, "precision": "float32", "threads": 1},
    },
    "space": {"optimizer.lr": {"low": 0.0001, "high": 0.1, "log": True}},
    "trials": 6,
}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a database."""
    if not shutil.which("initdb") or not shutil.which("pg_ctl"):
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg")
    user: str | None = None
    if os.geteuid() == 0:  # PostgreSQL refuses to be root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL needs a user that is not root")
    folder = Path(tempfile.mkdtemp())
    if user:
        shutil.chown(folder, user)
    port, data = _free_port(), folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    run("initdb", "--pgdata", str(data), "--username", "me", "--auth", "trust", "--no-sync")
    run(
        *("pg_ctl", "--pgdata", str(data), "--wait", "--log", str(folder / "log")),
        *("--options", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off", "start"),
    )
    try:
        yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "--pgdata", str(data), "--mode", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def put(folder: Path, **more: Any) -> Path:
    file = folder / "search.yaml"
    file.write_text(yaml.safe_dump(SEARCH | more, sort_keys=False))
    return file


def test_two_leaders_share_the_trials_of_a_database(server: str, tmp_path: Path) -> None:
    search = Search(tmp_path / "found")
    space = search.begin(load_search(put(tmp_path, storage=server, name="shared")).config)
    with ExitStack() as stack:
        leaders = []
        for _ in range(2):
            study = stack.enter_context(opened(search, space.config, lower_is_better=False))
            leaders.append(Trials(search, space, study, lambda: False))
            stack.enter_context(leaders[-1].leading())
        names = []
        while name := leaders[len(names) % 2].next_run():
            names.append(name)
    assert names == [f"trial-{i:04d}" for i in range(6)]
    with opened(search, space.config, lower_is_better=False) as study:
        assert len({one.params["optimizer.lr"] for one in study.trials}) == 6 and "seconds" in study.user_attrs


@pytest.mark.slow
def test_two_processes_make_one_search_of_a_database(server: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", {"train": 6, "val": 2, "test": 2})
    command = [sys.executable, "-m", "maskwright", "search", str(put(tmp_path, storage=server, name="two"))]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    found = json.loads((tmp_path / "searches" / "search" / "search.json").read_text())
    assert [one["name"] for one in found["trials"]] == [f"trial-{i:04d}" for i in range(6)]
    assert found["complete"] and {*found["states"]} <= {"finished", "pruned"} and found["test"]
