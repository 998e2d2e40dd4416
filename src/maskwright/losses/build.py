"""From config terms to one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskwright.core.classes import ClassTree
from maskwright.errors import ConfigError
from maskwright.losses import LOSSES
from maskwright.losses.hierarchy import hierarchical
from maskwright.losses.weights import inverse_frequency
from maskwright.models import load


class WeightedSum(nn.Module):
    """The sum of losses times their weights."""

    def __init__(self, terms: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in terms]
        self.losses = nn.ModuleList(loss for _, loss in terms)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) float32 and targets (N, H, W) int64 to a scalar."""
        total = logits.new_zeros(())
        for weight, loss in zip(self.weights, self.losses, strict=True):
            total = total + weight * loss(logits, targets)
        return total


def build_loss(terms: Sequence[Mapping[str, Any]], pixels: npt.NDArray[np.int64], classes: ClassTree | None = None
               ) -> WeightedSum:
    """Builds the sum of `terms`: each a mapping with `name`, `weight`, `class_weights`, `levels` and arguments.

    `pixels` (K,) int64 are the training pixels of each class, from which class weights are computed; terms with
    `levels` need `classes`. Raises ConfigError when a list of weights has the wrong length.
    """
    built: list[tuple[float, nn.Module]] = []
    for i, term in enumerate(terms):
        arguments = dict(term)
        name, weight = arguments.pop("name"), arguments.pop("weight", 1.0)
        wanted, levels = arguments.pop("class_weights", "none"), arguments.pop("levels", None)
        make = partial(_loss, name, arguments, f"loss.{i}.class_weights")
        if levels is None:
            built.append((float(weight), make(wanted, pixels)))
        else:
            assert classes is not None
            built.append((float(weight), hierarchical(make, levels, wanted, pixels, classes, f"loss.{i}")))
    return WeightedSum(built)


def _loss(name: str, arguments: Mapping[str, Any], where: str, wanted: Any, pixels: npt.NDArray[np.int64]) -> nn.Module:
    loss: nn.Module = load(LOSSES[name])(_class_weights(wanted, pixels, where), **arguments)
    return loss


def _class_weights(wanted: Any, pixels: npt.NDArray[np.int64], where: str) -> torch.Tensor | None:
    """A kind, or one number a class, as a tensor (K,) float32."""
    if wanted == "none":
        return None
    if wanted == "inverse_frequency":
        return torch.from_numpy(inverse_frequency(pixels))
    if any(isinstance(weight, list | tuple) for weight in wanted):
        raise ConfigError(f"{where}: lists of weights are for the levels of a class tree; add `levels`, or give one "
                          "number for each class")
    if len(wanted) != len(pixels):
        raise ConfigError(f"{where}: {len(wanted)} weights given for {len(pixels)} classes; give one each")
    return torch.tensor(wanted, dtype=torch.float32)
