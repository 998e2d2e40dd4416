"""Label errors made on purpose: one object of a mask is drawn wrong, in one of seven ways, by a known amount, or a
patch of any shape has a wrong class.

What a hurried annotator does. The planted masks teach the detector what an error looks like in this very dataset, and
show in the self-test how well it finds them. An object is a connected region of a class other than the background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask

Bools = npt.NDArray[np.bool_]

KINDS: dict[str, str] = {
    "missing": "an object is not labelled",
    "hallucinated": "an object is labelled where there is none",
    "swollen": "an object is drawn too large",
    "shrunk": "an object is drawn too small, or without a part",
    "shifted": "an object is drawn next to its place",
    "wrong_class": "an object has the wrong class; with two classes, the two are swapped",
    "coarse_blob": "an object is drawn as a blob: an ellipse, a box or a few corners",
    "patch": "a patch has the wrong class",
}
# IoU of the object drawn wrong with the right one, where its place is kept: less would not be believed, more not be
# seen.
IOU_RANGE = (0.35, 0.85)
_LEAST_SHARE, _LEAST_PIXELS = 0.002, 30  # of the image, for an object that is worth a look
_TRIES = 12
_LARGEST_PATCH = 0.12  # of the image
_HIDDEN = 0.3  # share of a hallucinated object that may lie on other objects or outside


@dataclass(frozen=True)
class Thing:
    """An object: its class index, the pixels (H, W) of the image, and those of them that lie below other objects
    (smaller ones, which are drawn on top of it)."""

    index: int
    inside: Bools
    blocked: Bools


def things(mask: Mask, background: int | None) -> list[Thing]:
    """The objects of a mask (H, W) that are large enough to matter, the largest first. Where there is no `background`,
    every region is one."""
    regions = mask.astype(np.uint16) + 1
    regions[mask == IGNORE] = 0
    if background is not None:
        regions[mask == background] = 0
    labels = cc3d.connected_components(regions, connectivity=8, out_dtype=np.uint32)
    area = np.bincount(labels.reshape(-1))
    area[0] = 0
    chosen = np.flatnonzero(area >= max(_LEAST_PIXELS, _LEAST_SHARE * mask.size))
    of_pixel = area[labels]
    found = []
    for place in chosen[np.argsort(-area[chosen], kind="stable")].tolist():
        inside = labels == place
        found.append(Thing(int(mask[inside][0]), inside, (of_pixel > 0) & (of_pixel < area[place]) & ~inside))
    return found


def plant(
    mask: Mask,
    kind: str,
    rng: np.random.Generator,
    classes: int,
    background: int | None = 0,
    donors: Sequence[Thing] = (),
) -> Mask | None:
    """A copy of `mask` (H, W) uint8 of class indices with one error of `kind`; None where it has no object that allows
    one.

    Ignored pixels stay ignored. `donors` are objects of any masks; one of them, or one of its own, is what a mask is
    given where nothing is (`hallucinated`).
    """
    found = things(mask, background)
    if kind == "hallucinated":
        return _hallucinated(mask, rng, [*donors, *found])
    if kind == "patch":
        return _patch(mask, rng, classes, background)
    if kind == "wrong_class" and classes == 2:
        return _kept_ignored(mask, np.where(mask == IGNORE, mask, 1 - mask)) if (mask == 1).any() else None
    if not found:
        return None
    weights = np.sqrt([thing.inside.sum() for thing in found])
    for place in rng.choice(len(found), min(3, len(found)), replace=False, p=weights / weights.sum()).tolist():
        drawn = _PLANTERS[kind](mask, found[place], rng, classes, background)
        if drawn is not None:
            return _kept_ignored(mask, drawn)
    return None


def _kept_ignored(mask: Mask, drawn: npt.NDArray[np.generic]) -> Mask | None:
    result = np.where(mask == IGNORE, mask, drawn).astype(np.uint8)
    return None if (result == mask).all() else result


def without(mask: Mask, removed: Bools, background: int | None) -> Mask:
    """The mask with `removed` pixels, all of one class, given to what lies around them: the background where that
    touches them, else the nearest label of another class."""
    other = (mask != IGNORE) & (mask != mask[removed].max(initial=0))
    rim = cv2.dilate(removed.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & other
    around = np.bincount(mask[rim], minlength=1)
    if background is not None and (
        not around.sum() or (len(around) > background and around[background] * 3 >= around.sum())
    ):
        return np.where(removed, background, mask).astype(np.uint8)
    if not other.any():
        return mask.copy()
    _, nearest = cv2.distanceTransformWithLabels(
        (~other).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.zeros(int(nearest.max()) + 1, np.uint8)
    labels[nearest[other]] = mask[other]
    return np.where(removed, labels[nearest], mask).astype(np.uint8)


def _redrawn(mask: Mask, thing: Thing, drawn: Bools, background: int | None) -> Mask | None:
    """The mask with the object drawn so, below the objects that are smaller; None where that is too little or too much
    of a difference."""
    drawn = drawn & ~thing.blocked & (mask != IGNORE)
    either = np.count_nonzero(thing.inside | drawn)
    if not IOU_RANGE[0] <= np.count_nonzero(thing.inside & drawn) / either <= IOU_RANGE[1]:
        return None
    return np.where(drawn, thing.index, without(mask, thing.inside & ~drawn, background)).astype(np.uint8)


def _missing(mask: Mask, thing: Thing, rng: np.random.Generator, classes: int, background: int | None) -> Mask | None:
    return without(mask, thing.inside, background)


def _hallucinated(mask: Mask, rng: np.random.Generator, donors: Sequence[Thing]) -> Mask | None:
    """An object where most pixels are of one other class, which it covers."""
    if not donors:
        return None
    height, width = mask.shape
    least = max(_LEAST_PIXELS, _LEAST_SHARE * mask.size)
    for _ in range(_TRIES):
        donor = donors[int(rng.integers(len(donors)))]
        left, top, across, down = cv2.boundingRect(donor.inside.astype(np.uint8))
        shape = donor.inside[top : top + down, left : left + across].astype(np.uint8)
        scale = min(1.0, height / down, width / across) * rng.uniform(0.5, 1.0)
        size = max(3, round(across * scale)), max(3, round(down * scale))
        shape = cv2.resize(shape, size, interpolation=cv2.INTER_NEAREST)[:, :: int(rng.choice([-1, 1]))]
        y, x = int(rng.integers(height - size[1] + 1)), int(rng.integers(width - size[0] + 1))
        drawn = np.zeros(mask.shape, np.bool_)
        drawn[y : y + size[1], x : x + size[0]] = shape
        below = np.bincount(mask[drawn], minlength=1)
        free = drawn & (mask == below.argmax())
        if (
            below.argmax() not in (donor.index, IGNORE)
            and below.sum() >= least
            and below.max() >= (1 - _HIDDEN) * below.sum()
        ):
            return _kept_ignored(mask, np.where(free, donor.index, mask))
    return None


def _patch(mask: Mask, rng: np.random.Generator, classes: int, background: int | None) -> Mask | None:
    """An uneven shape with straight or round outlines, in most cases on an object, gets another class. It stands for
    errors that are none of the other kinds, and makes those easier to tell, too."""
    height, width = mask.shape
    least = max(_LEAST_PIXELS, _LEAST_SHARE * mask.size)
    drawn_on = np.argwhere((mask != background) & (mask != IGNORE))
    for _ in range(_TRIES):
        radius = np.sqrt(mask.size / np.pi * np.exp(rng.uniform(np.log(1.5 * _LEAST_SHARE), np.log(_LARGEST_PATCH))))
        if len(drawn_on) and rng.random() < 0.7:
            y, x = drawn_on[int(rng.integers(len(drawn_on)))]
        else:
            y, x = rng.integers(height), rng.integers(width)
        corners = int(rng.integers(5, 12))
        angles, stretch = np.sort(rng.uniform(0, 2 * np.pi, corners)), np.exp(rng.uniform(-0.6, 0.6))
        reach, turn = radius * rng.uniform(0.6, 1.5, corners), rng.uniform(0, np.pi)
        across, down = reach * np.cos(angles) * stretch, reach * np.sin(angles) / stretch
        points = np.stack(
            [x + across * np.cos(turn) - down * np.sin(turn), y + across * np.sin(turn) + down * np.cos(turn)], 1
        )
        shape = np.zeros(mask.shape, np.float32)
        cv2.fillPoly(shape, [np.rint(points).astype(np.int32)], 1.0)
        if rng.random() < 0.5:
            shape = np.asarray(cv2.GaussianBlur(shape, (0, 0), max(1.0, radius / 4)))
        index = int(rng.integers(classes))
        changed = (shape > 0.5) & (mask != index) & (mask != IGNORE)
        if np.count_nonzero(changed) >= least:
            return np.where(changed, index, mask).astype(np.uint8)
    return None


def _swollen(mask: Mask, thing: Thing, rng: np.random.Generator, classes: int, background: int | None) -> Mask | None:
    outside = cv2.distanceTransform((~thing.inside).astype(np.uint8), cv2.DIST_L2, 5)
    return _by_reach(mask, thing, lambda reach: outside <= reach, rng, background)


def _shrunk(mask: Mask, thing: Thing, rng: np.random.Generator, classes: int, background: int | None) -> Mask | None:
    """Drawn further in, or without a part: what lies behind a straight line, or what is thin."""
    if rng.random() < 0.5 and (drawn := _without_part(mask, thing, rng, background)) is not None:
        return drawn
    inside = cv2.distanceTransform(thing.inside.astype(np.uint8), cv2.DIST_L2, 5)
    return _by_reach(mask, thing, lambda reach: inside > reach, rng, background)


def _without_part(mask: Mask, thing: Thing, rng: np.random.Generator, background: int | None) -> Mask | None:
    for _ in range(_TRIES):
        if rng.random() < 0.5:
            rows, columns = np.indices(mask.shape)
            angle = rng.uniform(0, 2 * np.pi)
            place = rows * np.sin(angle) + columns * np.cos(angle)
            drawn = thing.inside & (place <= np.quantile(place[thing.inside], rng.uniform(0.4, 0.85)))
        else:
            side = 2 * int(rng.integers(1, max(2, round(np.sqrt(np.count_nonzero(thing.inside)) / 2)))) + 1
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
            drawn = cv2.morphologyEx(thing.inside.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
        if (redrawn := _redrawn(mask, thing, drawn, background)) is not None:
            return redrawn
    return None


def _by_reach(
    mask: Mask, thing: Thing, drawn_at: Callable[[int], Bools], rng: np.random.Generator, background: int | None
) -> Mask | None:
    """Drawn further out or in, by one of the whole pixels that make a visible difference."""
    fitting: list[Mask] = []
    for reach in range(1, max(mask.shape)):
        drawn = drawn_at(reach)
        redrawn = _redrawn(mask, thing, drawn, background)
        if redrawn is not None:
            fitting.append(redrawn)
        elif fitting or not drawn.any() or drawn.all():
            break
    return fitting[int(rng.integers(len(fitting)))] if fitting else None


def _shifted(mask: Mask, thing: Thing, rng: np.random.Generator, classes: int, background: int | None) -> Mask | None:
    _, _, across, down = cv2.boundingRect(thing.inside.astype(np.uint8))
    for _ in range(_TRIES):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.6)
        move = np.array(
            [[1, 0, round(length * across * np.cos(angle))], [0, 1, round(length * down * np.sin(angle))]], np.float32
        )
        drawn = cv2.warpAffine(thing.inside.astype(np.uint8), move, mask.shape[::-1], flags=cv2.INTER_NEAREST) > 0
        if (redrawn := _redrawn(mask, thing, drawn, background)) is not None:
            return redrawn
    return None


def _wrong_class(
    mask: Mask, thing: Thing, rng: np.random.Generator, classes: int, background: int | None
) -> Mask | None:
    others = [index for index in range(classes) if index not in (thing.index, background)]
    return np.where(thing.inside, int(rng.choice(others)), mask).astype(np.uint8) if others else None


def _coarse_blob(
    mask: Mask, thing: Thing, rng: np.random.Generator, classes: int, background: int | None
) -> Mask | None:
    points = np.argwhere(thing.inside)[:, ::-1].astype(np.float32)
    for _ in range(_TRIES):
        drawn = np.zeros(mask.shape, np.uint8)
        form = rng.choice(["ellipse", "box", "corners"])
        if form == "ellipse":
            # An even ellipse reaches twice the spread along each axis.
            middle, spread = points.mean(0), np.cov(points.T) + np.eye(2)
            lengths, axes = np.linalg.eigh(spread)
            reach = 2 * np.sqrt(lengths) * rng.uniform(0.85, 1.3)
            angle = float(np.degrees(np.arctan2(axes[1, 0], axes[0, 0])))
            cv2.ellipse(drawn, (tuple(map(float, middle)), tuple((2 * reach).tolist()), angle), 1, -1)
        elif form == "box":
            corners = cv2.boxPoints(cv2.minAreaRect(points)) if rng.random() < 0.5 else _upright(points)
            cv2.fillConvexPoly(drawn, np.rint(corners).astype(np.int32), 1)
        else:
            hull = cv2.convexHull(points)[:, 0]
            chosen = np.sort(rng.choice(len(hull), min(len(hull), int(rng.integers(4, 7))), replace=False))
            around = (hull[chosen] - hull.mean(0)) * rng.uniform(1.0, 1.25) + hull.mean(0)
            cv2.fillPoly(drawn, [np.rint(around).astype(np.int32)], 1)
        if (redrawn := _redrawn(mask, thing, drawn > 0, background)) is not None:
            return redrawn
    return None


def _upright(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


_PLANTERS = {
    "missing": _missing,
    "swollen": _swollen,
    "shrunk": _shrunk,
    "shifted": _shifted,
    "wrong_class": _wrong_class,
    "coarse_blob": _coarse_blob,
}
