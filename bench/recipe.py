"""Ways to train for the same time: the plan as it is, and with other settings, by validation scores.

    python bench/recipe.py --data DIR [--weights FILE] [--budget 300s] [--seeds 0 1] [--out FOLDER] WAY ...

A WAY is `NAME` or `NAME: KEY=VALUE KEY=VALUE ...`, where the settings are those of `maskwright train --set`, without
spaces in a value: "half size first: train.progressive.until=0.7". Ways are trained one after another, in
the order given for each seed, so nothing else should use the machine. mIoU and IoU by class are those of the validation
split at the last evaluation, since the best of several flatters short distances between them. With `--out`, runs are
kept there, and a second call goes on with them. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import plan, train
from maskwright.base.storage import dump_json
from maskwright.run import Run


def trained(way: str, seed: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The row of one training."""
    name, _, settings = way.partition(":")
    run = Run(folder / f"{name.strip().replace(' ', '-')}-{seed}")
    if run.finished is None:
        config = run.path.with_suffix(".yaml")
        config.unlink(missing_ok=True)
        overrides = [f"seed={seed}", *settings.split()]
        plan(options.data, out=config, budget=options.budget, weights=options.weights, overrides=overrides)
        train(config, out=run.path)
    last = [record for record in run.metrics.read() if "val_mIoU" in record][-1]
    finished = run.finished
    assert finished
    return {
        "way": name.strip(),
        "seed": seed,
        "steps": finished["iterations"],
        "seconds": finished["budget"]["used"],
        "mIoU": last["val_mIoU"],
        "best_mIoU": finished["best_val_mIoU"],
        "iou": last["val_iou"],
    }


def main() -> None:
    """Trains all ways and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--budget", default="300s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out")
    parser.add_argument("ways", nargs="+", metavar="WAY")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.out or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [trained(way, seed, options, folder) for seed in options.seeds for way in options.ways]
    print(dump_json({"data": options.data, "budget": options.budget, "rows": rows}))
    print(f"{'way':32} {'steps':>6} {'mIoU':>6}  by seed; IoU by class", file=sys.stderr)
    for name in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == name]
        scores, ious = [row["mIoU"] for row in own], np.mean([row["iou"] for row in own], axis=0)
        print(
            f"{name:32} {np.mean([row['steps'] for row in own]):6.0f} {np.mean(scores):6.3f}  "
            f"{' '.join(f'{score:.3f}' for score in scores)}; {' '.join(f'{iou:.3f}' for iou in ious)}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
