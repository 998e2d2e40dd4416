"""How time and memory of the verbs grow with the number of samples.

    python bench/growth.py [--images 1000 10000 100000] [--suspects 1000 4000] [--size 32] [--work W]

Small scenes by code (PNG images and masks, four classes), all in one split, and two UNets of 4 channels that hardly
have learnt. Each verb is a command of its own: `audit`, `predict`, `evaluate` of both runs, `compare` of them and, for
the numbers of `--suspects`, `suspects` with trainings of 100 iterations. Of each: seconds, milliseconds per sample
(without the seconds of the same command on 20 samples), and the most memory that the process and its children hold
together (PSS). Nothing else should use the machine. The table goes to stderr, JSON to stdout. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from audit import generate, held_by

from maskwright import train
from maskwright.base.storage import dump_json
from maskwright.base.workers import worker_count
from maskwright.config import RunConfig

FEW = 20  # samples whose commands cost little more than their start
SMALL = ("model.name=UNet", "model.encoder=null", "model.args={channels: [4], bottleneck: 4}", "train.iterations=100")


def measured(*words: object) -> tuple[float, float]:
    """Seconds of a command, and the most MB that it and its children hold."""
    began, most = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            [sys.executable, "-m", "maskwright", *map(str, words)], stdout=subprocess.DEVNULL, stderr=said
        ) as process:
            this = psutil.Process(process.pid)
            while process.poll() is None:
                most = max(most, held_by(this))
                time.sleep(0.25)
        if process.returncode not in (0, 1):  # 1: the audit has found errors
            said.seek(0)
            raise SystemExit(f"{words}: {said.read().decode()[-500:]}")
    return time.monotonic() - began, most / 1e6


def commands(data: Path, run: Path, out: Path, suspects: bool) -> dict[str, tuple[object, ...]]:
    every: dict[str, tuple[object, ...]] = {
        "audit": ("audit", data),
        "predict": ("predict", run, data / "img", "--out", out / "predicted"),
        "evaluate": ("evaluate", run, "--data", data, "--split", "test"),
        "evaluate again": ("evaluate", run.with_name("other"), "--data", data, "--split", "test"),
        "compare": ("compare", run, run.with_name("other")),
    }
    if suspects:
        settings = [word for one in SMALL for word in ("--set", one)]
        every["suspects"] = ("suspects", data, "--out", out / "suspects", "--weights", "none", *settings)
    return every


def made(folder: Path, images: int, size: int) -> Path:
    """The data set, all of it in the split `test`."""
    generate(folder, images, size, worker_count())
    for kind in ("img", "labels"):
        for split in ("train", "val"):
            for file in (folder / kind / split).iterdir():
                file.rename(folder / kind / "test" / file.name)
            (folder / kind / split).rmdir()
    description = folder / "dataset.yaml"
    text = description.read_text()
    description.write_text(text.replace("{train: train, val: val, test: test}", "{test: test}"))
    return folder


def trained(work: Path, size: int) -> Path:
    generate(work / "learnt", 400, size, worker_count())
    config = {
        "data": {"root": str(work / "learnt"), "image_size": [size, size]},
        "loss": "ce",
        "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4}},
        "train": {"iterations": 60, "batch_size": 8},
    }
    train(RunConfig.model_validate(config), out=work / "run")
    train(RunConfig.model_validate(config | {"seed": 1}), out=work / "other")
    return work / "run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--suspects", type=int, nargs="*", default=[1000, 4000])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=given.work) as place:
        work = Path(place)
        run, start = trained(work, given.size), {}
        for images in [FEW, *sorted({*given.images, *given.suspects})]:
            data, out = made(work / str(images), images, given.size), work / f"out-{images}"
            out.mkdir()
            for name, words in commands(data, run, out, images in (FEW, *given.suspects)).items():
                if images not in (FEW, *given.images) and name != "suspects":
                    continue
                if name == "suspects":  # which asks for training samples
                    description = data / "dataset.yaml"
                    description.write_text(description.read_text().replace("{test: test}", "{train: test}"))
                seconds, megabytes = measured(*words)
                if images == FEW:
                    start[name] = seconds
                    continue
                each = (seconds - start[name]) / images * 1e3
                rows.append({"verb": name, "images": images, "seconds": seconds, "ms": each, "mb": megabytes})
                print(f"{name:15} {images:8,} {seconds:8.1f} s {each:8.2f} ms {megabytes:7.0f} MB", file=sys.stderr)
            shutil.rmtree(data)
            shutil.rmtree(out)
    print(dump_json({"size": given.size, "start": start, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
