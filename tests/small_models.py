"""A small one of every row of the table of models."""

from __future__ import annotations

from typing import Any

from maskwright.modeling.models import WHOLE
from maskwright.modeling.models.build import ModelSpec

# Settings that make a row small, and an encoder where the common one does not fit.
SMALL: dict[str, dict[str, Any]] = {
    "UNet": {"channels": [4, 8], "bottleneck": 8},
    "UNet2": {"channels": [4, 8], "bottleneck": 8},
    "SegNet": {"encoder_channels": [4, 8], "decoder_channels": [4, 4]},
    "UNetFCN": {"base": 4, "stages": 3},
    "AttentionUNet": {"decoder_channels": [32, 16, 16, 8, 8]},
    "DPT": {"decoder_intermediate_channels": [8, 8, 8, 8], "decoder_fusion_channels": 8},
    "DeepLabV3": {"decoder_channels": 16},
    "DeepLabV3Plus": {"decoder_channels": 16},
    "UPerNet": {"decoder_channels": 16},
    "Segformer": {"decoder_segmentation_channels": 16},
    "FPN": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
    **{name: {"decoder_channels": [32, 16, 16, 8, 8]} for name in ("MAnet", "Unet", "UnetPlusPlus")},
}
ENCODERS: dict[str, str | None] = {"DPT": "tu-vit_tiny_patch16_224", **dict.fromkeys(WHOLE)}
SIZE, LARGER = (70, 81), {"PAN": (130, 137)}  # no multiples of anything


def spec_of(name: str, classes: int = 3) -> ModelSpec:
    return ModelSpec(name, classes, ENCODERS.get(name, "tu-mobilenetv3_small_050"), SMALL.get(name, {}))
