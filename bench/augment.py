"""Augmentation of one image and mask: our pipeline beside torchvision.transforms.v2, in one run on one thread.

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

from maskwright.augment import AUGMENTATIONS, Pipeline

ROUNDS, IMAGES = 7, 40


def rate(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(IMAGES):
        function()
    return IMAGES / (time.perf_counter() - start)


def main() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (192, 256, 3), np.uint8)
    mask = rng.integers(0, 3, (192, 256), np.uint8)
    names = ("HorizontalFlip", "Affine", "RandomBrightnessContrast")
    ours = Pipeline([AUGMENTATIONS[name](p=1.0) for name in names])
    theirs = v2.Compose(
        [
            v2.RandomHorizontalFlip(1.0),
            v2.RandomAffine(15, (0.06, 0.06), (0.8, 1.25), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=0.15, contrast=0.2),
        ]
    )
    tensors = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
    pairs = [(rate(lambda: ours(image, mask, rng)), rate(lambda: theirs(*tensors))) for _ in range(ROUNDS)]
    result = {
        "ours_per_second": statistics.median(a for a, _ in pairs),
        "torchvision_per_second": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }
    print(
        json.dumps(result)
        if "--json" in sys.argv
        else "ours {ours_per_second:.0f}/s, torchvision v2 {torchvision_per_second:.0f}/s, ratio {ratio:.2f}".format(
            **result
        )
    )


if __name__ == "__main__":
    main()
