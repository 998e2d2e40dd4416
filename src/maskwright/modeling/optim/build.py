"""From config values to an optimiser over parameter groups, and to a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from maskwright.base.strictyaml import did_you_mean
from maskwright.errors import ConfigError
from maskwright.modeling.models.build import ModelSpec, encoder_parameters
from maskwright.modeling.optim import OPTIMIZERS, SCHEDULES
from maskwright.modeling.optim.schedules import warm_up


@dataclass(frozen=True)
class PartRates:
    """What is different for one part of a model: a multiple of its rate, and its own weight decay if not None."""

    lr_mult: float = 1.0
    weight_decay: float | None = None


@dataclass(frozen=True)
class Groups:
    """An optimiser by its name and `arguments`, with the rates and decays of its parameter groups.

    `lr` is that of the encoder, `lr * head_lr_mult` that of decoder and head. `parts` are by the beginning of the
    parameters' names (`encoder.layer1`).
    """

    lr: float = 1e-3
    head_lr_mult: float = 1.0
    weight_decay: float = 0.01
    name: str = "adamw"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, PartRates] = field(default_factory=dict)


def build_optimizer(model: nn.Module, spec: ModelSpec, groups: Groups) -> torch.optim.Optimizer:
    """The optimiser over encoder and head and the parts of their own, each with and without weight decay.

    Biases and the scales of normalisation layers (every tensor of one dimension) are not decayed. Each
    group keeps its own base rate under `base_lr`. Raises ConfigError for a part that the model has not.
    """
    encoder = {id(parameter) for parameter in encoder_parameters(model, spec)}
    found: dict[tuple[bool, bool, str], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (id(parameter) in encoder, parameter.ndim > 1, _part_of(name, groups.parts))
            found.setdefault(key, []).append(parameter)
    if unknown := groups.parts.keys() - {part for _, _, part in found}:
        _refuse(model, sorted(unknown))
    rows = []
    for (in_encoder, decayed, name), parameters in found.items():
        part = groups.parts.get(name, PartRates())
        rate = groups.lr * (1.0 if in_encoder else groups.head_lr_mult) * part.lr_mult
        decay = groups.weight_decay if part.weight_decay is None else part.weight_decay
        rows.append({"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay if decayed else 0.0})
    settings = OPTIMIZERS[groups.name](lr=groups.lr, weight_decay=groups.weight_decay, **groups.arguments)
    return settings.build(rows)


def _part_of(name: str, parts: Mapping[str, PartRates]) -> str:
    """The longest of `parts` that the parameter `name` belongs to; empty when there is none."""
    return max((part for part in parts if f"{name}.".startswith(f"{part}.")), key=len, default="")


def _refuse(model: nn.Module, unknown: list[str]) -> None:
    names = [name for name, module in model.named_modules() if name and any(True for _ in module.parameters())]
    raise ConfigError(
        [
            f"optimizer.groups.{part}: no parameter of its own that is trained begins like this"
            + did_you_mean(part, names)
            for part in unknown
        ]
    )


@dataclass(frozen=True)
class Schedule:
    """A row of the table of schedules with its arguments, times the warm-up."""

    name: str = "poly"
    warmup: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def factor(self, step: int, steps: int) -> float:
        """The factor on the base learning rate at `step` of 0..steps-1."""
        return self.shape(step, steps) * warm_up(step, steps, self.warmup)

    def shape(self, position: float, steps: int) -> float:
        """The schedule without its warm-up."""
        return SCHEDULES[self.name](position, steps, **self.arguments)
