"""A cat made of sweeps: faces right, stands on the line y = 0 (y grows downwards) and is one unit long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.demonstration.colours import ANIMAL_COLOURS, one_of, times, towards
from maskwright.demonstration.sweeps import Colour, Knot, Sweep

_GINGER = (0.68, 0.43, 0.23)
_IRISES: tuple[Colour, ...] = ((0.72, 0.70, 0.25), (0.45, 0.62, 0.32), (0.80, 0.58, 0.20))


@dataclass(frozen=True)
class _Fur:
    """The coat of one cat. pale: lips and belly; mark: stripes or patches; paws: colour of the feet."""

    coat: Colour
    pale: Colour
    mark: Colour
    striped: bool
    patches: float
    paws: Colour

    def over(
        self, *knots: Knot, depth: float = 0.0, bands: float = 0.0, shade: float = 1.0, belly: bool = False
    ) -> Sweep:
        """A part covered by this fur, paler below with a `belly`; `shade` darkens what lies on the far side."""
        below = times(towards(self.coat, self.pale, 0.6), shade) if belly else None
        return Sweep(
            knots, times(self.coat, shade), depth, mark=times(self.mark, shade),
            bands=bands if self.striped else 0.0, patches=self.patches, belly=below,
        )  # fmt: skip

    def paw(self, x: float, y: float, depth: float, shade: float = 1.0) -> Sweep:
        knots = ((x, y, 0.047), (x + 0.06, y + 0.004, 0.042))
        return Sweep(knots, times(self.paws, shade), depth)


def cat(rng: np.random.Generator, coats: tuple[Colour, ...] | None = None) -> list[Sweep]:
    """A walking or a sitting cat, its face towards the viewer, in one of the colours `coats` or of a cat's own."""
    coat = one_of(rng, coats or (*ANIMAL_COLOURS, _GINGER))
    pale = towards(coat, (0.93, 0.90, 0.85), 0.75)
    pattern = rng.choice(["striped", "plain", "patched"], p=[0.5, 0.25, 0.25])
    fur = _Fur(
        coat,
        pale,
        mark=times(coat, 0.5) if pattern == "striped" else pale,
        striped=bool(pattern == "striped"),
        patches=0.42 if pattern == "patched" else 0.0,
        paws=pale if rng.random() < 0.35 else coat,
    )
    return _sitting(rng, fur) if rng.random() < 0.4 else _walking(rng, fur)


def _sitting(rng: np.random.Generator, fur: _Fur) -> list[Sweep]:
    x, y = float(rng.uniform(0.10, 0.20)), float(rng.uniform(-0.92, -0.86))
    curl = float(rng.uniform(-0.12, 0.12))
    torso = ((-0.20, -0.23, 0.235), (-0.10, -0.42, 0.20), (0.06, -0.62, 0.15), (x, y + 0.06, 0.11))
    near = ((0.10, -0.50, 0.09), (0.13, -0.26, 0.060), (0.15, -0.05, 0.046))
    far = ((0.18, -0.50, 0.07), (0.23, -0.26, 0.055), (0.25, -0.06, 0.045))
    tail = ((-0.36, -0.10, 0.055), (-0.56, -0.06, 0.05), (-0.70, -0.12, 0.046), (-0.72 + curl, -0.28, 0.036))
    return [
        fur.over(*torso, bands=6, belly=True),
        fur.over((-0.06, -0.20, 0.15), (-0.02, -0.13, 0.11), depth=0.16),
        fur.over(*near, depth=0.16, bands=4),
        fur.over(*far, depth=-0.05, bands=4, shade=0.78),
        fur.paw(0.15, -0.045, 0.17),
        fur.paw(0.25, -0.06, -0.04, 0.8),
        fur.paw(0.0, -0.045, 0.18),
        fur.over(*tail, depth=-0.05, bands=7),
        *_head(rng, fur, x, y),
    ]


def _walking(rng: np.random.Generator, fur: _Fur) -> list[Sweep]:
    high = float(rng.uniform(0.78, 1.05))  # how high the body is carried
    x, y = float(rng.uniform(0.52, 0.62)), -0.52 * high - float(rng.uniform(0.08, 0.28))
    back, chest = (-0.36, -0.48 * high, 0.180), (0.33, -0.50 * high, 0.165)
    torso = (back, (-0.12, -0.48 * high, 0.178), (0.14, -0.47 * high, 0.182), chest)
    parts = [
        fur.over(*torso, bands=6.5, belly=True),
        fur.over((0.34, -0.52 * high, 0.13), (x - 0.03, y + 0.04, 0.11), depth=0.02, belly=True),
    ]
    for depth, shade, foot in ((0.07, 1.0, -0.045), (-0.16, 0.68, -0.075)):  # the near legs, the far legs
        swing = float(rng.uniform(-0.13, 0.13))
        hind, fore = -0.38 + swing, 0.34 - swing * float(rng.uniform(0.3, 1.0))
        thigh, knee = (-0.38, -0.42 * high, 0.145), (-0.36 + 0.5 * swing, -0.23 * high, 0.075)
        shoulder, elbow = (0.33, -0.38 * high, 0.10), (0.33 - 0.4 * swing, -0.21 * high, 0.062)
        hind_leg = (thigh, knee, (hind - 0.03, -0.11, 0.048), (hind, foot, 0.044))
        parts += [
            fur.over(*hind_leg, depth=depth, bands=4, shade=shade),
            fur.over(shoulder, elbow, (fore, foot, 0.044), depth=depth, bands=4, shade=shade),
            fur.paw(hind, foot, depth + 0.01, shade),
            fur.paw(fore, foot, depth + 0.01, shade),
        ]
    rise, curl = float(rng.uniform(-0.1, 0.40)), float(rng.uniform(-0.16, 0.16))
    root, bow = (-0.50, -0.52 * high, 0.055), (-0.70, -0.50 * high - 0.2 * rise, 0.050)
    tip = ((-0.84, -0.55 * high - rise, 0.046), (-0.84 + curl, -0.68 * high - 1.3 * rise, 0.036))
    return [*parts, fur.over(root, bow, *tip, depth=-0.05, bands=7), *_head(rng, fur, x, y)]


def _head(rng: np.random.Generator, fur: _Fur, x: float, y: float) -> list[Sweep]:
    """Head, ears and face around (x, y)."""
    look = x + float(rng.uniform(-0.02, 0.03))  # the face is turned a little to one side
    iris = _IRISES[rng.integers(len(_IRISES))]
    pink = towards(fur.coat, (0.80, 0.56, 0.52), 0.7)
    parts = [
        fur.over((x - 0.045, y, 0.150), (x + 0.045, y, 0.150), depth=0.16, bands=2.2, belly=True),
        Sweep(((look, y + 0.045, 0.019),), (0.72, 0.42, 0.40), 0.32, fur=0.0),  # the nose
    ]
    for side in (-1, 1):
        base, tip = (x + 0.085 * side, y - 0.10, 0.072), (x + 0.130 * side, y - 0.255, 0.008)
        ear = (base, (x + 0.115 * side, y - 0.19, 0.036), tip)
        inner_ear = ((x + 0.095 * side, y - 0.125, 0.032), (x + 0.122 * side, y - 0.215, 0.006))
        eye, level = look + 0.068 * side, y - 0.015
        pupil = ((eye, level - 0.018, 0.010), (eye, level + 0.018, 0.010))
        parts += [
            Sweep(ear, times(fur.coat, 0.92), 0.14),
            Sweep(inner_ear, pink, 0.20, fur=0.4),
            Sweep(((eye, level, 0.036),), iris, 0.285, fur=0.0),
            Sweep(pupil, (0.03, 0.03, 0.03), 0.32, fur=0.0),
            Sweep(((eye + 0.012, level - 0.014, 0.009),), (1.0, 1.0, 1.0), 0.35, fur=0.0),
            Sweep(((look + 0.030 * side, y + 0.072, 0.045),), fur.pale, 0.275, fur=0.5),  # a lip
        ]
    return parts
