"""The command line under the real torchrun: two processes on one host, and on two hosts made of network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from maskwright.run import Run
from maskwright.training.train import train
from tiny import EVERY_AUGMENTATION, config, write_dataset

pytestmark = pytest.mark.slow
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
PATIENT = str(Path(__file__).parents[2] / "patient.py")
LIMIT = 240  # seconds that anything may take on a busy machine


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A folder with data and a run.yaml, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("torchrun")
    root = write_dataset(folder / "data", {"train": 9, "val": 4}, ids=(0, 1, 2))
    settings = config(
        root,
        train={"iterations": 60, "evaluate_every": 5, "ema": 0.9},
        augment=EVERY_AUGMENTATION,
        schedule={"warmup": 5},
    )
    (folder / "run.yaml").write_text(yaml.safe_dump(settings.to_dict()))
    train(folder / "run.yaml", out=folder / "alone")
    return folder


def begin(command, folder, **options):
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def end(process):
    """Exit code, stdout and stderr; whatever is still there after the limit is killed."""
    try:
        out, said = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, said = process.communicate()
        pytest.fail(f"still running after {LIMIT} s: {said[-2000:]}")
    return process.returncode, out, said


def files(path):
    run = Run(path)
    return {file.name: file.read_bytes() for file in (run.best, run.last, run.metrics.path)}


def wait_until(true, process):
    deadline = time.monotonic() + LIMIT
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(run):
    """Whether it has evaluated, and so saved its state, and is far from its end."""
    return run.last.exists() and any("val_mIoU" in record for record in run.metrics.read())


def close_to(run, alone):
    for a, b in zip(Run(alone).metrics.read(), run.metrics.read(), strict=True):
        assert b["iteration"] == a["iteration"]
        for key in a.keys() & {"loss", "val_loss", "val_mIoU"}:
            assert b[key] == pytest.approx(a[key], rel=0.02, abs=0.02), (key, a["iteration"])


def test_two_processes_on_one_host(job, tmp_path):
    code, out, said = end(
        begin(
            [
                *TORCHRUN,
                "--standalone",
                "--nproc-per-node",
                2,
                "-m",
                "maskwright",
                "train",
                job / "run.yaml",
                "--out",
                tmp_path / "run",
                "--json",
            ],
            job,
        )
    )
    assert code == 0, said
    assert json.loads(out)["iterations"] == 60
    assert said.count("trained 60 iterations") == 1
    close_to(Run(tmp_path / "run"), job / "alone")
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed(job, tmp_path, number):
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", 2, "-m", "maskwright"]
    first, run = begin([*command, "train", job / "run.yaml", "--out", tmp_path / "run"], job), Run(tmp_path / "run")
    wait_until(lambda: begun(run), first)
    os.kill(first.pid, number)  # as torchrun passes it on to its processes, which are in sessions of their own
    code, _, said = end(first)
    assert code != 0 and said.count("state saved; resume with `maskwright resume") == 1
    assert run.finished is None
    code, _, said = end(begin([*command, "resume", run.path], job))
    assert code == 0, said
    whole = begin([*command, "train", job / "run.yaml", "--out", tmp_path / "whole"], job)
    assert end(whole)[0] == 0
    assert files(run.path) == files(tmp_path / "whole")


class Hosts:
    """Two network namespaces joined by one cable."""

    def __init__(self) -> None:
        self.names = [f"mw{os.getpid()}{side}" for side in "ab"]
        self.addresses = ["10.93.7.1", "10.93.7.2"]

    def __enter__(self):
        if os.getuid() != 0 or not shutil.which("ip"):
            pytest.skip("network namespaces need root and iproute2")
        try:
            for name in self.names:
                self.ip("netns", "add", name)
            cables = [f"{name}v" for name in self.names]
            self.ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
            for name, cable, address in zip(self.names, cables, self.addresses, strict=True):
                self.ip("link", "set", cable, "netns", name)
                self.ip("-n", name, "addr", "add", f"{address}/30", "dev", cable)
                for device in (cable, "lo"):
                    self.ip("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def ip(self, *words):
        subprocess.run(["ip", *words], capture_output=True, check=True, timeout=20)

    def pull_cable(self):
        self.ip("-n", self.names[1], "link", "set", f"{self.names[1]}v", "down")

    def begin(self, side, folder, *words):
        torchrun = [
            *TORCHRUN,
            "--nnodes",
            2,
            "--node-rank",
            side,
            "--nproc-per-node",
            1,
            "--master-addr",
            self.addresses[0],
            "--master-port",
            29400,
        ]
        return begin(["ip", "netns", "exec", self.names[side], *torchrun, *words], folder)


@pytest.fixture
def hosts():
    with Hosts() as made:
        yield made


def both(hosts, folder, elsewhere, words, other_words=None):
    return [hosts.begin(0, folder, *words), hosts.begin(1, elsewhere, *(other_words or words))]


def test_two_hosts_one_is_lost_and_the_run_is_resumed(job, tmp_path, hosts):
    """The second host knows neither the config nor the run folder, only the data."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    maskwright = ["-m", "maskwright"]
    unknown = [*maskwright, "train", "unknown.yaml"]
    for process in both(
        hosts, job, elsewhere, [*maskwright, "train", "run.yaml", "--out", tmp_path / "whole"], unknown
    ):
        code, _, said = end(process)
        assert code == 0, said
    close_to(Run(tmp_path / "whole"), job / "alone")
    run = Run(tmp_path / "run")
    first, second = both(hosts, job, elsewhere, [*maskwright, "train", "run.yaml", "--out", run.path], unknown)
    wait_until(lambda: begun(run), first)
    workers = subprocess.run(
        ["pgrep", "-P", str(second.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    began = time.monotonic()
    for pid in (*workers, second.pid):
        os.kill(int(pid), signal.SIGKILL)
    code, _, said = end(first)
    assert code != 0 and time.monotonic() - began < 60
    assert said.count("error: torchrun: another process of this training has ended or does not answer") == 1
    second.communicate()
    assert run.finished is None
    for process in both(hosts, job, elsewhere, [*maskwright, "resume", run.path], [*maskwright, "resume", "unknown"]):
        code, _, said = end(process)
        assert code == 0, said
    assert files(run.path) == files(tmp_path / "whole")
    assert not list(elsewhere.iterdir())


def test_a_host_that_vanishes_is_given_up_after_the_patience(job, tmp_path, hosts):
    run = Run(tmp_path / "run")
    first, second = both(
        hosts,
        job,
        tmp_path,
        [PATIENT, 8, "train", "run.yaml", "--out", run.path],
        [PATIENT, 8, "train", "unknown.yaml"],
    )
    wait_until(lambda: begun(run), first)
    began = time.monotonic()
    hosts.pull_cable()
    code, _, said = end(first)
    assert code != 0 and time.monotonic() - began < 90
    assert "has ended or does not answer" in said
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    assert run.finished is None and run.last.exists()
