"""Errors by kind as pictures: on the image in grey, every kind in a colour and a pattern of its own.

The colours are of the palette of Okabe and Ito, and the patterns tell the kinds apart without any colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from maskwright.core.classes import ClassTree
from maskwright.core.masks import Mask, Pixels
from maskwright.core.palette import Colour
from maskwright.evaluation.explaining.kinds import NAMES
from maskwright.reporting.overlays import Colours, full_size, shrink_mask, stack, write_text
from maskwright.reporting.pictures import Picture, labelled_overlay, picture, present, shrink

Kinds = npt.NDArray[np.uint8]
Pattern = Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[np.bool_]]


class Look(NamedTuple):
    """A colour, which pixels of it are black (by row and column), and both in words."""

    colour: Colour
    pattern: Pattern
    told: str


LOOKS = {
    "boundary": Look((240, 228, 66), lambda row, column: row + column < 0, "plain yellow"),
    "missed": Look((230, 159, 0), lambda row, column: (row + column) % 6 < 2, "orange, rising stripes"),
    "hallucinated": Look((86, 180, 233), lambda row, column: (row + 0 * column) % 6 < 2, "blue, level stripes"),
    "confused": Look((204, 121, 167), lambda row, column: (row - column) % 6 < 2, "pink, falling stripes"),
    "label_suspect": Look((0, 158, 115), lambda row, column: (row % 6 < 2) & (column % 6 < 2), "green, dotted"),
}


def draw_kinds(image: Pixels, kinds: Kinds, unit: int = 1) -> Pixels:
    """(H, W, 3): the image (H, W, 3) in grey with its wrong pixels by kind, (H, W) as in `anatomy.Anatomy`. A pixel of
    a pattern is `unit` pixels wide."""
    result = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2 + 64
    row, column = np.ogrid[: kinds.shape[0], : kinds.shape[1]]
    row, column = row // unit, column // unit
    for code, name in enumerate(NAMES, 1):
        here = kinds == code
        result[here] = LOOKS[name].colour
        result[here & LOOKS[name].pattern(row, column)] = 0
    return np.asarray(result, np.uint8)


def swatches() -> dict[str, Picture]:
    """What each kind looks like."""
    tile = np.zeros((18, 24, 3), np.uint8)
    drawn = (draw_kinds(tile, np.full(tile.shape[:2], code, np.uint8)) for code in range(1, len(NAMES) + 1))
    return {name: picture(one, "", LOOKS[name].told, exact=True) for name, one in zip(NAMES, drawn, strict=True)}


def error_views(
    name: str, image: Pixels, truth: Mask, prediction: Mask, kinds: Kinds, classes: ClassTree
) -> list[Picture]:
    """Image, truth, prediction and wrong pixels by kind of one sample, at the size of the page."""
    small = shrink(image)
    errors = draw_kinds(small, shrink_mask(kinds, small.shape[1], small.shape[0]))
    counts = np.bincount(kinds.reshape(-1), minlength=len(NAMES) + 1)[1:].tolist()
    told = ", ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in zip(NAMES, counts, strict=True) if count)
    return [
        picture(image, "image", f"{name}: the image"),
        picture(labelled_overlay(image, truth, classes), "truth", f"{name}: the truth; {present(truth, classes)}"),
        picture(
            labelled_overlay(image, prediction, classes),
            "prediction",
            f"{name}: the prediction; {present(prediction, classes)}",
        ),
        picture(errors, "wrong pixels by kind", f"{name}: wrong pixels by kind: {told or 'none'}", exact=True),
    ]


def full_errors(
    title: str, image: Pixels, truth: Mask, prediction: Mask, kinds: Kinds, classes: ClassTree, colours: Colours
) -> Image.Image:
    """Truth, prediction and wrong pixels by kind in full size, one above the other, below a line with `title`."""
    unit = max(1, round(max(truth.shape) / 800))
    letters = min(max(14, max(truth.shape) // 60), 64)
    counts = np.bincount(kinds.reshape(-1), minlength=len(NAMES) + 1)[1:].tolist()
    panels = [full_size(image, mask, classes, colours) for mask in (truth, prediction)]
    panels.append(Image.fromarray(draw_kinds(image, kinds, unit)))
    legend = _legend({name: count for name, count in zip(NAMES, counts, strict=True) if count}, letters)
    named = [
        part
        for text, panel in zip((f"{title}: truth", "prediction", "wrong pixels by kind"), panels, strict=True)
        for part in (_line(text, max(panel.width, 26 * letters), letters), panel)
    ]
    return stack([*named, legend])


def _line(text: str, width: int, letters: int) -> Image.Image:
    line = Image.new("RGB", (width, 2 * letters), (255, 255, 255))
    write_text(ImageDraw.Draw(line), (letters // 2, letters), text, width - letters, letters)
    return line


def _legend(counts: Mapping[str, int], letters: int) -> Image.Image:
    if not counts:
        return _line("none", 26 * letters, letters)
    lines = []
    for name, pixels in counts.items():
        line = _line("", 26 * letters, letters)
        patch = np.full((letters, 2 * letters), NAMES.index(name) + 1, np.uint8)
        drawn = draw_kinds(np.zeros((*patch.shape, 3), np.uint8), patch)
        line.paste(Image.fromarray(drawn), (letters // 2, letters // 2))
        write_text(
            ImageDraw.Draw(line),
            (3 * letters, letters),
            f"{name.replace('_', ' ')}: {pixels:,} pixels",
            23 * letters,
            letters,
        )
        lines.append(line)
    return stack(lines)
