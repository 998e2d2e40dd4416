"""The models: one table, rows are `module:callable`, so that listing them imports no torch.

`UNet` is our own; the others are the architectures of segmentation_models_pytorch, over any of its
encoders or any timm encoder (`tu-NAME`).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

SMP = "segmentation_models_pytorch"
MODELS: dict[str, str] = {
    "UNet": "maskwright.models.unet:UNet",
    "DeepLabV3": f"{SMP}:DeepLabV3",
    "DeepLabV3Plus": f"{SMP}:DeepLabV3Plus",
    "DPT": f"{SMP}:DPT",
    "FPN": f"{SMP}:FPN",
    "Linknet": f"{SMP}:Linknet",
    "MAnet": f"{SMP}:MAnet",
    "PAN": f"{SMP}:PAN",
    "PSPNet": f"{SMP}:PSPNet",
    "Segformer": f"{SMP}:Segformer",
    "UPerNet": f"{SMP}:UPerNet",
    "Unet": f"{SMP}:Unet",
    "UnetPlusPlus": f"{SMP}:UnetPlusPlus",
}
# Set by the tool itself, so not arguments of the user's.
_OURS = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}


def takes_encoder(name: str) -> bool:
    """Whether the model is a decoder over a separate encoder (all but our own)."""
    return MODELS[name].startswith(SMP)


def load(row: str) -> Callable[..., Any]:
    """The callable behind a table row `module:name`."""
    module, _, name = row.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What `model.args` may hold for this model. Imports torch."""
    parameters = inspect.signature(load(MODELS[name]), eval_str=True).parameters
    return {key: parameter for key, parameter in parameters.items()
            if key not in _OURS and parameter.kind is not parameter.VAR_KEYWORD}
