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

Augmentation = Callable[[Pixels, Pixels, np.random.Generator], tuple[Pixels, Pixels]]

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


def build(entries: Sequence[Mapping[str, Any]], border: str = "reflect") -> Augmentation:
    """What the entries of `augment` mean, `name` and arguments each. Raises ConfigError and SetupError."""
    transforms = []
    for entry in entries:
        given: dict[str, Any] = {key: value for key, value in entry.items() if key != "name"}
        if entry["name"] == PASS_THROUGH:
            return passthrough.PassThrough(pass_through(**given))
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        transforms.append(AUGMENTATIONS[entry["name"]](**tuples))
    return Pipeline(transforms, border)
