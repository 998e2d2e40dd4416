"""The values in mask files, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt

from maskwright.core.description import ClassSpec, MasksSpec
from maskwright.core.mask_files import ARRAY_SUFFIXES, is_inverted, read_array, refuse_ambiguous
from maskwright.core.sample import integer_pixels, is_lossy, open_image
from maskwright.data.layouts.files import in_one_number
from maskwright.data.layouts.found import Answers
from maskwright.errors import DataError

# The share of the pixels below which a value is no class, where it lies about in specks of so many pixels.
STRAY, SPECK = 0.0005, 16
RARE = 0.005
IGNORE_NAMES = frozenset({"ignore", "ignored", "void", "unlabeled", "unlabelled", "255", "dontcare", "don't care"})


@dataclass
class Meaning:
    """What the values mean: `masks` without files and folders, the classes, and the reasons by key of `dataset.yaml`.
    `exact` is the share of the pixels seen that have the very value of a class; `shares` that of each class by id;
    `unsure` lists what was taken for something and might be something else."""

    masks: MasksSpec
    classes: list[ClassSpec]
    ignore: int
    reasons: dict[str, str]
    exact: float = 1.0
    shares: dict[int, float] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)


@dataclass
class ValueCounts:
    """The values in the masks that were read: grey values or indices, and colours packed in one number, with pixels;
    `sets` the different sets of grey values of single files. `specks` holds the largest connected part of each rare
    value; `between` counts pixels whose value lies between those around them in masks of many values, `outline` those
    in masks of black and white."""

    grey: Counter[int] = field(default_factory=Counter)
    colours: Counter[int] = field(default_factory=Counter)
    sets: Counter[frozenset[int]] = field(default_factory=Counter)
    palette: dict[int, Counter[int]] = field(default_factory=dict)
    specks: dict[int, int] = field(default_factory=dict)
    files: int = 0
    lossy: int = 0
    one_channel: int = 0
    inverted: int = 0
    flat: list[float] = field(default_factory=list)
    between: int = 0
    outline: int = 0
    shown_dark: list[float] = field(default_factory=list)


def add_file(path: Path, seen: ValueCounts, answers: Answers, channels: str) -> None:
    """Counts the values of one mask; one that cannot be read is counted as such."""
    try:
        if path.suffix.lower() in ARRAY_SUFFIXES:
            pixels, palette, is_grey = read_array(path, answers.variable), None, False
            is_grey = pixels.ndim == 2
            rgb = pixels
        else:
            with open_image(path, page=0) as image:
                turned = is_inverted(image) and image.format != "PPM"
                refuse_ambiguous(image, path, "levels", answers.inverted or "shown")
                seen.lossy += is_lossy(image)
                seen.inverted += turned
                palette = image.getpalette("RGB") if image.mode == "P" else None
                one = image.mode in ("1", "L", "P", "F") or image.mode.startswith("I")
                if image.mode == "P" and answers.encoding in ("colour", "levels"):
                    one, palette = False, None  # what is shown counts, and not the places in the palette
                if image.mode.startswith("I"):
                    rgb = integer_pixels(image, path)
                elif image.mode == "F":
                    rgb = np.asarray(image)
                    if not (rgb == np.floor(rgb)).all():
                        raise DataError(f"{path}: holds values that are no whole numbers")
                    rgb = rgb.astype(np.int64)
                elif one:
                    rgb = np.asarray(image).astype(np.uint8, copy=False)
                    if turned:
                        seen.shown_dark.append(float((rgb == 0).mean()))
                        if answers.inverted == "stored":
                            rgb = (1 if image.mode == "1" else 255) - rgb
                else:
                    rgb = np.asarray(image.convert("RGB"))
                is_grey = one
    except DataError:
        return  # the reasons say how many were read, and the audit names the others
    seen.files += 1
    if is_grey:
        grey = rgb
        seen.one_channel += bool(grey.any())
    else:
        rgb = rgb[..., :3] * np.array([channel in channels for channel in "rgb"], np.uint8)
        same = (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all()
        if not same:
            count_values(in_one_number(rgb), seen.colours, seen)
            return
        grey = rgb[..., 0]
    values = count_values(grey.astype(np.int64), seen.grey, seen)
    seen.sets[frozenset(values)] += 1
    if palette is not None:
        for value in values:
            shade = palette[3 * value : 3 * value + 3]
            if len(shade) == 3:
                seen.palette.setdefault(value, Counter())[shade[0] << 16 | shade[1] << 8 | shade[2]] += 1


def count_values(pixels: npt.NDArray[np.int64], target: Counter[int], seen: ValueCounts) -> list[int]:
    """Adds the values (H, W) of a mask to `target`, with what their places say; returns the different ones."""
    values, counts = np.unique(pixels, return_counts=True)
    target.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    if pixels.shape[1] > 1:
        seen.flat.append(float((pixels[:, 1:] == pixels[:, :-1]).mean()))
    rare = [int(v) for v, n in zip(values, counts, strict=True) if n < RARE * pixels.size]
    for value in rare[:64]:
        parts = cc3d.connected_components(pixels == value, connectivity=8)
        seen.specks[value] = max(seen.specks.get(value, 0), int(np.bincount(parts.reshape(-1))[1:].max()))
    black_and_white = len(values) > 2 and values[0] == 0 and values[-1] == 255
    if (len(values) > 8 or black_and_white) and min(pixels.shape) > 2:
        around = np.stack([pixels[:-2, 1:-1], pixels[2:, 1:-1], pixels[1:-1, :-2], pixels[1:-1, 2:]])
        middle = pixels[1:-1, 1:-1]
        between = int(((around.min(0) < middle) & (middle < around.max(0))).sum())
        seen.between += between if len(values) > 8 else 0
        seen.outline += between if black_and_white else 0
    return [int(v) for v in values]


# --- grey values ---------------------------------------------------------------------------------------------------
