"""How a step is made fastest on this machine, told by measuring a few steps of the very model: the precision, the
layout of images in memory, and the number of threads."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn

from maskwright.models.segmenter import Segmenter, with_model
from maskwright.optim.build import Groups, build_optimizer
from maskwright.training.wholebatch import WholeBatchNorm
from maskwright.training.world import ALONE, World

# Of each way: some 5 seconds in all for a step of 0.3 s.
_WARM_UP, _TIMED, _SECONDS = 1, 5, 2.0
# bfloat16 has 8 bits of mantissa: it has to be clearly faster to be worth them. The rest only has to stand out of
# the noise of the clock.
_WORTH = 1.1
_WORTH_A_CHANGE = 1.05
# A processor without bfloat16 needs over 100 times as long for a product; one with it less than once.
_EMULATED = 5.0


@dataclass(frozen=True)
class Wanted:
    """What the config fixes; None and `auto` are measured."""

    precision: str = "auto"
    channels_last: bool | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Choice:
    """What was taken, the median seconds of one step with it, the reason, and the median seconds of all tried."""

    precision: str
    step_seconds: float
    reason: str
    seconds: dict[str, float]
    channels_last: bool = True
    threads: int = field(default_factory=torch.get_num_threads)

    def apply(self, segmenter: Segmenter) -> None:
        """Lets the model work in this way from now on."""
        segmenter.precision, segmenter.channels_last = self.precision, self.channels_last
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        segmenter.model.to(memory_format=layout)
        torch.set_num_threads(self.threads)


def choose(segmenter: Segmenter, criterion: nn.Module, images: torch.Tensor, targets: torch.Tensor, groups: Groups,
           wanted: Wanted = Wanted(), world: World = ALONE) -> Choice:
    """Times forward, backward and update on copies of the model; the model itself is not changed.

    `images` (N, 3, H, W) uint8, `targets` (N, H, W) uint8. bfloat16 is taken when it is at least 1.1 times as fast
    and its loss is finite; a processor that only emulates it is told by one small product, since a single step would
    take many seconds there. Then channels-first and, on a CPU of many, half the threads are tried. Several processes
    measure at the same time and take what the first one has found.
    """
    measure = partial(_measure, segmenter, criterion, images, targets, groups, world)
    threads = wanted.threads or _threads(world)
    best = Choice("float32" if wanted.precision == "auto" else wanted.precision, 0.0, "given in the config", {},
                  wanted.channels_last is not False, threads)
    seconds, _ = measure(best)
    best = replace(best, step_seconds=seconds, seconds={best.precision: seconds})
    if wanted.precision == "auto":
        best = _with_precision(best, segmenter.device, measure, world)
    if wanted.channels_last is None:
        best = _if_faster(best, replace(best, channels_last=False), "channels first", measure)
    while wanted.threads is None and segmenter.device.type == "cpu" and best.threads > 2:
        before = best
        best = _if_faster(best, replace(best, threads=best.threads // 2), f"{best.threads // 2} threads", measure)
        if best.threads == before.threads:
            break
    torch.set_num_threads(threads)
    return best


def _with_precision(single: Choice, device: torch.device, measure: Callable[[Choice], tuple[float, bool]],
                    world: World) -> Choice:
    times = world.share(_emulated() if device.type == "cpu" else 0.0)
    if times > _EMULATED:
        return replace(single, reason=f"bfloat16 is emulated here: a matrix product takes {times:.0f} times as long")
    seconds, finite = measure(replace(single, precision="bfloat16"))
    measured = {"bfloat16": seconds, **single.seconds}
    gain = single.step_seconds / seconds
    if finite and gain >= _WORTH:
        return replace(single, precision="bfloat16", step_seconds=seconds, seconds=measured,
                       reason=f"{gain:.2f} times as fast as float32 here")
    why = f"is only {gain:.2f} times as fast here" if finite else "gives a loss that is not finite"
    return replace(single, reason=f"bfloat16 {why}", seconds=measured)


def _if_faster(best: Choice, other: Choice, name: str, measure: Callable[[Choice], tuple[float, bool]]) -> Choice:
    """The other way where it is faster and gives a finite loss, with its seconds noted under `name` in any case."""
    seconds, finite = measure(other)
    measured = {**best.seconds, name: seconds}
    gain = best.step_seconds / seconds
    if finite and gain >= _WORTH_A_CHANGE:
        return replace(other, step_seconds=seconds, seconds=measured,
                       reason=f"{best.reason}; {name}: {gain:.2f} times as fast")
    return replace(best, seconds=measured)


def _threads(world: World) -> int:
    """torch's own number; beside other processes a fair share of the cores, since torchrun gives each just one thread
    whatever the machine has."""
    if world.size == 1:
        return torch.get_num_threads()
    return max(1, len(os.sched_getaffinity(0)) // world.local_size)


def _emulated() -> float:
    """How many times as long a product of two 256 x 256 matrices takes in bfloat16 as in float32, on the CPU."""
    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        return min(times)

    return seconds(torch.bfloat16) / seconds(torch.float32)


def _measure(segmenter: Segmenter, criterion: nn.Module, images: torch.Tensor, targets: torch.Tensor, groups: Groups,
             world: World, way: Choice) -> tuple[float, bool]:
    """Median seconds of a step in this way, and whether its loss is finite."""
    trial = with_model(segmenter, copy.deepcopy(segmenter.model).train())
    way.apply(trial)
    optimizer = build_optimizer(trial.model, trial.spec, groups)
    step = train_step(trial, criterion, optimizer, world)
    seconds: list[float] = []
    began = time.perf_counter()
    loss = torch.zeros(())
    for index in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        loss = step(images, targets)
        synchronise(segmenter.device)
        if index >= _WARM_UP:
            seconds.append(time.perf_counter() - start)
            if world.any(time.perf_counter() - began > _SECONDS)[0]:
                break
    return world.share((sorted(seconds)[len(seconds) // 2], bool(torch.isfinite(loss))))


@contextmanager
def fast_arithmetic() -> Iterator[None]:
    """Settings of torch for speed, taken back in the end.

    On CPUs, numbers too small for full precision count as zero: they are many times slower. It is a setting of the
    thread; torch's helper threads take it over when they are made, which is why exact resumption is promised between
    fresh processes. On GPUs, float32 products may round to TF32 (10 bits of mantissa), and cuDNN tries which of its
    convolutions is fastest, since all batches have one size.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_flush_denormal(True)
    _set_gpu("high", True, True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        _set_gpu(*before)


def _set_gpu(products: str, convolutions: bool, benchmark: bool) -> None:
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = convolutions, benchmark


def train_step(segmenter: Segmenter, criterion: nn.Module, optimizer: torch.optim.Optimizer, world: World = ALONE
               ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """One optimisation step: images (N, 3, H, W) uint8 and targets (N, H, W) uint8 to the loss before it.

    Of several processes each is given its share of the batch; the loss is that of the whole batch, and so are the
    normalisation and the gradients.
    """
    def step(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = step_loss(segmenter, criterion, images, targets, world)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        world.add_gradients(optimizer)
        optimizer.step()
        return loss.detach()

    return step


def step_loss(segmenter: Segmenter, criterion: nn.Module, images: torch.Tensor, targets: torch.Tensor,
              world: World = ALONE) -> torch.Tensor:
    """The loss of a batch, images (N, 3, H, W) and targets (N, H, W) uint8, summed over the model's heads with their
    weights; each process gives its share of the batch."""
    with WholeBatchNorm(world) if world.size > 1 else nullcontext():
        heads = segmenter.weighted_logits(images)
    truth = world.whole(targets.to(segmenter.device, non_blocking=True)).long()
    return torch.stack([weight * criterion(world.whole(logits), truth) for weight, logits in heads]).sum()


def synchronise(device: torch.device) -> None:
    """Waits for the device, so that a clock read next is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
