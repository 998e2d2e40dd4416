"""Training throughput: images per second of the real training loop beside the bare step of the same model.

    python bench/throughput.py [--data DIR] [--model Unet] [--encoder NAME] [--args JSON] [--size H W] [--batch N]
                               [--steps 60] [--rounds 5] [--plain] [--bar] [--json]

The config is what `plan` writes for the data (the pictures of `maskwright demo` when left out); weights are
random, which changes no speed. "bare" is forward, backward and update on one batch that lies normalised in
memory: no loader, no augmentation, no average of the weights, no log. "loop" is `maskwright train` with all of
these, between its evaluations, by its own `timing.jsonl`. "plain" (with --plain) is the loop of a tutorial: the
same batches from a DataLoader in this process, float32, channels first, the default AdamW, the loss read after each
step. They take turns in one process, the first two as the first training has chosen (precision, layout, threads);
each pair gives one ratio. --bar measures the four networks that the bar is for at 256 x 256. For SegFormer-B0 beside
the plain loop: --model Segformer --encoder mit_b0 --size 256 256 --plain.
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
from torch.utils.data import DataLoader

from maskwright.config import RunConfig
from maskwright.data.opening import load_dataset
from maskwright.demonstration.generator import generate
from maskwright.modeling.losses.build import build_loss
from maskwright.modeling.models import takes_encoder
from maskwright.modeling.models.segmenter import AUTOCAST, Segmenter, load_segmenter
from maskwright.modeling.optim.build import Groups, build_optimizer
from maskwright.run import Run
from maskwright.training.loader import DecodedSamples
from maskwright.training.plan import plan
from maskwright.training.planning.weights import ENCODER
from maskwright.training.prepare import batches_of, training_splits
from maskwright.training.step import fast_arithmetic, synchronise
from maskwright.training.train import train

WARM_UP = 10
BAR = 0.97
NETWORKS = (("UNet", None), ("Unet", "resnet34"), ("Segformer", "mit_b0"), ("DeepLabV3Plus", "resnet34"))


def planned(data: Path, options: argparse.Namespace) -> RunConfig:
    """What `plan` chooses for the data, with the model and size that were asked for."""
    config = plan(data, encoder=ENCODER, weights="none").config
    changes: dict[str, Any] = {}
    if options.model != config.model.name or options.encoder or options.args is not None:
        encoder = (options.encoder or ENCODER) if takes_encoder(options.model) else None
        changes["model"] = {"name": options.model, "encoder": encoder, "args": json.loads(options.args or "{}")}
    if options.batch:
        changes["train"] = config.train.model_dump() | {"batch_size": options.batch}
    if options.size:
        changes["data"] = config.data.model_dump(exclude_none=True) | {"image_size": options.size}
    return RunConfig.model_validate(config.to_dict() | changes)


def lasting(config: RunConfig, steps: int) -> RunConfig:
    """The config for so many iterations with one evaluation at the end."""
    length = {"budget": None, "iterations": steps, "evaluate_every": steps}
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
        self.segmenter.channels_last = bool(config.train.channels_last)
        layout = torch.channels_last if config.train.channels_last else torch.contiguous_format
        self.segmenter.model.to(memory_format=layout).train()
        dataset = load_dataset(config.data.root)
        samples = training_splits(dataset, config.data.holdout, config.seed)[0][: config.train.batch_size]
        source = DecodedSamples(dataset, samples, self.segmenter.preprocessing.geometry)
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

    @fast_arithmetic()
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


class Plain:
    """The loop of a tutorial over the same batches, for the model of a trained run."""

    def __init__(self, bare: Bare, run: Run, device: str) -> None:
        config = run.config()
        segmenter = load_segmenter(run.best, device)
        self.model = segmenter.model.to(memory_format=torch.contiguous_format).train()
        dataset = load_dataset(config.data.root)
        samples = training_splits(dataset, config.data.holdout, config.seed)[0]
        source = DecodedSamples(dataset, samples, segmenter.preprocessing.geometry)
        source.fill()
        self.batches = batches_of(config, source)
        self.mean = torch.tensor(segmenter.preprocessing.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(segmenter.preprocessing.std, device=device).view(1, 3, 1, 1)
        self.criterion, self.device = bare.criterion, device
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.optimizer.lr)

    def rate(self, steps: int) -> float:
        """Images per second."""
        loader = DataLoader(self.batches, batch_size=None, sampler=range(WARM_UP + steps))
        start = 0.0
        for index, (images, targets) in enumerate(loader):
            if index == WARM_UP:
                start = time.perf_counter()
            floats = (images.to(self.device).float().contiguous() / 255 - self.mean) / self.std
            loss = self.criterion(self.model(floats), targets.to(self.device).long())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()
        return self.batches.batch_size * steps / (time.perf_counter() - start)


def measure(config: RunConfig, steps: int, rounds: int, plainly: bool, folder: Path) -> dict[str, Any]:
    """Pairs of rates in turn, after a first training that warms up and chooses how a step is made."""
    first = train(lasting(config, WARM_UP), out=folder / "first")
    info, chosen, batch = first.info(), first.config().train, config.train.batch_size
    fixed = lasting(config, WARM_UP + steps)
    same = {key: getattr(chosen, key) for key in ("precision", "channels_last", "threads", "workers")}
    fixed = fixed.model_copy(update={"train": fixed.train.model_copy(update=same)})
    bare = Bare(first, info["device"])
    plain = Plain(bare, first, info["device"]) if plainly else None
    pairs = []
    for turn in range(rounds):
        pair = {"bare": bare.rate(steps), "loop": loop_rate(train(fixed, out=folder / str(turn)), batch)}
        pair["ratio"] = pair["loop"] / pair["bare"]
        if plain:
            pair["plain"] = plain.rate(steps)
            pair["gain"] = pair["loop"] / pair["plain"]
        pairs.append(pair)
    model = config.model
    medians = {key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]}
    return {
        "model": f"{model.name} over {model.encoder}" if model.encoder else model.name,
        "image_size": list(config.data.image_size),
        "batch_size": batch,
        **same,
        "tried": info["precision"]["step_seconds"],
        "device": info["device"],
        "steps": steps,
        "pairs": pairs,
        "medians": medians,
        "ratio": medians["ratio"],
        "bar": BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="dataset folder; generated when left out")
    parser.add_argument("--model", default="Unet")
    parser.add_argument("--encoder", help=f"for models that take one; {ENCODER} when left out")
    parser.add_argument("--args", help="JSON of model.args; as planned when neither model nor encoder is given")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="as planned when left out")
    parser.add_argument("--batch", type=int, help="as planned when left out")
    parser.add_argument("--plain", action="store_true", help="the loop of a tutorial in float32, too")
    parser.add_argument("--bar", action="store_true", help="the four networks of the bar at 256 x 256")
    parser.add_argument("--steps", type=int, default=60, help="timed steps in each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data or folder / "data"
        if not options.data:
            generate(data, images=60, planted=0)
        results = []
        for model, encoder in NETWORKS if options.bar else [(options.model, options.encoder)]:
            options.model, options.encoder, options.size = model, encoder, [256, 256] if options.bar else options.size
            results.append(
                measure(
                    planned(data, options), options.steps, options.rounds, options.plain, folder / f"{model}-{encoder}"
                )
            )
            if not options.json:
                show(results[-1])
    if options.json:
        print(json.dumps(results if options.bar else results[0], indent=2))


def show(result: dict[str, Any]) -> None:
    height, width = result["image_size"]
    print(
        f"{result['model']}, {height}x{width}, batch {result['batch_size']}, {result['precision']}, channels "
        f"{'last' if result['channels_last'] else 'first'}, {result['device']} with {result['threads']} threads"
    )
    print("  tried: " + ", ".join(f"{way} {seconds * 1000:.0f} ms" for way, seconds in result["tried"].items()))
    rounds = {f"round {number}": pair for number, pair in enumerate(result["pairs"], 1)}
    for name, pair in (rounds | {"median": result["medians"]}).items():
        plain = f"   plain {pair['plain']:8.1f} images/s   {pair['gain']:.2f} times as fast" if "plain" in pair else ""
        print(
            f"  {name:8} bare {pair['bare']:8.1f} images/s   loop {pair['loop']:8.1f} images/s   ratio "
            f"{pair['ratio']:.3f} (bar: {BAR}){plain}"
        )


if __name__ == "__main__":
    main()
