"""Every verb that shares its work, on a real Ray cluster of which a process and a node are lost meanwhile; and a command
that is itself killed, and goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest
import torch
import yaml

import maskwright
from helpers import draw_pair, write
from maskwright.base.cluster import working_on
from maskwright.errors import Interrupted
from tiny import write_dataset

ray = pytest.importorskip("ray")
R = TypeVar("R")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TRAIN = {
    "iterations": 150,
    "batch_size": 4,
    "evaluate_every": 50,
    "precision": "float32",
    "channels_last": True,
    "threads": 1,
}
CONFIG = {
    "data": {"root": "data", "image_size": [32, 32]},
    "loss": "ce",
    "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4}},
    "train": TRAIN,
}
SMALL = ("model.name=UNet", "model.encoder=null", "model.args={channels: [4], bottleneck: 4}", "train.threads=1")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of the cluster: sums of several threads differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small data, a run on it, and large images."""
    folder = tmp_path_factory.mktemp("verbs")
    write_dataset(folder / "data", {"train": 12, "val": 4, "test": 12})
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(CONFIG | {"data": {"root": str(folder / "data"), "image_size": [32, 32]}}))
    maskwright.train(config, out=folder / "run")
    rng = np.random.default_rng(0)
    for number in range(120):
        image, mask = draw_pair(rng, (768, 768), 2)
        write(folder / f"large/images/test/{number:03}.png", image)
        write(folder / f"large/masks/test/{number:03}.png", mask.astype(np.uint8))
    text = (folder / "data/dataset.yaml").read_text()
    (folder / "large/dataset.yaml").write_text(text.replace("{train: train, val: val, test: test}", "{test: test}"))
    return folder


def under_fire(nodes: Any, call: Callable[[], R], name: str) -> R:
    """What is called on the cluster, while a process of it whose title begins with `name` is killed, and then one of
    its three nodes."""
    more, over, struck = nodes.add_node(num_cpus=1), threading.Event(), []

    def strike() -> None:
        while not over.is_set():
            for process in psutil.process_iter(["cmdline"]):
                if (process.info["cmdline"] or [""])[0].startswith(f"ray::{name}"):
                    process.kill()
                    struck.append("process")
                    time.sleep(0.3)
                    if not over.is_set():
                        nodes.remove_node(more, allow_graceful=False)
                        struck.append("node")
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=strike)
    with working_on(f"ray:{nodes.address}"):
        thread.start()
        try:
            found = call()
        finally:
            over.set()
            thread.join()
    assert struck == ["process", "node"], struck
    return found


def same_files(one: Path, other: Path, pattern: str, least: int) -> None:
    names = sorted(file.relative_to(one).as_posix() for file in one.rglob(pattern))
    assert len(names) >= least and names == sorted(file.relative_to(other).as_posix() for file in other.rglob(pattern))
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_audit(nodes: Any, made: Path) -> None:
    here = maskwright.audit(made / "large", progress=False).to_dict()
    assert under_fire(nodes, lambda: maskwright.audit(made / "large", progress=False).to_dict(), "_call") == here


def test_predict(nodes: Any, made: Path, tmp_path: Path) -> None:
    images = made / "large/images/test"
    maskwright.predict(made / "run", images, out=tmp_path / "here")
    under_fire(nodes, lambda: maskwright.predict(made / "run", images, out=tmp_path / "there"), "_call")
    same_files(tmp_path / "here/masks", tmp_path / "there/masks", "*.png", 120)


def test_evaluate(nodes: Any, made: Path, tmp_path: Path) -> None:
    def scored(name: str) -> Any:
        maskwright.evaluate(made / "run", data=made / "large", out=tmp_path / name)
        return json.loads((tmp_path / name / "scores.json").read_text())["scores"]

    here = scored("here")
    assert under_fire(nodes, lambda: scored("there"), "_call") == here


def test_study(nodes: Any, made: Path, tmp_path: Path) -> None:
    base = CONFIG | {"data": {"root": str(made / "data"), "image_size": [32, 32]}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"base": base, "matrix": {"optimizer.lr": [0.01, 0.02, 0.03]}}, sort_keys=False))
    here = maskwright.study(file, out=tmp_path / "here")
    there = under_fire(nodes, lambda: maskwright.study(file, out=tmp_path / "there", workers=2), "_Beside")
    assert there.states == here.states == {"finished": 3}
    same_files(tmp_path / "here/runs", tmp_path / "there/runs", "metrics.jsonl", 3)
    same_files(tmp_path / "here/runs", tmp_path / "there/runs", "*.safetensors", 6)


def test_search(nodes: Any, made: Path, tmp_path: Path) -> None:
    base = CONFIG | {"data": {"root": str(made / "data"), "image_size": [32, 32]}}
    space = {"optimizer.lr": {"low": 0.0001, "high": 0.1, "log": True}}
    asked = {"base": base, "space": space, "trials": 4, "pruner": "none", "sampler": "random"}
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(asked, sort_keys=False))
    here = maskwright.search(file, out=tmp_path / "here")
    there = under_fire(nodes, lambda: maskwright.search(file, out=tmp_path / "there", workers=2), "_Beside")
    assert [one.score for one in there.trials] == [one.score for one in here.trials]
    same_files(tmp_path / "here/runs", tmp_path / "there/runs", "metrics.jsonl", 4)
    same_files(tmp_path / "here/runs", tmp_path / "there/runs", "best.safetensors", 4)


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_suspects(nodes: Any, made: Path, tmp_path: Path, weights: str) -> None:
    """By whole trainings, and by decoders over one pretrained encoder, which comes with the extra `train`."""
    overrides = ("train.iterations=120", *(SMALL if weights == "none" else ("train.threads=1",)))

    def found(name: str) -> None:
        maskwright.suspects(made / "data", out=tmp_path / name, weights=weights, folds=4, overrides=overrides)

    found("here")
    under_fire(nodes, lambda: found("there"), "_call")
    same_files(tmp_path / "here/probabilities", tmp_path / "there/probabilities", "*.png", 28)
    assert (tmp_path / "here/ranked.txt").read_text() == (tmp_path / "there/ranked.txt").read_text()


def recorded(out: Path) -> list[str]:
    """The names of the masks that are noted as done, each once."""
    file = out / "predictions.jsonl"
    text = file.read_text() if file.exists() else ""
    names = [json.loads(line)["mask"] for line in text[: text.rfind("\n") + 1].splitlines()]
    assert len({*names}) == len(names)
    return [name.removeprefix("masks/") for name in names]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_stopped_goes_on(nodes: Any, made: Path, tmp_path: Path, number: int) -> None:
    images = made / "large/images/test"
    words = ["predict", str(made / "run"), str(images), "--on", f"ray:{nodes.address}", "--out"]
    command = [sys.executable, "-m", "maskwright", *words, str(tmp_path / "there")]
    maskwright.predict(made / "run", images, out=tmp_path / "here")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not recorded(tmp_path / "there"):
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == (Interrupted.exit_code if number == signal.SIGINT else -number), said
    masks = tmp_path / "there/masks"
    before = {name: (masks / name).stat().st_mtime_ns for name in recorded(tmp_path / "there")}
    assert 0 < len(before) < 120
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same_files(tmp_path / "here/masks", tmp_path / "there/masks", "*.png", 120)
    assert len(recorded(tmp_path / "there")) == 120
    assert all((masks / name).stat().st_mtime_ns == written for name, written in before.items()), "made once"
