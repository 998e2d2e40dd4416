"""Augmentation: one table. Names and units are those of albumentations, which users know.

A transform is a frozen dataclass. Geometric ones (`matrix`) are composed into one affine map, so that
a sample is resampled once however many there are; photometric ones (`pixels`) follow in their order.
Randomness comes from the generator that is handed in, which is a function of (seed, epoch, sample).
"""

from __future__ import annotations

import inspect

from maskwright.augment import geometric, photometric
from maskwright.augment.pipeline import Pipeline, Transform

AUGMENTATIONS: dict[str, type[Transform]] = {
    "HorizontalFlip": geometric.HorizontalFlip,
    "VerticalFlip": geometric.VerticalFlip,
    "Affine": geometric.Affine,
    "RandomSizedCrop": geometric.RandomSizedCrop,
    "RandomBrightnessContrast": photometric.RandomBrightnessContrast,
    "RandomGamma": photometric.RandomGamma,
    "RGBShift": photometric.RGBShift,
    "GaussNoise": photometric.GaussNoise,
}

__all__ = ["AUGMENTATIONS", "Pipeline", "Transform", "arguments"]


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """What an entry of `augment` may hold beside its name."""
    return dict(inspect.signature(AUGMENTATIONS[name], eval_str=True).parameters)
