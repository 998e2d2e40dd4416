"""A thousand images, of which some are broken: `predict` is killed at random moments and continued, and what is there
in the end is what one undisturbed call gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_predict import segmenter_of, without_state

from helpers import draw_pair, write
from maskwright.base.storage import Journal

IMAGES, BROKEN, KILLS = 1000, 20, 20
# Forks that predict; the process itself computes nothing, and torch is imported once. Prints the kills of each folder.
CAMPAIGN = """
import json, os, random, signal, sys, time
from pathlib import Path
import cv2, torch
from maskwright.inference import book
from maskwright.inference.predict import predict

model, images, folder, kills = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
rng = random.Random(0)
book.DURABLE = 16  # so that most attempts get further

def attempt(out, seconds=None):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1), os.dup2(null, 2)
            torch.set_num_threads(1), cv2.setNumThreads(0)
            predict(model, images, out=out, format="coco")
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

began = time.monotonic()
assert attempt(folder / "whole") == 0
whole = time.monotonic() - began
counts = {}
while sum(counts.values()) < kills:
    out = folder / f"killed-{len(counts)}"
    counts[out.name] = 0
    while sum(counts.values()) < kills:
        if (code := attempt(out, rng.uniform(0, whole / 10))) == 0:
            break
        assert code == -signal.SIGKILL, code
        counts[out.name] += 1
    assert attempt(out) == 0
print(json.dumps(counts))
"""


def broken(path: Path, number: int, image: np.ndarray) -> None:
    """No image, nothing, or half of one."""
    write(path, image)
    content = path.read_bytes()
    path.write_bytes((b"no image", b"", content[: len(content) // 2])[number % 3])


@pytest.mark.slow
def test_twenty_kills_of_a_thousand_images(tmp_path: Path, rng: np.random.Generator) -> None:
    model, images = tmp_path / "model.safetensors", tmp_path / "images"
    segmenter_of().save(model)
    bad = set(rng.choice(IMAGES, BROKEN, replace=False).tolist())
    for number in range(IMAGES):
        image = draw_pair(rng, (24, 24))[0]
        if number in bad:
            broken(images / f"{number:04d}.png", number, image)
        else:
            write(images / f"{number:04d}.png", image)
    done = subprocess.run(
        [sys.executable, "-c", CAMPAIGN, model, images, tmp_path / "out", str(KILLS)],
        capture_output=True,
        text=True,
        timeout=1500,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    assert sum(kills.values()) == KILLS
    whole = tmp_path / "out/whole"
    expected = {row["mask"]: row for row in without_state(Journal(whole / "predictions.jsonl").read())}
    assert len(expected) == IMAGES - BROKEN
    for out in (tmp_path / "out" / name for name in kills):
        rows = without_state(Journal(out / "predictions.jsonl").read())
        assert Counter(row["source"] for row in rows).most_common(1)[0][1] == 1, "each image has one row"
        assert {row["mask"]: row for row in rows} == expected
        assert {path.name for path in (out / "masks").iterdir() if not path.name.startswith(".")} == {
            f"{number:04d}.png" for number in range(IMAGES) if number not in bad
        }
        for row in rows:
            for file in (row["mask"], row["overlay"]):
                assert (out / file).read_bytes() == (whole / file).read_bytes()
        skipped = [Path(row["image"]).stem for row in Journal(out / "skipped.jsonl").read()]
        assert sorted(skipped) == sorted(f"{number:04d}" for number in bad), "each broken one is listed once"
        found, coco = (json.loads((folder / "coco.json").read_text()) for folder in (out, whole))
        assert len(found["images"]) == IMAGES - BROKEN and len(found["annotations"]) == len(coco["annotations"])
        assert len((out / "statistics.csv").read_text().splitlines()) == IMAGES - BROKEN + 1
    print(f"\n{IMAGES} images, {BROKEN} broken, kills by folder: {kills}; each folder equals the undisturbed one")
