"""What runs are unsure of in an image: where views of it, and several runs, are labelled otherwise.

The measure of a pixel is the mutual information of its label and the view (Houlsby et al., Bayesian active learning by
disagreement, 2011): the entropy of the mean of the predictions less the mean of their entropies. It is high where each
prediction is sure and they differ, and low where all are unsure alike, as at the edges of objects. Of an image the most
doubtful region counts, as a few doubted pixels everywhere are no reason to draw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from maskwright.core.bands import Stored
from maskwright.modeling.models.segmenter import Segmenter

# The sides of a region, as a share of the image's.
_REGION = 0.2
_BRIGHTER, _DARKER = 1.15, 0.85


class Doubt(NamedTuple):
    """The mutual information (nats) in the most doubtful region, where it is (top, left, bottom, right in shares of the
    height and the width), and its two likeliest classes by index."""

    value: float
    region: tuple[float, float, float, float]
    classes: tuple[int, int]


def views(segmenter: Segmenter, image: Stored) -> npt.NDArray[np.float32]:
    """(V, K, h, w) probabilities of an image (H, W, C) as it is, mirrored (and turned back), brighter and darker, at
    the model's size; at the image's own where the model sees windows of it."""
    geometry, most = segmenter.preprocessing.geometry, np.iinfo(image.dtype).max
    small = image if geometry.crop else geometry.image(image)
    lighter, darker = (np.clip(small * factor, 0, most).astype(small.dtype) for factor in (_BRIGHTER, _DARKER))
    seen = [small, np.ascontiguousarray(small[:, ::-1]), lighter, darker]
    if geometry.crop:
        found = np.stack([one.numpy() for one in segmenter.own_probabilities(seen)])
    else:
        found = segmenter.probabilities(torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)).cpu().numpy()
    found[1] = found[1, :, :, ::-1].copy()
    height, width = found.shape[2:] if geometry.crop else geometry.inner((image.shape[0], image.shape[1]))
    return np.asarray(found[:, :, :height, :width], np.float32)


def seen(segmenters: Sequence[Segmenter], image: Stored) -> npt.NDArray[np.float32]:
    """(V, K, h, w) probabilities of all views of an image by all segmenters, which have the same classes; maps of the
    others are brought to the size of the first one's."""
    found = [views(segmenter, image) for segmenter in segmenters]
    return np.concatenate([_resized(one, found[0].shape[2:]) for one in found])


def doubt(every: npt.NDArray[np.float32]) -> Doubt:
    """That of an image by the probabilities (V, K, h, w) of its views."""
    height, width = every.shape[2:]
    mean = every.mean(0)
    told = np.maximum(_entropy(mean) - _entropy(every.transpose(1, 0, 2, 3)).mean(0), 0)
    rows, columns = (max(1, round(_REGION * side)) for side in (height, width))
    regional = cv2.boxFilter(told, cv2.CV_32F, (columns, rows), borderType=cv2.BORDER_REFLECT_101)
    row, column = (int(place) for place in np.unravel_index(int(regional.argmax()), regional.shape))
    top, left = (
        max(0, min(place - size // 2, side - size))
        for place, size, side in ((row, rows, height), (column, columns, width))
    )
    window = slice(top, top + rows), slice(left, left + columns)
    weighted = (mean[:, *window] * told[window]).sum((1, 2))
    likeliest = np.argsort(-weighted, kind="stable")[:2].tolist()
    return Doubt(
        float(regional.max()),
        (top / height, left / width, (top + rows) / height, (left + columns) / width),
        (likeliest[0], likeliest[-1]),
    )


def labels(every: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(h, w) class indices of the mean of the views (V, K, h, w)."""
    return np.asarray(every.mean(0).argmax(0), np.uint8)


def _entropy(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(K, …) to (…), in nats."""
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(0), np.float32)


def _resized(maps: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if maps.shape[2:] == size:
        return maps
    flat = [cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for view in maps for one in view]
    return np.stack(flat).reshape(*maps.shape[:2], *size)
