"""Writes masks in a format and reads them back, as `convert` does, without the command line around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.sample import Sample
from maskwright.data.formats import FORMATS
from maskwright.data.formats.source import WriteOptions
from maskwright.data.opening import load_dataset

CLASSES = ClassTree.flat(["background", "cat", "dog", "a b/c"], ids=[0, 1, 2, 7])


def through(
    name: str,
    folder: Path,
    masks: Mapping[str, np.ndarray],
    classes: ClassTree = CLASSES,
    options: WriteOptions | None = None,
    split: str | None = "train",
) -> tuple[dict[str, Any], list[str]]:
    """Masks by name, of class indices, written in the format `name` and read back: names to arrays of the class
    NAMES (H, W) of str, with "ignore" for ignored pixels; and what the writer said it dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    original = folder.parent / f"{folder.name}-images"
    original.mkdir(exist_ok=True)
    writer = FORMATS[name].write(folder, classes, options or WriteOptions())
    dropped = []
    for key, mask in masks.items():
        source = original / f"{key.replace('/', '_')}.png"
        Image.fromarray(np.zeros((*mask.shape, 3), np.uint8)).save(source)
        sample = Sample(f"{split}/{key}" if split else key, source, split=split)
        target = folder / writer.image_path(sample)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        dropped += writer.add(sample, mask)
    writer.finish()
    dataset = load_dataset(folder, format=None if FORMATS[name].read is None else name)
    found = {s.name.removeprefix(f"{s.split}/"): named(dataset.read_mask(s), dataset.classes) for s in dataset.samples}
    return found, dropped


def named(mask: np.ndarray, classes: ClassTree) -> np.ndarray:
    """Indices (H, W) as class names (H, W)."""
    table = np.array([*classes.names, *["?"] * (IGNORE - len(classes)), "ignore"])
    return table[mask]


def masks(classes: ClassTree = CLASSES, side: int = 12, ignore: bool = True) -> st.SearchStrategy[np.ndarray]:
    """Random masks of class indices: noise, islands, holes and single pixels, with ignored pixels when asked."""
    values = [*range(len(classes)), *([IGNORE] if ignore else [])]

    @st.composite
    def draw(draw: st.DrawFn) -> np.ndarray:
        height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        if draw(st.booleans()):
            return rng.choice(values, (height, width)).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        for _ in range(draw(st.integers(0, 6))):
            top, left = rng.integers(0, height), rng.integers(0, width)
            mask[top : top + rng.integers(1, 8), left : left + rng.integers(1, 8)] = rng.choice(values)
        return mask

    return draw()


def drawn(folder: Path) -> np.ndarray:
    """Class names (H, W) of the only sample."""
    dataset = load_dataset(folder)
    assert len(dataset) == 1
    return named(dataset.read(dataset[0])[1], dataset.classes)
