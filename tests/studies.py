"""Kills studies and their workers at random moments, goes on with them, and compares what they leave with a study that
was left in peace.

    python studies.py FOLDER TROUBLES SEED

torch is imported once; the process that leads a study and its workers are forks of this one, which itself computes
nothing. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml

import maskwright.evaluation.scoring.evaluate
import maskwright.training.train  # noqa: F401
from maskwright.base.storage import STAGING_PREFIX
from maskwright.errors import Interrupted, LockedError
from maskwright.studies import pool, worker
from maskwright.studies.folder import Study
from maskwright.studies.status import StudyStatus, study_status
from maskwright.studies.study import study
from tiny import EVERY_AUGMENTATION, write_dataset

FINISHED, FAILED = 0, 9


class Fork:
    """What the pool uses of a Popen, as a fork of this process."""

    def __init__(self, study: Study, name: str, slot: int, device: str) -> None:
        read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            code = FAILED
            try:
                os.setsid()
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                log = os.open(study.log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                for descriptor, target in ((read, 0), (log, 1), (log, 2)):
                    os.dup2(descriptor, target)
                os.closerange(3, 256)  # the ends of the others' pipes, which would hold them open
                code = worker.main([str(study.path), name, str(slot), device])
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(read)
        self.stdin = os.fdopen(write, "wb")
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.01)


def lead(file: Path, out: Path, workers: int, log: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Forks a process that leads the study; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        pool.PAUSE = 0.01
        pool.start = lambda study, name, slot, _, device: Fork(study, name, slot, device)  # type: ignore[assignment,return-value]
        prepare()
        code = study(file, workers=workers, out=out).exit_code
    except (Interrupted, LockedError) as error:
        print(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a process, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write_study(folder: Path, iterations: int = 12, **more: Any) -> Path:
    """Two networks with two losses, and everything that is random in a training."""
    root = write_dataset(folder / "data", {"train": 6, "val": 2, "test": 2})
    small = {"name": "UNet", "args": {"channels": [4], "bottleneck": 4, "dropout": 0.2}}
    other = {"name": "UNet2", "args": {"channels": [4], "bottleneck": 4}}
    data = {
        "base": {
            "data": {"root": str(root), "image_size": [32, 32]},
            "augment": EVERY_AUGMENTATION,
            "train": {
                "iterations": iterations,
                "batch_size": 4,
                "evaluate_every": 5,
                "threads": 1,
                "precision": "float32",
                "channels_last": True,
            },
        },
        "matrix": {"model": {"small": small, "other": other}, "loss": ["ce", ["ce", "dice"]]},
    } | more
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def results(path: Path) -> dict[str, bytes]:
    """What must not depend on kills or on the number of workers."""
    found = {}
    for run in (path / "runs").iterdir():
        for pattern in (
            "checkpoints/*",
            "metrics.jsonl",
            "samples/*",
            "evaluations/*/*.npy",
            "evaluations/*/*.jsonl",
            "evaluations/*/predictions/**/*.png",
        ):
            found |= {str(file.relative_to(path)): file.read_bytes() for file in run.glob(pattern)}
    return found


def trouble(rng: random.Random, pid: int, out: Path, seconds: float) -> str:
    """One kill or stop of the process that leads, or a kill of a worker, at a random time."""
    kind = rng.choice(["leader killed", "leader stopped", "worker killed", "worker stopped"])
    time.sleep(rng.uniform(0, seconds))
    if kind.startswith("leader"):
        os.kill(pid, signal.SIGKILL if kind == "leader killed" else rng.choice([signal.SIGINT, signal.SIGTERM]))
        return kind
    workers = [run.pid for run in study_status(out).runs if run.pid] if (out / "study.yaml").exists() else []
    if not workers:
        return "nothing"
    with_luck = rng.choice(workers)
    try:
        os.kill(with_luck, signal.SIGKILL if kind == "worker killed" else signal.SIGTERM)
    except ProcessLookupError:
        return "nothing"
    return kind


def campaign(folder: Path, troubles: int, seed: int) -> dict[str, Any]:
    """Studies with trouble until so many processes have been killed or stopped."""
    __import__("torch._dynamo")  # the optimiser would import it in every worker, which takes seconds
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rng = random.Random(seed)
    file, log = write_study(folder), folder / "log"
    began = time.monotonic()
    if ended(lead(file, folder / "whole", 1, log)):
        raise SystemExit(log.read_text())
    seconds = time.monotonic() - began
    expected = results(folder / "whole")
    counts: Counter[str] = Counter()
    problems: list[str] = []
    studies = attempts = 0
    while sum(counts[kind] for kind in counts if kind != "nothing") < troubles and not problems:
        out = folder / f"study-{studies}"
        studies += 1
        for attempt in range(12):
            attempts += 1
            pid = lead(file, out, rng.randint(1, 3), log)
            if attempt < 6:
                counts[trouble(rng, pid, out, seconds / 2)] += 1
            code = ended(pid)
            if code == FAILED:
                problems.append(f"study {studies}: {log.read_text()[-3000:]}")
            if code in (FINISHED, FAILED):
                break
        problems += [f"study {studies}: {line}" for line in wrong(out, expected)]
    return {
        "troubles": dict(counts),
        "studies": studies,
        "attempts": attempts,
        "files": len(expected),
        "problems": problems,
        "seconds": round(time.monotonic() - began, 1),
    }


def wrong(out: Path, expected: dict[str, bytes]) -> list[str]:
    """What is not as in a study that was left in peace."""
    status: StudyStatus = study_status(out)
    if status.exit_code:
        return status.human().splitlines()
    found = results(out)
    return (
        [f"{name} differs" for name in expected | found if expected.get(name) != found.get(name)]
        + [f"{path} was left" for path in out.rglob(f"{STAGING_PREFIX}*")]
        + ["decoded was left"] * (out / "decoded").exists()
    )


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), indent=1))
