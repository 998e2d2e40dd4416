"""Class weights from pixel counts; numpy only, so that an audit can suggest them without torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def inverse_frequency(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(K,) pixel counts to weights proportional to 1 / count, with mean 1 over the classes that occur.

    A class without pixels gets weight 1.
    """
    counts = pixels.astype(np.float64)
    weights = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    present = counts > 0
    if present.any():
        weights[present] /= weights[present].mean()
    weights[~present] = 1.0
    return weights.astype(np.float32)
