"""Small pictures inside the page: WebP as data URIs, the four views of a prediction, numbers on regions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.masks import Mask, Pixels, differences, overlay

_WIDTH = 320
_QUALITY, _LOSSLESS = 72, 101
_SMALLEST = 0.004  # share of the picture below which a region gets no number


@dataclass(frozen=True)
class Picture:
    """`uri` holds the picture itself; `width` and `height` in pixels keep its place while the page loads."""

    uri: str
    width: int
    height: int
    label: str
    alt: str


def picture(pixels: Pixels, label: str, alt: str, width: int = _WIDTH, *, exact: bool = False) -> Picture:
    """(H, W, 3) uint8 as a picture of at most `width` pixels (and twice as many high), `exact` without loss."""
    small = shrink(pixels, width)
    quality = [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS if exact else _QUALITY]
    done, data = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)
    assert done  # uint8 arrays of three channels always encode
    uri = "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
    return Picture(uri, small.shape[1], small.shape[0], label, alt)


def heat_picture(values: npt.NDArray[np.float64], cell: int) -> Pixels:
    """(H cell, W cell, 3) of values (H, W) in 0..1 from dark blue to yellow; NaN is grey.

    Lightness grows evenly with the value, for every kind of colour vision (cividis: Nunez et al. 2018).
    """
    levels = np.rint(np.nan_to_num(values) * 255).astype(np.uint8)
    pixels = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB)
    pixels[np.isnan(values)] = 128
    return np.asarray(pixels.repeat(cell, axis=0).repeat(cell, axis=1), np.uint8)


def ramp() -> Picture:
    """The colours of `heat_picture` from 0 to 1."""
    colours = heat_picture(np.linspace(0, 1, 96)[None], 1).repeat(12, axis=0)
    return picture(colours, "", "from dark blue to yellow", exact=True)


def shrink(pixels: Pixels, width: int = _WIDTH) -> Pixels:
    """(H, W, 3) scaled down, never up, to at most `width` and twice as many rows."""
    scale = min(1.0, width / pixels.shape[1], 2 * width / pixels.shape[0])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def labelled_overlay(image: Pixels, mask: Mask, classes: ClassTree) -> Pixels:
    """`overlay` at picture size; with more than two classes, the largest region of each carries its id."""
    small = shrink(overlay(image, mask, classes.colours, background=classes.background)).copy()
    if len(classes) <= 2:
        return small
    here = cv2.resize(mask, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    for index in np.unique(here).tolist():
        if index in (classes.background, IGNORE) or (here == index).mean() < _SMALLEST:
            continue
        # The point that is deepest inside the class is in its thickest region and never outside of it.
        depth = cv2.distanceTransform(np.pad((here == index).astype(np.uint8), 1), cv2.DIST_L2, 5)
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        _write(small, str(classes.ids[index]), int(column) - 1, int(row) - 1)
    return small


def _write(pixels: Pixels, text: str, x: int, y: int) -> None:
    """Black on a white edge, so that it can be read on any colour."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    corner = (max(2, min(x - width // 2, pixels.shape[1] - width - 2)), max(height + 2, y + height // 2))
    cv2.putText(pixels, text, corner, font, size, (255, 255, 255), 5, cv2.LINE_AA)
    cv2.putText(pixels, text, corner, font, size, (0, 0, 0), 1, cv2.LINE_AA)


def numbered_boxes(pixels: Pixels, boxes: Sequence[tuple[int, int, int, int]], size: tuple[int, int]) -> Pixels:
    """A picture (h, w, 3) of an image of `size` (H, W) with its regions (x, y, width, height) in boxes, numbered from
    1: a white line on a black one, and white numbers on black, to be seen on any picture and not to be taken for the
    ids of classes."""
    result = pixels.copy()
    height, width = result.shape[:2]
    scale = np.array([width / size[1], height / size[0]])
    for number, (x, y, across, down) in enumerate(boxes, 1):
        left, top = (np.array([x, y]) * scale).round().astype(int).tolist()
        right, bottom = (np.array([x + across, y + down]) * scale).round().astype(int).tolist()
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.rectangle(result, (left, top), (right - 1, bottom - 1), colour, thick)
        (wide, high), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        # On top of the box, or inside it where there is no room.
        foot = top if top > high + 6 else top + high + 6
        left = min(left, width - wide - 6)
        cv2.rectangle(result, (left - 1, foot - high - 6), (left + wide + 5, foot), (0, 0, 0), -1)
        cv2.putText(
            result, str(number), (left + 2, foot - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA
        )
    return result


def marked_differences(image: Pixels, truth: Mask, prediction: Mask, background: int | None = 0) -> Pixels:
    """`differences` with the missed or confused foreground hatched too, so that it needs no colour to be told apart."""
    result = differences(image, truth, prediction, background=background)
    rows, columns = np.indices(truth.shape)
    period = max(6, round(truth.shape[1] / _WIDTH * 6))
    missed = (truth != prediction) & (truth != IGNORE)
    if background is not None:
        missed &= truth != background
    result[missed & ((rows + columns) % period < period / 3)] = 0
    return result


def views(name: str, image: Pixels, truth: Mask, prediction: Mask, classes: ClassTree) -> list[Picture]:
    """Image, truth, prediction and their differences of one sample (H, W, 3), (H, W), (H, W)."""
    told, found = (present(mask, classes) for mask in (truth, prediction))
    return [
        picture(image, "image", f"{name}: the image"),
        picture(labelled_overlay(image, truth, classes), "truth", f"{name}: the truth; {told}"),
        picture(labelled_overlay(image, prediction, classes), "prediction", f"{name}: the prediction; {found}"),
        difference(name, image, truth, prediction, classes.background),
    ]


def difference(name: str, image: Pixels, truth: Mask, prediction: Mask, background: int | None) -> Picture:
    """Where two masks (H, W) of an image (H, W, 3) differ."""
    wrong = (truth != prediction)[truth != IGNORE]
    share = wrong.mean() if wrong.size else 0.0
    return picture(
        marked_differences(image, truth, prediction, background),
        "difference",
        f"{name}: where they differ, {100 * share:.1f} % of the counted pixels",
    )


def present(mask: npt.NDArray[np.uint8], classes: ClassTree) -> str:
    """The classes of a mask with their shares of all its pixels, in words."""
    shares = [(leaf.name, float((mask == index).mean())) for index, leaf in enumerate(classes.leaves)]
    shares.append(("ignored", float((mask == IGNORE).mean())))
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares if share)
