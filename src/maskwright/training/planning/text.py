"""The commented text of `run.yaml`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from maskwright.core.dataset import Dataset
from maskwright.modeling.models.weights import ENCODERS
from maskwright.training.planning.crops import choose_crop
from maskwright.training.planning.fingerprint import Fingerprint, model_size
from maskwright.training.planning.rare import about_classes, entropy_term
from maskwright.training.planning.weights import Weights

# Pixels that one image may have at the model's size, so that a CPU sees each image often enough in minutes.
CPU_PIXELS, CPU_PIXELS_FROM_SCRATCH, GPU_PIXELS = 52_000, 26_000, 512 * 512

# Decoders over a pretrained encoder: what was measured is in docs/decisions/0025.
_WHY = {
    "FPN": "computes labels at a quarter of the sides: nearly twice the steps of a Unet in the same time",
    "Unet": "computes labels at full size",
}
_ARGUMENTS = {
    "FPN": "{decoder_pyramid_channels: 64, decoder_segmentation_channels: 64}  # narrower than usual: more steps",
    "Unet": "{decoder_channels: [128, 64, 32, 24, 16]}  # half the usual decoder: more steps in the same time",
}


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
    most = GPU_PIXELS if device == "cuda" else CPU_PIXELS if weights.encoder else CPU_PIXELS_FROM_SCRATCH
    height, width = model_size(found, most)
    names = dataset.classes.names
    crop = choose_crop(names, found, (height, width))
    rare = int(np.where(found.shares > 0, found.shares, np.inf).argmin())  # of those that are there
    pretrained = weights.value != "none"
    few = found.validation == 0 and found.train < 60
    lines = [
        f"# Planned by maskwright for {dataset.name}: {found.train} training and {found.validation} validation images "
        f"of about {found.width}x{found.height}, {len(dataset.classes)} classes.",
        "# Every value can be changed; `maskwright plan --schema` prints a JSON Schema for editors.",
        *about_classes(names, found, crop.scale if crop else min(height / found.height, width / found.width)),
        "seed: 0",
        "data:",
        f"  root: {json.dumps(root)}",
        f"  image_size: [{height}, {width}]  # height, width: "
        + (
            "of the windows that the model sees at once"
            if crop
            else "about the images' own size"
            if height * width >= found.height * found.width * 0.9
            else f"smaller than the images so that a {device.upper()} sees each one often enough"
        )
        + ", in multiples of 32",
        *([f"  crop: {{scale: {crop.scale:g}, overlap: 0.25, rare: 0.5}}  # {crop.reason}"] if crop else []),
        *([] if crop else ["  keep_ratio: false  # a little stretching costs less than padding"]),
        "  resample: lanczos",
    ]
    if not dataset.bands.plain:
        lines.append(
            f"  # images hold {dataset.bands}: their mean and std are measured when training starts, and all "
            "of them go into the first layer"
        )
    if not found.validation:
        lines.append(
            f"  holdout: {0.1 if few else 0.2}  # there is no val split: this share of train chooses the checkpoint"
            + (f"; small, as each of {found.train} images matters more for learning" if few else "")
        )
    lines += [
        "model:",
        *_model_lines(weights, model, device),
        "loss:",
        entropy_term(found),
        f"  - {{name: dice, weight: 1.0}}  # looks at each class alone: {dataset.classes.names[rare]!r} is only "
        f"{100 * found.shares[rare]:.2g} % of the pixels",
    ]
    if dataset.classes.depth > 1:
        lines.append(
            f"  # the classes are a tree of {dataset.classes.depth} levels: `levels: equal` in a term counts "
            "its errors at each of them; whether that helps, only a comparison on your data can tell"
        )
    if weights.spec and not weights.encoder:
        lines.append(
            "optimizer: {name: adamw, lr: 1.0e-3, weight_decay: 0.01}  # half the rate of a start from random weights"
        )
    elif pretrained:
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
        f"  # no change of colours: they are for RGB, and these images hold {dataset.bands}"
        if not dataset.bands.plain
        else "  # no RGBShift: the images are grey"
        if found.grey
        else "  - {name: RGBShift, p: 1.0, limit: 0.07}",
        "border: reflect  # rotated corners are mirrored, never taken for background",
    ]
    if found.mirrors[0].natural:
        lines.append("flip_average: true  # predictions are averaged with those of the mirrored image")
    return "\n".join(lines) + "\n"


def _model_lines(weights: Weights, model: str | None, device: str) -> list[str]:
    if spec := weights.spec:
        return [
            f"  name: {spec.name}  # that of the run",
            *([f"  encoder: {spec.encoder}"] if spec.encoder else []),
            f"  weights: {json.dumps(weights.value)}  # {weights.reason}",
            *([f"  args: {json.dumps(spec.args)}  # those of the run"] if spec.args else []),
        ]
    if weights.encoder is None and model not in (None, "UNet"):
        return [f"  name: {model}  # {weights.reason}"]
    if weights.encoder is None:
        return [
            f"  name: UNet  # Maskwright's own small UNet; {weights.reason}",
            "  args: {channels: [16, 32, 64, 128], bottleneck: 128}  # trains faster from scratch than a deep encoder",
        ]
    name = model or ("FPN" if device == "cpu" else "Unet")
    arguments = [f"  args: {_ARGUMENTS[name]}"] if name in _ARGUMENTS else []
    return [
        f"  name: {name}  # {'asked for' if model else _WHY[name]}",
        f"  encoder: {weights.encoder}"
        + ("  # small and fast enough for a CPU" if weights.encoder in ENCODERS else ""),
        f"  weights: {json.dumps(weights.value)}  # {weights.reason}",
        *arguments,
    ]


def rewritten(text: str, data: dict[str, Any], reasons: Mapping[str, str]) -> str:
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
