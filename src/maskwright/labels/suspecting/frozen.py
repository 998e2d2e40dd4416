"""Out-of-fold models over one frozen encoder: what it says of the images is computed once for all folds, and only
decoders are trained.

An encoder that was pretrained on other pictures has seen none of these labels, so all folds can share it. Each sample
is kept in several views, augmented as in a training. What this saves in time and costs in quality is in
docs/decisions/0026.

    FOLDER/features/level-L.npy   what the encoder says of each view, in half precision
    FOLDER/features/masks.npy     the masks of the views
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.format import open_memmap
from torch import nn

from maskwright.base.progress import progress
from maskwright.base.stopping import graceful
from maskwright.base.storage import atomic_write_json, read_json
from maskwright.config import RunConfig, seconds_of
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, Interrupted, argument
from maskwright.modeling.models.blocks import pad_to_multiple
from maskwright.modeling.models.build import build_model, size_multiple
from maskwright.modeling.models.devices import device_of
from maskwright.modeling.models.segmenter import with_model
from maskwright.modeling.models.weights import resolve
from maskwright.modeling.optim.build import Schedule, build_optimizer
from maskwright.training.distributed.processes import ALONE
from maskwright.training.ema import Average
from maskwright.training.guest import as_a_guest, seed_torch
from maskwright.training.image_cache import Pair
from maskwright.training.loader import batch_indices
from maskwright.training.measuring import in_epochs
from maskwright.training.prepare import Prepared, groups_of, prepare
from maskwright.training.step import fast_arithmetic, train_step

Floats = npt.NDArray[np.float32]
_VIEWS, _ALL_VIEWS = 6, 2000  # of a sample, and of all samples together
_BATCH = 16  # images that go through a network together
_TIMED = 6  # steps whose time tells how many fit
_LEAST, _MOST = 20, 1000  # steps of a training


class _Kept(nn.Module):
    """Stands in the encoder's place, and says what that has said before."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.output_stride = encoder.output_stride
        self.said: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self.said


@dataclass(frozen=True)
class _Features:
    """Of N samples in V views each: levels (N V, C, h, w) float16, those maps that the decoder reads, by their place
    among the encoder's; masks (N V, H, W) uint8. View 0 is the sample as it is; view 1 its mirror image, where
    predictions are averaged with those of it."""

    views: int
    shapes: list[list[int]]
    levels: dict[int, npt.NDArray[np.float16]]
    masks: npt.NDArray[np.uint8]

    def maps(self, rows: Sequence[int], device: torch.device) -> list[torch.Tensor]:
        """What the encoder says of these rows, float32; zeros in place of what the decoder does not read."""
        return [
            torch.from_numpy(self.levels[place][rows]).to(device).float()
            if place in self.levels
            else torch.zeros((len(rows), *shape), device=device)
            for place, shape in enumerate(self.shapes)
        ]


class FrozenFolds:
    """Decoders for parts of `samples`. The features of all of them are computed first, into `folder`, unless they are
    there. Raises Interrupted when it is stopped, LockedError when another thread of this process trains."""

    @as_a_guest()
    def __init__(self, dataset: Dataset, samples: Sequence[Sample], config: RunConfig, folder: Path) -> None:
        self._began = time.monotonic()
        device = device_of(None)
        weights = resolve(config.model.encoder or "", config.model.weights)
        # Nothing is validated on the way: one sample stands for the validation that belongs to a training.
        self._prepared = prepare(config, dataset, (list(samples), [samples[0]]), weights, device, ALONE)
        self._config, self._folder = config, folder
        self._places = {sample.name: place for place, sample in enumerate(samples)}
        with graceful() as stop:
            self._features = _features(self._prepared, folder / "features", stop.is_set)

    @as_a_guest()
    def length(self, seconds: float | None, folds: int) -> int:
        """How many steps each of the trainings makes: what the config says, or as many as fit for all to end in
        `seconds`, or each in the config's budget. ConfigError for too few."""
        train = self._config.train
        if train.iterations is not None:
            return train.iterations
        if train.epochs is not None:
            return in_epochs(self._config, self._prepared)
        if seconds is None:
            seconds = folds * seconds_of(train.budget or "")
        ends = [time.perf_counter() for _ in self._steps([*range(len(self._places))], 0, _TIMED)]
        step = median(np.diff(ends))
        steps = int((seconds - (time.monotonic() - self._began)) / folds / step)
        if steps < _LEAST:
            raise ConfigError(
                f"{argument('budget')}: too short for {folds} trainings (a step takes {step:.2f} s); give more, or "
                f"ask for fewer {argument('folds')}"
            )
        return min(steps, _MOST)

    @as_a_guest()
    def train(self, names: Sequence[str], seed: int, steps: int) -> nn.Module:
        """A model that has learnt from the samples of these names, in so many steps."""
        places = [self._places[name] for name in names]
        with graceful() as stop, progress("training", steps, "iterations") as advance:
            for step, average in enumerate(self._steps(places, seed, steps), 1):
                model = average.model
                advance(step)
                if stop.is_set():
                    raise Interrupted(f"{self._folder}: stopped; the same command resumes it")
        return model

    def _steps(self, samples: Sequence[int], seed: int, steps: int) -> Iterator[Average]:
        """After each step the average of the weights."""
        segmenter, config, features = self._prepared.segmenter, self._config, self._features
        seed_torch(seed, segmenter.device)
        model = build_model(segmenter.spec)
        model.encoder = kept = _Kept(segmenter.model.encoder)
        model = model.to(segmenter.device).train()
        optimizer = build_optimizer(model, segmenter.spec, groups_of(config))
        average = Average(model, config.train.ema or 0.99)
        schedule = Schedule(config.schedule.name, config.schedule.warmup, config.schedule.arguments)
        step_once = train_step(with_model(segmenter, model), self._prepared.criterion, optimizer)
        for step in range(steps):
            places = batch_indices(seed, step, config.train.batch_size, len(samples))
            rows = [samples[index] * features.views + view % features.views for view, index in places]
            kept.said = features.maps(rows, segmenter.device)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * schedule.factor(step, steps)
            masks = torch.from_numpy(features.masks[rows])
            step_once(self._blank(len(rows)), masks)
            average.update(model, step)
            yield average

    def _blank(self, rows: int) -> torch.Tensor:
        """(rows, C, H, W), in the place of images."""
        channels = self._prepared.segmenter.spec.in_channels
        return torch.zeros((rows, channels, *self._features.masks.shape[1:]), dtype=torch.uint8)

    def predict(self, model: nn.Module, names: Sequence[str]) -> Iterator[tuple[Floats, Mask]]:
        """Of each of these samples the probabilities (K, H, W) and the mask (H, W), at the model's size."""
        segmenter, views = with_model(self._prepared.segmenter, model.eval()), self._features.views
        mirrored = segmenter.flip_average and views > 1
        for start in range(0, len(names), _BATCH):
            chosen = names[start : start + _BATCH]
            said = []
            for view in range(1 + mirrored):
                rows = [self._places[name] * views + view for name in chosen]
                model.encoder.said = self._features.maps(rows, segmenter.device)  # type: ignore[union-attr]
                with torch.inference_mode(), fast_arithmetic():
                    said.append(segmenter.logits(self._blank(len(rows))).softmax(1))
            both = (said[0] + said[1].flip(3)) / 2 if mirrored else said[0]
            masks = self._features.masks[[self._places[name] * views for name in chosen]]
            yield from zip(both.cpu().numpy(), masks, strict=True)


def _features(prepared: Prepared, folder: Path, stopped: Callable[[], bool]) -> _Features:
    """Those in `folder`, or made there."""
    finished = folder / "finished.json"
    if not finished.exists():
        _write(prepared, folder, stopped)
    stored = read_json(finished)
    return _Features(
        stored["views"],
        stored["shapes"],
        {place: np.load(folder / f"level-{place}.npy", mmap_mode="r") for place in stored["read"]},
        np.load(folder / "masks.npy", mmap_mode="r"),
    )


def _write(prepared: Prepared, folder: Path, stopped: Callable[[], bool]) -> None:
    segmenter, source = prepared.segmenter, prepared.batches.source
    views = int(np.clip(_ALL_VIEWS // len(source), 2, _VIEWS))
    rows, bands = len(source) * views, source.dataset.bands
    folder.mkdir(parents=True, exist_ok=True)
    height, width = segmenter.preprocessing.geometry.size
    masks = open_memmap(folder / "masks.npy", "w+", np.uint8, (rows, height, width))
    levels: dict[int, Any] = {}
    shapes: list[list[int]] = []
    segmenter.model.eval()
    with progress("looking at the images", rows, "views") as advance:
        for start in range(0, rows, _BATCH):
            stop = min(start + _BATCH, rows)
            images = np.empty((stop - start, height, width, bands.channels), bands.dtype)
            for row in range(start, stop):
                images[row - start], masks[row] = _view(prepared, row % views, row // views)
            batch = torch.from_numpy(images).permute(0, 3, 1, 2)
            with torch.inference_mode():
                ready = pad_to_multiple(segmenter.normalise(batch), size_multiple(segmenter.model))
                said = segmenter.model.encoder(ready)  # type: ignore[operator]
            if not shapes:
                shapes = [list(level.shape[1:]) for level in said]
                levels = {
                    place: open_memmap(folder / f"level-{place}.npy", "w+", np.float16, (rows, *shapes[place]))
                    for place in _read_by_decoder(segmenter.model, batch, said)
                }
            for place, kept in levels.items():
                kept[start:stop] = said[place].cpu().numpy()
            advance(stop)
            if stopped():
                raise Interrupted(f"{folder.parent}: stopped; the same command resumes it")
    for array in (masks, *levels.values()):
        array.flush()
    atomic_write_json(folder / "finished.json", {"views": views, "shapes": shapes, "read": sorted(levels)})


def _view(prepared: Prepared, view: int, index: int) -> Pair:
    """View 0 is the sample as it is, 1 its mirror image where that is as natural; the others are augmented."""
    image, mask = prepared.batches.source[index]
    if view == 0:
        return image, mask
    if view == 1 and prepared.segmenter.flip_average:
        return image[:, ::-1], mask[:, ::-1]
    return prepared.batches.pair(view, index)


def _read_by_decoder(model: Any, images: torch.Tensor, said: Sequence[torch.Tensor]) -> list[int]:
    """The places of the encoder's maps that change the model's output: those that get a gradient."""
    encoder, model.encoder = model.encoder, _Kept(model.encoder)
    try:
        maps = model.encoder.said = [level.clone().requires_grad_() for level in said]
        model(images.float()).sum().backward()
    finally:
        model.encoder = encoder
        model.zero_grad()
    return [place for place, level in enumerate(maps) if level.grad is not None]
