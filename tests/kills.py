"""Kills trainings at random moments, resumes them, and compares what they leave with a run that was never killed.

    python kills.py FOLDER KILLS SEED

torch is imported once; every attempt is a fork of this process, which itself computes nothing (threads of a
parent do not live on in a fork). An attempt is killed at a random file operation (before it, or in the
middle of a write), at a random time, or asked to stop by a signal. Prints one JSON document.
"""

from __future__ import annotations

import builtins
import importlib
import io
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch

from maskwright.base.storage import STAGING_PREFIX
from maskwright.config import RunConfig
from maskwright.errors import Interrupted
from maskwright.modeling.models.segmenter import read_tensors
from maskwright.run import Run
from maskwright.training import train as training
from tiny import EVERY_AUGMENTATION, config, write_dataset

ITERATIONS = 40
FINISHED, FAILED = 0, 1
_CALLS = ("replace", "rename", "fsync", "ftruncate", "mkdir", "rmdir", "unlink")


class _Stream:
    """A file opened for writing whose writes are moments to die at."""

    def __init__(self, stream: Any, moment: Callable[[Callable[[], Any] | None], None]) -> None:
        self._stream, self._moment = stream, moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, data: Any) -> int:
        def half() -> None:
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()

        self._moment(half)
        return int(self._stream.write(data))

    def truncate(self, size: int | None = None) -> int:
        self._moment(None)
        return int(self._stream.truncate(size))


def die_at(operation: int, torn: bool) -> None:
    """Makes this process kill itself at its n-th operation on files; in the middle of it, if `torn` and a write."""
    counted = 0

    def moment(half: Callable[[], Any] | None = None) -> None:
        nonlocal counted
        counted += 1
        if counted == operation:
            if torn and half:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted_call(*args: Any, **kwargs: Any) -> Any:
            moment()
            return call(*args, **kwargs)

        return counted_call

    plain_open = builtins.open

    def counting_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not set(mode) & set("wax+"):
            return plain_open(file, mode, *args, **kwargs)
        moment()
        return _Stream(plain_open(file, mode, *args, **kwargs), moment)

    for name in _CALLS:
        setattr(os, name, counting(getattr(os, name)))
    builtins.open = io.open = counting_open


def attempt(out: Path, settings: RunConfig, log: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Forks a process that trains, or resumes what is there; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = FAILED
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        prepare()
        if out.exists():
            training.resume(out)
        else:
            training.train(settings, out=out)
        status = FINISHED
    except (Interrupted, KeyboardInterrupt):  # the second one before the loop has begun
        status = Interrupted.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def disturbed(rng: random.Random, out: Path, settings: RunConfig, log: Path, seconds: float) -> str:
    """One attempt with trouble; says how it ended: finished, failed, killed or stopped."""
    kind = rng.choices(["operation", "time", "signal"], [70, 20, 10])[0]
    # Now and then the state is saved after every step, so that resuming starts between two log lines.
    pause = rng.choice([0.0, 1e9])

    def prepare() -> None:
        training.FitSettings = partial(training.FitSettings, state_every_seconds=pause)  # type: ignore[attr-defined,assignment]
        if kind == "operation":
            die_at(rng.randint(1, rng.choice([20, 100, 400])), rng.random() < 0.5)

    pid = attempt(out, settings, log, prepare)
    if kind != "operation":
        time.sleep(rng.uniform(0, seconds))
        os.kill(pid, signal.SIGKILL if kind == "time" else rng.choice([signal.SIGTERM, signal.SIGINT]))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {FINISHED: "finished", FAILED: "failed", Interrupted.exit_code: "stopped"}.get(code, "killed")


def leftovers(out: Path) -> list[str]:
    """What is wrong with the state on disk after a kill."""
    others = [path.name for path in out.parent.iterdir() if path != out and not path.name.startswith(STAGING_PREFIX)]
    wrong = [f"{name}: stray" for name in others]
    if out.exists():
        run = Run.open(out)
        read_tensors(run.last)
        if run.best.exists():
            read_tensors(run.best)
        run.metrics.read()
        run.config()
    return wrong


def result_of(run: Run) -> dict[str, bytes]:
    files = [run.best, run.last, run.metrics.path, *sorted((run.path / "samples").iterdir())]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files}


def campaign(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Runs with trouble until `kills` processes have died."""
    importlib.import_module("torch._dynamo")  # the optimiser would import it in every attempt, which takes seconds
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rng = random.Random(seed)
    root = write_dataset(folder / "data", {"train": 12, "val": 3}, ids=(0, 1, 2))
    settings = config(
        root,
        train={"iterations": ITERATIONS, "ema": 0.9},
        model={"dropout": 0.2},
        augment=EVERY_AUGMENTATION,
        optimizer={"lr": 0.01},
        seed=seed,
    )
    log = folder / "log"
    began = time.monotonic()
    whole = Run(folder / "whole" / "run")
    whole.path.parent.mkdir()
    if os.waitpid(attempt(whole.path, settings, log), 0)[1] != 0:
        raise SystemExit(log.read_text())
    seconds = time.monotonic() - began
    expected = result_of(whole)
    ends: Counter[str] = Counter()
    problems: list[str] = []
    runs = mismatches = early = 0
    while ends["killed"] < kills and not problems:
        out = folder / f"{runs}" / "run"
        out.parent.mkdir()
        runs += 1
        for _ in range(rng.randint(3, 12)):
            end = disturbed(rng, out, settings, log, seconds)
            ends[end] += 1
            early += end == "killed" and not out.exists()
            problems += leftovers(out)
            if end in ("finished", "failed"):
                break
        else:
            end = "finished" if os.waitpid(attempt(out, settings, log), 0)[1] == 0 else "failed"
            ends[end] += 1
        if end == "failed":
            problems.append(f"run {runs}: {log.read_text()[-3000:]}")
            break
        found = result_of(Run(out))
        differing = [name for name in expected | found if expected.get(name) != found.get(name)]
        mismatches += bool(differing)
        problems += [f"run {runs}: {name} differs" for name in differing]
        problems += [f"run {runs}: {path.name} was left" for path in out.rglob(f"{STAGING_PREFIX}*")]
    return {
        "kills": ends["killed"],
        "early": early,
        "stops": ends["stopped"],
        "runs": runs,
        "mismatches": mismatches,
        "problems": problems,
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), indent=1))
