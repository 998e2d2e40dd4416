"""The grounds of the demo pictures: grass, sand, a shore, leaf litter and cobbles.

Every ground is drawn as if seen from above on a canvas larger than the picture, then tilted, so that what
lies farther up looks farther away. All are functions of a generator, a side in pixels and the light.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.demonstration.sweeps import Colour, Floats, Light, blurred, noise

_FAR = 0.55  # size of things at the upper edge, compared with the lower edge
_CANVAS = 1.5  # side of the canvas that is tilted, in sides of the picture


def _coloured(value: npt.NDArray[np.floating[Any]], colours: Sequence[Colour]) -> Floats:
    """Colours (..., 3) for values (...): the given colours spread evenly from -1.8 to 1.8."""
    steps = np.linspace(0, len(colours) - 1, 256)
    stops = np.arange(len(colours))
    channels = np.asarray(colours, np.float64).T
    table = np.stack([np.interp(steps, stops, channel) for channel in channels], -1).astype(np.float32)
    return np.asarray(np.take(table, np.clip((value + 1.8) * (255 / 3.6), 0, 255).astype(np.uint8), axis=0))


def _relief(height: Floats, light: Light, strength: float) -> Floats:
    """(H, W, 1) brightness of a surface of the given height, about 1 where it is flat."""
    slope_y, slope_x = np.gradient(height)
    return np.asarray(1 - strength * (slope_x * light[0] + slope_y * light[1]), np.float32)[..., None]


def _grass(rng: np.random.Generator, side: int, light: Light) -> Floats:
    unit = side / 384
    hue = float(rng.uniform(-0.04, 0.06))
    colours = ((0.13, 0.19, 0.07), (0.22 + hue, 0.32, 0.11), (0.34 + hue, 0.45, 0.16), (0.52 + hue, 0.56, 0.26))
    tone = 0.35 * noise(rng, (side, side), 90 * unit, 3)
    ground = np.ascontiguousarray(_coloured(tone + 0.5 * noise(rng, (side, side), 5 * unit, 2) - 1.0, colours))
    count = 2600
    roots = rng.uniform(-0.02, 1.05, (count, 2)) * side
    roots = roots[np.argsort(roots[:, 1])]
    tips = roots + np.column_stack([rng.normal(0, 8, count), -rng.uniform(10, 30, count)]) * unit
    where = np.clip(roots.astype(int), 0, side - 1)
    blades = _coloured((tone[where[:, 1], where[:, 0]] + rng.normal(0.0, 0.95, count)).astype(np.float32), colours)
    width = max(1, round(1.4 * unit))
    for start, end, colour in zip(roots.astype(int).tolist(), tips.astype(int).tolist(), blades.tolist(), strict=True):
        cv2.line(ground, start, end, colour, width)
    return ground


def _sand(rng: np.random.Generator, side: int, light: Light) -> Floats:
    unit = side / 384
    shape = (side, side)
    tint = rng.uniform(-0.04, 0.04)
    colours = ((0.50, 0.41 + tint, 0.30), (0.68, 0.58 + tint, 0.43), (0.80, 0.71 + tint, 0.56))
    rows = np.arange(side, dtype=np.float32)[:, None] / np.float32(unit)
    ripples = np.sin(rows * float(rng.uniform(0.22, 0.36)) + 2.2 * noise(rng, shape, 120 * unit, 2))
    dunes = noise(rng, shape, 110 * unit, 3)
    height = ripples * float(rng.uniform(0.4, 1.3)) + 2.2 * dunes + 0.16 * noise(rng, shape, 2 * unit, 1)
    grain = rng.standard_normal(shape, np.float32)
    return _coloured(0.6 * dunes + 0.35 * grain, colours) * _relief(np.asarray(height * unit, np.float32), light, 0.45)


def _shore(rng: np.random.Generator, side: int, light: Light) -> Floats:
    """Water above, sand below, with a wet edge and foam."""
    unit = side / 384
    shape = (side, side)
    sand = _sand(rng, side, light)
    waves = noise(rng, shape, 10 * unit, 3, 3.5)
    tone = float(rng.uniform(-0.05, 0.05))
    colours = ((0.11, 0.24 + tone, 0.30), (0.20, 0.37 + tone, 0.43), (0.33, 0.50 + tone, 0.54), (0.72, 0.80, 0.82))
    water = _coloured(waves * 0.8 - 0.4, colours)
    rows = np.arange(side, dtype=np.float32)[:, None] / np.float32(side)
    edge = rows - float(rng.uniform(0.38, 0.60)) + 0.03 * noise(rng, shape, 120 * unit, 2)
    wet = np.clip(1 - edge / 0.10, 0, 1)[..., None] * 0.35
    foam = np.exp(-(((edge + 0.012 + 0.01 * waves) / 0.010) ** 2))[..., None] * 0.6
    dry = np.clip((edge + 0.006) / 0.012, 0, 1)[..., None]
    ground = sand * (1 - wet) * dry + water * (1 - dry)
    return np.asarray(ground * (1 - foam) + 0.9 * foam, np.float32)


def _litter(rng: np.random.Generator, side: int, light: Light) -> Floats:
    """Fallen leaves, each with a shadow and a midrib, on dark soil."""
    unit = side / 384
    soil = ((0.10, 0.07, 0.05), (0.20, 0.15, 0.10), (0.30, 0.23, 0.16))
    ground = np.ascontiguousarray(_coloured(noise(rng, (side, side), 30 * unit, 4), soil))
    leaf = np.asarray(
        ((0.46, 0.31, 0.17), (0.58, 0.39, 0.19), (0.36, 0.22, 0.14), (0.54, 0.29, 0.15), (0.47, 0.42, 0.19))
    )
    count = 620
    places = rng.uniform(-0.03, 1.03, (count, 2)) * side
    turns = rng.uniform(0, 2 * np.pi, count)
    lengths = rng.uniform(9, 21, count) * unit
    widths = lengths * rng.uniform(0.28, 0.5, count)
    colours = leaf[rng.integers(len(leaf), size=count)] * rng.uniform(0.6, 1.2, (count, 1))
    t = np.linspace(-1, 1, 9)
    half = (1 - t**2) * (1 - 0.25 * t)
    outline = np.column_stack([np.r_[t, t[-2:0:-1]], np.r_[half, -half[-2:0:-1]]])
    shade = np.asarray([-light[0], -light[1]]) * 3 * unit
    for place, turn, length, width, colour in zip(places, turns, lengths, widths, colours, strict=True):
        rotation = np.asarray([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        points = place + (outline * (length, width)) @ rotation
        cv2.fillConvexPoly(ground, np.rint(points + shade).astype(np.int32), (0.09, 0.06, 0.04))
        cv2.fillConvexPoly(ground, np.rint(points).astype(np.int32), colour.tolist())
        ends = np.rint(place + np.asarray([[-0.9, 0.0], [0.9, 0.0]]) * length @ rotation).astype(int).tolist()
        cv2.line(ground, ends[0], ends[1], (colour * 0.72).tolist(), 1)
    return np.asarray(ground * (1 + 0.13 * noise(rng, (side, side), 6 * unit, 2))[..., None], np.float32)


def _cobbles(rng: np.random.Generator, side: int, light: Light) -> Floats:
    """Rounded paving stones with dark joints: the cells of scattered points."""
    unit = side / 384
    shape = (side, side)
    pitch = float(rng.uniform(26, 44)) * unit
    steps = np.arange(-0.5, side / pitch + 1)
    grid = np.stack(np.meshgrid(steps, steps), -1).astype(np.float64)
    grid[1::2, :, 0] += 0.5
    points = (grid + rng.uniform(-0.26, 0.26, grid.shape)).reshape(-1, 2) * pitch
    seeds = np.full(shape, 255, np.uint8)
    inside = points[((points >= 0) & (points < side)).all(1)].astype(int)
    seeds[inside[:, 1], inside[:, 0]] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    joint = np.zeros(shape, np.uint8)
    joint[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    joint[1:] |= cells[1:] != cells[:-1]
    depth = np.asarray(cv2.distanceTransform(1 - joint, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32) / np.float32(pitch)
    dome = 1 - np.clip(1 - depth / 0.30, 0, 1) ** 2
    rough = noise(rng, shape, 9 * unit, 4)
    warm = float(rng.uniform(-0.02, 0.05))
    colours = ((0.27 + warm, 0.265, 0.25 - warm), (0.44 + warm, 0.435, 0.41 - warm), (0.62 + warm, 0.61, 0.57 - warm))
    tone = rng.normal(0, 0.55, int(cells.max()) + 1).astype(np.float32)[cells]
    top = _coloured(np.asarray(tone + 0.5 * rough, np.float32), colours)
    mortar = _coloured(rough, ((0.13, 0.12, 0.09), (0.21, 0.21, 0.13), (0.25, 0.29, 0.15)))
    share = np.clip((depth + 0.02 * rough - 0.05) / 0.06, 0, 1)[..., None]
    height = blurred(np.asarray(dome * 0.30 * pitch + 0.5 * rough * unit, np.float32), 1.5 * unit)
    return np.asarray((mortar + (top - mortar) * share) * _relief(height, light, 0.55), np.float32)


GROUNDS: dict[str, Callable[[np.random.Generator, int, Light], Floats]] = {
    "grass": _grass,
    "sand": _sand,
    "shore": _shore,
    "litter": _litter,
    "cobbles": _cobbles,
}


def ground(rng: np.random.Generator, kind: str, size: int, light: Light) -> Floats:
    """(size, size, 3) float32 RGB, about 0..1, of one of `GROUNDS`, tilted away from the viewer."""
    side = int(size * _CANVAS)
    flat = GROUNDS[kind](rng, side, light)
    margin = side * (1 - _FAR) / 2
    source = np.asarray([[0, 0], [side, 0], [side - margin, side], [margin, side]], np.float32)
    target = np.asarray([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    tilt: npt.NDArray[np.float64] = np.asarray(cv2.getPerspectiveTransform(source, target))
    return np.asarray(cv2.warpPerspective(flat, tilt, (size, size), borderMode=cv2.BORDER_REFLECT_101), np.float32)
