"""Boxes around objects: where they are, and what they say about the object inside.

A box is tight: the object touches its four sides, and nothing outside of all boxes belongs to it. The first is the
tightness prior of Lempitsky et al. (Image segmentation with a bounding box prior, ICCV 2009), used to train networks by
Hsu et al. (Weakly supervised instance segmentation using the bounding box tightness prior, NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.grabcut import cut_out
from maskwright.core.masks import Mask, Pixels
from maskwright.core.regions import Polygon
from maskwright.core.sample import Sample

_MARGIN = 0.25  # of a box's sides: what GrabCut sees around it, to learn what is not the object
# GrabCut's result is no object where it fills less than this share of its box (as in Khoreva et al., Simple does it,
# CVPR 2017, who go back to the box below an IoU of .5; objects here may be thin).
_LEAST_FILLED = 0.1


class Box(NamedTuple):
    """Pixel rows top..bottom-1 and columns left..right-1, around an object of the class with the index `label`."""

    label: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        """For arrays (H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def boxes_of(sample: Sample, mask: Mask, classes: ClassTree, background: int | None) -> list[Box]:
    """The boxes of a sample: those that were drawn, or those around the connected regions of its mask (H, W), largest
    first, so that smaller ones are looked at on top of them."""
    height, width = mask.shape
    found: list[Box] = []
    if sample.drawing is not None and any(region.weak for region in sample.drawing.regions):
        for region in sample.drawing.regions:
            if not region.weak or not isinstance(region.shape, Polygon):
                continue
            points = np.concatenate(region.shape.rings)
            corners = np.clip(np.rint([points.min(0), points.max(0)]), 0, (width, height))
            left, top, right, bottom = (int(side) for side in corners.ravel())
            if top < bottom and left < right:
                found.append(Box(classes.ids.index(region.id), top, left, bottom, right))
    else:
        for index in np.unique(mask).tolist():
            if index in (background, IGNORE):
                continue
            regions = cc3d.connected_components((mask == index).astype(np.uint8), connectivity=8)
            for window in cc3d.statistics(regions)["bounding_boxes"][1:]:
                rows, columns = window[0], window[1]
                found.append(Box(index, rows.start, columns.start, rows.stop, columns.stop))
    return sorted(found, key=lambda box: (box.top - box.bottom) * (box.right - box.left))


def touching_threshold(values: npt.NDArray[np.float32], slack: float = 0.1) -> float:
    """The highest threshold at which the pixels of a box (h, w) above or at it touch its four sides: a side is touched
    when one lies in the outer `slack` share of the box along it, one row or column at least."""
    height, width = values.shape
    rows, columns = max(1, round(slack * height)), max(1, round(slack * width))
    sides = values[:rows], values[-rows:], values[:, :columns], values[:, -columns:]
    return float(min(side.max() for side in sides))


def grabcut(image: Pixels, boxes: Sequence[Box], shape: tuple[int, int], background: int) -> Mask:
    """A mask (H, W) of what GrabCut takes for the object in each box of an image (H, W, 3). A box in which it finds
    next to nothing is kept whole."""
    mask = np.full(shape, background, np.uint8)
    for box in boxes:
        rows, columns = (round(_MARGIN * side) + 2 for side in (box.bottom - box.top, box.right - box.left))
        top, left = max(0, box.top - rows), max(0, box.left - columns)
        part = image[top : box.bottom + rows, left : box.right + columns]
        inside = slice(box.top - top, box.bottom - top), slice(box.left - left, box.right - left)
        marks = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
        marks[inside] = cv2.GC_PR_FGD
        found = cut_out(part, marks)[inside]
        mask[box.window][found if found.mean() >= _LEAST_FILLED else np.ones_like(found)] = box.label
    return mask
