"""Colours of the demo animals.

Cats and birds take fur and feathers from nearly the same colours, so that shape, not colour, tells them apart.
"""

from __future__ import annotations

import numpy as np

from maskwright.demonstration.sweeps import Colour

ANIMAL_COLOURS: tuple[Colour, ...] = (
    (0.42, 0.31, 0.22),  # brown
    (0.50, 0.48, 0.47),  # grey
    (0.21, 0.20, 0.19),  # black
    (0.72, 0.60, 0.45),  # fawn
    (0.80, 0.77, 0.72),  # white
)


def one_of(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of the colours, a little lighter or darker and a little off."""
    colour = np.asarray(colours[rng.integers(len(colours))]) * rng.uniform(0.88, 1.12) * rng.normal(1, 0.015, 3)
    red, green, blue = np.clip(colour, 0.06, 0.92).tolist()
    return red, green, blue


def times(colour: Colour, factor: float) -> Colour:
    """The colour, brighter or darker."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def towards(colour: Colour, other: Colour, share: float) -> Colour:
    """The mixture with `share` (0..1) of the other colour."""
    red, green, blue = (a + (b - a) * share for a, b in zip(colour, other, strict=True))
    return red, green, blue
