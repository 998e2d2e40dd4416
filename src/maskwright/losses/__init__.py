"""The losses: one table, one file each; rows are `module:class`, so that listing them imports no torch.

Every loss takes logits (N, K, H, W) float32 and targets (N, H, W) int64 class indices in which
`IGNORE` (255) does not count, and returns a scalar. A batch in which every pixel is ignored gives
exactly zero with zero gradient.
"""

from __future__ import annotations

import inspect

from maskwright.models import load

LOSSES: dict[str, str] = {
    "ce": "maskwright.losses.cross_entropy:CrossEntropy",
    "dice": "maskwright.losses.dice:Dice",
}


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What a term of this loss may hold beside its name, weight and class weights. Imports torch."""
    return {key: parameter for key, parameter in inspect.signature(load(LOSSES[name]), eval_str=True).parameters.items()
            if key != "class_weights"}
