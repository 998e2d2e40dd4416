"""Does `decide` foresee what keeping, excluding and repairing really bring? On real data with planted errors.

    MASKWRIGHT_REAL_DATA=FOLDER python bench/decide.py --data skin|steel [--share 0.2] [--seeds 3] [--budget 10m]
        [--kinds missing,swollen] [--iterations N] [--seed 0] [--weights FILE] [--set a.b=c] [--out DIR]

FOLDER holds `skin` and `steel` with their splits; nothing is written there. Errors of known kinds are planted in a
share of all samples but those of the test split, and exactly these are taken for suspects, of score 1. `decide` gets
the spoilt dataset and these suspects, and never the true masks of these. Then the three ways are really trained, on all
samples but those of the test split: with the spoilt masks, without them, and with the true ones. Each is trained with
several seeds, by the config and (without `--iterations`) the length of the simulation, and scored on the test split.

Real differences are means over the seeds, with the intervals of `compare`. `agrees` says whether the way that `decide`
has chosen is the one that these would choose, `regret` how much mIoU it really lost to the best way, and `covered`
whether the estimated interval holds the real difference. The table goes to stderr, JSON to stdout. With `--out`,
everything is kept there, and a second call resumes it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import decide, evaluate, load_dataset, plan
from maskwright.base.storage import atomic_write_json, dump_json, read_json
from maskwright.core.dataset import Dataset
from maskwright.core.sample import Sample
from maskwright.data.formats.source import background_of
from maskwright.evaluation.comparing.inference import infer
from maskwright.evaluation.metrics import Interval, Marginals
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.labels.deciding.estimating import PAIRS, WAYS, Way, WayDifference, choose_way
from maskwright.labels.suspecting.copies import planted_copy
from maskwright.labels.suspecting.planting import KINDS, plant, things
from maskwright.labels.suspecting.trainings import last_state
from maskwright.training.train import train_or_resume


def usable(dataset: Dataset) -> list[Sample]:
    return [sample for sample in dataset.samples if sample.labelled and sample.split != "test"]


def spoil(source: Path, folder: Path, share: float, kinds: Sequence[str], seed: int) -> list[str]:
    """Makes the spoilt dataset in `folder/data` and its suspects in `folder/suspects`; returns their names."""
    found = folder / "suspects" / "suspects.json"
    if not found.exists():
        dataset, rng = load_dataset(source), np.random.default_rng((seed, 7))
        classes, background = len(dataset.classes), background_of(dataset.classes) or 0
        samples = usable(dataset)
        order = [samples[i] for i in rng.permutation(len(samples))]
        masks, rows = {}, []
        for sample in order:
            if len(masks) == round(share * len(samples)):
                break
            kind, mask = kinds[len(masks) % len(kinds)], dataset.read_mask(sample)
            donors = things(dataset.read_mask(order[int(rng.integers(len(order)))]), background)
            drawn = plant(mask, kind, rng, classes, background, donors)
            if drawn is not None:
                masks[sample.name] = drawn
                rows.append(
                    {
                        "sample": sample.name,
                        "kind": kind,
                        "score": 1.0,
                        "evidence": {"error_pixels": int(np.count_nonzero(drawn != mask))},
                    }
                )
        spoilt = load_dataset(planted_copy(source, folder / "data", masks, "planted by bench/decide.py"))
        atomic_write_json(
            found, {"dataset": {"root": str(spoilt.root), "version": spoilt.version()}, "findings": rows, "samples": []}
        )
    return [row["sample"] for row in read_json(found)["findings"]]


def decided(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    file = folder / "decision" / "decision.json"
    if not file.exists():
        decide(
            folder / "data",
            suspects=folder / "suspects",
            budget=given.budget,
            repeats=given.repeats,
            weights=given.weights,
            overrides=given.set,
            seed=given.seed,
            out=file.parent,
        )
    result: dict[str, Any] = read_json(file)
    return result


def trained(
    source: Path, folder: Path, spoilt: Sequence[str], iterations: int, given: argparse.Namespace
) -> dict[Way, list[Marginals]]:
    """Of each way the counts of the test images, one for each seed."""
    dataset = load_dataset(source)
    everything = [sample.name for sample in usable(dataset)]
    test = [sample.name for sample in dataset.splits["test"] if sample.labelled]
    clean = [name for name in everything if name not in {*spoilt}]
    ways: dict[Way, tuple[Path, list[str]]] = {
        "keep": (folder / "data", everything),
        "exclude": (source, clean),
        "repair": (source, everything),
    }
    config = plan(folder / "data", weights=given.weights, overrides=given.set).config
    found: dict[Way, list[Marginals]] = {way: [] for way in WAYS}
    for seed in range(given.seeds):
        for way, (root, names) in ways.items():
            own = last_state(config, root, iterations).model_copy(update={"seed": 1000 + seed})
            path = folder / "real" / f"{way}-{seed}"
            # The test split is scored once, at the end: no state is chosen by it.
            run = train_or_resume(own, out=path, splits=(names, test))
            scored = newest(run, "val")
            found[way].append(Marginals.of((scored or evaluate(run, split="val")).confusions))
    return found


def real_differences(found: dict[Way, list[Marginals]]) -> list[WayDifference]:
    inference, order = infer([found[way] for way in WAYS], Marginals.mIoU), list(WAYS)
    differences = []
    for first, second in PAIRS:
        one = next(d for d in inference.differences if {order[d.first], order[d.second]} == {first, second})
        sign = 1 if order[one.first] == first else -1
        ends = sorted((sign * one.value.low, sign * one.value.high))
        seeds = [float(a.total().mIoU() - b.total().mIoU()) for a, b in zip(found[first], found[second], strict=True)]
        differences.append(WayDifference(first, second, Interval(sign * one.value.value, *ends), seeds))
    return differences


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    source = Path(os.environ["MASKWRIGHT_REAL_DATA"]) / given.data
    spoilt = spoil(source, folder, given.share, given.kinds.split(","), given.seed)
    estimate = decided(folder, given)
    iterations = given.iterations or estimate["iterations"]
    counts = trained(source, folder, spoilt, iterations, given)
    real = real_differences(counts)
    means = {way: float(np.mean([one.total().mIoU() for one in seeds])) for way, seeds in counts.items()}
    rows = [
        {
            "first": one.first,
            "second": one.second,
            "estimated": estimated["difference"],
            "real": one.value.to_dict(),
            "covered": estimated["difference"]["low"] <= one.value.value <= estimated["difference"]["high"],
        }
        for one, estimated in zip(real, estimate["differences"], strict=True)
    ]
    lengths = {"simulated": estimate["iterations"], "real": iterations}
    return {
        "data": given.data,
        "share": given.share,
        "suspects": len(spoilt),
        "kinds": given.kinds,
        "seed": given.seed,
        "image_size": estimate["image_size"],
        "iterations": lengths,
        "seconds": estimate["seconds"],
        "differences": rows,
        "verdict": estimate["verdict"],
        "real_verdict": choose_way(real),
        "agrees": estimate["verdict"] == choose_way(real),
        "regret": max(means.values()) - means[estimate["verdict"]],
        "mIoU": {"estimated": {row["way"]: row["mIoU"] for row in estimate["ways"]}, "real": means},
    }


def table(result: dict[str, Any]) -> str:
    def interval(value: dict[str, float]) -> str:
        return f"{value['value']:+.4f} [{value['low']:+.4f}, {value['high']:+.4f}]"

    rows = [
        f"{row['first']} - {row['second']}: estimated {interval(row['estimated'])}, real {interval(row['real'])}"
        for row in result["differences"]
    ]
    return "\n".join(
        [
            f"{result['data']}: {result['suspects']} suspects, iterations {result['iterations']}",
            *rows,
            f"decided: {result['verdict']}; really: {result['real_verdict']}; regret {result['regret']:.4f}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", choices=["skin", "steel"], required=True)
    parser.add_argument("--share", type=float, default=0.2, help="of the samples, those with planted errors")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of errors, in turn")
    parser.add_argument("--seeds", type=int, default=3, help="real trainings of each way")
    parser.add_argument("--repeats", type=int, default=3, help="of `decide`")
    parser.add_argument("--budget", default="10m", help="of `decide`")
    parser.add_argument("--iterations", type=int, help="of the real trainings; as in the simulation when left out")
    parser.add_argument("--seed", type=int, default=0, help="of the planted errors and the simulation")
    parser.add_argument("--weights", default="none", help="imagenet, none, or a .safetensors file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="change a value of the config")
    parser.add_argument("--out", type=Path, help="keep everything here, or go on with it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(given, given.out or Path(scratch))
    print(table(result), file=sys.stderr)
    print(dump_json(result, indent=2))


if __name__ == "__main__":
    main()
