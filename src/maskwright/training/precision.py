"""Which precision trains faster on this machine, told by measuring a few steps of the very model."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from maskwright.models.segmenter import Segmenter, with_model
from maskwright.training.optimizer import Groups, build_optimizer

_WARM_UP, _TIMED, _SECONDS = 2, 5, 8.0
# bfloat16 has 8 bits of mantissa: it has to be clearly faster to be worth them.
_WORTH = 1.1
# A processor without bfloat16 needs over 100 times as long for a product; one with it less than once.
_EMULATED = 5.0


@dataclass(frozen=True)
class Choice:
    """The precision, the seconds of one step with it, the reason, and the median seconds of all tried."""

    precision: str
    step_seconds: float
    reason: str
    seconds: dict[str, float]


def choose(segmenter: Segmenter, criterion: nn.Module, images: torch.Tensor, targets: torch.Tensor, groups: Groups,
           wanted: str = "auto") -> Choice:
    """Times forward, backward and update on copies of the model; the model itself is not changed.

    `images` (N, 3, H, W) uint8, `targets` (N, H, W) uint8. `wanted` fixes the precision, which is then
    only timed. bfloat16 is taken when it is at least 1.1 times as fast and its loss is finite; a processor
    that only emulates it is told by one small product, since a single step would take many seconds there.
    """
    if wanted != "auto":
        seconds, _ = _measure(segmenter, criterion, images, targets, groups, wanted)
        return Choice(wanted, seconds, "given in the config", {wanted: seconds})
    single, _ = _measure(segmenter, criterion, images, targets, groups, "float32")
    if segmenter.device.type == "cpu" and (times := _emulated()) > _EMULATED:
        return Choice("float32", single, f"bfloat16 is emulated here: a matrix product takes {times:.0f} times as long",
                      {"float32": single})
    brain, finite = _measure(segmenter, criterion, images, targets, groups, "bfloat16")
    seconds_by = {"bfloat16": brain, "float32": single}
    if finite and single >= _WORTH * brain:
        return Choice("bfloat16", brain, f"{single / brain:.2f} times as fast as float32 here", seconds_by)
    why = f"is only {single / brain:.2f} times as fast here" if finite else "gives a loss that is not finite"
    return Choice("float32", single, f"bfloat16 {why}", seconds_by)


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
             precision: str) -> tuple[float, bool]:
    trial = with_model(segmenter, copy.deepcopy(segmenter.model).train())
    trial.precision = precision
    optimizer = build_optimizer(trial.model, trial.spec, groups)
    step = train_step(trial, criterion, optimizer)
    seconds: list[float] = []
    began = time.perf_counter()
    loss = torch.zeros(())
    for index in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        loss = step(images, targets)
        synchronise(segmenter.device)
        if index >= _WARM_UP:
            seconds.append(time.perf_counter() - start)
            if time.perf_counter() - began > _SECONDS:
                break
    return sorted(seconds)[len(seconds) // 2], bool(torch.isfinite(loss))


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Takes numbers too small for full precision as zero: on CPUs they are many times slower. It is a setting of the
    thread, so it is taken back for whatever else the process does; torch's helper threads take it over when they are
    made, which is why exact resumption is promised between fresh processes."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def train_step(segmenter: Segmenter, criterion: nn.Module, optimizer: torch.optim.Optimizer
               ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """One optimisation step: images (N, 3, H, W) uint8 and targets (N, H, W) uint8 to the loss before it."""
    def step(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = criterion(segmenter.logits(images), targets.to(segmenter.device).long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def synchronise(device: torch.device) -> None:
    """Waits for the device, so that a clock read next is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
