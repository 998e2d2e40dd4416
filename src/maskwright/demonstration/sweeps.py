"""Solid shapes from swept balls, rendered with light, fur and markings: the brush of the demo pictures.

A `Sweep` is a ball whose centre follows a smooth curve while its radius changes: legs, tails, torsos, beaks,
stones and grass blades are all sweeps. `render` draws many of them into one `Sprite` through a depth buffer,
at twice the resolution, and averages down, so edges are smooth and the coverage of every pixel is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
Knot = tuple[float, float, float]  # x, y, radius
Light = tuple[float, float, float]  # direction towards the light: x right, y down, z to the viewer

OVERSAMPLING = 2
_STEPS = 4  # straight pieces between two knots


@dataclass(frozen=True)
class Sweep:
    """A ball swept along a curve.

    knots: points of the curve, y growing downwards. depth: distance towards the viewer, in the same unit.
    colour, mark, belly: RGB in 0..1; `mark` colours `bands` rings
    across the curve, or else patches, more of them the larger `patches` (0..1) is; `belly` colours what faces
    the ground. fur: strength of the hair texture. label: the class id of what it shows, 0 for background.
    """

    knots: tuple[Knot, ...]
    colour: Colour
    depth: float = 0.0
    mark: Colour | None = None
    bands: float = 0.0
    patches: float = 0.0
    belly: Colour | None = None
    fur: float = 1.0
    label: int = 0


def placed(sweeps: Sequence[Sweep], scale: float, angle: float, at: tuple[float, float], mirrored: bool) -> list[Sweep]:
    """The sweeps mirrored left to right, turned by `angle` radians and scaled about 0, then moved to `at`."""
    cos, sin, side = float(np.cos(angle)), float(np.sin(angle)), -1.0 if mirrored else 1.0

    def moved(x: float, y: float, radius: float) -> Knot:
        x *= side
        return at[0] + scale * (cos * x - sin * y), at[1] + scale * (sin * x + cos * y), scale * radius

    return [
        replace(sweep, knots=tuple(moved(*knot) for knot in sweep.knots), depth=scale * sweep.depth) for sweep in sweeps
    ]


class Sprite(NamedTuple):
    """A drawn thing, cut to its box in the picture.

    colour: (h, w, 3) float32 RGB, about 0..1, multiplied by alpha; alpha: (h, w) float32 coverage in 0..1;
    shares: the part of it, (h, w) float32, of each label; box: the rows and columns of the picture that it covers.
    """

    colour: Floats
    alpha: Floats
    shares: dict[int, Floats]
    box: tuple[slice, slice]


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3, stretch: float = 1.0
) -> Floats:
    """(H, W) float32 noise of zero mean and unit spread: `octaves` layers, the coarsest with features of
    `cell` pixels (`cell * stretch` along x), each next one half as large and half as strong."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        grid = rng.standard_normal((int(height / step) + 3, int(width / (step * stretch)) + 3), np.float32)
        layer = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(layer, np.float32) * 0.5**octave
    total -= total.mean()
    return np.asarray(total / (total.std() + 1e-6), np.float32)


def blurred(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; `sigma` in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


def _nodes(knots: Sequence[Knot]) -> npt.NDArray[np.float64]:
    """(N >= 2, 4) x, y, radius >= 0, place 0..1 of points along the Catmull-Rom curve through the knots."""
    control = np.asarray(knots, np.float64)
    last = len(control) - 1
    if last == 0:  # a ball, as a piece without length
        return np.column_stack([control[[0, 0]], [0, 1]])
    if last == 1:
        return np.column_stack([control, [0, 1]])
    padded = np.vstack([2 * control[0] - control[1], control, 2 * control[-1] - control[-2]])
    place = np.linspace(0.0, last, _STEPS * last + 1)
    left = np.minimum(place.astype(int), last - 1)
    t = (place - left)[:, None]
    a, b, c, d = (padded[left + shift] for shift in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve[:, 2] = np.maximum(curve[:, 2], 0)
    return np.column_stack([curve, place / last])


def _depth_buffer(
    curves: Sequence[npt.NDArray[np.float64]], depths: Sequence[float], shape: tuple[int, int]
) -> tuple[Floats, npt.NDArray[np.int16], Floats]:
    """Height of the surface (-inf: none), the sweep seen (-1: none) and the place along it, each of `shape`.

    Each piece between two nodes is a ball that grows or shrinks on its straight way.
    """
    height = np.full(shape, -np.inf, np.float32)
    index = np.full(shape, -1, np.int16)
    along = np.zeros(shape, np.float32)
    columns, rows = (np.arange(length, dtype=np.float32) + np.float32(0.5) for length in shape[::-1])
    for number, (nodes, depth) in enumerate(zip(curves, depths, strict=True)):
        for (x0, y0, r0, p0), (x1, y1, r1, p1) in pairwise(nodes.tolist()):
            left, right = (max(int(v), 0) for v in (min(x0 - r0, x1 - r1), max(x0 + r0, x1 + r1) + 1))
            top, bottom = (max(int(v), 0) for v in (min(y0 - r0, y1 - r1), max(y0 + r0, y1 + r1) + 1))
            box = (slice(top, bottom), slice(left, right))
            dx, dy = columns[left:right] - x0, (rows[top:bottom] - y0)[:, None]
            ax, ay = x1 - x0, y1 - y0
            share = 1 / (ax * ax + ay * ay + 1e-9)
            t = np.clip(dx * (ax * share) + dy * (ay * share), 0, 1)
            rise = (r0 + (r1 - r0) * t) ** 2 - (dx - ax * t) ** 2 - (dy - ay * t) ** 2
            surface = np.sqrt(np.maximum(rise, 0)) + depth
            seen = (rise > 0) & (surface > height[box])
            np.copyto(height[box], surface, where=seen)
            np.copyto(index[box], number, where=seen)
            np.copyto(along[box], p0 + (p1 - p0) * t, where=seen)
    return height, index, along


def render_sweeps(sweeps: Sequence[Sweep], size: int, light: Light, rng: np.random.Generator) -> Sprite | None:
    """Draws sweeps placed in pixels of a (size, size) picture; None when they lie outside of it.

    light: of any length. `rng` gives hair and patches.
    """
    zoom = OVERSAMPLING
    sweeps = placed(sweeps, zoom, 0.0, (0.0, 0.0), False)
    curves = [_nodes(sweep.knots) for sweep in sweeps]
    every = np.concatenate(curves)
    low = np.floor((every[:, :2] - every[:, 2:3]).min(0) / zoom).astype(int) - 1
    high = np.ceil((every[:, :2] + every[:, 2:3]).max(0) / zoom).astype(int) + 1
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, size).tolist()
    if left >= right or top >= bottom:
        return None
    small = (right - left, bottom - top)
    shape = (small[1] * zoom, small[0] * zoom)
    curves = [curve - (zoom * left, zoom * top, 0, 0) for curve in curves]
    height, index, along = _depth_buffer(curves, [sweep.depth for sweep in sweeps], shape)
    unit = size * zoom / 512
    colour = _shaded(sweeps, height, index, along, unit, light, rng)

    # A hairy outline: every pixel is taken from a place nearby.
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    hairs = [noise(rng, shape, 4 * unit, 1) * np.float32(0.8 * unit) for _ in range(2)]
    maps = columns + hairs[0], rows + hairs[1]
    index, colour = (
        cv2.remap(layer, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) for layer in (index, colour)
    )
    inside = index >= 0
    labels = np.asarray([sweep.label for sweep in sweeps])[index]

    def small_of(layer: Floats) -> Floats:
        return np.asarray(cv2.resize(layer, small, interpolation=cv2.INTER_AREA), np.float32)

    return Sprite(
        small_of(colour * inside.astype(np.float32)[..., None]),
        small_of(inside.astype(np.float32)),
        {int(one): small_of((inside & (labels == one)).astype(np.float32)) for one in np.unique(labels[inside])},
        (slice(top, bottom), slice(left, right)),
    )


def _shaded(
    sweeps: Sequence[Sweep],
    height: Floats,
    index: npt.NDArray[np.int16],
    along: Floats,
    unit: float,
    light: Light,
    rng: np.random.Generator,
) -> Floats:
    """(h, w, 3) colours of the surface: markings, belly, hair, then light on the surface's slope.

    unit: pixels in 1/512 of the picture's side."""
    shape = height.shape[0], height.shape[1]
    inside = index >= 0
    number = index[inside]  # from here on arrays hold the N pixels inside only
    weight = blurred(inside.astype(np.float32), 2.2 * unit) + np.float32(1e-3)
    smooth = blurred(np.where(inside, height, np.float32(0)), 2.2 * unit) / weight
    slope_y, slope_x = (slope[inside] for slope in np.gradient(smooth))
    towards = np.asarray(light, np.float32) / np.float32(np.linalg.norm(light))
    steep = np.sqrt(1 + slope_x**2 + slope_y**2)
    facing = (towards[2] - towards[0] * slope_x - towards[1] * slope_y) / steep
    down = -slope_y / steep
    lit = 0.42 + 0.78 * np.maximum(facing, 0) + 0.10 * np.maximum(-down, 0)

    def table(values: Sequence[float] | Sequence[Colour]) -> Floats:
        return np.take(np.asarray(values, np.float32), number, axis=0)

    wobble = noise(rng, shape, 26 * unit, 3)[inside]
    blotch = noise(rng, shape, 60 * unit, 2)[inside]
    hair = noise(rng, shape, 3 * unit, 2, 4.0)[inside] * 0.075 + wobble * 0.035
    bands, share = table([s.bands for s in sweeps]), table([s.patches for s in sweeps])
    rings = np.sin(2 * np.pi * bands * along[inside] + 0.9 * wobble) + 0.25 * wobble
    patches = _ramp(blotch + 3 * share, 1.5, 1.75) * (share > 0)
    marked = np.where(bands > 0, _ramp(rings, 0.15, 0.75), patches)
    below = _ramp(down + 0.12 * wobble, 0.15, 0.75)
    colour = _mix(table([s.colour for s in sweeps]), table([s.mark or s.colour for s in sweeps]), marked)
    colour = _mix(colour, table([s.belly or s.colour for s in sweeps]), below)
    picture = np.zeros((*shape, 3), np.float32)
    picture[inside] = colour * (lit * (1 + hair * table([s.fur for s in sweeps])))[:, None]
    return picture


def _ramp(value: Floats, low: float, high: float) -> Floats:
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _mix(first: Floats, second: Floats, share: Floats) -> Floats:
    return np.asarray(first + (second - first) * share[..., None], np.float32)
