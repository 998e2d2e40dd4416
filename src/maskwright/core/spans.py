"""The pixels of many small polygons at once.

`rasterise` makes some forty arrays, whatever the size of a polygon: of objects of a few hundred pixels, tens of
thousands of which annotation files hold, nearly all of its time goes there. Here the edges of many polygons share the
same arrays. Each polygon still has its own window and the very arithmetic of `Polygon.window` and `rasterise`, so the
pixels are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskwright.core.polygons import MAX_COORDINATE, Ring, as_points, first_centre

Places = npt.NDArray[np.int64]

# Polygons that are worth putting together, and how many of them: beyond it memory would grow, and time would not fall.
TOGETHER = 64
_POINTS, _AREA, _CROSSINGS = 4096, 1 << 16, 1 << 14


def places_inside(polygons: Sequence[Sequence[Ring]], height: int, width: int) -> list[Places | None]:
    """For each polygon (its rings) the places of its pixels in a flat image (H * W), row by row; None for a polygon
    that is too large to be put together with others, and for one without a ring of three points.

    A pixel is inside by the rule of `rasterise`, in the window of the polygon. At most `TOGETHER` polygons a call keep
    memory below some 100 MB. ValueError as `rasterise` raises it.
    """
    found: list[Places | None] = [None] * len(polygons)
    small = [
        number
        for number, rings in enumerate(polygons)
        if any(len(ring) > 2 for ring in rings) and sum(map(len, rings)) <= _POINTS
    ]
    if not small:
        return found
    rings = [ring for number in small for ring in polygons[number]]
    sizes = np.array([len(ring) for ring in rings])
    points = _joined(rings)
    of_ring = np.repeat(np.arange(len(small)), [len(polygons[number]) for number in small])
    owner = np.repeat(of_ring, sizes)
    begin = np.searchsorted(owner, np.arange(len(small)))

    sides = np.array([width, height])
    low = np.clip(np.floor(np.minimum.reduceat(points, begin)), 0, sides)
    high = np.clip(np.ceil(np.maximum.reduceat(points, begin)), low, sides)
    wide, high_ = (high - low).astype(np.int64).T
    closed = np.repeat(sizes > 2, sizes)
    points, owner = (points - low[owner])[closed], owner[closed]
    begin = np.searchsorted(owner, np.arange(len(small)))
    left = first_centre(np.minimum.reduceat(points[:, 0], begin), wide)
    right = first_centre(np.maximum.reduceat(points[:, 0], begin), wide)

    following = np.arange(1, len(points) + 1)
    last = np.cumsum(sizes[sizes > 2]) - 1
    following[last] = last - sizes[sizes > 2] + 1
    end = points[following]
    upwards = (points[:, 1] > end[:, 1])[:, None]
    (x, y), (x_end, y_end) = np.where(upwards, end, points).T, np.where(upwards, points, end).T
    first, stop = first_centre(y, high_[owner]), first_centre(y_end, high_[owner])
    rows = np.maximum(stop - first, 0)
    fits = (wide * high_ <= _AREA) & (np.add.reduceat(rows, begin) <= _CROSSINGS)
    used = (rows > 0) & fits[owner]
    x, y, first, rows, owner = x[used], y[used], first[used], rows[used], owner[used]
    dx, dy = x_end[used] - x, y_end[used] - y

    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows - first, rows)
    cut = x[edge] + (row + 0.5 - y[edge]) * dx[edge] / dy[edge]
    owner = owner[edge]
    column = np.clip(first_centre(cut, wide[owner]), left[owner], right[owner])
    # Each row of each polygon is crossed an even number of times: between the first and the second crossing is inside.
    above = np.cumsum(high_) - high_
    stride = width + 1
    crossings = np.sort((above[owner] + row) * stride + column)
    start, length = crossings[::2], crossings[1::2] - crossings[::2]
    start, length = start[length > 0], length[length > 0]
    row, column = np.divmod(start, stride)
    owner = np.searchsorted(above + high_, row, side="right")
    corner = low.astype(np.int64)[owner]
    place = (row - above[owner] + corner[:, 1]) * width + column + corner[:, 0]
    before = np.cumsum(length) - length
    places = np.repeat(place - before, length) + np.arange(length.sum())
    pixels = np.bincount(owner, weights=length, minlength=len(small)).astype(np.int64)
    for number, part, all_there in zip(small, np.split(places, np.cumsum(pixels)[:-1]), fits.tolist(), strict=True):
        found[number] = part if all_there else None
    return found


def _joined(rings: Sequence[Ring]) -> Ring:
    """The points of all rings (sum of P, 2), checked together."""
    if all(ring.ndim == 2 and ring.shape[1] == 2 for ring in rings):
        points = np.concatenate(rings).astype(np.float64, copy=False)
        if (np.abs(points) <= MAX_COORDINATE).all():
            return points
    return np.concatenate([as_points(ring) for ring in rings])  # which names the one that is wrong
