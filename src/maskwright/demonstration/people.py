"""A person made of sweeps: faces the viewer, stands on the line y = 0 (y grows downwards) and is one unit tall.

Each sweep carries the id of its part: clothes belong to what they cover.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.demonstration.colours import one_of, times, towards
from maskwright.demonstration.sweeps import Colour, Knot, Sweep

PARTS = ("head", "torso", "arms", "hands", "legs", "feet")
HEAD, TORSO, ARMS, HANDS, LEGS, FEET = range(1, len(PARTS) + 1)

_SKINS: tuple[Colour, ...] = (
    (0.86, 0.68, 0.57), (0.76, 0.57, 0.44), (0.62, 0.44, 0.32), (0.45, 0.30, 0.22), (0.31, 0.21, 0.16),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = ((0.13, 0.10, 0.09), (0.33, 0.22, 0.14), (0.62, 0.47, 0.28), (0.55, 0.53, 0.51))
_CLOTHS: tuple[Colour, ...] = (
    (0.20, 0.26, 0.42), (0.58, 0.20, 0.18), (0.30, 0.42, 0.28), (0.74, 0.70, 0.62), (0.16, 0.16, 0.17),
    (0.50, 0.47, 0.44), (0.66, 0.52, 0.30), (0.42, 0.32, 0.24),
)  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """What one person wears. sleeve and trouser: how much of the limb they cover, 0..1."""

    skin: Colour
    shirt: Colour
    mark: Colour
    bands: float
    patches: float
    trousers: Colour
    shoes: Colour
    sleeve: float
    trouser: float

    def cloth(self, label: int, *knots: Knot, depth: float = 0.0, shade: float = 1.0) -> Sweep:
        """A part of the shirt."""
        mark, bands, patches = times(self.mark, shade), self.bands, self.patches
        return Sweep(
            knots, times(self.shirt, shade), depth, mark=mark, bands=bands, patches=patches, fur=0.4, label=label
        )


def person(rng: np.random.Generator, cloths: tuple[Colour, ...] | None = None) -> list[Sweep]:
    """A person who stands, walks, waves or stretches the arms out, in colours of `cloths` or of any clothes."""
    cloths = cloths or _CLOTHS
    shirt = one_of(rng, cloths)
    pattern = rng.choice(["plain", "striped", "patched"], p=[0.5, 0.3, 0.2])
    skin = one_of(rng, _SKINS)
    look = _Look(
        skin,
        shirt,
        mark=towards(shirt, (0.9, 0.88, 0.84), 0.7) if rng.random() < 0.5 else times(shirt, 0.5),
        bands=float(rng.uniform(3, 7)) if pattern == "striped" else 0.0,
        patches=0.4 if pattern == "patched" else 0.0,
        trousers=one_of(rng, cloths),
        shoes=skin if rng.random() < 0.2 else one_of(rng, cloths),
        sleeve=float(rng.choice([0.0, 0.5, 1.0], p=[0.2, 0.4, 0.4])),
        trouser=float(rng.choice([0.5, 1.0], p=[0.35, 0.65])),
    )
    broad = float(rng.uniform(0.85, 1.2))
    lean = float(rng.normal(0, 0.025))  # of the shoulders to one side
    return [
        *_legs(rng, look, broad),
        *_torso(look, broad, lean),
        *_arms(rng, look, broad, lean),
        *_head(rng, look, lean),
    ]


def _torso(look: _Look, broad: float, lean: float) -> list[Sweep]:
    parts = []
    for side in (-1, 1):
        shoulder = (lean + 0.075 * broad * side, -0.785, 0.045 * broad)
        waist = (0.5 * lean + 0.045 * broad * side, -0.62, 0.058 * broad)
        hip = (0.05 * broad * side, -0.51, 0.062 * broad)
        parts.append(look.cloth(TORSO, shoulder, waist, hip))
    middle = ((lean, -0.77, 0.06 * broad), (0.5 * lean, -0.64, 0.075 * broad), (0.0, -0.52, 0.07 * broad))
    return [*parts, look.cloth(TORSO, *middle, depth=0.01)]


def _head(rng: np.random.Generator, look: _Look, lean: float) -> list[Sweep]:
    x, y = 1.3 * lean + float(rng.uniform(-0.01, 0.01)), -0.915
    hair, dark = one_of(rng, _HAIRS), (0.06, 0.05, 0.05)
    face = look.skin
    style = rng.choice(["short", "long", "hat", "bald"], p=[0.4, 0.3, 0.2, 0.1])
    mouth = ((x - 0.016, y + 0.044, 0.005), (x + 0.016, y + 0.044, 0.005))
    parts = [
        Sweep(((lean, -0.80, 0.030), (x, y + 0.06, 0.030)), times(face, 0.85), 0.0, fur=0.2, label=HEAD),  # the neck
        Sweep(((x, y + 0.02, 0.052), (x, y - 0.025, 0.060)), face, 0.05, fur=0.2, label=HEAD),
        Sweep(((x, y + 0.012, 0.010), (x, y + 0.020, 0.012)), times(face, 0.9), 0.105, fur=0.0, label=HEAD),  # the nose
        Sweep(mouth, (0.55, 0.26, 0.24), 0.10, fur=0.0, label=HEAD),
    ]
    for side in (-1, 1):
        parts.append(Sweep(((x + 0.022 * side, y - 0.006, 0.008),), dark, 0.105, fur=0.0, label=HEAD))
    if style == "hat":
        colour = one_of(rng, _CLOTHS)
        brim = ((x - 0.085, y - 0.045, 0.014), (x + 0.085, y - 0.045, 0.014))
        parts += [
            Sweep(((x - 0.02, y - 0.065, 0.048), (x + 0.02, y - 0.065, 0.048)), colour, 0.07, fur=0.4, label=HEAD),
            Sweep(brim, times(colour, 0.85), 0.13, fur=0.4, label=HEAD),
        ]
    elif style != "bald":
        parts.append(Sweep(((x - 0.025, y - 0.05, 0.045), (x + 0.025, y - 0.05, 0.045)), hair, 0.075, label=HEAD))
        if style == "long":
            for side in (-1, 1):
                lock = ((x + 0.045 * side, y - 0.03, 0.028), (x + 0.06 * side, y + 0.04, 0.026))
                parts.append(Sweep((*lock, (x + 0.062 * side, y + 0.11, 0.016)), times(hair, 0.9), 0.03, label=HEAD))
    return parts


def _arms(rng: np.random.Generator, look: _Look, broad: float, lean: float) -> list[Sweep]:
    parts = []
    pose = rng.choice(["hanging", "out", "raised", "hips"], p=[0.4, 0.25, 0.2, 0.15])
    for side in (-1, 1):
        one = "hanging" if pose == "raised" and side == -1 else pose
        # Angles from straight down, outwards: of the upper arm, and of the forearm.
        upper, lower = {
            "hanging": (rng.uniform(0.08, 0.35), rng.uniform(-0.1, 0.3)),
            "out": (rng.uniform(0.9, 1.5), rng.uniform(0.8, 2.0)),
            "raised": (rng.uniform(1.3, 2.2), rng.uniform(2.4, 3.3)),
            "hips": (rng.uniform(0.7, 0.95), rng.uniform(-0.9, -0.6)),
        }[one]
        shoulder = np.asarray([lean + 0.115 * broad * side, -0.785])
        elbow = shoulder + 0.165 * np.asarray([side * np.sin(upper), np.cos(upper)])
        wrist = elbow + 0.150 * np.asarray([side * np.sin(lower), np.cos(lower)])
        palm = wrist + 0.035 * np.asarray([side * np.sin(lower), np.cos(lower)])
        depth = 0.045
        bare = [Sweep((_knot(a, r), _knot(b, s)), look.skin, depth, fur=0.2, label=ARMS)
                for a, r, b, s in ((shoulder, 0.036, elbow, 0.030), (elbow, 0.030, wrist, 0.023))]  # fmt: skip
        parts += bare
        if look.sleeve > 0:
            parts.append(look.cloth(ARMS, _knot(shoulder, 0.045), _knot(elbow, 0.038), depth=depth + 0.01))
        if look.sleeve == 1:
            parts.append(look.cloth(ARMS, _knot(elbow, 0.038), _knot(wrist, 0.031), depth=depth + 0.01))
        hand = (_knot(wrist, 0.022), _knot(palm, 0.027))
        parts.append(Sweep(hand, look.skin, depth + 0.005, fur=0.2, label=HANDS))
    return parts


def _legs(rng: np.random.Generator, look: _Look, broad: float) -> list[Sweep]:
    parts = []
    stride = float(rng.uniform(0.0, 0.12))
    for side, depth, shade in ((-1, -0.02, 0.9), (1, 0.0, 1.0)):
        hip = np.asarray([0.052 * broad * side, -0.47])
        knee = hip + np.asarray([(0.02 + 0.5 * stride) * side, 0.22])
        ankle = knee + np.asarray([0.5 * stride * side, 0.21])
        for start, end, radii, covered in (
            (hip, knee, (0.062 * broad, 0.046), True),
            (knee, ankle, (0.044, 0.029), look.trouser == 1),
        ):
            colour, wide = (look.trousers, 1.08) if covered else (look.skin, 1.0)
            knots = (_knot(start, radii[0] * wide), _knot(end, radii[1] * wide))
            parts.append(Sweep(knots, times(colour, shade), depth, fur=0.4, label=LEGS))
        toe = ankle + np.asarray([0.028 * side, 0.022])
        parts.append(
            Sweep((_knot(ankle, 0.027), _knot(toe, 0.026)), times(look.shoes, shade), depth + 0.02, label=FEET)
        )
    return parts


def _knot(point: np.ndarray[tuple[int, ...], np.dtype[np.float64]], radius: float) -> Knot:
    return float(point[0]), float(point[1]), radius
