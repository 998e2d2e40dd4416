"""Whether a model's probabilities can be believed, from sums over pixels that are added up image by image.

The confidence of a pixel is the largest probability at it, and it is right when the true class has that probability.
Confidences are sorted into B bins of equal width, [i / B, (i + 1) / B), 1.0 into the last one. With n the pixels of a
bin, and its mean confidence and accuracy:

    ECE    sum over bins of n / N |accuracy - confidence|: expected calibration error (Naeini et al., AAAI 2015; Guo
           et al., arXiv 1706.04599). It is above 0 by chance alone where pixels are few
    MCE    the largest |accuracy - confidence| of a bin that has pixels, however few they are: read it with the table
    Brier  mean over pixels of the sum over classes of (p - y)**2, 0 (perfect) to 2 (Brier, 1950)
    NLL    mean over pixels of -ln p of the true class, in nats; p is at least 2**-126, so it stays finite

The last two are proper scores: they ask for right labels and for honest probabilities at once.

Aggregation is over the counted pixels of the dataset: every pixel weighs the same, and a class that is absent has
no pixels and no part. Ignored pixels are left out. Sums of images are added, then divided.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import jsonable
from maskwright.core.classes import IGNORE
from maskwright.errors import DataError
from maskwright.evaluation.metrics.marginals import Floats, ratio

BINS = 15
_LEAST = np.float32(2.0**-126)


@dataclass(frozen=True, slots=True)
class Bin:
    """One row of a reliability table: confidences in [low, high), how many pixels have one, their mean confidence and
    the share that is right; nan without pixels."""

    low: float
    high: float
    pixels: int
    confidence: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form; undefined is None."""
        return dict(jsonable(asdict(self)))


def calibration_sums(
    truth: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.floating[Any]], bins: int = BINS, ignore: int = IGNORE
) -> Floats:
    """What calibration needs of one image: (B + 1, 3) float64, which can be added over images.

    truth: (H, W) class indices; pixels of `ignore` are left out. probabilities: (K, H, W), summing to 1 over K.

    Row i < B holds the bin's pixels, sum of confidences, and right pixels; the last row all pixels, the sum of squared
    errors, and the sum of -ln p. Raises DataError for unequal sizes, unknown indices, and values that are no
    probabilities.
    """
    if probabilities.ndim != 3 or probabilities.shape[1:] != truth.shape:
        raise DataError(
            f"calibration: expected probabilities (K, {', '.join(map(str, truth.shape))}), got "
            f"{probabilities.shape}; give them at the size of the mask"
        )
    counted = truth.reshape(-1) != ignore
    whole = bool(counted.all())
    p = probabilities.reshape(len(probabilities), -1)
    labels = truth.reshape(-1)
    if not whole:
        p, labels = p[:, counted], labels[counted]
    if not labels.size:
        return np.zeros((bins + 1, 3))
    if labels.max() >= len(p):
        raise DataError(f"calibration: the truth has the index {labels.max()}, and there are {len(p)} classes")
    confidence = p.max(axis=0)
    # Written so that nan fails too.
    if not (p.min() >= -1e-4 and abs(float(p.sum()) / labels.size - 1) < 1e-3):
        raise DataError("calibration: the values are no probabilities that sum to 1 over the classes; apply softmax")
    of_truth = p[labels, np.arange(labels.size)]
    rows = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    sums = np.zeros((bins + 1, 3))
    sums[:bins, 0] = np.bincount(rows, minlength=bins)
    sums[:bins, 1] = np.bincount(rows, confidence, minlength=bins)
    sums[:bins, 2] = np.bincount(rows, of_truth == confidence, minlength=bins)
    squares = np.einsum("kn,kn->n", p, p) - 2 * of_truth + 1
    surprise = -np.log(np.maximum(of_truth, _LEAST))
    sums[bins] = labels.size, squares.sum(dtype=np.float64), surprise.sum(dtype=np.float64)
    return sums


# The functions below take (..., B + 1, 3) sums and give (...), nan without a pixel.


def ece(sums: Floats) -> Floats:
    """Expected calibration error, in [0, 1]."""
    return ratio(_gaps(sums).sum(axis=-1), sums[..., -1, 0])


def mce(sums: Floats) -> Floats:
    """Maximum calibration error, in [0, 1]."""
    gaps = ratio(_gaps(sums), sums[..., :-1, 0])
    return np.where(sums[..., -1, 0] > 0, np.nan_to_num(gaps).max(axis=-1), np.nan)


def brier(sums: Floats) -> Floats:
    """Brier score over all classes, in [0, 2]."""
    return ratio(sums[..., -1, 1], sums[..., -1, 0])


def nll(sums: Floats) -> Floats:
    """Negative log-likelihood in nats a pixel, 0 or more."""
    return ratio(sums[..., -1, 2], sums[..., -1, 0])


CALIBRATION = {"ece": ece, "mce": mce, "brier": brier, "nll": nll}


def reliability(sums: Floats) -> list[Bin]:
    """The reliability table: (B + 1, 3) sums to B rows, from low confidence to high."""
    pixels, confidences, right = sums[:-1].T
    bins = len(pixels)
    columns = pixels.astype(np.int64), ratio(confidences, pixels), ratio(right, pixels)
    return [
        Bin(i / bins, (i + 1) / bins, *row) for i, row in enumerate(zip(*map(np.ndarray.tolist, columns), strict=True))
    ]


def _gaps(sums: Floats) -> Floats:
    return np.asarray(np.abs(sums[..., :-1, 2] - sums[..., :-1, 1]))
