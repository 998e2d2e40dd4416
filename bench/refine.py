"""How much of the gap between poor and good masks do the rounds of `refine` close?

    MASKWRIGHT_REAL_DATA=FOLDER python bench/refine.py --data steel|skin|faces --work W [--seeds 3] [--trusted 50]
        [--iterations 250] [--rounds 3] [--weights FILE] [--set a.b=c]

steel and skin: the masks of all training images but the trusted ones become filled boxes. faces: they are those drawn
in a hurry, and the trusted ones those drawn with care; half of the images, drawn by chance, are the test split.
`refine` makes its rounds, with half of the trusted masks to learn from and half to judge by. Then its models, and one
that learnt from all right masks (`right`, the upper bound), are scored on the test split, once: nothing was chosen by
it. All learn equally long. `closed` is the share of the gap from the better start to `right` that the run chosen by the
guard closes. JSON to stdout; `W` keeps everything, and a second call resumes it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import maskwright
from maskwright.base.storage import dump_json, read_json
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Edit, add_edits
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.labels.refining.boxes import boxes_of
from maskwright.labels.refining.config import load_refinement
from maskwright.labels.suspecting.copies import planted_copy
from maskwright.labels.suspecting.trainings import last_state
from maskwright.run import Run
from maskwright.training.train import train_or_resume

HALVES = {"train": 0.5, "test": 0.5}


def learnt(dataset: Dataset) -> list[str]:
    """The samples to learn from: all but those of the test split."""
    return [sample.name for sample in dataset.samples if sample.split != "test" and sample.labelled]


def prepared(seed: int, work: Path, given: argparse.Namespace) -> tuple[Path, Path, Path | None]:
    """The datasets with the poor masks, with the right ones, and with the trusted ones where these lie apart; the lists
    of trusted samples are in `work`."""
    source = Path(os.environ["MASKWRIGHT_REAL_DATA"]) / given.data
    if given.data == "faces":
        parts = [work / part for part in ("precise", "coarse")]
        if not parts[0].exists():
            for part in parts:
                maskwright.init(source, masks=f"labels_{part.name}", out=part)
            halves = maskwright.split(parts[0], fractions=HALVES, seed=seed, dry_run=True, progress=False).proposal
            for part in parts:
                add_edits(part, [Edit("split", name, to or "") for name, to in halves.splits.items()], "halves")
        data, right, apart = work / "coarse", work / "precise", work / "precise"
    else:
        data, right, apart = work / "data", source, None
    names = learnt(maskwright.load_dataset(right))
    order = [names[i] for i in np.random.default_rng((seed, 51)).permutation(len(names))]
    trusted, half = order[: given.trusted], given.trusted // 2
    for part, chosen in (("baseline", trusted[:half]), ("eval", trusted[half:])):
        (work / f"{part}.txt").write_text("".join(f"{name}\n" for name in chosen))
    if not data.exists():
        dataset = maskwright.load_dataset(source)
        planted_copy(source, data, ((name, boxed(dataset, name)) for name in order[given.trusted :]), "boxes")
    return data, right, apart


def boxed(dataset: Dataset, name: str) -> np.ndarray:
    mask = dataset.read_mask(dataset[name])
    filled = np.zeros_like(mask)
    for one in boxes_of(dataset[name], mask, dataset.classes, 0):
        filled[one.window] = one.label
    return filled


def measured(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    work = given.work / f"{given.data}-{seed}"
    work.mkdir(parents=True, exist_ok=True)
    data, right, apart = prepared(seed, work, given)
    file = work / "refine.yaml"
    own = [f"train.iterations={given.iterations}", f"seed={seed}", *given.set]
    if not file.exists():
        maskwright.plan_refine(data, out=file, trusted=work, trusted_masks=apart, weights=given.weights, overrides=own)
    result = maskwright.refine(file, overrides=[f"rounds={given.rounds}", *given.refine])
    dataset = maskwright.load_dataset(right)
    names = learnt(dataset)
    test = [sample.name for sample in dataset.samples if sample.split == "test" and sample.labelled]
    bound = last_state(load_refinement(file).run, right)
    runs = {row["name"]: Run(Path(row["run"])) for row in result.rounds}
    runs["right"] = train_or_resume(bound, out=work / "right", splits=(names, test))
    scores = {}
    for name, run in runs.items():
        scored = newest(run, "test") or maskwright.evaluate(run, split="test", data=right)
        scores[name] = scored.intervals["mIoU"].to_dict()
    values = {name: one["value"] for name, one in scores.items()}
    start = max(values["poor"], values["trusted"])
    return {
        "seed": seed,
        "combine": read_json(result.folder / "provenance" / "H1.json")["combine"],
        "chosen": result.best,
        "reason": result.reason,
        "on_eval": {row["name"]: row["mIoU"] for row in result.rounds},
        "test": scores,
        "closed": (values[result.best or "poor"] - start) / (values["right"] - start),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", choices=["steel", "skin", "faces"], required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trusted", type=int, default=50, help="half of them to learn from, half to judge by")
    parser.add_argument("--iterations", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", help="imagenet, none, or a .safetensors file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="change a value of the config")
    parser.add_argument("--refine", action="append", default=[], metavar="a=b", help="change a value of refine.yaml")
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        rows.append(measured(seed, given))
        print(dump_json(rows[-1], indent=2), flush=True)
    closed = [row["closed"] for row in rows]
    print(dump_json({"data": given.data, "closed": closed, "mean": float(np.mean(closed))}))


if __name__ == "__main__":
    main()
