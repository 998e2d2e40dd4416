"""Work on a real Ray cluster of two nodes, which the test starts: results as without, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import maskwright
from maskwright.base import cluster
from maskwright.base.cluster import working_on
from maskwright.base.workers import in_order
from maskwright.errors import ConfigError, DataError, SetupError
from tiny import write_dataset

ray = pytest.importorskip("ray")
slow = pytest.mark.slow  # a cluster takes half a minute to start
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def here(nodes: Any) -> Iterator[None]:
    with working_on(f"ray:{nodes.address}"):
        yield


def test_without_one_nothing_changes() -> None:
    with working_on(None):
        assert cluster.active() is None and [*in_order(str, [1, 2], 1)] == ["1", "2"]


@pytest.mark.parametrize("on", ["dask", "ray:", "", "rays"])
def test_what_is_no_cluster(on: str) -> None:
    with pytest.raises(ConfigError, match="is not known; give ray, or ray:ADDRESS"), working_on(on):
        pass


def test_one_that_cannot_be_reached() -> None:
    with pytest.raises(SetupError, match=r"ray 127\.0\.0\.1:1: cannot be reached"), working_on("ray:127.0.0.1:1"):
        pass
    assert cluster.active() is None


@slow
@pytest.mark.usefixtures("here")
def test_results_come_in_order_and_errors_where_they_are() -> None:
    def twice(number: int) -> int:
        if number == 70:
            raise DataError("x.png: cannot be read")
        return 2 * number

    assert cluster.active() and cluster.active().cores == 2
    assert [*in_order(twice, range(60), 1)] == [2 * number for number in range(60)]
    found = in_order(twice, range(100), 1)
    assert [next(found) for _ in range(70)] == [2 * number for number in range(70)]
    with pytest.raises(DataError, match=r"^x\.png: cannot be read$"):
        next(found)


@slow
@pytest.mark.usefixtures("here")
def test_paths_are_those_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("here")
    assert [*in_order(lambda name: Path(name).read_text(), ["here.txt"] * 3, 1)] == ["here"] * 3


@slow
@pytest.mark.usefixtures("here")
def test_calls_of_a_process_that_is_killed_are_made_again(tmp_path: Path) -> None:
    def look(number: int) -> int:
        if number == 20 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert [*in_order(look, range(50), 1)] == [*range(50)] and (tmp_path / "killed").exists()


@slow
def test_calls_of_a_node_that_is_lost_are_made_again(nodes: Any) -> None:
    more = nodes.add_node(num_cpus=1)
    with working_on(f"ray:{nodes.address}"):

        def slowly(number: int) -> int:
            time.sleep(0.05)
            return number

        found = in_order(slowly, range(120), 1)
        first = [next(found) for _ in range(10)]
        nodes.remove_node(more, allow_graceful=False)
        assert [*first, *found] == [*range(120)]


COUNTS = """
import sys, time
for number in range(400):
    with open(sys.argv[1], "a") as stream:
        stream.write(".")
    time.sleep(0.05)
"""
ENDS_WITH_ITS_INPUT = "import sys; sys.stdin.read(); sys.exit(130)"


@slow
@pytest.mark.usefixtures("here")
def test_a_process_ends_with_its_input_and_says_how(tmp_path: Path) -> None:
    found = cluster.active()
    assert found
    process = found.process([sys.executable, "-c", ENDS_WITH_ITS_INPUT], tmp_path / "log", 1, gpu=False)
    time.sleep(1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait() == 130
    process = found.process(
        [sys.executable, "-c", "print('said'); raise SystemExit(3)"], tmp_path / "log", 1, gpu=False
    )
    assert process.wait() == 3 and (tmp_path / "log").read_text() == "said\n"


@slow
@pytest.mark.usefixtures("here")
def test_a_process_is_started_again_when_what_stands_beside_it_dies(tmp_path: Path) -> None:
    found = cluster.active()
    assert found
    marker = tmp_path / "marker"
    script = f"import os, pathlib, signal\nmarker = pathlib.Path({str(marker)!r})\nif not marker.exists():\n    marker.touch()\n    os.kill(os.getppid(), signal.SIGKILL)\n"
    process = found.process([sys.executable, "-c", script], tmp_path / "log", 1, gpu=False)
    assert process.wait() == 0 and marker.exists()
    process = found.process([sys.executable, "-c", COUNTS, str(tmp_path / "dots")], tmp_path / "log", 1, gpu=False)
    while not (tmp_path / "dots").exists():
        time.sleep(0.1)
    process.kill()
    time.sleep(0.5)
    size = (tmp_path / "dots").stat().st_size
    time.sleep(0.5)
    assert (tmp_path / "dots").stat().st_size == size < 400


CONFIG = {
    "data": {"root": "data", "image_size": [32, 32]},
    "loss": "ce",
    "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4}},
    "train": {
        "iterations": 60,
        "batch_size": 4,
        "evaluate_every": 10,
        "precision": "float32",
        "channels_last": True,
        "threads": 1,
    },
}


def scores(run: Path) -> dict[str, Any]:
    return json.loads((run / "evaluations" / "test-001" / "scores.json").read_text())


@slow
def test_verbs_give_what_they_give_here(nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit, predict, evaluate and study, with relative paths; a process of the study is killed on its way."""
    write_dataset(tmp_path / "data", {"train": 12, "val": 4, "test": 12})
    monkeypatch.chdir(tmp_path)
    matrix = {"base": CONFIG, "matrix": {"optimizer.lr": [0.01, 0.02]}, "evaluate": ["test"]}
    Path("study.yaml").write_text(yaml.safe_dump(matrix, sort_keys=False))
    here = maskwright.study("study.yaml", out="here")
    run = here.runs[0].run
    audit = maskwright.audit("data", progress=False).to_dict()
    maskwright.predict(run, "data/images/test", out="masks-here")
    exported = maskwright.export(run, out="model.onnx").file
    maskwright.predict(exported, "data/images/test", out="onnx-here")
    with working_on(f"ray:{nodes.address}"):
        assert maskwright.audit("data", progress=False).to_dict() == audit
        maskwright.predict(run, "data/images/test", out="masks-there")
        maskwright.predict(exported, "data/images/test", out="onnx-there")
        maskwright.evaluate(run, split="test", out="scores-there")
        killer = threading.Thread(target=kill_once, args=(tmp_path / "there",))
        killer.start()
        there = maskwright.study("study.yaml", out="there", workers=2)
        killer.join()
    for kind in ("masks", "onnx"):
        names = sorted(file.name for file in Path(f"{kind}-here/masks").rglob("*.png"))
        assert len(names) == 12 and names == sorted(file.name for file in Path(f"{kind}-there/masks").rglob("*.png"))
        for file in Path(f"{kind}-here/masks").rglob("*.png"):
            assert Path(f"{kind}-there/masks", file.relative_to(f"{kind}-here/masks")).read_bytes() == file.read_bytes()
    assert json.loads(Path("scores-there/scores.json").read_text())["scores"] == scores(run)["scores"]
    assert there.states == {"finished": 2}
    for one, other in zip(here.runs, there.runs, strict=True):
        for file in ("metrics.jsonl", "checkpoints/best.safetensors", "checkpoints/last.safetensors"):
            assert (one.run / file).read_bytes() == (other.run / file).read_bytes(), file
        assert scores(one.run)["scores"] == scores(other.run)["scores"]


def kill_once(study: Path) -> None:
    """Kills the Ray process beside the first training that has logged something."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if "maskwright.studies.worker" in line and str(study) in line and [*study.glob("runs/*/metrics.jsonl")]:
                process.parent().kill()
                return
        time.sleep(0.1)
