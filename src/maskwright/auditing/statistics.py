"""What a dataset consists of, in exact counts: classes by pixels and images, sizes, channel values.

Everything is a sum of integers over samples, so memory does not grow with their pixels and no order of
adding changes a digit. Channel mean and deviation follow from counts of the 256 values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import ClassTree
from maskwright.losses.weights import inverse_frequency

Counts = npt.NDArray[np.int64]
# The splits that training and scoring know, in the order in which they are shown.
SPLITS = ("train", "val", "test")


def channel_levels(image: npt.NDArray[np.uint8]) -> Counts:
    """(3, 256) int64: how often each value occurs in each channel of an image (H, W, 3)."""
    if image.shape[0] * image.shape[1] < 1 << 24:  # calcHist counts in float32, which is exact up to here
        counts = [cv2.calcHist([image], [c], None, [256], [0, 256]).reshape(-1)
                  for c in range(3)]
    else:
        counts = [np.bincount(image[..., c].reshape(-1), minlength=256) for c in range(3)]
    return np.stack(counts).astype(np.int64)


@dataclass
class SplitStatistics:
    """Counts over the samples of a split, or of all.

    `images` could be read; `labelled` of them have a usable mask. Of those masks: `class_pixels` (K,) and
    `class_images` (K,) by class index, and `ignored_pixels`. `sizes` counts (height, width); `levels`
    (3, 256) counts the values of each channel.
    """

    class_pixels: Counts
    class_images: Counts
    images: int = 0
    labelled: int = 0
    ignored_pixels: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    levels: Counts = field(default_factory=lambda: np.zeros((3, 256), np.int64))

    def add(self, size: tuple[int, int], levels: Counts, pixels: Counts | None) -> None:
        """Counts an image, and its mask's class pixels (K + 1,) unless it has none that is usable."""
        self.images += 1
        self.sizes[size] += 1
        self.levels += levels
        if pixels is not None:
            self.labelled += 1
            self.class_pixels += pixels[:-1]
            self.class_images += pixels[:-1] > 0
            self.ignored_pixels += int(pixels[-1])

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """(K,) share of each class in the counted pixels, 0..1; NaN when there are none."""
        total = self.class_pixels.sum()
        return self.class_pixels / total if total else np.full(len(self.class_pixels), np.nan)

    @property
    def ignored_share(self) -> float:
        """Share of ignored pixels in all mask pixels, 0..1; NaN when there are none."""
        total = int(self.class_pixels.sum()) + self.ignored_pixels
        return self.ignored_pixels / total if total else math.nan

    @property
    def mean_std(self) -> tuple[list[float], list[float]]:
        """Channel means and standard deviations (RGB, 0..1) over all pixels of all images; NaN without any."""
        means, deviations = [], []
        for counts in self.levels.tolist():
            # Python's integers do not overflow, and one division at the end loses nothing.
            n = sum(counts)
            first = sum(value * count for value, count in enumerate(counts))
            second = sum(value * value * count for value, count in enumerate(counts))
            means.append(first / (255 * n) if n else math.nan)
            deviations.append(math.sqrt((n * second - first * first) / (n * n)) / 255 if n else math.nan)
        return means, deviations

    def extent(self, axis: int) -> dict[str, float]:
        """Least, median and largest height (axis 0) or width (axis 1) in pixels; empty without images."""
        if not self.sizes:
            return {}
        values = np.repeat([size[axis] for size in self.sizes], list(self.sizes.values()))
        return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}

    def to_dict(self, classes: ClassTree) -> dict[str, Any]:
        """For JSON."""
        mean, std = self.mean_std
        return {
            "images": self.images, "labelled": self.labelled,
            "ignored_pixels": self.ignored_pixels, "ignored_share": self.ignored_share,
            "classes": [{"id": leaf.id, "name": leaf.name, "pixels": int(self.class_pixels[i]),
                         "share": float(self.shares[i]), "images": int(self.class_images[i])}
                        for i, leaf in enumerate(classes.leaves)],
            "sizes": {"height": self.extent(0), "width": self.extent(1),
                      "counts": [{"height": h, "width": w, "images": n} for (h, w), n in self.sizes.most_common()]},
            "channels": {"mean": mean, "std": std},
        }


class Statistics:
    """Counts of each split, in the order given ("" for samples without one), and of all samples."""

    def __init__(self, classes: ClassTree, splits: Iterable[str]) -> None:
        def empty() -> SplitStatistics:
            return SplitStatistics(np.zeros(len(classes), np.int64), np.zeros(len(classes), np.int64))

        self.classes = classes
        self.splits = {name: empty() for name in splits}
        self.total = empty()

    def add(self, split: str, size: tuple[int, int], levels: Counts, pixels: Counts | None) -> None:
        """Counts one sample; see `SplitStatistics.add`."""
        for part in (self.splits[split], self.total):
            part.add(size, levels, pixels)

    @property
    def training(self) -> SplitStatistics:
        """The counts that training sees: those of `train`, else of the samples without a split, else of all."""
        parts = [self.splits[name] for name in ("train", "") if name in self.splits]
        return next((part for part in parts if part.labelled), self.total)

    @property
    def class_weights(self) -> npt.NDArray[np.float32]:
        """(K,) suggested weights by inverse frequency over the training pixels, with mean 1."""
        return inverse_frequency(self.training.class_pixels)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"splits": {name: part.to_dict(self.classes) for name, part in self.splits.items()},
                "total": self.total.to_dict(self.classes),
                "class_weights": {"inverse_frequency": self.class_weights.tolist()}}
