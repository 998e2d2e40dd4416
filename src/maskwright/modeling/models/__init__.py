"""The models: one table, rows are `module:callable`, so that listing them imports no torch.

Our own networks stand alone. The others are decoders over a separate encoder: any of
segmentation_models_pytorch (SegFormer is `Segformer` over `mit_b0` to `mit_b5`) or of timm (`tu-NAME`).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

SMP = "segmentation_models_pytorch"
WHOLE: dict[str, str] = {
    "SegNet": "maskwright.modeling.models.segnet:SegNet",
    "UNet": "maskwright.modeling.models.unet:UNet",
    "UNet2": "maskwright.modeling.models.unet2:UNet2",
    "UNetFCN": "maskwright.modeling.models.unet_fcn:UNetFCN",
}
OVER_ENCODER: dict[str, str] = {
    "AttentionUNet": "maskwright.modeling.models.attention_unet:AttentionUNet",
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
MODELS = WHOLE | OVER_ENCODER
# Added to the models of the library: dropout of whole channels before the layer that tells the classes.
HEAD_DROPOUT = inspect.Parameter("head_dropout", inspect.Parameter.KEYWORD_ONLY, default=0.0, annotation=float)
# Set by the tool itself, so not arguments of the user's.
_OURS = {"encoder_name", "encoder_weights", "in_channels", "classes"}
_OURS_OF_SMP = {"activation", "aux_params"}  # of the output, and a classifier of whole images


def takes_encoder(name: str) -> bool:
    """Whether the model is a decoder over a separate encoder, which may have pretrained weights."""
    return name in OVER_ENCODER


def load(row: str) -> Callable[..., Any]:
    """The callable behind a table row `module:name`."""
    module, _, name = row.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What `model.args` may hold for this model. Imports torch."""
    of_library = MODELS[name].startswith(SMP)
    hidden = _OURS | _OURS_OF_SMP if of_library else _OURS
    parameters = inspect.signature(load(MODELS[name]), eval_str=True).parameters
    own = {
        key: parameter
        for key, parameter in parameters.items()
        if key not in hidden and parameter.kind is not parameter.VAR_KEYWORD
    }
    return own | {HEAD_DROPOUT.name: HEAD_DROPOUT} if of_library else own
