"""The optimiser with its parameter groups, and the average of the weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from maskwright.models.build import ModelSpec, encoder_parameters


@dataclass(frozen=True)
class Groups:
    """Learning rate of the encoder, its multiple for decoder and head, and the weight decay."""

    lr: float = 1e-3
    head_lr_mult: float = 1.0
    weight_decay: float = 0.01


def build_optimizer(model: nn.Module, spec: ModelSpec, groups: Groups) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) over encoder and head, each with and without weight decay.

    Biases and the scales of normalisation layers (every tensor of one dimension) are not decayed. Each
    group keeps its own base rate under `base_lr`.
    """
    encoder = {id(parameter) for parameter in encoder_parameters(model, spec)}
    found: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            found.setdefault((id(parameter) in encoder, parameter.ndim > 1), []).append(parameter)
    rows = []
    for (in_encoder, decayed), parameters in found.items():
        rate = groups.lr * (1.0 if in_encoder else groups.head_lr_mult)
        rows.append({"params": parameters, "lr": rate, "base_lr": rate,
                     "weight_decay": groups.weight_decay if decayed else 0.0})
    return torch.optim.AdamW(rows, fused=True)


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
