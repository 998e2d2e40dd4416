"""Shapes of the numbers that annotation files hold: outlines, boxes, ellipses, pictures of bits.

All raise ValueError for what is no shape. Points are continuous positions: a pixel counts when its centre is inside.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base.limits import MAX_PIXELS
from maskwright.core.polygons import MAX_COORDINATE, Ring, box_ring, ellipse_ring, rasterise
from maskwright.core.regions import Polygon, Runs
from maskwright.core.rle import encode_box
from maskwright.core.sample import silence_pillow

# An ellipse is kept as points, the more the larger it is: a short line must not become megabytes.
MAX_RADIUS = 32_000
PNG_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def number(value: Any) -> float:
    """A finite number within reason; ValueError for all else, text and truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_COORDINATE:
        raise ValueError("no number")
    return float(value)


def numbers(source: Any, *keys: str) -> list[float]:
    """The numbers under `keys` of an object."""
    return [number(source.get(key) if isinstance(source, dict) else None) for key in keys]


def listed(value: Any, count: int) -> list[float]:
    """The numbers of a list of `count` of them."""
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"no {count} numbers")
    return [number(one) for one in value]


def ring(points: Any) -> Ring:
    """(P, 2) of a list of points: [x, y], with more numbers behind it perhaps, or {x, y}."""
    if isinstance(points, list) and points and isinstance(points[0], dict):
        points = [(point.get("x"), point.get("y")) if isinstance(point, dict) else None for point in points]
    return _checked(points)


def _checked(points: Any) -> Ring:
    try:
        found = np.asarray(points)
    except (ValueError, OverflowError):  # of different lengths
        raise ValueError("no list of points") from None
    if found.ndim != 2 or found.shape[1] < 2 or found.dtype.kind not in "iuf":
        raise ValueError("no list of points")
    if len(found) < 3:
        raise ValueError("fewer than 3 points")
    found = found[:, :2].astype(np.float64)
    if not (np.abs(found) <= MAX_COORDINATE).all():
        raise ValueError("no numbers within reason")
    return found


def polygon(*outlines: Any) -> Polygon:
    """Of lists of points, by the even-odd rule."""
    if not outlines or not all(isinstance(points, list) for points in outlines):
        raise ValueError("no list of points")
    return Polygon(tuple(ring(points) for points in outlines))


def flat_ring(values: Any) -> Ring:
    """(P, 2) of x and y in turn."""
    if not isinstance(values, list) or len(values) % 2:
        raise ValueError("no list of x and y")
    return _checked([*zip(values[::2], values[1::2], strict=True)])


def pairs_ring(xs: Any, ys: Any) -> Ring:
    """(P, 2) of a list of x and one of y."""
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise ValueError("no list of x and one of y")
    return _checked([*zip(xs, ys, strict=True)])


def box(left: float, top: float, width: float, height: float, degrees: float = 0, *, corner: bool = False) -> Polygon:
    """A rectangle, turned clockwise on the screen around its centre, or around its upper left `corner`."""
    if not (width > 0 and height > 0):
        raise ValueError("no area")
    if not corner or degrees % 360 == 0:
        return Polygon((box_ring(left, top, left + width, top + height, degrees),))
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = np.array([cosine, sine]) * width, np.array([-sine, cosine]) * height
    start = np.array([left, top])
    return Polygon((np.array([start, start + across, start + across + down, start + down]),))


def ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float = 0) -> Polygon:
    """Turned clockwise on the screen around its centre."""
    if not (0 < rx <= MAX_RADIUS and 0 < ry <= MAX_RADIUS):
        raise ValueError(f"radii outside 0 to {MAX_RADIUS}")
    return Polygon((ellipse_ring(cx, cy, rx, ry, degrees),))


def bits(pixels: npt.NDArray[np.bool_], left: int = 0, top: int = 0) -> Runs:
    """(h, w) bool whose first pixel is at (`left`, `top`)."""
    counts, x, y, width, height = encode_box(pixels)
    if not width:
        raise ValueError("nothing is set")
    return Runs(np.array(counts, np.uint32), box=(left + x, top + y, width, height))


def row_runs(lengths: npt.NDArray[np.int64], marked: npt.NDArray[np.bool_], width: int) -> Runs | None:
    """Of run lengths (R,) along the rows of an image, which of them (R,) are marked: neighbours may be alike. Without
    the empty rows above and below; None where nothing is marked. They fill whole rows."""
    kept = lengths > 0
    lengths, marked = lengths[kept], marked[kept]
    if not marked.any():
        return None
    starts = np.flatnonzero(np.concatenate([[True], marked[1:] != marked[:-1]]))
    counts = np.add.reduceat(lengths, starts)
    counts = np.concatenate([[0], counts]) if marked[0] else counts
    top = int(counts[0]) // width
    counts[0] -= top * width
    if len(counts) % 2:
        counts[-1] %= width
    return Runs(counts.astype(np.uint32), box=(0, top, width, int(counts.sum()) // width))


def cut_out(outer: Ring, holes: Sequence[Ring], height: int, width: int) -> Runs | None:
    """What of an image (H, W) lies inside the ring `outer` and in none of the `holes`, each by itself: they may cross,
    which the even-odd rule would turn around. None where nothing is left."""
    found, top, left = Polygon((outer,)).window(height, width)
    for one in holes:
        found &= ~rasterise([one - (left, top)], *found.shape)
    return bits(found, left, top) if found.any() else None


def picture(data: bytes) -> npt.NDArray[Any]:
    """The pixels of a PNG: (H, W), or (H, W, C) with colours; those of a palette as RGBA. One of `PNG_ERRORS` for all
    else."""
    silence_pillow()
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("too large")
        return np.asarray(image.convert("RGBA") if image.mode in ("P", "PA") else image)


def inflated(data: bytes, most: int = 128 << 20) -> bytes:
    """What zlib has compressed; ValueError beyond `most` bytes, zlib.error for what is none."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, most)
    if stream.unconsumed_tail:
        raise ValueError("too large")
    return found
