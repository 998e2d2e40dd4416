"""Class trees on faces: flat cross entropy against cross entropy at every level, under each selector.

    python bench/trees.py --data FACES [--budget 5m] [--seeds 3] [--weights FILE] [--set a.b=c] [--out DIR]

FACES holds `img/{train,test}` and `labels_precise/{train,test}` with the ids 0 background, 1 skin, 2 hair, 3 eyes,
4 mouth, 5 nose, taken as the tree background, head{hair, face{skin, eyes, mouth, nose}}. Nothing is written there.

The config is the one that `plan` makes, with one cross entropy as its loss. `--budget` is the wall time of the first
training; all others make as many steps as it did. Each trained model is evaluated with each selector on the test
images that are not in the training set byte for byte. A score is the mIoU of a level, averaged over the seeds.
Differences to flat cross entropy with the selector `leaf` have 95 % intervals from a paired bootstrap: the same images
are drawn for both sides and for all seeds. "Better" or "worse" is said only where that interval is clear of zero and
every seed has that sign; else the two are "not distinguishable". Images are drawn again, seeds are not, and there are
as many comparisons as rows: one in twenty would be clear of zero by chance.

With `--out`, runs are kept there, and a second call goes on with them. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright import evaluate, init, load_dataset, plan, resume, train
from maskwright.base.storage import dump_json
from maskwright.config import LossTerm, RunConfig
from maskwright.core.classes import SELECTORS
from maskwright.core.dataset import Dataset
from maskwright.evaluation.metrics import mIoU
from maskwright.run import Run

TREE = """classes:
  - {id: 0, name: background}
  - name: head
    children:
      - {id: 2, name: hair}
      - name: face
        children: [{id: 1, name: skin}, {id: 3, name: eyes}, {id: 4, name: mouth}, {id: 5, name: nose}]
ignore: 255
"""
LOSSES = {"flat": LossTerm(name="ce"), "hierarchical": LossTerm(name="ce", levels="equal")}
BASE = ("flat", "leaf")
RESAMPLES = 5000

# (S, N, M, M) int64: counts of each seed and image at one level.
Counts = npt.NDArray[np.int64]


def describe(data: Path, folder: Path) -> Dataset:
    """`folder/dataset.yaml` over the data, with the tree."""
    file = folder / "dataset.yaml"
    if not file.exists():
        init(data, masks="labels_precise", out=folder)
        file.write_text(file.read_text("utf-8").partition("classes:")[0] + TREE, "utf-8")
    return load_dataset(folder)


def copies(dataset: Dataset) -> list[str]:
    """The names of test images that are also training images."""

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    known = {digest(sample.image) for sample in dataset.splits["train"]}
    return [sample.name for sample in dataset.splits["test"] if digest(sample.image) in known]


def trained(config: RunConfig, path: Path) -> Run:
    return resume(path) if path.exists() else train(config, out=path)


def measure(
    config: RunConfig, seeds: int, left_out: set[str], folder: Path
) -> tuple[dict[tuple[str, str], list[Counts]], dict[str, Any]]:
    """The counts of each loss and selector at each level, and what is to be known about the runs."""
    found: dict[tuple[str, str], list[list[Counts]]] = {}
    facts: dict[str, Any] = {"incoherent_share": {}}
    for seed in range(seeds):
        for loss, term in LOSSES.items():
            run = trained(config.model_copy(update={"seed": seed, "loss": [term]}), folder / f"{loss}-{seed}")
            steps = run.config().train
            config = config.model_copy(update={"train": steps})  # the length of the first one, for all
            facts |= {"iterations": steps.iterations, "precision": steps.precision}
            for selector in SELECTORS:
                result = evaluate(run, selector=selector)
                kept = [i for i, name in enumerate(result.names) if name not in left_out]
                found.setdefault((loss, selector), []).append([level.confusions[kept] for level in result.levels])
                if selector == "levels":
                    facts["incoherent_share"].setdefault(loss, []).append(result.incoherent_share)
                facts |= {
                    "images": len(kept),
                    "levels": [[row.name for row in level.scores.classes] for level in result.levels],
                }
    return {key: [np.stack(level) for level in zip(*by_seed, strict=True)] for key, by_seed in found.items()}, facts


def resampled(counts: Counts, draws: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """mIoU averaged over seeds for each row of `draws` (B, N), how often each image is drawn: (B,) float64."""
    sums = np.einsum("bn,snij->bsij", draws, counts)
    return np.asarray(mIoU(sums).mean(1))


def compare(found: dict[tuple[str, str], list[Counts]]) -> list[dict[str, Any]]:
    """A row for each loss, selector and level."""
    rows = []
    images = found[BASE][0].shape[1]
    draws = np.random.default_rng(0).multinomial(images, [1 / images] * images, RESAMPLES)
    for level in range(len(found[BASE])):
        base = found[BASE][level]
        base_drawn, base_seeds = resampled(base, draws), mIoU(base.sum(1))
        for (loss, selector), levels in found.items():
            drawn, seeds = resampled(levels[level], draws), mIoU(levels[level].sum(1))
            row = {
                "level": level + 1,
                "loss": loss,
                "selector": selector,
                "mIoU": float(seeds.mean()),
                "low": float(np.quantile(drawn, 0.025)),
                "high": float(np.quantile(drawn, 0.975)),
                "seeds": seeds.tolist(),
            }
            if (loss, selector) != BASE:
                low, high = np.quantile(drawn - base_drawn, [0.025, 0.975]).tolist()
                gains = seeds - base_seeds
                row["difference"] = {"value": float(gains.mean()), "low": low, "high": high, "seeds": gains.tolist()}
                row["verdict"] = (
                    "better"
                    if low > 0 and (gains > 0).all()
                    else "worse"
                    if high < 0 and (gains < 0).all()
                    else "not distinguishable"
                )
            rows.append(row)
    return rows


def table(result: dict[str, Any]) -> str:
    left_out = result["left_out"]
    lines = [
        f"{result['images']} test images; left out, being training images too: {', '.join(left_out) or 'none'}",
        f"{result['seeds']} seeds, {result['iterations']} iterations each, {result['precision']}",
        "level  loss          selector   mIoU   95 % interval      to flat, leaf  95 % interval",
    ]
    for row in result["rows"]:
        text = (
            f"{row['level']:<7}{row['loss']:<14}{row['selector']:<11}{row['mIoU']:.4f} "
            f"[{row['low']:.4f}, {row['high']:.4f}]"
        )
        if difference := row.get("difference"):
            text += (
                f"   {difference['value']:+.4f}        [{difference['low']:+.4f}, {difference['high']:+.4f}]  "
                f"{row['verdict']}"
            )
        lines.append(text)
    shares = {loss: f"{100 * float(np.mean(values)):.3f} %" for loss, values in result["incoherent_share"].items()}
    lines.append(
        "pixels with contradicting labels under `levels`, all test images: "
        + ", ".join(f"{loss} {share}" for loss, share in shares.items())
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of faces")
    parser.add_argument("--budget", default="5m", help="wall time of the first training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", default="none", help="imagenet, none, or a .safetensors file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="change a value of the config")
    parser.add_argument("--out", type=Path, help="keep the runs here, or go on with them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        dataset = describe(given.data, folder / "data")
        left_out = copies(dataset)
        config = plan(folder / "data", budget=given.budget, weights=given.weights, overrides=given.set).config
        found, facts = measure(config, given.seeds, set(left_out), folder)
    result = {
        "seeds": given.seeds,
        "left_out": left_out,
        "model": config.model.model_dump(),
        "image_size": config.data.image_size,
        **facts,
        "rows": compare(found),
    }
    print(table(result), file=sys.stderr)
    print(dump_json(result, indent=2))


if __name__ == "__main__":
    main()
