"""The verb `plan`: a commented `run.yaml` from the data's fingerprint, with a reason for each choice."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.base import strictyaml
from maskwright.base.progress import progress
from maskwright.base.storage import atomic_write_text
from maskwright.config import EXCLUSIVE, RunConfig, check_document, rebase, seconds_of
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.masks import class_pixels
from maskwright.core.sample import read_header
from maskwright.data.auditing.symmetry import Mirror, Positions
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, SetupError, argument
from maskwright.modeling import models

if TYPE_CHECKING:
    from maskwright.modeling.models.size import Size
    from maskwright.training.lr_finder import RangeTest

_READ = 200
# Pixels that one image may have at the model's size, so that a CPU sees each image often enough in minutes.
_CPU_PIXELS, _CPU_PIXELS_FROM_SCRATCH, _GPU_PIXELS = 52_000, 26_000, 512 * 512
_MULTIPLE = 32
ENCODER = "tu-mobilenetv2_100"
# Of models that another encoder is usual for, or that take no other kind.
_ENCODERS = {"AttentionUNet": "resnet34", "DPT": "tu-vit_tiny_patch16_224", "Segformer": "mit_b0"}


@dataclass(frozen=True)
class Fingerprint:
    """What the plan looks at. `height`, `width`: medians in pixels; `shares` (K,): class shares of counted
    pixels; `mirrors`: whether left and right, and top and bottom, may be exchanged;
    `grey`: whether the images have no colours."""

    images: int
    train: int
    validation: int
    height: int
    width: int
    shares: npt.NDArray[np.float64]
    mirrors: tuple[Mirror, Mirror]
    grey: bool


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Reads up to 200 labelled samples, evenly spread. DataError when none is labelled."""
    splits = {name: [s for s in samples if s.labelled] for name, samples in dataset.splits.items()}
    train = splits.get("train") or splits.get("", [])
    if not train:
        raise DataError(f"{dataset.root}: no labelled training samples; add masks, or a train split")
    chosen = [train[i] for i in np.unique(np.linspace(0, len(train) - 1, min(len(train), _READ)).astype(int))]
    classes = len(dataset.classes)
    pixels = np.zeros(classes + 1, np.int64)
    positions = Positions(dataset.classes.names)
    sizes = []
    grey = all(not np.ptp(dataset.read_image(sample), axis=2).any() for sample in chosen[:: max(1, len(chosen) // 5)])
    with progress("looking", len(chosen)) as advance:
        for i, sample in enumerate(chosen, 1):
            sizes.append(read_header(sample.image).size)
            mask = dataset.read_mask(sample)
            pixels += class_pixels(mask, classes)
            positions.add(mask)
            advance(i)
    height, width = (int(v) for v in np.median(np.array(sizes), axis=0))
    if not pixels[:classes].any():
        raise DataError(f"{dataset.root}: every pixel is ignored ({IGNORE}); check the masks")
    return Fingerprint(
        sum(map(len, splits.values())),
        len(train),
        len(splits.get("val", [])),
        height,
        width,
        pixels[:classes] / pixels[:classes].sum(),
        positions.mirrors(),
        grey,
    )


def model_size(fingerprint: Fingerprint, most: int) -> tuple[int, int]:
    """The median size, shrunk to at most `most` pixels with its aspect ratio, in multiples of 32."""
    scale = min(1.0, math.sqrt(most / (fingerprint.height * fingerprint.width)))
    rounding = math.ceil if scale == 1.0 else round
    height, width = (
        max(_MULTIPLE, rounding(v * scale / _MULTIPLE) * _MULTIPLE) for v in (fingerprint.height, fingerprint.width)
    )
    return height, width


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
        encoder = encoder or _named_like(Path(weights))
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
            f"{argument('weights')} imagenet: the weights of {info.name} are not on this machine; fetch "
            f"them with {argument('download')}"
        )
    return Weights(
        "none",
        encoder,
        f"the ImageNet weights of {info.name} are not on this machine; give a file with "
        f"{argument('weights')}, or fetch them with {argument('download')}: with few images they help a "
        f"lot (licence: {info.licence})",
    )


def _named_like(path: Path) -> str:
    """The timm encoder that a weights file is named after."""
    import timm

    name = path.name.split(".")[0]
    if timm.is_model(name):
        return f"tu-{name}"
    raise ConfigError(f"{argument('weights')} {path}: name its encoder with {argument('encoder')}, such as {ENCODER}")


class Planned(NamedTuple):
    """The text of a commented `run.yaml`, its config, the size of its model (None without torch), and the range test
    that its learning rate comes from, if one was asked for."""

    text: str
    config: RunConfig
    size: Size | None
    range_test: RangeTest | None = None


def plan(
    data: str | Path,
    *,
    out: str | Path | None = None,
    budget: str = "5m",
    model: str | None = None,
    encoder: str | None = None,
    weights: str | None = None,
    download: bool = False,
    overrides: Sequence[str] = (),
    lr_find: bool = False,
) -> Planned:
    """A commented `run.yaml` for a dataset; written to `out` if given.

    `budget` is the training's wall time. `model` is a row of the model table, `encoder` what it goes over; left out,
    both are chosen. `weights` is `imagenet`, `none` or a .safetensors file; left out,
    the best that is available here is taken. `lr_find` sets the learning rate by a range test of the planned
    training, which takes 100 steps and changes nothing else. Never overwrites a file.
    """
    data = Path(data)
    if out is not None and Path(out).exists():
        raise ConfigError(f"{out}: already exists and is never overwritten; choose another file")
    try:
        seconds_of(budget)
    except ValueError as error:
        raise ConfigError(f"{argument('budget')}: {error}") from None
    if model is not None and model not in models.MODELS:
        raise ConfigError(
            f"{argument('model')}: {model!r} is not known" + strictyaml.did_you_mean(model, models.MODELS)
        )
    dataset = load_dataset(data)
    dataset.require_contrast()
    found = fingerprint(dataset)
    if model is None or models.takes_encoder(model):
        usual = _ENCODERS.get(model, ENCODER) if model and weights in (None, "none", "imagenet") else None
        chosen = choose_weights(encoder or usual, weights, download)
    elif encoder or weights not in (None, "none"):
        raise ConfigError(
            f"{argument('model')} {model}: has no separate encoder and no pretrained weights; leave "
            f"{argument('encoder')} and {argument('weights')} out"
        )
    else:
        chosen = Weights("none", None, "asked for")
    folder = Path(out).resolve().parent if out is not None else Path.cwd()
    root = os.path.relpath(data.resolve(), folder)
    if chosen.value not in ("none", "imagenet"):
        chosen = replace(chosen, value=os.path.relpath(Path(chosen.value).resolve(), folder))
    text = render(dataset, found, chosen, root, budget, _device(), model)
    document = strictyaml.parse(text, str(out or "run.yaml"))
    if overrides:
        strictyaml.apply_overrides(document, overrides, EXCLUSIVE)
        touched = [override.split("=")[0].split(".")[0] for override in overrides]
        text = _rewritten(text, document.data, dict.fromkeys(touched, f"with {argument('overrides', '--set')}"))
        document = strictyaml.parse(text, str(out or "run.yaml"))
    config = check_document(document, folder)
    if size := measure_model(config, len(dataset.classes)):
        text = re.sub("^model:", f"# The model has {size}.\\nmodel:", text, count=1, flags=re.MULTILINE)
    tested = None
    if lr_find:
        from maskwright.training.train import find_rate

        tested = find_rate(rebase(config, folder))
        rate = {"lr": tested.suggested or config.optimizer.lr}
        written = document.data["optimizer"]
        optimizer = ({"name": written} if isinstance(written, str) else written) | rate
        text = _rewritten(text, {"optimizer": optimizer}, {"optimizer": tested.reason})
        config = check_document(strictyaml.parse(text, str(out or "run.yaml")), folder)
    if out is not None:
        atomic_write_text(Path(out), text)
    return Planned(text, rebase(config, folder), size, tested)


def measure_model(config: RunConfig, classes: int) -> Size | None:
    """The size of the config's model, built with random weights; None without torch. ConfigError when it cannot be
    built."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from maskwright.modeling.models.build import ModelSpec, build_model
    from maskwright.modeling.models.size import measure

    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
        model = build_model(ModelSpec(config.model.name, classes, config.model.encoder, config.model.args))
    return measure(model, config.data.image_size)


def _device() -> str:
    if importlib.util.find_spec("torch") is None:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _rewritten(text: str, data: dict[str, Any], reasons: Mapping[str, str]) -> str:
    """The sections in `reasons` are written again from their values; the others keep their comments."""
    lines: list[str] = []
    skipping = False
    for line in text.splitlines():
        key = line.split(":")[0]
        if not line.startswith((" ", "#", "-")) and ":" in line:
            skipping = key in reasons
            if skipping:
                lines.append(_section(key, data[key], reasons[key]))
        elif line.startswith("#"):
            skipping = False
        if not skipping:
            lines.append(line)
    lines += [
        _section(key, data[key], reason)
        for key, reason in reasons.items()
        if not any(line.startswith(f"{key}:") for line in lines)
    ]
    return "\n".join(lines) + "\n"


def _section(key: str, value: Any, reason: str) -> str:
    return f"{key}: {json.dumps(value)}  # {reason}"


def render(
    dataset: Dataset,
    found: Fingerprint,
    weights: Weights,
    root: str,
    budget: str,
    device: str,
    model: str | None = None,
) -> str:
    """`run.yaml` with a reason for each choice."""
    most = _GPU_PIXELS if device == "cuda" else _CPU_PIXELS if weights.encoder else _CPU_PIXELS_FROM_SCRATCH
    height, width = model_size(found, most)
    rare = int(found.shares.argmin())
    pretrained = weights.value != "none"
    few = found.validation == 0 and found.train < 60
    lines = [
        f"# Planned by maskwright for {dataset.name}: {found.train} training and {found.validation} validation images "
        f"of about {found.width}x{found.height}, {len(dataset.classes)} classes.",
        "# Every value can be changed; `maskwright plan --schema` prints a JSON Schema for editors.",
        "seed: 0",
        "data:",
        f"  root: {json.dumps(root)}",
        f"  image_size: [{height}, {width}]  # height, width: "
        + (
            "about the images' own size"
            if height * width >= found.height * found.width * 0.9
            else f"smaller than the images so that a {device.upper()} sees each one often enough"
        )
        + ", in multiples of 32",
        "  keep_ratio: false  # a little stretching costs less than padding",
        "  resample: lanczos",
    ]
    if not found.validation:
        lines.append(
            f"  holdout: {0.1 if few else 0.2}  # there is no val split: this share of train chooses the checkpoint"
            + (f"; small, as each of {found.train} images matters more for learning" if few else "")
        )
    lines += [
        "model:",
        *_model_lines(weights, model),
        "loss:",
        "  - {name: ce, weight: 1.0}",
        f"  - {{name: dice, weight: 1.0}}  # looks at each class alone: {dataset.classes.names[rare]!r} is only "
        f"{100 * found.shares[rare]:.2g} % of the pixels",
    ]
    if dataset.classes.depth > 1:
        lines.append(
            f"  # the classes are a tree of {dataset.classes.depth} levels: `levels: equal` in a term counts "
            "its errors at each of them; whether that helps, only a comparison on your data can tell"
        )
    if pretrained:
        lines.append(
            "optimizer: {name: adamw, lr: 6.0e-4, head_lr_mult: 3.33, weight_decay: 0.01}  "
            "# the pretrained encoder moves less than the new decoder"
        )
    else:
        lines.append(
            "optimizer: {name: adamw, lr: 2.0e-3, weight_decay: 0.01}  # everything starts from random weights"
        )
    lines += [
        "schedule: {name: poly, power: 0.9, warmup: 30}",
        "train:",
        f"  budget: {budget}  # measured on this machine when training starts; the run records the iterations",
        "  batch_size: 8",
        "  ema: 0.99  # the average of the weights is what is judged and kept",
        "augment:",
    ]
    for name, mirror in zip(("HorizontalFlip", "VerticalFlip"), found.mirrors, strict=True):
        reason = mirror.reason
        lines.append(f"  - {{name: {name}, p: 0.5}}  # {reason}" if mirror.natural else f"  # no {name}: {reason}")
    lines += [
        "  - {name: Affine, p: 1.0, scale: [0.8, 1.25], rotate: 15, translate_percent: 0.06}",
        "  - {name: RandomBrightnessContrast, p: 1.0, brightness_limit: 0.14, contrast_limit: 0.2}",
        "  # no RGBShift: the images are grey" if found.grey else "  - {name: RGBShift, p: 1.0, limit: 0.07}",
        "border: reflect  # rotated corners are mirrored, never taken for background",
    ]
    if found.mirrors[0].natural:
        lines.append("flip_average: true  # predictions are averaged with those of the mirrored image")
    return "\n".join(lines) + "\n"


def _model_lines(weights: Weights, model: str | None) -> list[str]:
    if weights.encoder is None and model not in (None, "UNet"):
        return [f"  name: {model}  # {weights.reason}"]
    if weights.encoder is None:
        return [
            f"  name: UNet  # Maskwright's own small UNet; {weights.reason}",
            "  args: {channels: [16, 32, 64, 128], bottleneck: 128}  # trains faster from scratch than a deep encoder",
        ]
    return [
        f"  name: {model or 'Unet'}" + ("  # asked for" if model else ""),
        f"  encoder: {weights.encoder}" + ("  # small and fast enough for a CPU" if weights.encoder == ENCODER else ""),
        f"  weights: {json.dumps(weights.value)}  # {weights.reason}",
        *["  args: {decoder_channels: [128, 64, 32, 24, 16]}  # half the usual decoder: more steps in the same time"]
        * (model in (None, "Unet")),
    ]
