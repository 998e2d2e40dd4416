"""Wrong masks made on purpose: what a hurried annotator leaves behind, with the amount of error known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.demonstration.colours import Part
from maskwright.demonstration.scene import Scene

Mask = npt.NDArray[np.uint8]
Kind = Literal["missing_part", "coarse_blob"]
KINDS: tuple[Kind, ...] = get_args(Kind)
IOU_RANGE = (0.35, 0.88)
_LEAST_SHARE = 0.05  # of the picture that the animal must cover
_REMOVABLE = ((Part.HEAD,), (Part.LEG,), (Part.WING, Part.TAIL), (Part.HEAD, Part.LEG))


@dataclass(frozen=True)
class Planted:
    """A mask planted wrong. sample: `split/name`; wrong_pixels: pixels that differ from the true mask;
    iou: pixels of an animal in both masks over pixels of an animal in either, 0..1."""

    sample: str
    kind: Kind
    wrong_pixels: int
    iou: float


def foreground_iou(wrong: Mask, true: Mask) -> float:
    """Pixels with the same animal in both masks (H, W) over pixels with any in either; 1 without animals."""
    either = np.count_nonzero((wrong > 0) | (true > 0))
    return float(np.count_nonzero((wrong == true) & (true > 0)) / either) if either else 1.0


def plant(scene: Scene, kind: Kind, rng: np.random.Generator) -> Mask | None:
    """A wrong mask (S, S) for a scene with one animal, its IoU with the true one inside `IOU_RANGE`.

    None when the scene has not exactly one animal, too little of it is seen, or no try gave such an IoU.
    """
    if scene.animals != 1 or np.count_nonzero(scene.mask) < _LEAST_SHARE * scene.mask.size:
        return None
    tries = _without_parts(scene, rng) if kind == "missing_part" else _blobs(scene, rng)
    low, high = IOU_RANGE
    return next((wrong for wrong in tries if low <= foreground_iou(wrong, scene.mask) <= high), None)


def _without_parts(scene: Scene, rng: np.random.Generator) -> list[Mask]:
    """The mask without head, legs, wing and tail, or one half, in random order; another half comes last."""
    size = scene.mask.shape[0]
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (size // 85) + 1,) * 2)
    tries = []
    for parts in _REMOVABLE:
        erased = cv2.dilate(np.isin(scene.parts, parts).astype(np.uint8), reach) > 0
        tries.append(_without_crumbs(np.where(erased, 0, scene.mask).astype(np.uint8)))
    tries.append(_half(scene.mask, rng))
    return [tries[i] for i in rng.permutation(len(tries)).tolist()] + [_half(scene.mask, rng)]


def _half(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask up to a steep straight line: 45 to 70 % of it."""
    angle = rng.uniform(-0.6, 0.6) + rng.choice([0, np.pi])
    rows, columns = np.indices(mask.shape)
    place = columns * np.cos(angle) + rows * np.sin(angle)
    cut = np.quantile(place[mask > 0], rng.uniform(0.45, 0.70))
    return np.where(place > cut, 0, mask).astype(np.uint8)


def _without_crumbs(mask: Mask) -> Mask:
    """The mask without crumbs: pieces smaller than a tenth of the largest."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas[0] = 0
    return np.where((areas >= 0.1 * areas.max())[labels] & (mask > 0), mask, 0).astype(np.uint8)


def _blobs(scene: Scene, rng: np.random.Generator) -> list[Mask]:
    """Swollen ellipses with the animal's centre and spread, in large square cells; the largest first."""
    size = scene.mask.shape[0]
    points = np.argwhere(scene.mask > 0).astype(np.float64)
    centre = points.mean(0) + rng.normal(0, 0.008 * size, 2)
    inverse = np.linalg.inv(np.cov(points.T) + np.eye(2))
    cell = max(2, size // 36)
    middle = (np.arange(-(-size // cell)) + 0.5) * cell
    offset = np.stack(np.meshgrid(middle, middle, indexing="ij"), -1) - centre
    # In units of the spread: an even ellipse ends at 2.
    distance = np.sqrt(np.einsum("ijk,kl,ijl->ij", offset, inverse, offset))
    distance += rng.normal(0, 0.08, distance.shape)
    class_id = scene.mask.max()
    return [
        np.kron(distance < reach, np.ones((cell, cell)))[:size, :size].astype(np.uint8) * class_id
        for reach in (2.3, 2.1, 1.9, 1.7)
    ]
