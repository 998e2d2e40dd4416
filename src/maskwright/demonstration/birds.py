"""A bird made of sweeps: faces right, stands on the line y = 0 (y grows downwards) and is one unit long."""

from __future__ import annotations

import numpy as np

from maskwright.demonstration.colours import ANIMAL_COLOURS, one_of, times, towards
from maskwright.demonstration.sweeps import Colour, Knot, Sweep

_SLATE = (0.38, 0.43, 0.50)
_BREASTS: tuple[Colour, ...] = ((0.85, 0.78, 0.66), (0.74, 0.42, 0.24), (0.80, 0.72, 0.42), (0.66, 0.62, 0.58))
_HORNS: tuple[Colour, ...] = ((0.80, 0.52, 0.18), (0.30, 0.26, 0.22), (0.62, 0.50, 0.36))  # beak and legs


def bird(rng: np.random.Generator, coats: tuple[Colour, ...] | None = None) -> list[Sweep]:
    """A plump bird seen from the side, its wing folded or raised, in one of the colours `coats` or of a bird's own."""
    coat = one_of(rng, coats or (*ANIMAL_COLOURS, _SLATE))
    breast = towards(coat, _BREASTS[rng.integers(len(_BREASTS))], 0.8)
    horn = _HORNS[rng.integers(len(_HORNS))]
    lean = float(rng.uniform(-0.08, 0.10))  # upright, or bent forward
    neck = float(rng.uniform(0.0, 0.10))
    wing = _raised_wing if rng.random() < 0.3 else _folded_wing
    return [
        *_torso(rng, coat, breast, lean, neck),
        *_head(coat, breast, horn, 0.33 + lean, -0.86 + 1.3 * lean - neck, 0.26 + neck),
        *_tail(rng, coat, -0.36 - 1.2 * lean),
        *_legs(rng, towards(coat, breast, 0.5), horn),
        *wing(rng, coat),
    ]


def _torso(rng: np.random.Generator, coat: Colour, breast: Colour, lean: float, neck: float) -> list[Sweep]:
    speckles = 0.38 if rng.random() < 0.4 else 0.0
    nape = (0.30 + lean, -0.80 + 1.3 * lean - neck, 0.12)
    knots = ((-0.34, -0.43, 0.10), (-0.14, -0.47, 0.19), (0.08, -0.54, 0.225), (0.22, -0.64, 0.175), nape)
    front = ((0.16, -0.50, 0.17), (0.25, -0.62, 0.13))
    return [
        Sweep(knots, coat, 0.0, mark=times(coat, 0.55), patches=speckles, belly=breast),
        Sweep(front, breast, 0.075, mark=times(breast, 0.6), patches=speckles),
    ]


def _head(coat: Colour, breast: Colour, horn: Colour, x: float, y: float, beak: float) -> list[Sweep]:
    """The head around (x, y) with a beak that ends `beak` before it."""
    bill = ((x + 0.09, y + 0.005, 0.046), (x + 0.17, y + 0.016, 0.026), (x + beak, y + 0.035, 0.005))
    return [
        Sweep(((x, y, 0.128),), coat, 0.06, belly=towards(coat, breast, 0.7)),
        Sweep(bill, horn, 0.07, fur=0.2),
        Sweep(((x + 0.045, y - 0.022, 0.030),), (0.05, 0.04, 0.04), 0.165, fur=0.0),
        Sweep(((x + 0.054, y - 0.033, 0.010),), (1.0, 1.0, 1.0), 0.20, fur=0.0),
    ]


def _tail(rng: np.random.Generator, coat: Colour, level: float) -> list[Sweep]:
    """Three feathers in a narrow fan that ends at about y = `level`."""
    y = level + float(rng.uniform(-0.12, 0.08))
    parts = []
    for number, spread in enumerate((-0.05, 0.0, 0.05)):
        middle, tip = (-0.52, (y - 0.42 + spread) / 2, 0.045), (-0.78 + 0.6 * abs(spread), y + spread, 0.032)
        colour, depth = times(coat, 0.85 - 0.12 * (number % 2)), -0.04 - 0.02 * number
        knots = ((-0.30, -0.43, 0.055), middle, tip)
        parts.append(Sweep(knots, colour, depth, mark=times(coat, 0.55), bands=5))
    return parts


def _legs(rng: np.random.Generator, thigh: Colour, horn: Colour) -> list[Sweep]:
    parts = []
    for middle, lift, depth, shade in ((0.06, -0.02, 0.02, 1.0), (-0.05, -0.05, -0.14, 0.75)):  # near, far
        foot = middle + float(rng.uniform(-0.05, 0.05))
        shin = ((foot - 0.03, -0.24, 0.024), (foot - 0.045, -0.14, 0.020), (foot, lift, 0.019))
        parts += [
            Sweep(((0.02, -0.36, 0.07), (foot - 0.03, -0.22, 0.036)), times(thigh, shade), depth),
            Sweep(shin, times(horn, shade), depth, fur=0.2),
        ]
        for x, y in ((0.12, 0.015), (0.10, -0.02), (-0.08, 0.005)):
            toe = ((foot, lift, 0.018), (foot + x, lift + y, 0.011))
            parts.append(Sweep(toe, times(horn, shade), depth + 0.01, fur=0.2))
    return parts


def _folded_wing(rng: np.random.Generator, coat: Colour) -> list[Sweep]:
    """A drop-shaped wing along the side, with three dark flight feathers."""
    drop = float(rng.uniform(-0.03, 0.05))
    shoulder, tip = (0.10, -0.60, 0.115), (-0.50, -0.40 + drop, 0.016)
    knots = (shoulder, (-0.06, -0.54 + drop, 0.135), (-0.26, -0.47 + drop, 0.085), tip)
    dark = times(coat, 0.55)
    parts = [Sweep(knots, times(coat, 0.82), 0.125, mark=dark, bands=5)]
    for number in range(3):
        start = (-0.08, -0.47 + 0.028 * number + drop, 0.030)
        middle = (-0.30, -0.42 + 0.022 * number + drop, 0.026)
        end = (-0.54 + 0.05 * number, -0.365 + 0.014 * number + drop, 0.010)
        shade = 0.9 + 0.15 * (number % 2)
        depth = 0.235 - 0.01 * number
        parts.append(Sweep((start, middle, end), times(dark, shade), depth, fur=0.6))
    return parts


def _raised_wing(rng: np.random.Generator, coat: Colour) -> list[Sweep]:
    """Both wings held up: an arm each, and ten feathers from the tip of the hand to the body."""
    back = float(rng.uniform(-0.15, 0.25))
    parts = []
    for ahead, depth, shade in ((0.0, 0.14, 1.0), (0.10, -0.2, 0.68)):  # the near wing, the far wing
        dark = times(coat, 0.55 * shade)
        shoulder, wrist = np.asarray([0.10 + ahead, -0.60]), np.asarray([0.06 - 0.3 * back + ahead, -0.90])
        for number in range(10):
            t = number / 9
            root = wrist + (shoulder - wrist) * max(0.0, (number - 3) / 6)
            angle, length = 1.72 + back - ahead + 1.25 * t, 0.50 - 0.22 * t + 0.08 * np.sin(np.pi * t)
            middle, end = (
                root + reach * length * np.asarray([np.cos(angle + bend), -np.sin(angle + bend)])
                for reach, bend in ((0.55, 0.0), (1.0, 0.10))
            )
            knots = (_knot(root, 0.055), _knot(middle, 0.062), _knot(end, 0.030))
            colour = times(coat, shade * (0.92 if number % 2 else 0.78))
            level = depth - 0.004 * number
            parts.append(Sweep(knots, colour, level, mark=dark, bands=2.5, fur=0.7))
        arm = ((0.08 + ahead, -0.56, 0.09), (0.06 + ahead, -0.74, 0.075), _knot(wrist, 0.045))
        parts.append(Sweep(arm, times(coat, 0.95 * shade), depth - 0.02, mark=dark, bands=3))
    return parts


def _knot(point: np.ndarray[tuple[int, ...], np.dtype[np.float64]], radius: float) -> Knot:
    return float(point[0]), float(point[1]), radius
