"""Random masks through every writer and back: `python -m fuzz.trips [--masks 3000] [--pairs 100] [--seed 0]` in the
folder of the tests.

Masks have up to 20 classes and 64 x 64 pixels: noise, single pixels, rings in rings, classes that touch along edges
and corners, stripes, ignored pixels, in trees of classes with ids of 8 and 16 bits, with and without a background.
Each is written, read back and compared pixel by pixel; then, for every pair of formats, what was written in the first
is converted to the second and read back. JPEG masks and boxes lose pixels, by as many as their certificate says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.formats.roundtrip import named, through
from helpers import Pixels
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.data.convert import convert
from maskwright.data.formats import FORMATS
from maskwright.data.formats.source import WriteOptions
from maskwright.data.opening import load_dataset

LOSSY = ("jpeg", "yolo")
# What is written: a format, and whether as polygons where masks are possible too.
TRIPS: dict[str, tuple[str, bool]] = {
    **{name: (name, False) for name, row in FORMATS.items() if row.write},
    "coco, polygons": ("coco", True),
    "cvat_images, polygons": ("cvat_images", True),
}
_BATCH = 50
_SIDE = 64

Rng = np.random.Generator


def noise(mask: Pixels, values: Pixels, rng: Rng) -> None:
    """Every pixel by chance."""
    mask[:] = rng.choice(values, mask.shape)


def blobs(mask: Pixels, values: Pixels, rng: Rng) -> None:
    """Ellipses, one over the other."""
    rows, columns = np.indices(mask.shape) + 0.5
    for value in rng.choice(values, int(rng.integers(1, 12))):
        row, column = rng.uniform(0, 1, 2) * mask.shape
        high, wide = rng.uniform(0.02, 0.6, 2) * mask.shape
        mask[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] = value


def rings(mask: Pixels, values: Pixels, rng: Rng) -> None:
    """Frames in frames, down to an island of a pixel."""
    step = int(rng.integers(1, 4))
    for inset in range(0, (min(mask.shape) + 1) // 2, step):
        mask[inset : mask.shape[0] - inset, inset : mask.shape[1] - inset] = rng.choice(values)


def stripes(mask: Pixels, values: Pixels, rng: Rng) -> None:
    """Lines of a pixel, upright, level or slanted: parts touch along edges or at corners only."""
    rows, columns = np.indices(mask.shape)
    slant = int(rng.integers(-2, 3))
    mask[:] = rng.choice(values, 8)[(rows + slant * columns) % 8 if rng.random() < 0.5 else columns % 8]


def tiles(mask: Pixels, values: Pixels, rng: Rng) -> None:
    """A board of squares."""
    side = int(rng.integers(1, 6))
    rows, columns = np.indices(mask.shape) // side
    mask[:] = values[(rows * 3 + columns * int(rng.integers(1, 4))) % len(values)]


DRAWN: list[Callable[[Pixels, Pixels, Rng], None]] = [noise, blobs, blobs, rings, stripes, tiles]


def draw(classes: ClassTree, rng: Rng) -> Pixels:
    """A mask (H, W) uint8 of class indices and `IGNORE`."""
    mask = np.zeros(rng.integers(1, _SIDE + 1, 2), np.uint8)
    values = np.arange(len(classes), dtype=np.uint8)
    if rng.random() < 0.5:
        values = np.append(values, np.uint8(IGNORE))
    DRAWN[int(rng.integers(len(DRAWN)))](mask, values, rng)
    specks = rng.random(mask.shape) < rng.choice([0, 0, 0.01, 0.1])
    mask[specks] = rng.choice(values, int(specks.sum()))
    return mask


def tree(rng: Rng) -> ClassTree:
    """Two to twenty classes."""
    count = int(rng.integers(2, 21))
    names = [f"class {k}" for k in range(count)]
    if rng.random() < 0.8:
        names[0] = "background"
    ids = rng.choice(rng.choice([count + 1, 255, 65536]), count, replace=False)
    if names[0] == "background":
        ids = np.sort(ids)
    taken = set(ids.tolist())
    return ClassTree.flat(
        names, ids.tolist(), next(value for value in (255, 65535, 254, 0, 1, 2, 3) if value not in taken)
    )


@dataclass
class Tally:
    """Masks and pixels of a way, and how many of them came back the same; `agreed` is whether each count of changed
    pixels was that of the certificate."""

    masks: int = 0
    exact: int = 0
    pixels: int = 0
    changed: int = 0
    agreed: bool = True

    def add(self, before: np.ndarray, after: np.ndarray) -> int:
        """Counts a mask (H, W) of class names; returns the changed pixels."""
        changed = int((before != after).sum()) if before.shape == after.shape else before.size
        self.masks += 1
        self.exact += changed == 0
        self.pixels += before.size
        self.changed += changed
        return changed

    def line(self, name: str) -> str:
        """A row of the report."""
        loss = (
            "every pixel the same"
            if not self.changed
            else (
                f"{self.masks - self.exact} masks differ, in {self.changed} of {self.pixels} pixels "
                f"({self.changed / self.pixels:.3%})"
            )
            + ("" if self.agreed else "; THE CERTIFICATE SAYS SOMETHING ELSE")
        )
        return f"{name:36} {self.masks:6} masks: {loss}"


def lossless(name: str) -> bool:
    """Whether every pixel has to come back."""
    return TRIPS[name][0] not in LOSSY


def trips(name: str, masks: int, seed: int) -> Tally:
    """Mask -> format -> mask."""
    tally = Tally()
    form, polygons = TRIPS[name]
    for start in range(0, masks, _BATCH):
        rng = np.random.default_rng([seed, start])
        classes = tree(rng)
        drawn = {f"{k:03d}": draw(classes, rng) for k in range(min(_BATCH, masks - start))}
        with tempfile.TemporaryDirectory() as home:
            found, _ = through(form, Path(home, "there"), drawn, classes, WriteOptions(polygons=polygons))
        for key, mask in drawn.items():
            tally.add(named(mask, classes), found[key])
    return tally


def pair(first: str, second: str, masks: int, seed: int) -> Tally:
    """Mask -> format -> the other format by `convert` -> mask."""
    tally = Tally()
    for start in range(0, masks, _BATCH):
        rng = np.random.default_rng([seed, start, 1])
        classes = tree(rng)
        drawn = {f"{k:03d}": draw(classes, rng) for k in range(min(_BATCH, masks - start))}
        with tempfile.TemporaryDirectory() as home:
            there, back = Path(home, "there"), Path(home, "back")
            form, polygons = TRIPS[first]
            between, _ = through(form, there, drawn, classes, WriteOptions(polygons=polygons))
            certificate = convert(there, back, to=TRIPS[second][0], polygons=TRIPS[second][1], progress=False)
            dataset = load_dataset(back)
            found = {sample.image.stem: named(dataset.read_mask(sample), dataset.classes) for sample in dataset.samples}
        said = {record.sample.removeprefix("train/"): record.changed for record in certificate.samples}
        for key, mask in drawn.items():
            tally.add(named(mask, classes), found[key])
            tally.agreed &= said[key] == Tally().add(between[key], found[key])
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 1 when a pixel changed on a way where none may, or a certificate is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=3000, help="for each format")
    parser.add_argument("--pairs", type=int, default=100, help="masks for each pair of formats")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    failed = 0
    for name in TRIPS:
        tally = trips(name, options.masks, options.seed)
        failed += lossless(name) and tally.changed > 0
        print(tally.line(name), flush=True)
    ways = [(first, second) for first in TRIPS for second in TRIPS] if options.pairs else []
    for first, second in ways:
        tally = pair(first, second, options.pairs, options.seed)
        failed += not tally.agreed or (lossless(first) and lossless(second) and tally.changed > 0)
        print(tally.line(f"{first} -> {second}"), flush=True)
    print(f"{len(TRIPS)} formats, {len(ways)} pairs: {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
