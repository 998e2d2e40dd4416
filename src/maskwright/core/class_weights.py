"""Class weights from pixel counts; numpy only, so that an audit can suggest them without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Of the weights of `inverse_root`: more makes a rare class be seen where it is not.
MOST_RATIO = 10.0


def class_weights(
    kind: str | Sequence[Any], pixels: npt.NDArray[np.int64], image_pixels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32] | None:
    """(K,) weights of a `kind` in a config: the name of one of the functions below, `none` for None, or the weights
    themselves. `pixels` and `image_pixels` are those of `occurrence`. ValueError unless a list has K numbers."""
    if kind == "none":
        return None
    if kind == "inverse_frequency":
        return inverse_frequency(pixels)
    if kind == "median_frequency":
        return median_frequency(pixels, image_pixels)
    if kind == "effective_number":
        return effective_number(pixels)
    if kind == "inverse_root":
        return inverse_root(pixels)
    if any(isinstance(weight, list | tuple) for weight in kind):
        raise ValueError(
            "lists of weights are for the levels of a class tree; add `levels`, or give one number for each class"
        )
    if len(kind) != len(pixels):
        raise ValueError(f"{len(kind)} weights given for {len(pixels)} classes; give one each")
    return np.array(kind, np.float32)


def occurrence(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """From the pixels (M, K) of each class in M images, `pixels` (K,) in all of them and `image_pixels` (K,): all
    counted pixels of the images that have the class."""
    return counts.sum(0), ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)


def inverse_frequency(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(K,) pixel counts to weights proportional to 1 / count, with mean 1 over the classes that occur.

    A class without pixels gets weight 1.
    """
    counts = pixels.astype(np.float64)
    return _mean_one(np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0))


def median_frequency(pixels: npt.NDArray[np.int64], image_pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(K,) weights median(f) / f_c, with f_c = `pixels` of class c / all counted pixels of the images that it is in.

    `image_pixels` (K,) are those denominators. So a class that is rare only because few images have it is not
    raised; the class of median frequency has weight 1. Classes without pixels get weight 1 and do not enter the
    median. (Eigen and Fergus 2015, section 6.3.2.)
    """
    present = pixels > 0
    weights = np.ones(len(pixels))
    if present.any():
        frequency = pixels[present] / image_pixels[present].astype(np.float64)
        weights[present] = np.median(frequency) / frequency
    return weights.astype(np.float32)


def effective_number(pixels: npt.NDArray[np.int64], beta: float | None = None) -> npt.NDArray[np.float32]:
    """(K,) weights proportional to (1 - beta) / (1 - beta ** count), with mean 1 over the classes that occur.

    Of many alike samples only N = 1 / (1 - beta) count as different: classes with far more than N pixels get
    equal weights, those with far fewer get the inverse of their frequency. The paper's betas (0.9 to 0.9999)
    are for counts of images; with counts of pixels they would weigh all classes the same. Left out, N is the
    median count of the classes that occur, which depends neither on image size nor on their number. A class
    without pixels gets weight 1. ValueError unless 0 <= beta < 1. (Cui et al. 2019, class-balanced loss.)
    """
    present = pixels > 0
    if beta is not None and not 0 <= beta < 1:
        raise ValueError(f"beta is {beta}; give a number from 0 to less than 1")
    alone = 1.0 - beta if beta is not None else 1.0 / float(np.median(pixels[present])) if present.any() else 1.0
    weights = np.zeros(len(pixels))
    # 1 - beta ** n without the cancellation of a power that is nearly 1.
    decay = np.log1p(-alone) if alone < 1 else -np.inf
    weights[present] = -1.0 / np.expm1(pixels[present] * decay)
    return _mean_one(weights)


def inverse_root(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(K,) pixel counts to weights proportional to 1 / sqrt(count), at most `MOST_RATIO` times the smallest, with mean
    1 over the classes that occur.

    Milder than the inverse frequency, whose weights of some thousand drown all other classes where one is very rare.
    A class without pixels gets weight 1.
    """
    counts = pixels.astype(np.float64)
    weights = np.divide(1.0, np.sqrt(counts), out=np.zeros_like(counts), where=counts > 0)
    least = weights[weights > 0].min(initial=np.inf)
    return _mean_one(np.minimum(weights, MOST_RATIO * least))


def repeat_factors(counts: npt.NDArray[np.int64], below: float) -> npt.NDArray[np.float64]:
    """(M,) how often each of M images is drawn, from the pixels (M, K) of each class in it: the greatest of its
    classes' max(1, sqrt(below / f)), with f the share of images that have the class: so 1 where no class of the
    image is in fewer than the share `below` (0..1) of all. (Gupta et al. 2019, LVIS.)
    """
    there = counts > 0
    share = np.maximum(there.mean(0), 1 / len(counts))
    factors = np.maximum(np.sqrt(below / share), 1)
    return np.asarray(np.where(there, factors, 1.0).max(1))


@dataclass(frozen=True)
class Repeats:
    """What drawing images by their factors changes: how many `images` are drawn more often than others, `most` times
    the most often drawn one, and of each class its share of the pixels of all images (`natural`) and of those that are
    drawn (`seen`)."""

    images: int
    most: float
    natural: list[float]
    seen: list[float]

    @classmethod
    def of(cls, counts: npt.NDArray[np.int64], factors: npt.NDArray[np.float64]) -> Self:
        """From the pixels (M, K) of each class in M images, and `repeat_factors`."""
        both = [(counts * weights[:, None]).sum(0) for weights in (np.ones(len(counts)), factors)]
        natural, seen = ((pixels / max(1.0, pixels.sum())).tolist() for pixels in both)
        return cls(int((factors > factors.min()).sum()), float(factors.max() / factors.min()), natural, seen)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _mean_one(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Scaled to mean 1 over the positive ones; the others become 1."""
    present = weights > 0
    scaled = np.ones(len(weights))
    if present.any():
        scaled[present] = weights[present] / weights[present].mean()
    return scaled.astype(np.float32)
