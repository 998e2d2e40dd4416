"""The losses: one table, one file each; rows are `module:class`, so that listing them imports no torch.

Every loss takes logits (N, K, H, W) floats and targets (N, H, W) int64 class indices in which
`IGNORE` (255) does not count, and returns a scalar in float32 at least. A batch in which every pixel is
ignored gives exactly zero with zero gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from maskwright.modeling.models import load

LOSSES: dict[str, str] = {
    "ce": "maskwright.modeling.losses.cross_entropy:CrossEntropy",
    "bce": "maskwright.modeling.losses.binary_cross_entropy:BinaryCrossEntropy",
    "focal": "maskwright.modeling.losses.focal:Focal",
    "dice": "maskwright.modeling.losses.dice:Dice",
    "jaccard": "maskwright.modeling.losses.jaccard:Jaccard",
    "tversky": "maskwright.modeling.losses.tversky:Tversky",
    "lovasz": "maskwright.modeling.losses.lovasz:Lovasz",
    "correlation": "maskwright.modeling.losses.correlation:Correlation",
    "boundary": "maskwright.modeling.losses.boundary:Boundary",
    "total_variation": "maskwright.modeling.losses.total_variation:TotalVariation",
}


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What a term of this loss may hold beside its name, weight and class weights. Imports torch."""
    return {key: parameter for key, parameter in _parameters(name).items() if key != "class_weights"}


def takes_class_weights(name: str) -> bool:
    """Whether classes can be weighed in this loss; one that does not look at them has no such argument. Imports
    torch."""
    return "class_weights" in _parameters(name)


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(load(LOSSES[name]), eval_str=True).parameters
