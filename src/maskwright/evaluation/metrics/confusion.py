"""Confusion matrices: the only place where metrics look at pixels.

Every score of the package is a function of the (K, K) counts made here, so scores can be recomputed,
summed over images and resampled without reading a mask again.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.errors import DataError

Mask: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Counts: TypeAlias = npt.NDArray[np.int64]

# OpenCV returns counts as float32, which is exact up to 2**24: no strip may hold more pixels than that.
_STRIP_PIXELS = 1 << 24


def confusion_matrix(truth: Mask, prediction: Mask, classes: int, ignore: int | None = IGNORE) -> Counts:
    """Count how often a true class meets a predicted class in one image.

    truth, prediction: (H, W) class ids, uint8 or uint16, of equal shape.
    classes: K; ids run from 0 to K - 1.
    ignore: truth pixels with this id are not counted, whatever is predicted there; None counts all
        pixels. It may be an id below K; that row then stays 0.

    Returns (K, K) int64 with rows = truth, columns = prediction, in pixels. The number of ignored pixels
    is `truth.size - matrix.sum()`.

    Raises DataError for other dtypes, unequal shapes, truth ids >= K (other than ignore), and predicted
    ids >= K anywhere, ignored pixels included: a model of K classes cannot have written them.
    """
    check_masks(truth, prediction, classes)
    if prediction.max(initial=0) >= classes:
        raise _unknown_ids("prediction", prediction, classes, None)

    if truth.dtype == prediction.dtype == np.uint8 and classes <= 256:
        counts = _histogram(truth, prediction, classes)
    else:
        counts = _joint_bincount(truth, prediction, classes)

    # Truth ids >= K are in no cell, so a sum that falls short of the pixels tells of them at no cost.
    outside = np.count_nonzero(truth == ignore) if ignore is not None and ignore >= classes else 0
    if counts.sum() != truth.size - outside:
        raise _unknown_ids("truth mask", truth, classes, ignore)
    if ignore is not None and 0 <= ignore < classes:
        counts[ignore] = 0
    return counts


def _histogram(truth: Mask, prediction: Mask, classes: int) -> Counts:
    """Joint histogram by OpenCV: about twice as fast as np.bincount, for uint8 masks only."""
    counts = np.zeros((classes, classes), np.int64)
    rows, columns = truth.reshape(1, -1), prediction.reshape(1, -1)
    for start in range(0, truth.size, _STRIP_PIXELS):
        strip = slice(start, start + _STRIP_PIXELS)
        pair = [rows[:, strip], columns[:, strip]]
        hist = cv2.calcHist(pair, [0, 1], None, [classes, classes], [0, classes, 0, classes])
        counts += hist.astype(np.int64)
    return counts


def _joint_bincount(truth: Mask, prediction: Mask, classes: int) -> Counts:
    """The same counts for any ids: works in int64, where truth * K + prediction cannot wrap."""
    known = truth < classes
    cells = truth[known].astype(np.int64) * classes + prediction[known]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def check_masks(truth: Mask, prediction: Mask, classes: int) -> None:
    """DataError for fewer than one class, other dtypes than uint8 and uint16, other shapes than (H, W), and unequal
    ones."""
    if classes < 1:
        raise DataError(f"confusion matrix: {classes} classes; give the number of classes, 1 or more")
    for where, mask in (("truth mask", truth), ("prediction", prediction)):
        if mask.ndim != 2 or mask.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"{where}: an index mask is a uint8 or uint16 array (H, W), this is {mask.dtype} of shape "
                f"{mask.shape}; convert it to one class id per pixel"
            )
    if truth.shape != prediction.shape:
        raise DataError(
            f"prediction: its size {_size(prediction)} differs from the truth mask's {_size(truth)}; "
            "bring the prediction back to the size of the mask before scoring"
        )


def _size(mask: Mask) -> str:
    return f"{mask.shape[1]} x {mask.shape[0]}"


def _unknown_ids(where: str, mask: Mask, classes: int, ignore: int | None) -> DataError:
    ids, counts = np.unique(mask[mask >= classes], return_counts=True)
    found = [f"{i} ({n} px)" for i, n in zip(ids.tolist(), counts.tolist(), strict=True) if i != ignore]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    accepted = f"0..{classes - 1}" + ("" if ignore is None else f" and ignore = {ignore}")
    return DataError(
        f"{where}: unknown class ids {', '.join(found[:8])}{more}, accepted are {accepted}; "
        "correct the mask or the list of classes"
    )
