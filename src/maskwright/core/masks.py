"""Pure functions on index masks (H, W) uint8, where `IGNORE` (255) marks pixels that do not count."""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.palette import Colour

Mask = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.uint8]
# Pixels of a large mask that are counted together, as calcHist counts in float32, which is exact below 2**24; and that
# are drawn together.
_COUNTED, _DRAWN = (1 << 24) - 1, 1 << 22


def class_pixels(mask: Mask, classes: int) -> npt.NDArray[np.int64]:
    """(K + 1,) int64: pixels of each class index 0..K-1, then of `IGNORE`."""
    counts, flat = np.zeros(256, np.int64), mask.reshape(-1)
    for start in range(0, flat.size, _COUNTED):
        counts += (
            cv2.calcHist([flat[start : start + _COUNTED]], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
        )
    return np.append(counts[:classes], counts[IGNORE])


def boundary(mask: Mask, width: int = 1) -> npt.NDArray[np.bool_]:
    """(H, W) bool: pixels whose (2 width + 1)-square neighbourhood holds another value."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.asarray(cv2.dilate(mask, kernel) != cv2.erode(mask, kernel))


def overlay(
    image: Pixels, mask: Mask, colours: npt.NDArray[np.uint8], *, background: int | None = 0, opacity: float = 0.45
) -> Pixels:
    """Image (H, W, 3) with the classes of `mask` (H, W) tinted by `colours` (K, 3) and outlined.

    The class index `background` is not tinted, so that it does not darken the picture; None tints every class.
    Ignored pixels are hatched in white.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    width, rows = max(1, round(min(mask.shape) / 400)), max(1, _DRAWN // max(1, mask.shape[1]))
    result = np.empty_like(image)
    for top in range(0, len(mask), rows):
        edge = boundary(mask[max(0, top - width) : top + rows + width], width)[min(top, width) :][:rows]
        part = slice(top, top + rows)
        result[part] = _tinted(image[part], mask[part], edge, table, background, opacity, top)
    return result


def _tinted(
    image: Pixels,
    mask: Mask,
    edge: npt.NDArray[np.bool_],
    table: Pixels,
    background: int | None,
    opacity: float,
    top: int,
) -> Pixels:
    """The rows of an overlay from `top` on, whose outlines lie at `edge`."""
    tinted = cv2.addWeighted(image, 1 - opacity, table[mask], opacity, 0)
    shown = np.ones(mask.shape, np.bool_) if background is None else mask != background
    result = np.where(shown[..., None], tinted, image)
    edge = edge & shown
    result[edge] = table[mask[edge]]
    rows, columns = (
        np.arange(start, start + length, dtype=np.uint32).astype(np.uint8)
        for start, length in zip((top, 0), mask.shape, strict=True)
    )
    hatch = (mask == IGNORE) & (np.add.outer(rows, columns) % 8 < 2)  # 256 is a multiple of 8
    result[hatch] = 255
    return np.asarray(result, np.uint8)


def differences(
    image: Pixels,
    truth: Mask,
    prediction: Mask,
    missed: Colour = (230, 159, 0),
    wrong: Colour = (86, 180, 233),
    background: int | None = 0,
) -> Pixels:
    """Greyed image (H, W, 3) with errors coloured: orange where the truth is an object, blue where it is `background`.

    Ignored pixels are never an error.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2 + 64
    error = (truth != prediction) & (truth != IGNORE)
    grey[error] = missed
    if background is not None:
        grey[error & (truth == background)] = wrong
    return np.asarray(grey, np.uint8)


def png_bytes(pixels: Pixels) -> bytes:
    """(H, W, 3) uint8 RGB as PNG."""
    return _encode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def grey_png(values: npt.NDArray[np.uint8], compression: int = 3) -> bytes:
    """(H, W) uint8 of any quantity as an 8-bit grey PNG, which `core.sample.read_grey` reads back."""
    return _encode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, compression])


def jpeg_bytes(pixels: Pixels, quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG, for looking at; never for masks."""
    return _encode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(ending: str, pixels: npt.NDArray[np.uint8], parameters: list[int] | None = None) -> bytes:
    done, data = cv2.imencode(ending, pixels, parameters or [])
    assert done  # uint8 arrays of one or three channels always encode
    return bytes(data)


def mask_png(mask: Mask, classes: ClassTree) -> bytes:
    """Indices (H, W) as an index PNG of class ids: with the class colours as its palette when ids fit 8 bits,
    else 16-bit grey."""
    stream = io.BytesIO()
    image = Image.fromarray(classes.to_ids(mask))
    if (palette := palette_of(classes)) is not None:
        image.putpalette(palette.tobytes())
    image.save(stream, "PNG")
    return stream.getvalue()


def palette_of(classes: ClassTree) -> Pixels | None:
    """(256, 3): the colours of ids, white for those that are ignored; None where ids do not fit 8 bits."""
    if max(*classes.ids, classes.ignore) > 255:
        return None
    palette = np.zeros((256, 3), np.uint8)
    palette[classes.ignore] = 255
    palette[classes.ids] = classes.colours
    return palette
