"""One demo picture: a ground, things that lie about, none, one or two figures (animals or people), and a camera.

The mask comes from the same coverage that the picture is composed with, so outlines agree to a fraction of a
pixel; what a figure hides behind (a stone, a tuft of grass) is background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.demonstration.birds import bird
from maskwright.demonstration.cats import cat
from maskwright.demonstration.people import PARTS, person
from maskwright.demonstration.props import stone, tuft, twig
from maskwright.demonstration.sweeps import Colour, Floats, Light, Sprite, Sweep, blurred, noise, placed, render_sweeps
from maskwright.demonstration.textures import GROUNDS, ground

# What a run of 20 pictures shows, in an order of its own: one without a figure, three with two.
_CASTS: tuple[tuple[int, ...], ...] = ((), (0, 1), (0, 0), (1, 1), *[(0,), (1,)] * 8)
BLOCK = len(_CASTS)
Maker = Callable[[np.random.Generator, "tuple[Colour, ...] | None"], list[Sweep]]


@dataclass(frozen=True)
class Subject:
    """What pictures show. figures: two makers, which may be the same; sizes: of a figure, in sides of the picture;
    hidden: whether figures take the colours of the ground."""

    classes: tuple[str, ...]
    figures: tuple[Maker, Maker]
    sizes: tuple[float, float] = (0.34, 0.56)
    hidden: bool = False


def _one_class(make: Maker, label: int) -> Maker:
    return lambda rng, coats: [replace(sweep, label=label) for sweep in make(rng, coats)]


_ANIMALS = ("background", "cat", "bird"), (_one_class(cat, 1), _one_class(bird, 2))
SUBJECTS = {
    "animals": Subject(*_ANIMALS),
    "hidden_animals": Subject(*_ANIMALS, hidden=True),
    "people": Subject(("background", *PARTS), (person, person), (0.62, 0.88)),
}
_PROPS: dict[str, tuple[Callable[[np.random.Generator, float], list[Sweep]], ...]] = {
    "grass": (tuft, stone),
    "sand": (stone, tuft),
    "shore": (stone, twig),
    "litter": (twig, stone),
    "cobbles": (twig, tuft),
}


class Scene(NamedTuple):
    """image: (S, S, 3) uint8 RGB; mask: (S, S) uint8 class ids; figures: how many the picture was
    given."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    figures: int


class _Canvas:
    """A picture in the making, and how much of every pixel each class covers."""

    def __init__(self, picture: Floats, light: Light, classes: int) -> None:
        self.picture, self.light = picture, light
        self.size = picture.shape[0]
        self.cover = np.zeros((self.size, self.size, classes), np.float32)
        self.cover[..., 0] = 1

    def add(self, sweeps: list[Sweep], foot: float, rng: np.random.Generator) -> None:
        """Draws a thing that stands on row `foot`, with its shadow, over all that is there."""
        sprite = render_sweeps(sweeps, self.size, self.light, rng)
        if sprite is None:
            return
        self._shadow(sprite, foot)
        rest = 1 - sprite.alpha[..., None]
        box = sprite.box
        self.picture[box] = self.picture[box] * rest + sprite.colour
        self.cover[box] *= rest
        for label, share in sprite.shares.items():
            self.cover[box][..., label] += share

    def _shadow(self, sprite: Sprite, foot: float) -> None:
        """Darkens the ground: a shadow cast away from the light, and a soft one where the thing stands."""
        size = self.size
        alpha = np.zeros((size, size), np.float32)
        alpha[sprite.box] = sprite.alpha
        lean = -0.9 * self.light[0]
        shade = np.zeros((size, size), np.float32)
        for slope, flat, strength, sigma in ((lean, 0.30, 0.42, 2.2), (0.3 * lean, 0.10, 0.40, 3.5)):
            matrix = np.asarray([[1, -slope, slope * foot], [0, flat, foot * (1 - flat)]], np.float32)
            cast = cv2.warpAffine(alpha, matrix, (size, size), flags=cv2.INTER_LINEAR)
            shade += blurred(np.asarray(cast, np.float32), sigma * size / 256) * np.float32(strength)
        self.picture *= 1 - np.minimum(shade, 0.62)[..., None]


def draw_scene(seed: int, index: int, size: int, subject: str = "animals") -> Scene:
    """Picture `index` of the series `seed` of a row of `SUBJECTS`, a function of these alone; `size` is its side in
    pixels."""
    shown = SUBJECTS[subject]
    block, turn = divmod(index, BLOCK)
    cast = _CASTS[int(np.random.default_rng((seed, block, 1)).permutation(BLOCK)[turn])]
    rng = np.random.default_rng((seed, index, 0))
    light = (float(rng.choice([-1.0, 1.0]) * rng.uniform(0.35, 0.75)), -0.65, 0.7)
    kind = str(rng.choice(list(GROUNDS)))
    canvas = _Canvas(ground(rng, kind, size, light), light, len(shown.classes))
    coats = _ground_colours(canvas.picture, rng) if shown.hidden else None
    for foot in sorted(rng.uniform(0.15, 1.05, int(rng.integers(1, 6)))):
        _add_prop(canvas, kind, float(rng.uniform(0, 1)), float(foot), float(rng.uniform(0.05, 0.10)), rng)
    places = rng.permutation([0.27, 0.73]) if len(cast) == 2 else rng.uniform(0.3, 0.7, len(cast))
    feet = np.sort(rng.uniform(0.62, 0.93, len(cast)))  # the one farther away is drawn first
    for number, place, foot in zip(cast, places.tolist(), feet.tolist(), strict=True):
        scale = float(rng.uniform(*shown.sizes)) * (0.82 if len(cast) == 2 else 1.0)
        at_edge = rng.random() < 0.15  # cut by the edge of the picture
        left = float(rng.choice([0.09, 0.91])) if at_edge else place
        _add_figure(canvas, shown.figures[number], coats, left, foot, scale, rng)
        if rng.random() < 0.3:  # partly hidden
            beside = left + scale * float(rng.uniform(-0.45, 0.45))
            _add_prop(canvas, kind, beside, foot + 0.03, float(rng.uniform(0.10, 0.18)), rng)
    mask = np.argmax(canvas.cover, -1).astype(np.uint8)
    return Scene(_photograph(canvas.picture, rng), mask, len(cast))


def _ground_colours(picture: Floats, rng: np.random.Generator) -> tuple[Colour, ...]:
    """Colours of four places of the ground."""
    rows, columns = rng.integers(0, picture.shape[0], (2, 4))
    red, green, blue = (channel.tolist() for channel in blurred(picture, picture.shape[0] / 40)[rows, columns].T)
    return tuple(zip(red, green, blue, strict=True))


def _add_figure(
    canvas: _Canvas,
    make: Maker,
    coats: tuple[Colour, ...] | None,
    left: float,
    foot: float,
    scale: float,
    rng: np.random.Generator,
) -> None:
    """A figure of size `scale` standing at (left, foot), all in sides of the picture."""
    at = (left * canvas.size, foot * canvas.size)
    unit = scale * _nearness(foot) * canvas.size
    turn, mirrored = float(rng.normal(0, 0.13)), bool(rng.random() < 0.5)
    canvas.add(placed(make(rng, coats), unit, turn, at, mirrored), at[1], rng)


def _add_prop(canvas: _Canvas, kind: str, left: float, foot: float, scale: float, rng: np.random.Generator) -> None:
    """One of the things that lie on this kind of ground, of size `scale` at (left, foot)."""
    make = _PROPS[kind][int(rng.integers(len(_PROPS[kind])))]
    at = (left * canvas.size, foot * canvas.size)
    turn = float(rng.uniform(-0.5, 0.5)) if make is twig else 0.0
    canvas.add(placed(make(rng, scale), _nearness(foot) * canvas.size, turn, at, False), at[1], rng)


def _nearness(foot: float) -> float:
    """How large a thing looks whose foot is on this row, 0 (top) to 1; about 1 near the lower edge."""
    return 0.55 + 0.5 * foot


def _photograph(picture: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Uneven light, white balance, a slight blur and the noise of a sensor; none of it moves an outline."""
    size = picture.shape[0]
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    even = 1 - float(rng.uniform(0.05, 0.22)) * (rows**2 + columns**2) / 2
    even *= 1 + 0.09 * noise(rng, (size, size), 0.6 * size, 2)
    balance = np.asarray(rng.normal(1, 0.02, 3) * rng.uniform(0.95, 1.22), np.float32)
    photo = np.maximum(picture, 0) * even[..., None] * balance
    photo = blurred(np.asarray(photo, np.float32), float(rng.uniform(0.35, 0.8)) * size / 256)
    grain = rng.standard_normal(photo.shape, np.float32) * np.sqrt(0.00008 + 0.0005 * np.clip(photo, 0, 1))
    tone = np.clip(photo + grain * float(rng.uniform(0.6, 1.4)), 0, 1)
    return np.asarray(np.rint(tone * 255), np.uint8)
