"""From config values to a model, and from a model file back to the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from maskwright.base.strictyaml import did_you_mean
from maskwright.errors import ConfigError, argument
from maskwright.modeling.models import HEAD_DROPOUT, MODELS, SMP, load, takes_encoder
from maskwright.modeling.models.weights import Found, encoder_info, load_encoder

# Without it a vision transformer takes images of one size only.
_FIXED = {"DPT": {"dynamic_img_size": True}}


@dataclass(frozen=True)
class ModelSpec:
    """Constructor arguments of a model: with them and its tensors it is rebuilt without anything else."""

    name: str
    classes: int
    encoder: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    in_channels: int = 3

    def to_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return asdict(self)


def build_model(spec: ModelSpec, weights: Found | None = None) -> nn.Module:
    """Builds the model with random initialisation (from torch's generator), then loads the encoder's `weights`.

    Logits of the model are (N, K, H, W) for images (N, C, H, W); see `Segmenter` for any size. Raises
    ConfigError when the model refuses its arguments.
    """
    if spec.name not in MODELS:
        raise ConfigError(f"model.name: {spec.name!r} is not known" + did_you_mean(spec.name, MODELS))
    arguments = dict(spec.args) | {"in_channels": spec.in_channels, "classes": spec.classes}
    if takes_encoder(spec.name):
        encoder_info(spec.encoder or "")  # an unknown name is said in our words
        arguments |= {"encoder_name": spec.encoder, "encoder_weights": None} | _FIXED.get(spec.name, {})
    head_dropout = arguments.pop(HEAD_DROPOUT.name, 0.0) if MODELS[spec.name].startswith(SMP) else 0.0
    try:
        model: nn.Module = load(MODELS[spec.name])(**arguments)
        _drop_channels(model, head_dropout)
    except (ValueError, TypeError, KeyError, RuntimeError, IndexError, AttributeError) as error:
        over = f" over {spec.encoder}" if spec.encoder else ""
        raise ConfigError(
            f"model: {spec.name}{over} cannot be built: {error}; correct `model.args` or the encoder"
        ) from None
    if weights is not None:
        load_encoder(model.encoder, weights, spec.in_channels)
    return model


def _drop_channels(model: nn.Module, share: float) -> None:
    """Leaves out whole channels before the last layer while the model trains. By a hook, so that the tensors of a model
    have the same names with it and without."""
    if not 0 <= share < 1:
        raise ValueError(f"{HEAD_DROPOUT.name} must be at least 0 and below 1 (given {share})")

    def before(head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return functional.dropout2d(inputs[0], share, head.training), *inputs[1:]

    if share:
        model.segmentation_head.register_forward_pre_hook(before)  # type: ignore[union-attr]


# What models raise for images of a size that they do not take: torch's words, and assertions of libraries.
SIZE_ERRORS = (RuntimeError, ValueError, AssertionError)


def why_refused(error: Exception, encoder: str | None) -> tuple[str, str]:
    """Of an error of `SIZE_ERRORS`: the reason in one line, and a remark on the size that its encoder was made for,
    empty where that is not known. An assertion without words is our own, and raised again."""
    if isinstance(error, AssertionError) and not str(error):
        raise error
    made_for = encoder_info(encoder).image_size if encoder else None
    size = f"{made_for[0]}, {made_for[1]}" if made_for else ""
    way = argument("overrides", "--set")
    remark = f"; {encoder} was made for {size}: `data.image_size=[{size.replace(' ', '')}]` with {way}"
    return str(error).splitlines()[0].rstrip("."), remark if made_for else ""


def size_multiple(model: nn.Module) -> int:
    """What heights and widths of the model's input have to be multiples of."""
    if not getattr(model, "requires_divisible_input_shape", False):
        return 1
    stride: int = model.encoder.output_stride  # type: ignore[union-attr,assignment]
    return stride * 2 if type(model).__name__ == "DPT" else stride  # DPT halves its patches once more


def encoder_parameters(model: nn.Module, spec: ModelSpec) -> list[nn.Parameter]:
    """The parameters that get the base learning rate: the encoder's, or all of a model without one."""
    return list(model.encoder.parameters() if takes_encoder(spec.name) else model.parameters())  # type: ignore[union-attr]
