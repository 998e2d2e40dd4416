"""From config terms to one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskwright.errors import ConfigError
from maskwright.losses import LOSSES
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


def build_loss(terms: Sequence[Mapping[str, Any]], pixels: npt.NDArray[np.int64]) -> WeightedSum:
    """Builds the sum of `terms`: each a mapping with `name`, `weight`, `class_weights` and arguments.

    `pixels` (K,) int64 are the training pixels of each class, from which class weights are computed.
    Raises ConfigError when a list of class weights has the wrong length.
    """
    built = []
    for i, term in enumerate(terms):
        arguments = dict(term)
        name, weight = arguments.pop("name"), arguments.pop("weight", 1.0)
        wanted = arguments.pop("class_weights", "none")
        if wanted == "inverse_frequency":
            class_weights = torch.from_numpy(inverse_frequency(pixels))
        elif wanted == "none":
            class_weights = None
        elif len(wanted) != len(pixels):
            raise ConfigError(f"loss.{i}.class_weights: {len(wanted)} weights given for {len(pixels)} classes; "
                              "give one each")
        else:
            class_weights = torch.tensor(wanted, dtype=torch.float32)
        built.append((float(weight), load(LOSSES[name])(class_weights, **arguments)))
    return WeightedSum(built)
