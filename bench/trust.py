"""Does a training with the maps of trust that `suspects` writes beat one without them?

    MASKWRIGHT_REAL_DATA=FOLDER python bench/trust.py --data skin|steel|faces --work W [--share 0.2] [--seeds 3]
        [--iterations 250] [--seed 0] [--weights FILE] [--set a.b=c]

skin and steel: errors of all kinds are planted in a share of all masks but those of the test split. faces: the labels
are those drawn in a hurry, and the test is judged by those drawn with care. `suspects` searches the labels, and then
models are trained on them: `plain`, with `data.trust` of mode `weight` and of mode `ignore`, and, as the upper bound,
on the `right` labels. Same seed, same config (that of `suspects`), equally many iterations, the last state; the test
split is scored once. Differences to `plain` are means over the seeds with the intervals of `compare`. `W` keeps
everything, and a second call resumes it. JSON to stdout.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from decide import spoil, usable

from maskwright import evaluate, init, load_dataset, suspects
from maskwright.base.storage import dump_json
from maskwright.config import TrustConfig
from maskwright.evaluation.comparing.inference import infer
from maskwright.evaluation.metrics import Marginals
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.trainings import last_state
from maskwright.training.train import train_or_resume
from maskwright.verbs.suspects import small_config

WAYS = ("plain", "weight", "ignore", "right")


def labels(given: argparse.Namespace) -> tuple[Path, Path]:
    """The datasets with the labels to learn from and with the right ones."""
    source = Path(os.environ["MASKWRIGHT_REAL_DATA"]) / given.data
    if given.data != "faces":
        spoil(source, given.work, given.share, [*KINDS], given.seed)
        return given.work / "data", source
    for part in ("coarse", "precise"):
        if not (given.work / part).exists():
            init(source, masks=f"labels_{part}", out=given.work / part)
    return given.work / "coarse", given.work / "precise"


def trained(given: argparse.Namespace) -> dict[str, list[Marginals]]:
    """Of each way the counts of the test images, one for each seed."""
    data, right = labels(given)
    searched = given.work / "searched"
    if not searched.exists():
        own = [f"train.iterations={given.iterations}", "train.budget=null", *given.set]
        suspects(data, out=searched, weights=given.weights, seed=given.seed, overrides=own)
    config = small_config(data, "10m", given.weights, given.set)
    dataset = load_dataset(data)
    names = [sample.name for sample in usable(dataset)]
    test = [sample.name for sample in dataset.splits["test"] if sample.labelled]
    found: dict[str, list[Marginals]] = {way: [] for way in WAYS}
    for seed in range(given.seeds):
        for way in WAYS:
            trust = None
            if way in ("weight", "ignore"):
                trust = TrustConfig(folder=str((searched / "trust").resolve()), mode=way)
            one = last_state(config, right if way == "right" else data, given.iterations)
            one = one.model_copy(update={"seed": 1000 + seed, "data": one.data.model_copy(update={"trust": trust})})
            # What the training would choose by is not used: the one evaluation is at the end.
            run = train_or_resume(one, out=given.work / "real" / f"{way}-{seed}", splits=(names, test))
            scored = newest(run, "test") or evaluate(run, split="test", data=right)
            found[way].append(Marginals.of(scored.confusions))
    return found


def measure(given: argparse.Namespace) -> dict[str, Any]:
    found = trained(given)
    differences = {}
    for way in WAYS[1:]:
        inference = infer([found["plain"], found[way]], Marginals.mIoU)
        (one,) = inference.differences
        sign = 1 if one.first == 1 else -1
        low, high = sorted((sign * one.value.low, sign * one.value.high))
        seeds = [float(b.total().mIoU() - a.total().mIoU()) for a, b in zip(found["plain"], found[way], strict=True)]
        differences[way] = {"value": sign * one.value.value, "low": low, "high": high, "seeds": seeds}
    return {
        "data": given.data,
        "share": None if given.data == "faces" else given.share,
        "iterations": given.iterations,
        "mIoU": {way: float(np.mean([one.total().mIoU() for one in seeds])) for way, seeds in found.items()},
        "minus_plain": differences,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", choices=["skin", "steel", "faces"], required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.2, help="of the samples, those with planted errors")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each way")
    parser.add_argument("--iterations", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0, help="of the planted errors and the search")
    parser.add_argument("--weights", help="imagenet, none, or a .safetensors file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="change a value of the config")
    print(dump_json(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
