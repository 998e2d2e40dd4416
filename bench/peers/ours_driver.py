"""Maskwright by its command line: init, plan, train, tune, predict. `train` keeps to its budget by itself; where there
are validation images enough to tune by, it gets a share of the whole, and both are counted."""

from __future__ import annotations

import shutil
import subprocess
import sys

from job import Job

# Of the budget, for the training where there is a `tune`; and how many validation images that takes to be worth it.
SHARE, TUNED = 0.95, 20


def call(*words: object) -> None:
    command = [sys.executable, "-m", "maskwright", *map(str, words)]
    print("maskwright", *map(str, words), flush=True)
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)  # the last line of the log is what Maskwright said


def main() -> None:
    job = Job.read()
    data, config, run = job.work / "data", job.work / "run.yaml", job.work / "run"
    for path in (data, run):
        shutil.rmtree(path, ignore_errors=True)
    config.unlink(missing_ok=True)
    call("init", job.data, "--out", data)
    tunes = len(job.images("val")) >= TUNED
    budget = job.budget * (SHARE if tunes else 1)
    weights = ["--weights", job.weights or "none"]
    call("plan", data, "--budget", f"{budget:g}s", *weights, "--set", f"seed={job.seed}", "--out", config)
    job.start()
    call("train", config, "--out", run)
    trained = job.elapsed
    if tunes:
        call("tune", run)
    job.stop()
    from maskwright import Run

    finished = Run.open(run)
    settings = finished.config()
    job.facts |= {
        "whole_command_seconds": job.facts["seconds"],
        # Set-up and measuring of speed included, and the start of `tune`, too.
        "seconds": finished.finished["budget"]["used"] + job.facts["seconds"] - trained,
        "tuned": str(finished.postprocessing) if tunes else None,
        "steps": finished.finished["iterations"],
        "batch_size": settings.train.batch_size,
        "pretrained": bool(job.weights),
        "model": f"{settings.model.name} over {settings.model.encoder}"
        if settings.model.encoder
        else settings.model.name,
    }
    job.facts["prepare_seconds"] += job.facts["whole_command_seconds"] - job.facts["seconds"]
    shutil.rmtree(job.work / "predicted", ignore_errors=True)
    call("predict", run, job.data / "images" / "test", "--out", job.work / "predicted")
    job.predictions.mkdir(parents=True, exist_ok=True)
    for path in (job.work / "predicted" / "masks").iterdir():
        shutil.copy(path, job.predictions / path.name)
    job.finish()


if __name__ == "__main__":
    main()
