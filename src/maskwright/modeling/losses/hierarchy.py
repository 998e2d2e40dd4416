"""The hierarchical wrapper: any loss of the table, taken at every level of the class tree.

At a level the logit of a group is the log of the sum of its leaves' exponentials. The softmax of these logits is
then exactly the sum of the leaves' probabilities, so each level is an ordinary problem of fewer classes over the same
pixels, and any loss can judge it. A pixel of eyes that is taken for a nose is wrong among the leaves and right among
the groups; one that is taken for background is wrong everywhere.

Losses that look at each class by a sigmoid (binary cross entropy) get the same logits: the odds of a group are then
the sum of the odds of its leaves, which is at least as probable as the likeliest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskwright.core.classes import ClassTree, Level
from maskwright.errors import ConfigError

LevelWeights = Literal["equal"] | Sequence[float]


class Hierarchical(nn.Module):
    """The sum over levels of weight times loss, each loss on the logits and targets of its level.

    `weights` has one number for each of `levels`, top first, and `losses` has one loss each for those above 0.
    """

    def __init__(self, levels: Sequence[Level], weights: Sequence[float], losses: Sequence[nn.Module]) -> None:
        super().__init__()
        self.levels, self.weights = list(levels), list(weights)
        self.losses = nn.ModuleDict(
            {
                str(level.number): loss
                for level, loss in zip(
                    (level for level, weight in zip(levels, weights, strict=True) if weight > 0), losses, strict=True
                )
            }
        )
        for level in levels:
            self.register_buffer(
                f"table_{level.number}", torch.from_numpy(level.table.astype(np.int64)), persistent=False
            )

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) of the leaves and targets (N, H, W) int64 to a scalar, float32 at least."""
        total = logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
        for level, weight in zip(self.levels, self.weights, strict=True):
            if weight > 0:
                loss = self.losses[str(level.number)]
                table: torch.Tensor = self.get_buffer(f"table_{level.number}")
                total = total + weight * loss(level_logits(logits, level), table[targets])
        return total


def level_logits(logits: torch.Tensor, level: Level) -> torch.Tensor:
    """(N, K, H, W) logits of leaves to (N, M, H, W) of a level, float32 at least: the softmax of the result is the
    sum of the leaves' softmax, the sigmoid of it adds their odds. The level of the leaves gets `logits` themselves."""
    if len(level) == logits.shape[1]:
        return logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.stack(
        [
            logits[:, members[0]] if len(members) == 1 else logits[:, list(members)].logsumexp(1)
            for members in level.members
        ],
        1,
    )


def hierarchical(
    make: Callable[[Any, npt.NDArray[np.int64]], nn.Module],
    wanted: LevelWeights,
    class_weights: Any,
    counts: npt.NDArray[np.int64],
    classes: ClassTree,
    where: str,
) -> Hierarchical:
    """Wraps what `make` builds from class weights (a kind, or one number a class) and the pixels of each class in each
    training image.

    wanted: a weight for each level, top first; or `equal`: the same for each, 1 in all. A level that divides the
        pixels just as the next one does (every group has one child) would count twice: `equal` passes over it.
    class_weights: a kind, which is then computed from each level's own pixels (sums of the leaves' `counts` (M, K)),
        or one list for each level.
    where: the term's place in the config, for errors.

    Raises ConfigError for flat classes, and for wrong numbers of weights.
    """
    levels = classes.levels
    if len(levels) == 1:
        raise ConfigError(
            f"{where}.levels: the classes are a flat list; nest them in dataset.yaml (`children`), or remove `levels`"
        )
    named = "; ".join(f"{level.number}: {', '.join(level.classes.names)}" for level in levels)
    if wanted == "equal":
        deeper = [*(len(level) for level in levels[1:]), 0]
        counted = [len(level) != below for level, below in zip(levels, deeper, strict=True)]
        weights = [float(one) / sum(counted) for one in counted]
    elif len(wanted) == len(levels):
        weights = [float(weight) for weight in wanted]
    else:
        raise ConfigError(
            f"{where}.levels: {len(wanted)} weights given for {len(levels)} levels ({named}); give one each, top first"
        )
    each = [class_weights] * len(levels)
    if not isinstance(class_weights, str):
        if len(class_weights) != len(levels) or not all(isinstance(one, list | tuple) for one in class_weights):
            raise ConfigError(
                f"{where}.class_weights: with `levels`, give one list of weights for each of the "
                f"{len(levels)} levels ({named})"
            )
        each = class_weights
    return Hierarchical(
        levels,
        weights,
        [make(one, level.sums(counts)) for level, weight, one in zip(levels, weights, each, strict=True) if weight > 0],
    )
