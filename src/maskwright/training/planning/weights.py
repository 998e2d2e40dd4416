"""Which encoder and which pretrained weights a plan takes: those that are available on this machine."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from maskwright.errors import ConfigError, SetupError, argument

ENCODER = "tu-mobilenetv2_100"


@dataclass(frozen=True)
class Weights:
    """What `model.weights` becomes, over which encoder (None: a model without one), and why."""

    value: str
    encoder: str | None
    reason: str


def choose_weights(encoder: str | None, weights: str | None, download: bool) -> Weights:
    """What is available here: the given file, else the cached ImageNet weights, else none.

    Raises SetupError or ConfigError when a given file does not fit its encoder.
    """
    if importlib.util.find_spec("torch") is None:
        reason = "torch is not installed here, so nothing could be checked; `pip install maskwright[train]`"
        return Weights("none", encoder, reason)
    from maskwright.modeling.models import weights as available

    if weights not in (None, "none", "imagenet"):
        assert weights is not None
        encoder = encoder or encoder_named_by(Path(weights))
        path = available.resolve(encoder, weights)
        assert path is not None
        available.check_encoder(encoder, path)
        licence = available.encoder_info(encoder).licence
        return Weights(weights, encoder, f"the given file; its tensors fit {encoder}; licence: {licence}")
    info = available.encoder_info(encoder or ENCODER)
    if weights == "none":
        return Weights("none", encoder, "asked for" + (f"; licence of {encoder}: {info.licence}" if encoder else ""))
    if available.cached(info):
        return Weights("imagenet", info.name, f"the cached ImageNet weights of {info.name}; licence: {info.licence}")
    if download:
        available.download(info)
        return Weights("imagenet", info.name, f"ImageNet weights of {info.name}, just fetched; licence: {info.licence}")
    if weights == "imagenet":
        raise SetupError(
            f"{argument('weights')} imagenet: the weights of {info.name} are not on this machine; fetch them with "
            f"{argument('download')}"
        )
    return Weights(
        "none",
        encoder,
        f"the ImageNet weights of {info.name} are not on this machine; give a file with {argument('weights')}, or "
        f"fetch them with {argument('download')}: with few images they help a lot (licence: {info.licence})",
    )


def encoder_named_by(path: Path) -> str:
    """The timm encoder that a weights file is named after."""
    import timm

    name = path.name.split(".")[0]
    if timm.is_model(name):
        return f"tu-{name}"
    raise ConfigError(f"{argument('weights')} {path}: name its encoder with {argument('encoder')}, such as {ENCODER}")
