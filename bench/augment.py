"""Augmentation of one 256x256 image and mask: microseconds for each row of our table and for the default pipeline,
beside albumentations and torchvision.transforms.v2 where they have the same, in one run on one thread.

python bench/augment.py [--json]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskwright.modeling.augment import AUGMENTATIONS, Pipeline, Transform
from maskwright.modeling.augment.passthrough import library

ROUNDS, IMAGES, SIZE = 7, 40, 256
DEFAULT = [
    AUGMENTATIONS["HorizontalFlip"](p=0.5),
    AUGMENTATIONS["Affine"](p=1.0),
    AUGMENTATIONS["RandomBrightnessContrast"](p=1.0),
    AUGMENTATIONS["RGBShift"](p=1.0),
]
A = library()
LINEAR = v2.InterpolationMode.BILINEAR
# What albumentations and torchvision have for each row; torchvision's crop is RandomResizedCrop.
PEERS: dict[str, tuple[object, object]] = {
    "HorizontalFlip": (A.HorizontalFlip(p=1), v2.RandomHorizontalFlip(1)),
    "VerticalFlip": (A.VerticalFlip(p=1), v2.RandomVerticalFlip(1)),
    "Affine": (
        A.Affine(scale=(0.8, 1.25), rotate=(-15, 15), translate_percent=(-0.06, 0.06), border_mode=4, p=1),
        v2.RandomAffine(15, (0.06, 0.06), (0.8, 1.25), interpolation=LINEAR),
    ),
    "RandomSizedCrop": (
        A.RandomResizedCrop((SIZE, SIZE), (0.36, 1), (1, 1), p=1),
        v2.RandomResizedCrop(SIZE, (0.36, 1), (1, 1), antialias=False),
    ),
    "Rotate": (A.Rotate(90, border_mode=4, p=1), v2.RandomRotation(90, LINEAR)),
    "RandomRotate90": (A.RandomRotate90(p=1), None),
    "Transpose": (A.Transpose(p=1), None),
    "ElasticTransform": (A.ElasticTransform(120, 8, p=1), v2.ElasticTransform(120.0, 8.0)),
    "GridDistortion": (A.GridDistortion(5, (-0.3, 0.3), p=1), None),
    "RandomBrightnessContrast": (A.RandomBrightnessContrast(0.15, 0.2, p=1), v2.ColorJitter(0.15, 0.2)),
    "RandomGamma": (A.RandomGamma((80, 125), p=1), None),
    "HueSaturationValue": (A.HueSaturationValue(p=1), v2.ColorJitter(0, 0, 0.1, 0.1)),
    "PhotoMetricDistortion": (None, v2.RandomPhotometricDistort()),
    "CLAHE": (A.CLAHE(p=1), None),
    "GaussNoise": (A.GaussNoise((0.0, 0.03), per_channel=False, p=1), None),
    "GaussianBlur": (A.GaussianBlur(0, (0.5, 2.0), p=1), v2.GaussianBlur(9, (0.5, 2.0))),
    "ImageCompression": (A.ImageCompression("jpeg", (40, 95), p=1), v2.JPEG((40, 95))),
    "CoarseDropout": (A.CoarseDropout(p=1), None),
    "default": (
        A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                A.Affine((0.8, 1.25), (-0.06, 0.06), rotate=(-15, 15), border_mode=4, p=1),
                A.RandomBrightnessContrast(0.15, 0.2, p=1),
                A.RGBShift(18, 18, 18, p=1),
            ]
        ),
        v2.Compose(
            [
                v2.RandomHorizontalFlip(0.5),
                v2.RandomAffine(15, (0.06, 0.06), (0.8, 1.25), interpolation=LINEAR),
                v2.ColorJitter(brightness=0.15, contrast=0.2),
            ]
        ),
    ),
}


def microseconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(IMAGES):
        function()
    return (time.perf_counter() - start) / IMAGES * 1e6


def main() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    image = np.ascontiguousarray(cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), (0, 0), 2))
    mask = rng.integers(0, 3, (SIZE, SIZE), np.uint8)
    tensors = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
    rows: dict[str, list[Transform]] = {name: [row(p=1.0)] for name, row in AUGMENTATIONS.items()}
    result = {}
    for name, transforms in (rows | {"default": DEFAULT}).items():
        theirs, torchvision = PEERS.get(name, (None, None))
        ours = Pipeline(transforms)
        runs: dict[str, Callable[[], object]] = {"ours": lambda ours=ours: ours(image, mask, rng)}
        if theirs is not None:
            runs["albumentations"] = lambda theirs=theirs: theirs(image=image, mask=mask)
        if torchvision is not None:
            runs["torchvision"] = lambda torchvision=torchvision: torchvision(*tensors)
        # Taken in turn, so that what else the machine does falls on all of them.
        times = [{key: microseconds(run) for key, run in runs.items()} for _ in range(ROUNDS)]
        result[name] = {key: statistics.median(one[key] for one in times) for key in runs}
    if "--json" in sys.argv:
        print(json.dumps({"size": SIZE, "microseconds": result}))
        return
    columns = ("ours", "albumentations", "torchvision")
    print(f"{f'microseconds, {SIZE}x{SIZE}':<28}" + "".join(f"{column:>16}" for column in columns))
    for name, found in result.items():
        print(f"{name:<28}" + "".join(f"{found[c]:>16.0f}" if c in found else f"{'':>16}" for c in columns))


if __name__ == "__main__":
    main()
