"""Augmentation: one table. Names and units are those of albumentations, which users know.

A transform is a frozen dataclass. Geometric ones (`matrix`, `field`) are composed into one map, so that a
sample is resampled once however many there are; those that change colours (`paint`) follow in their order.
Randomness comes from the generator that is handed in, which is a function of (seed, epoch, sample).
In their place, a whole pipeline of albumentations can be passed through.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.core.bands import RGB, Bands, Stored
from maskwright.errors import ConfigError
from maskwright.modeling.augment import degrading, geometric, passthrough, photometric, warps
from maskwright.modeling.augment.passthrough import PASS_THROUGH, Compose
from maskwright.modeling.augment.pipeline import Pipeline, Pixels, Transform

AUGMENTATIONS: dict[str, type[Transform]] = {
    "HorizontalFlip": geometric.HorizontalFlip,
    "VerticalFlip": geometric.VerticalFlip,
    "Affine": geometric.Affine,
    "RandomSizedCrop": geometric.RandomSizedCrop,
    "ClassCrop": geometric.ClassCrop,
    "Rotate": geometric.Rotate,
    "RandomRotate90": geometric.RandomRotate90,
    "Transpose": geometric.Transpose,
    "ElasticTransform": warps.ElasticTransform,
    "GridDistortion": warps.GridDistortion,
    "RandomBrightnessContrast": photometric.RandomBrightnessContrast,
    "RandomGamma": photometric.RandomGamma,
    "RGBShift": photometric.RGBShift,
    "HueSaturationValue": photometric.HueSaturationValue,
    "PhotoMetricDistortion": photometric.PhotoMetricDistortion,
    "CLAHE": photometric.CLAHE,
    "GaussNoise": degrading.GaussNoise,
    "GaussianBlur": degrading.GaussianBlur,
    "ImageCompression": degrading.ImageCompression,
    "CoarseDropout": degrading.CoarseDropout,
}

# What has another name or place here, for those who look for it.
ELSEWHERE = {
    "ShiftScaleRotate": "Affine does it",
    "RandomResizedCrop": "RandomSizedCrop does it",
    "ColorJitter": "RandomBrightnessContrast and HueSaturationValue do it, or PhotoMetricDistortion",
    "Resize": "data.image_size does it",
    "PadIfNeeded": "data.keep_ratio pads",
    "Normalize": "data.mean and data.std do it",
    "ToTensorV2": "leave it out",
}

Augmentation = Callable[[Stored, Pixels, np.random.Generator], tuple[Stored, Pixels]]

__all__ = [
    "AUGMENTATIONS",
    "ELSEWHERE",
    "PASS_THROUGH",
    "Augmentation",
    "Compose",
    "Pipeline",
    "Transform",
    "arguments",
    "build",
]


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What an entry of `augment` may hold beside its name."""
    return dict(inspect.signature(AUGMENTATIONS.get(name, pass_through), eval_str=True).parameters)


def pass_through(file: str | None = None, pipeline: dict[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of the entry `Albumentations`: the data of its pipeline, from a `file` that `albumentations.save`
    wrote or as it stands in the config of a run. Raises ValueError unless one of them is given."""
    if file is not None and pipeline is not None:
        raise ValueError("give `file` or `pipeline`, not both")
    if file is None and pipeline is None:
        raise ValueError("give `file`, a pipeline saved by albumentations.save as .yaml or .json")
    return passthrough.read(Path(file)) if file is not None else dict(pipeline or {})


def build(entries: Sequence[Mapping[str, Any]], border: str = "reflect", bands: Bands = RGB) -> Augmentation:
    """What the entries of `augment` mean for images of such `bands`, `name` and arguments each. Raises ConfigError for
    those that are for 8-bit RGB when it is not, and SetupError."""
    refused = {name: None for entry in entries if not bands.plain and of_colours(name := entry["name"])}
    if refused:
        raise ConfigError(
            f"augment: {', '.join(refused)} {'is' if len(refused) == 1 else 'are'} for 8-bit RGB, and these images "
            f"hold {bands}; remove what is named ({', '.join(any_bands())} take any bands)"
        )
    transforms = []
    for entry in entries:
        given: dict[str, Any] = {key: value for key, value in entry.items() if key != "name"}
        if entry["name"] == PASS_THROUGH:
            return passthrough.PassThrough(pass_through(**given))
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        transforms.append(AUGMENTATIONS[entry["name"]](**tuples))
    return Pipeline(transforms, border, bands)


def of_colours(name: str) -> bool:
    """Whether an entry of `augment` is for 8-bit RGB only; a pipeline that is passed through may hold anything."""
    return name == PASS_THROUGH or AUGMENTATIONS[name].colours


def any_bands() -> list[str]:
    """The rows of the table that change values, and not places, and take any bands."""
    return [name for name, row in AUGMENTATIONS.items() if row.paint is not Transform.paint and not row.colours]
