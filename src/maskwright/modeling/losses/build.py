"""From config terms to one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskwright.core.class_weights import class_weights, occurrence
from maskwright.core.classes import ClassTree
from maskwright.errors import ConfigError
from maskwright.modeling.losses import LOSSES, takes_class_weights
from maskwright.modeling.losses.hierarchy import hierarchical
from maskwright.modeling.models import load


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


def build_loss(
    terms: Sequence[Mapping[str, Any]], counts: npt.NDArray[np.int64], classes: ClassTree | None = None
) -> WeightedSum:
    """Builds the sum of `terms`: each a mapping with `name`, `weight`, `class_weights`, `levels` and arguments.

    `counts` (M, K) int64 are the pixels of each class in each training image, from which class weights are computed;
    terms with `levels` need `classes`. Raises ConfigError when a list of weights has the wrong length, and for class
    weights of a loss that takes none.
    """
    built: list[tuple[float, nn.Module]] = []
    for i, term in enumerate(terms):
        arguments = dict(term)
        name, weight = arguments.pop("name"), arguments.pop("weight", 1.0)
        wanted, levels = arguments.pop("class_weights", "none"), arguments.pop("levels", None)
        make = partial(_loss, name, arguments, f"loss.{i}.class_weights")
        if levels is None:
            built.append((float(weight), make(wanted, counts)))
        else:
            assert classes is not None
            built.append((float(weight), hierarchical(make, levels, wanted, counts, classes, f"loss.{i}")))
    return WeightedSum(built)


def _loss(name: str, arguments: Mapping[str, Any], where: str, wanted: Any, counts: npt.NDArray[np.int64]) -> nn.Module:
    """A loss with class weights of a kind, or with one number a class."""
    given = dict(arguments)
    pixels, image_pixels = occurrence(counts)
    try:
        weights = class_weights(wanted, pixels, image_pixels)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if weights is not None:
        if not takes_class_weights(name):
            raise ConfigError(f"{where}: {name} does not look at classes; remove them")
        given["class_weights"] = torch.from_numpy(weights)
    loss: nn.Module = load(LOSSES[name])(**given)
    return loss
