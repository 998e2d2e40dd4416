"""Progressive resizing: the first part of a training is made with smaller images, whose steps cost a fraction.

A short training is limited by its number of steps, and most of what is learnt first (what the classes look like) does
not need the full size. It is the `progressive resizing` of fast.ai's entry to DAWNBench (2018). What is small follows
from the place in the schedule alone, so a resumed run does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from maskwright.config import ProgressiveConfig

_MULTIPLE = 32


@dataclass(frozen=True)
class Progressive:
    """Steps before the share `until` (0..1) of the iterations have images whose sides are `scale` of the full ones.
    `cost` is the time of such a step over that of a full one."""

    until: float = 0.0
    scale: float = 1.0
    cost: float = 1.0

    @classmethod
    def of(cls, config: ProgressiveConfig | None, cost: float = 1.0) -> Progressive:
        """What a config asks for; without one, all steps are full."""
        return cls(config.until, config.scale, cost) if config else FULL_SIZE

    def small_steps(self, done: float, left: int) -> float:
        """How many of the `left` steps are small, where the share `done` of the schedule lies behind."""
        return left * max(0.0, self.until - done) / (1 - done) if left else 0.0

    def full_steps(self, done: float, left: int) -> float:
        """How many full steps take as long as the `left` ones."""
        return left - self.small_steps(done, left) * (1 - self.cost)

    def worked(self, done: float) -> float:
        """The share of the pixels of all steps that are seen when the share `done` of the steps is made. The schedule
        of the learning rate follows it: small steps are worth less, whatever they cost on this machine."""
        pixels = self.scale**2
        return (min(done, self.until) * pixels + max(0.0, done - self.until)) / (self.until * pixels + 1 - self.until)

    def resized(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, C, H, W), uint8 or uint16, and targets (N, H, W) uint8 for a small step: both sides are rounded to
        multiples of 32, images averaged over what a pixel covers, targets by the nearest pixel."""
        height, width = (max(_MULTIPLE, round(v * self.scale / _MULTIPLE) * _MULTIPLE) for v in targets.shape[1:])
        smaller = functional.interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
        nearest = functional.interpolate(targets[:, None], (height, width), mode="nearest-exact")[:, 0]
        return smaller.round_().to(images.dtype), nearest


FULL_SIZE = Progressive()
