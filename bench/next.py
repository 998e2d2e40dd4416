"""Do the images that `next` chooses teach more than as many chosen by chance?

    MASKWRIGHT_REAL_DATA=FOLDER python bench/next.py --data skin|steel --work W [--seeds 5] [--begin 20] [--add 20]
        [--rounds 3] [--iterations 200] [--weights FILE] [--set a.b=c]

Of each seed, the same random images have masks in the beginning. Then, in each round, more are drawn: by chance, by
`next` from how images look (`looks`), and by `next` with the run of the round before (`run`). A model is trained on all
masks that are there, with the same iterations, and scored on the test split once. JSON to stdout: mIoU by way and
number of masks, and how much it is above chance, seed by seed. `W` keeps everything, and a second call resumes it.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import maskwright
from maskwright.base.storage import atomic_write_json, dump_json, read_json
from maskwright.core.dataset import Dataset
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.labels.suspecting.trainings import last_state
from maskwright.training.train import train_or_resume
from maskwright.verbs.suspects import small_config

WAYS = ("chance", "looks", "run")


def without(dataset: Dataset, kept: set[str]) -> Dataset:
    """The dataset in which of the images to train on only those in `kept` have a mask."""
    samples = tuple(
        sample
        if sample.name in kept or sample.split == "test"
        else replace(sample, mask=None, drawing=None, parts=(), split="train")
        for sample in dataset.samples
    )
    return replace(dataset, samples=samples)


def scored(data: Path, names: list[str], test: list[str], seed: int, place: Path, given: argparse.Namespace) -> Any:
    config = last_state(small_config(data, "10m", given.weights, given.set), data, given.iterations)
    own = config.model_copy(update={"seed": seed})
    run = train_or_resume(own, out=place, splits=(sorted(names), test))
    found = newest(run, "val") or maskwright.evaluate(run, split="val")
    return run, float(found.scores.mIoU)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    data = Path(os.environ["MASKWRIGHT_REAL_DATA"]) / given.data
    dataset = maskwright.load_dataset(data)
    test = [sample.name for sample in dataset.samples if sample.split == "test" and sample.labelled]
    pool = [sample.name for sample in dataset.samples if sample.split != "test" and sample.labelled]
    table: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for seed in range(given.seeds):
        rng = np.random.default_rng((seed, 41))
        order = [pool[i] for i in rng.permutation(len(pool))]
        begin = order[: given.begin]
        first, score = scored(data, begin, test, seed, given.work / f"{seed}-begin", given)
        for way in WAYS:
            names, run, scores = [*begin], first, [score]
            for number in range(1, given.rounds + 1):
                file = given.work / f"{seed}-{way}-{number}.json"
                if not file.exists():
                    if way == "chance":
                        chosen = order[len(names) : len(names) + given.add]
                    else:
                        asked = [run.path] if way == "run" else []
                        open_ = without(dataset, {*names})
                        out = given.work / f"{seed}-{way}-{number}-next"
                        result = maskwright.next(open_, runs=asked, count=given.add, seed=seed, out=out)
                        chosen = [one.sample for one in result.images]
                    atomic_write_json(file, chosen)
                names += read_json(file)
                run, value = scored(data, names, test, seed, given.work / f"{seed}-{way}-{number}-run", given)
                scores.append(value)
            table[way].append(scores)
    masks = [given.begin + given.add * number for number in range(given.rounds + 1)]
    means = {way: np.mean(scores, axis=0).tolist() for way, scores in table.items()}
    above = {way: (np.array(table[way]) - np.array(table["chance"])).round(4).tolist() for way in WAYS[1:]}
    return {"data": given.data, "masks": masks, "iterations": given.iterations, "mIoU": means, "above_chance": above}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", choices=["skin", "steel"], required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--begin", type=int, default=20, help="images with a mask in the beginning")
    parser.add_argument("--add", type=int, default=20, help="images drawn in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--weights", help="imagenet, none, or a .safetensors file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="change a value of the config")
    print(dump_json(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
