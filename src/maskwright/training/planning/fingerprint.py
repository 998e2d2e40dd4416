"""What the plan depends on in the data: sizes, class shares, mirror symmetry, colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.base.progress import progress
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.masks import class_pixels
from maskwright.core.sample import read_header
from maskwright.data.auditing.symmetry import Mirror, Positions
from maskwright.errors import DataError

_READ = 200
_MULTIPLE = 32


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
    with progress("reading", len(chosen)) as advance:
        for i, sample in enumerate(chosen, 1):
            sizes.append(read_header(sample.image, sample.page).size)
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
