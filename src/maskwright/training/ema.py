"""The average of the weights over the steps."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Exponential moving average of weights and buffers: a = d a + (1 - d) w after each step.

    The decay grows as (1 + t) / (10 + t) up to `decay`, so that the start is soon forgotten. Counters
    (integer buffers) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self._mine = list(self.model.state_dict().values())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights after `step` (0 for the first)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(self._mine, model.state_dict().values(), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        counters = [pair for pair in pairs if not pair[0].is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [theirs for _, theirs in floats], 1 - decay)
        if counters:
            torch._foreach_copy_([mine for mine, _ in counters], [theirs for _, theirs in counters])
