"""Which windows of large images a training sees: so many of each image as fit into it, at places drawn for each.

A share of the windows, `rare`, is drawn around a pixel of a class: of those in the image all but the one that has the
most pixels in the training masks are equally likely, so that what is rare comes up about as often as what is not. The
other windows lie anywhere. All follows from (seed, epoch, place in the epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.core.bands import Stored
from maskwright.core.classes import IGNORE
from maskwright.core.geometry import Size, pad_to
from maskwright.core.masks import Mask

Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))
# Images whose windows are counted for `Seen`: shares need no more.
_COUNTED = 50


@dataclass(frozen=True, eq=False)
class Crops:
    """The windows of `size` in M scaled images of the `sizes` (M, 2), whose masks hold `counts` (M, K) pixels of each
    class."""

    size: Size
    rare: float
    seed: int
    sizes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def per_image(self) -> npt.NDArray[np.int64]:
        """(M,): the windows of each image in an epoch: its area in windows, rounded, at least one."""
        windows: npt.NDArray[np.float64] = self.sizes.prod(1) / (self.size[0] * self.size[1])
        return np.maximum(1, np.rint(windows).astype(np.int64))

    @cached_property
    def owners(self) -> npt.NDArray[np.int64]:
        """(P,): the image of each place of an epoch."""
        return np.repeat(np.arange(len(self.sizes)), self.per_image)

    @cached_property
    def sought(self) -> npt.NDArray[np.bool_]:
        """(K,): the classes that windows are drawn around."""
        total = self.counts.sum(0)
        sought: npt.NDArray[np.bool_] = (total > 0) & (np.arange(len(total)) != total.argmax())
        return sought

    def window(self, mask: Mask, view: int, place: int, index: int) -> Window:
        """Rows and columns of the window of a `place` in a `view`, which is the number of an epoch (see
        `batch_indices`), in the scaled image `index` that has this mask (H, W). They end with a smaller image."""
        rng = np.random.default_rng((self.seed, 4, view, place))
        room = [max(0, side - own) for side, own in zip(mask.shape, self.size, strict=True)]
        there = np.flatnonzero((self.counts[index] > 0) & self.sought)
        if rng.random() < self.rare and len(there):
            pixels = np.flatnonzero(mask.reshape(-1) == rng.choice(there))
            middle = np.unravel_index(rng.choice(pixels), mask.shape)
            # The pixel comes to lie in the middle half of the window, where the image goes on far enough.
            shifts = rng.uniform(0.25, 0.75, 2)
            wanted = [int(at - shift * own) for at, shift, own in zip(middle, shifts, self.size, strict=True)]
        else:
            wanted = [int(rng.integers(most + 1)) for most in room]
        top, left = (min(max(0, at), most) for at, most in zip(wanted, room, strict=True))
        return slice(top, top + self.size[0]), slice(left, left + self.size[1])

    def padded(self, image: Stored, mask: Mask) -> tuple[Stored, Mask]:
        """A window's image (h, w, C) and mask (h, w) at its full size: black and ignored beyond a smaller image."""
        return pad_to(image, self.size, 0), pad_to(mask, self.size, IGNORE)


@dataclass(frozen=True)
class Seen:
    """What drawing windows changes: of an epoch the number of `windows` and the share drawn around classes, and the
    shares (K,) of each class in the pixels of the images, and in those of the windows as they are drawn."""

    windows: int
    drawn: float
    natural: list[float]
    seen: list[float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def seen(crops: Crops, mask: Callable[[int], Mask]) -> Seen:
    """Counts the windows of the first epoch in up to 50 images, evenly spread; `mask(index)` is (H, W) at the scaled
    size. Each image weighs as much as it has windows."""
    classes, owners = crops.counts.shape[1], crops.owners
    chosen = np.unique(np.linspace(0, len(crops.sizes) - 1, _COUNTED).astype(int))
    found = np.zeros(classes, np.int64)
    for index in chosen.tolist():
        labels = mask(index)
        for place in np.flatnonzero(owners == index).tolist():
            found += np.bincount(labels[crops.window(labels, 0, place, index)].reshape(-1), minlength=256)[:classes]
    around = (crops.counts[owners] * crops.sought).any(1)
    return Seen(len(owners), crops.rare * float(around.mean()), _shares(crops.counts[chosen].sum(0)), _shares(found))


def _shares(counts: npt.NDArray[np.int64]) -> list[float]:
    shares: Sequence[float] = (counts / max(1, int(counts.sum()))).tolist()
    return [*shares]
