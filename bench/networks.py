"""Networks x losses on one dataset: every network with every loss alone, by test scores.

    python bench/networks.py --data DIR [--iterations 400] [--networks SegNet UNet UNet2] [--losses bce dice focal ...]

Trains small networks (widths 16 to 64) from scratch at 96 x 128 pixels, each for the same number of steps with the
same seed, and evaluates them on the test split. "Of one class" names the class where a model predicts no other. With
`--out`, runs are kept there, and a second call goes on with them. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from maskwright import evaluate, init, resume, train
from maskwright.base.storage import dump_json
from maskwright.config import RunConfig
from maskwright.data.opening import load_dataset

WIDTHS = [16, 32, 64]
NETWORKS: dict[str, dict[str, Any]] = {
    "SegNet": {"encoder_channels": WIDTHS, "decoder_channels": [32, 16, 16], "kernel": 5},
    "UNet": {"channels": WIDTHS, "bottleneck": 64},
    "UNet2": {"channels": WIDTHS, "bottleneck": 64},
}


def config(data: Path, network: str, loss: str, iterations: int) -> RunConfig:
    return RunConfig.model_validate(
        {
            "seed": 0,
            "data": {"root": str(data), "image_size": [96, 128]},
            "model": {"name": network, "args": NETWORKS[network]},
            "loss": [{"name": loss}],
            "optimizer": {"name": "adamw", "lr": 3e-3},
            "augment": ["HorizontalFlip", "VerticalFlip", "Affine"],
            "train": {"iterations": iterations, "batch_size": 8},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--losses", nargs="+", default=["bce", "dice", "focal", "correlation"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        if not (folder / "data").exists():
            init(given.data, out=folder / "data")
        names = load_dataset(folder / "data").classes.names
        for network in given.networks:
            for loss in given.losses:
                path = folder / f"{network}-{loss}"
                run = (
                    resume(path)
                    if path.exists()
                    else train(config(folder / "data", network, loss, given.iterations), out=path)
                )
                result = evaluate(run).to_dict()
                found = [row["name"] for row in result["classes"] if row["predicted_pixels"]]
                rows.append(
                    {
                        "network": network,
                        "loss": loss,
                        **{name: result["scores"][name] for name in ("mIoU", "mDice")},
                        "iou": [row["iou"] for row in result["classes"]],
                        "one_class": found[0] if len(found) == 1 else None,
                        "parameters": run.info()["size"]["parameters"],
                        "seconds": run.finished["seconds"],
                    }
                )
    print(f"{'network':<8} {'loss':<12} mIoU   95 % interval    mDice  IoU of {', '.join(names)}", file=sys.stderr)
    for row in rows:
        score = row["mIoU"]
        print(
            f"{row['network']:<8} {row['loss']:<12} {score['value']:.3f}  [{score['low']:.3f}, {score['high']:.3f}]  "
            f"{row['mDice']['value']:.3f}  {' '.join(f'{iou:.3f}' for iou in row['iou'])}"
            + (f"  of one class: {row['one_class']}" if row["one_class"] else ""),
            file=sys.stderr,
        )
    print(dump_json({"data": str(given.data), "iterations": given.iterations, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
