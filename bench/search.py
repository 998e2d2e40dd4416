"""A search against the plan's own config in the same total time, on the test split that neither has seen.

    python bench/search.py --data DIR --work W [--minutes 16] [--trials 30] [--iterations 45]
                           [--weights FILE] [--seed 0]

One half of the time goes to a search of so many short trials (two at a time, one thread each) over rates, losses,
average of weights and decay; the other half to one training with the values of the best trial. On the other side the
plan's config is trained for all of the time. `compare` judges both on the test split; its intervals are over images,
and each side has one seed. The same call goes on with what is there. Nothing else should use the machine. JSON goes to
stdout.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from maskwright import compare, evaluate, plan, search, train
from maskwright.base.storage import dump_json
from maskwright.run import Run

SPACE: dict[str, Any] = {
    "optimizer.lr": {"low": 1e-4, "high": 3e-3, "log": True},
    "optimizer.head_lr_mult": {"low": 1.0, "high": 10.0, "log": True},
    "optimizer.weight_decay": {"low": 1e-4, "high": 0.1, "log": True},
    "train.ema": {"low": 0.9, "high": 0.995},
    "loss": {
        "choices": {"ce": ["ce"], "both": ["ce", "dice"], "lovasz": ["ce", "lovasz"], "tversky": ["ce", "tversky"]}
    },
}


def trained(config: Path, out: Path) -> Run:
    """The finished run."""
    run = Run(out)
    if run.finished is None:
        train(config, out=out)
    if not run.evaluation_folders("test"):
        evaluate(run)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=16)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--iterations", type=int, default=45)
    parser.add_argument("--weights")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    own, base, asked = (given.work / name for name in ("plan.yaml", "base.yaml", "search.yaml"))
    seed = f"seed={given.seed}"
    if not own.exists():
        plan(given.data, out=own, budget=f"{given.minutes:g}m", weights=given.weights, overrides=[seed])
        short = [seed, f"train.iterations={given.iterations}", f"train.evaluate_every={given.iterations // 3}"]
        plan(given.data, out=base, weights=given.weights, overrides=[*short, "train.threads=1"])
    settings = {"base": "base.yaml", "space": SPACE, "trials": given.trials, "time": f"{given.minutes / 2:g}m"}
    asked.write_text(yaml.safe_dump(settings, sort_keys=False))
    found = search(asked, out=given.work / "search", workers=2)
    best = yaml.safe_load((given.work / "search" / "best.yaml").read_text())
    # As long as the rest of the time, on all cores; all else as the search has found it.
    length = {"iterations": None, "threads": None, "evaluate_every": None, "budget": f"{given.minutes / 2:g}m"}
    train_section = {key: value for key, value in (best["train"] | length).items() if value is not None}
    winner = given.work / "winner.yaml"
    if not winner.exists():
        winner.write_text(yaml.safe_dump(best | {"train": train_section}, sort_keys=False))
    runs = [trained(winner, given.work / "runs" / "search"), trained(own, given.work / "runs" / "plan")]
    result = compare(runs)
    print(
        dump_json(
            {
                "trials": [{"score": one.score, "state": one.state} for one in found.trials],
                "best": best,
                "iterations": {run.path.name: (run.finished or {})["iterations"] for run in runs},
                "compared": result.to_dict(),
                "text": result.human(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
