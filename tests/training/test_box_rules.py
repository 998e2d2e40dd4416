"""`boxes` in dataset.yaml decides what audit, plan, train and evaluate see of boxes, alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers import write
from maskwright.core.geometry import Geometry
from maskwright.data.auditing import audit
from maskwright.data.opening import load_dataset
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.training.loader import DecodedSamples
from maskwright.training.planning.fingerprint import fingerprint
from maskwright.training.train import train
from tiny import config

SIDE = 32
# Boxes of 16 x 16 pixels of class 1 in the corner, and on it 8 x 8 of class 2.
BIG, SMALL = "0 0.25 0.25 0.5 0.5\n", "1 0.125 0.125 0.25 0.25\n"
# The rule -> pixels of background, of the two classes, and ignored ones.
RULES = {
    "": (768, 192, 64, 0),
    "overlap: larger_on_top": (768, 256, 0, 0),
    "overlap: file_order": (768, 256, 0, 0),
    "outside: ignore": (0, 192, 64, 768),
    "overlap: larger_on_top, outside: ignore": (0, 256, 0, 768),
    "shrink: 0.5": (948, 60, 16, 0),
}


def make(folder: Path, rule: str, images: int = 4) -> Path:
    """Images with the same boxes, all for training."""
    rng = np.random.default_rng(0)
    for number in range(images):
        write(folder / f"images/train/{number}.png", rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
        path = folder / f"labels/train/{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SMALL + BIG)
    (folder / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    (folder / "dataset.yaml").write_text(
        f"layout: yolo\nboxes: {{{rule}}}\nclasses: [{{id: 0, name: background}}, {{id: 1, name: cat}}, {{id: 2, name: dog}}]\n"
    )
    return folder


@pytest.mark.parametrize("rule", RULES)
def test_audit_and_training_count_the_same_pixels(tmp_path: Path, rule: str) -> None:
    dataset = load_dataset(make(tmp_path, rule))
    found = audit(dataset, progress=False).statistics.total
    counts = DecodedSamples(dataset, dataset.samples, Geometry((SIDE, SIDE))).fill().sum(0)
    wanted = [4 * pixels for pixels in RULES[rule]]
    assert [*found.class_pixels, found.ignored_pixels] == wanted
    assert [*counts[:3], counts[255]] == wanted and counts.sum() == 4 * SIDE * SIDE


def test_the_line_follows_the_rule(tmp_path: Path) -> None:
    losses, versions = set(), set()
    rules = ("", "outside: ignore", "overlap: larger_on_top")
    for number, rule in enumerate(rules):
        root = make(tmp_path / str(number), rule)
        shares = fingerprint(load_dataset(root)).shares
        assert shares == pytest.approx(np.array(RULES[rule][:3]) / sum(RULES[rule][:3]))
        run = train(config(root, train={"iterations": 1, "evaluate_every": 1}), out=tmp_path / f"run{number}")
        records = map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
        losses.add(next(record["loss"] for record in records if "loss" in record))
        versions.add(load_dataset(root).version())
        scored = evaluate(run, split="val").to_dict()["classes"]
        assert [row["true_pixels"] for row in scored] == list(RULES[rule][:3])
    assert len(losses) == len(versions) == len(rules)
