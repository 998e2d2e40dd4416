"""Training throughput: images per second of the real training loop beside the bare step of the same model.

    python bench/throughput.py [--data DIR] [--model Unet] [--encoder NAME] [--args JSON] [--size H W]
                               [--steps 60] [--rounds 5] [--json]

The config is what `plan` writes for the data (the pictures of `maskwright demo` when left out); weights are
random, which changes no speed. "bare" is forward, backward and update on one batch that lies normalised in
memory: no loader, no augmentation, no average of the weights, no log. "loop" is `maskwright train` with all of
these, between its evaluations, by its own `timing.jsonl`. Both take turns in one process, in the precision that
the first training has chosen, and each pair gives one ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright.config import RunConfig
from maskwright.demonstration.generator import generate
from maskwright.formats.opening import load_dataset
from maskwright.losses.build import build_loss
from maskwright.models import takes_encoder
from maskwright.models.segmenter import AUTOCAST, Segmenter, load_segmenter
from maskwright.planning import ENCODER, plan
from maskwright.run import Run
from maskwright.training.loader import Source
from maskwright.training.optimizer import Groups, build_optimizer
from maskwright.training.precision import denormals_flushed, synchronise
from maskwright.training.train import train, training_splits

WARM_UP = 10
BAR = 0.95


def planned(data: Path, options: argparse.Namespace) -> RunConfig:
    """What `plan` chooses for the data, with the model and size that were asked for."""
    _, config = plan(data, encoder=ENCODER, weights="none")
    changes: dict[str, Any] = {}
    if options.model != config.model.name or options.encoder or options.args is not None:
        encoder = (options.encoder or ENCODER) if takes_encoder(options.model) else None
        changes["model"] = {"name": options.model, "encoder": encoder, "args": json.loads(options.args or "{}")}
    if options.size:
        changes["data"] = config.data.model_dump(exclude_none=True) | {"image_size": options.size}
    return RunConfig.model_validate(config.to_dict() | changes)


def lasting(config: RunConfig, steps: int, precision: str) -> RunConfig:
    """The config for so many iterations with one evaluation at the end."""
    length = {"budget": None, "iterations": steps, "evaluate_every": steps, "precision": precision}
    return config.model_copy(update={"train": config.train.model_copy(update=length)})


def loop_rate(run: Run, batch_size: int) -> float:
    """Images per second of a finished run from the first to the last line about its steps."""
    lines = [record for record in run.timing.read() if "seconds" in record]
    first, last = lines[0], lines[-1]
    return float(batch_size * (last["iteration"] - first["iteration"]) / (last["seconds"] - first["seconds"]))


class Bare:
    """The step of a trained run's model on its first batch, kept normalised in memory."""

    def __init__(self, run: Run, device: str) -> None:
        config = run.config()
        self.segmenter: Segmenter = load_segmenter(run.best, device)
        self.segmenter.model.train()
        dataset = load_dataset(config.data.root)
        samples = training_splits(dataset, config.data.holdout, config.seed)[0][: config.train.batch_size]
        source = Source(dataset, samples, self.segmenter.preprocessing.geometry)
        pairs = [source[index] for index in range(len(source))]
        images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
        self.images = self.segmenter.normalise(images)
        self.targets = torch.from_numpy(np.stack([mask for _, mask in pairs])).to(device).long()
        counts = np.ones((1, len(dataset.classes)), np.int64)
        self.criterion = build_loss([term.model_dump() for term in config.loss], counts).to(device)
        groups = Groups(config.optimizer.lr, config.optimizer.head_lr_mult, config.optimizer.weight_decay)
        self.optimizer = build_optimizer(self.segmenter.model, self.segmenter.spec, groups)

    def step(self) -> None:
        dtype = AUTOCAST[self.segmenter.precision]
        with torch.autocast(self.segmenter.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            logits = self.segmenter.model(self.images)
        loss = self.criterion(logits.float(), self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @denormals_flushed()
    def rate(self, steps: int) -> float:
        """Images per second."""
        for _ in range(WARM_UP):
            self.step()
        synchronise(self.segmenter.device)
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        synchronise(self.segmenter.device)
        return len(self.images) * steps / (time.perf_counter() - start)


def measure(config: RunConfig, steps: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Pairs of rates in turn, after a first training that warms up and chooses the precision."""
    first = train(lasting(config, WARM_UP, "auto"), out=folder / "first")
    info, precision, batch = first.info(), first.config().train.precision, config.train.batch_size
    bare = Bare(first, info["device"])
    pairs = []
    for turn in range(rounds):
        rate = bare.rate(steps)
        run = train(lasting(config, WARM_UP + steps, precision), out=folder / str(turn))
        pairs.append({"bare": rate, "loop": loop_rate(run, batch)})
    for pair in pairs:
        pair["ratio"] = pair["loop"] / pair["bare"]
    model = config.model
    return {"model": f"{model.name} over {model.encoder}" if model.encoder else model.name,
            "image_size": list(config.data.image_size), "batch_size": batch, "precision": precision,
            "workers": first.config().train.workers, "threads": info["threads"], "device": info["device"],
            "steps": steps, "pairs": pairs, "ratio": statistics.median(pair["ratio"] for pair in pairs), "bar": BAR}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="dataset folder; generated when left out")
    parser.add_argument("--model", default="Unet")
    parser.add_argument("--encoder", help=f"for models that take one; {ENCODER} when left out")
    parser.add_argument("--args", help="JSON of model.args; as planned when neither model nor encoder is given")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="as planned when left out")
    parser.add_argument("--steps", type=int, default=60, help="timed steps in each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data or folder / "data"
        if not options.data:
            generate(data, images=60, planted=0)
        result = measure(planned(data, options), options.steps, options.rounds, folder)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    height, width = result["image_size"]
    print(f"{result['model']}, {height}x{width}, batch {result['batch_size']}, {result['precision']}, "
          f"{result['device']} with {result['threads']} threads")
    for pair in result["pairs"]:
        print(f"  bare {pair['bare']:8.1f} images/s   loop {pair['loop']:8.1f} images/s   ratio {pair['ratio']:.3f}")
    print(f"  median ratio {result['ratio']:.3f} (bar: {BAR})")


if __name__ == "__main__":
    main()
