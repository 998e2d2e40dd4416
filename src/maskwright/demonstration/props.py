"""Things that lie about in the demo pictures, made of sweeps; all of them are background.

Each stands on the line y = 0 around x = 0; y grows downwards. `size` is about the radius of a stone; a twig
of the same size is longer, a tuft higher.
"""

from __future__ import annotations

import numpy as np

from maskwright.demonstration.colours import one_of, times
from maskwright.demonstration.sweeps import Sweep


def stone(rng: np.random.Generator, size: float) -> list[Sweep]:
    """A rounded stone."""
    grey, warm = float(rng.uniform(0.36, 0.62)), float(rng.uniform(0.0, 0.07))
    colour, dark = (grey + warm, grey + 0.4 * warm, grey - 0.5 * warm), 0.72
    thick = (rng.uniform(0.36, 0.50, 3) * (1.0, 1.35, 1.0) * size).tolist()
    places = (-0.55 * size, 0.0, 0.55 * size)
    knots = tuple((x, 0.2 * size - r, r) for x, r in zip(places, thick, strict=True))
    lichen = float(rng.uniform(0.2, 0.5))
    return [Sweep(knots, colour, mark=times(colour, dark), patches=lichen, belly=times(colour, dark), fur=0.6)]


def twig(rng: np.random.Generator, size: float) -> list[Sweep]:
    """A forked twig lying flat."""
    length = 2.2 * size
    bark = one_of(rng, ((0.34, 0.25, 0.17), (0.45, 0.38, 0.30)))
    bend = float(rng.uniform(-0.15, 0.15)) * length
    end = (0.5 * length, 0.3 * bend, 0.014 * length)
    stem = ((-0.5 * length, 0.0, 0.035 * length), (0.0, bend, 0.030 * length), end)
    parts = [Sweep(stem, bark, mark=times(bark, 0.7), bands=9)]
    for _ in range(int(rng.integers(1, 4))):
        x, side = float(rng.uniform(-0.2, 0.25)), float(rng.choice([-0.17, 0.17]))
        start = (x * length, bend * (1 - 2 * abs(x)), 0.022 * length)
        parts.append(Sweep((start, ((x + 0.2) * length, bend + side * length, 0.009 * length)), bark))
    return parts


def tuft(rng: np.random.Generator, size: float) -> list[Sweep]:
    """A tuft of grass blades."""
    height = 1.5 * size
    parts = []
    for _ in range(int(rng.integers(9, 16))):
        x, tall = float(rng.normal(0, 0.22)) * height, float(rng.uniform(0.55, 1.1)) * height
        lean = float(rng.normal(0, 0.28)) * height + 0.6 * x
        tip = (x + lean, -tall, 0.006 * height)
        knots = ((x, 0.0, 0.040 * height), (x + 0.3 * lean, -0.55 * tall, 0.034 * height), tip)
        green, depth = float(rng.uniform(0.34, 0.60)), float(rng.uniform(0, 0.05)) * height
        parts.append(Sweep(knots, (0.72 * green + 0.03, green, 0.30 * green), depth, fur=0.4))
    return parts
