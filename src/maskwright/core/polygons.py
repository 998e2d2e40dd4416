"""Polygons and masks (H, W), exactly, in both directions.

A *ring* is a closed line through points (P, 2) of (x, y), the last one joined to the first. Coordinates are continuous
pixels, as in COCO and CVAT: the pixel in row r and column c covers [c, c + 1) x [r, r + 1). A pixel is inside when its
centre is, by the even-odd rule over all rings together, so a hole is a ring inside another. What `outlines`,
`painted` and `bridged` make of a mask is filled to the very same mask by `rasterise`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float64]
BoolMask = npt.NDArray[np.bool_]
Mask = npt.NDArray[np.uint8]

# Beyond it float64 no longer holds the fractions of a pixel.
MAX_COORDINATE = 1e12
# Crossings of edges with rows that are computed at once: some 20 MB.
CHUNK = 1 << 18
ELLIPSE_ERROR = 0.05
MAX_ELLIPSE_POINTS = 1 << 16


def rasterise(rings: Sequence[Ring], height: int, width: int) -> BoolMask:
    """Rings -> (H, W) bool: pixels whose centre is inside by the even-odd rule over all rings.

    Left and upper edges belong to the inside, right and lower ones do not, and an edge is cut alike from both of its
    sides: shapes that share edges neither overlap nor leave a gap. Rings of fewer than 3 points are empty; what lies
    outside the image is cut off. Work grows with the rows that each edge crosses inside the image. Raises ValueError
    for rings of another shape and coordinates that are not finite or beyond `MAX_COORDINATE`.
    """
    inside = np.zeros((height, width), np.bool_)
    closed = [points for points in map(as_points, rings) if len(points) >= 3]
    if not closed:
        return inside
    start, end = _edges(closed)
    # Every edge runs downwards, whichever way its ring goes round: neighbours compute the same crossings.
    upwards = (start[:, 1] > end[:, 1])[:, None]
    (x, y), (x_end, y_end) = np.where(upwards, end, start).T, np.where(upwards, start, end).T
    first, stop = first_centre(y, height), first_centre(y_end, height)
    left, right = (int(side) for side in first_centre(np.array([start[:, 0].min(), start[:, 0].max()]), width))
    crossing = first < stop
    if left == right or not crossing.any():
        return inside
    x, y, first, stop = x[crossing], y[crossing], first[crossing], stop[crossing]
    dx, dy = x_end[crossing] - x, y_end[crossing] - y
    top, bottom = int(first.min()), int(stop.max())

    # Inside and outside change places at every crossing. Counts may run over: only their lowest bit matters.
    changes = np.zeros((bottom - top, right - left + 1), np.uint8)
    ends = np.cumsum(stop - first)
    shift = first - np.concatenate([[0], ends[:-1]])
    parts = np.unique([*np.searchsorted(ends, np.arange(0, ends[-1], CHUNK)), ends.size]).tolist()
    for a, b in itertools.pairwise(parts):
        edge = np.repeat(np.arange(a, b), (stop - first)[a:b])
        row = np.arange(ends[b - 1] - edge.size, ends[b - 1]) + shift[edge]
        # Multiplied before divided: the cut is exact where an edge between short numbers meets a centre.
        cut = x[edge] + (row + 0.5 - y[edge]) * dx[edge] / dy[edge]
        column = np.clip(first_centre(cut, width), left, right)
        np.add.at(changes.reshape(-1), (row - top) * changes.shape[1] + column - left, np.uint8(1))
    np.add.accumulate(changes, axis=1, out=changes)
    inside[top:bottom, left:right] = changes[:, :-1] & 1
    return inside


def outlines(region: BoolMask) -> list[list[Ring]]:
    """(H, W) bool -> for each 4-connected component its rings along pixel edges: the outer one, then its holes.

    Points are corners of pixels, (P, 2) float64 whole numbers, only where a ring turns. Outer rings go clockwise on
    the screen from their top left corner, holes the other way round, so the non-zero rule fills them alike.
    Components come in the order of their first pixels, as do the holes of each.
    """
    if not region.any():
        return []
    pixels = region.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    pixels = pixels[top : top + height, left : left + width]
    labels = np.pad(cv2.connectedComponents(pixels, connectivity=4, ltype=cv2.CV_32S)[1], 1)
    set_ = labels > 0
    # The four pixels around every corner of a pixel.
    upper_left, upper_right, lower_left, lower_right = set_[:-1, :-1], set_[:-1, 1:], set_[1:, :-1], set_[1:, 1:]
    odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    # Where two pixels touch diagonally, two rings (or one twice) turn: at the left and at the right edge.
    diagonal = (upper_left == lower_right) & (upper_left != upper_right) & (upper_left != lower_left)
    corners = np.flatnonzero(odd | diagonal)
    turns = np.repeat(corners, diagonal.reshape(-1)[corners] + 1)
    y, x = np.divmod(turns, width + 1)
    # Along each row of corners, turns 2k and 2k + 1 are the ends of one edge. Along each column likewise, once those
    # at one corner are in order from top to bottom: for pixels at its upper right and lower left, the right one first.
    second = np.zeros(turns.size, np.bool_)
    second[1:] = turns[1:] == turns[:-1]
    down = np.argsort(((x * (height + 1) + y) * 2) + (second ^ upper_right.reshape(-1)[turns]))
    opposite = np.empty_like(down)
    opposite[down[0::2]], opposite[down[1::2]] = down[1::2], down[0::2]

    walk, starts = _walk(opposite.tolist())
    points = np.stack([x + left, y + top], 1)[walk].astype(np.float64)
    # A ring starts at its top left corner. The pixel below right of it is inside an outer ring; if it is not set, the
    # ring is a hole, and the pixel above it is of the component around.
    corner = turns[np.array(walk)[starts]]
    below, above = labels[1:, 1:].reshape(-1)[corner].tolist(), labels[:-1, 1:].reshape(-1)[corner].tolist()
    found: dict[int, list[Ring]] = {}
    for a, b, inner, outer in zip(starts, [*starts[1:], len(walk)], below, above, strict=True):
        found.setdefault(inner or outer, []).append(points[a:b] if inner else points[a:b][::-1])
    return list(found.values())


def painted(mask: Mask, background: int | None) -> list[tuple[int, Ring]]:
    """Indices (H, W) uint8 -> (value, ring) pairs that give the mask again when they are filled one after another.

    For formats without holes: every 4-connected component of every value, `IGNORE` too, is its outer ring, and what
    lies in its holes is painted later. The canvas is `background` before, and components of it that no ring of
    another value surrounds are left out; with None there is no canvas, and all components are included.

    Rings are sorted by the area they enclose, largest first. That is enough: two components share no pixel, so one
    lies in a hole of the other, and encloses less, or their rings enclose nothing in common. The smallest ring around
    a pixel is therefore that of its own component, and it is painted last.
    """
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256)).tolist()
    found = [(value, rings[0]) for value in values for rings in outlines(mask == value)]
    found.sort(key=lambda item: -_area(item[1]))
    others = [ring for value, ring in found if value != background]
    if background is None or not others or len(others) == len(found):
        return [item for item in found if item[0] != background]
    # How many of the others surround each pixel: their corners are the signs of its second differences.
    corners = np.concatenate(others).astype(np.int64)
    depth = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.add.at(depth, (corners[:, 1], corners[:, 0]), np.resize(np.array([1, -1], np.int32), len(corners)))
    depth = depth.cumsum(0).cumsum(1)
    return [
        (value, ring) for value, ring in found if value != background or depth[int(ring[0, 1]), int(ring[0, 0])] > 0
    ]


def bridged(rings: Sequence[Ring]) -> Ring:
    """Rings of one component, the outer one first -> one ring (P, 2) that fills the same pixels, for formats
    without holes.

    Each hole is joined by a cut of no width from its topmost point straight up to the next ring. `rasterise` sees
    both sides of a cut at the same place, where they cancel out. Rings of `outlines` get cuts along pixel edges inside
    the region; for others (simplified ones, say) the point where a cut meets a slanted edge is rounded. Raises
    ValueError when no ring is given or one has no points.
    """
    if not rings or not all(map(len, rings)):
        raise ValueError("no rings to join, or one without points; give the outer ring and its holes")
    parts = []
    for points in map(as_points, rings):
        top = int(np.lexsort((points[:, 0], points[:, 1]))[0])
        parts.append(np.roll(points, -top, 0))
    # Holes from top to bottom: each is joined to a ring before it, so the last ones are complete first.
    parts[1:] = sorted(parts[1:], key=lambda points: (points[0, 1], points[0, 0]))
    offsets = np.cumsum([0, *map(len, parts)])
    start, end = _edges(parts)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    low[low == high] = np.inf  # an upright edge ends at others, which are met instead
    joins: list[list[tuple[int, float, Ring]]] = [[] for _ in parts]
    for child in range(len(parts) - 1, 0, -1):
        edge, foot = _next_above(parts[child][0], *(side[: offsets[child]] for side in (start, end, low, high)))
        parent = int(np.searchsorted(offsets, edge, "right")) - 1
        hole = _joined(parts[child], joins[child])
        joins[parent].append(
            (
                edge - int(offsets[parent]),
                abs(float(foot[0] - start[edge, 0])),
                np.concatenate([[foot], hole, hole[:1], [foot]]),
            )
        )
    ring = _joined(parts[0], joins[0])
    return np.asarray(ring[(ring != np.roll(ring, 1, 0)).any(1)])


def simplify(ring: Ring, tolerance: float) -> Ring:
    """Leaves out points of a ring (P, 2) that lie within `tolerance` pixels of the result.

    Douglas and Peucker (1973), in OpenCV's version for closed lines, which thins the result once more: single points
    may end up a quarter further away. A ring that would shrink to fewer than 3 points comes back as it is, as with
    tolerance 0. Raises ValueError for a tolerance below 0, beyond `MAX_COORDINATE` or not finite.
    """
    points = as_points(ring)
    if not 0 <= tolerance <= MAX_COORDINATE:
        raise ValueError(f"a tolerance of {tolerance} pixels; it lies between 0 and {MAX_COORDINATE:g}")
    if tolerance == 0 or len(points) < 4:
        return points
    single = points.astype(np.float32)
    kept = cv2.approxPolyDP(single, tolerance, True).reshape(-1, 2)
    if len(kept) < 3:
        return points
    # OpenCV computes in float32; the points themselves stay as they are.
    place = {point.tobytes(): i for i, point in enumerate(single)}
    return points[[place[point.tobytes()] for point in kept]]


def box_ring(x0: float, y0: float, x1: float, y1: float, rotation_degrees: float = 0) -> Ring:
    """(4, 2): the corners of a box, turned clockwise on the screen around its centre, as CVAT's `rotation` is.

    Raises ValueError for numbers that are not finite or beyond `MAX_COORDINATE`.
    """
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
    return _turned(as_points(corners), (x0 + x1) / 2, (y0 + y1) / 2, rotation_degrees)


def ellipse_ring(cx: float, cy: float, rx: float, ry: float, rotation_degrees: float = 0) -> Ring:
    """(P, 2): points on an ellipse, turned clockwise on the screen around its centre.

    No point of the ellipse is further than `ELLIPSE_ERROR` pixels from the polygon, for radii up to 40 million
    pixels. Raises ValueError for radii below 0 and numbers that are not finite.
    """
    if not (0 <= rx <= MAX_COORDINATE and 0 <= ry <= MAX_COORDINATE):
        raise ValueError(f"an ellipse with radii of {rx} and {ry} pixels; they lie between 0 and {MAX_COORDINATE:g}")
    # A chord over the angle 2a is r (1 - cos a) from its arc in a circle, and nearer once that is pressed flat.
    share = min(1.0, ELLIPSE_ERROR / max(rx, ry, ELLIPSE_ERROR))
    count = min(MAX_ELLIPSE_POINTS, max(12, math.ceil(math.pi / math.acos(1 - share))))
    angles = np.arange(count) * (2 * math.pi / count)
    ring = np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], 1)
    return _turned(as_points(ring), cx, cy, rotation_degrees)


def as_points(ring: Ring) -> Ring:
    """A ring as float64 (P, 2). ValueError as `rasterise` raises it."""
    points = np.asarray(ring, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"a ring of shape {points.shape}; it needs x and y for each point, (P, 2)")
    wrong = ~(np.abs(points) <= MAX_COORDINATE).all(1)
    if wrong.any():
        x, y = points[wrong][0].tolist()
        raise ValueError(f"a point at ({x:g}, {y:g}); coordinates must be finite and within {MAX_COORDINATE:g} pixels")
    return points


def _edges(rings: Sequence[Ring]) -> tuple[Ring, Ring]:
    """Where the edges of all rings start and end, each (sum of P, 2)."""
    start, sizes = np.concatenate(rings), np.array([len(points) for points in rings])
    end = np.roll(start, -1, 0)
    last = np.cumsum(sizes) - 1
    end[last] = start[last - sizes + 1]
    return start, end


def first_centre(values: npt.NDArray[np.float64], stop: int | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The first row or column, of 0 to `stop` (one for all, or one for each), whose centre is not before each value."""
    return np.clip(np.ceil(values - 0.5), 0, stop).astype(np.int64)


def _walk(opposite: list[int]) -> tuple[list[int], list[int]]:
    """All rings one after another as turns, and where each starts. Turns 2k and 2k + 1 are joined along their row, a
    turn and its `opposite` along their column."""
    walk: list[int] = []
    starts = []
    seen = bytearray(len(opposite) // 2)
    for start in range(0, len(opposite), 2):
        if seen[start >> 1]:
            continue
        starts.append(len(walk))
        turn = start
        while True:
            seen[turn >> 1] = 1
            walk += turn, turn ^ 1
            turn = opposite[turn ^ 1]
            if turn == start:
                break
    return walk, starts


def _area(ring: Ring) -> float:
    """Of a ring of `outlines`, whose edges lie along rows and columns in turn, from its first one on."""
    return abs(float(np.dot(ring[1::2, 0] - ring[::2, 0], ring[::2, 1])))


def _next_above(point: Ring, start: Ring, end: Ring, low: Ring, high: Ring) -> tuple[int, Ring]:
    """The edge from `start` to `end` that is met first from a point (2,) upwards, and where it is met.

    Simplified rings may leave none: then it is the first point of all.
    """
    x, y = point
    edges = np.flatnonzero((low <= x) & (x <= high))
    slopes = (end[edges, 1] - start[edges, 1]) / (end[edges, 0] - start[edges, 0])
    heights = start[edges, 1] + (x - start[edges, 0]) * slopes
    edges, heights = edges[heights <= y], heights[heights <= y]
    if not edges.size:
        return 0, start[0]
    nearest = int(heights.argmax())
    return int(edges[nearest]), np.array([x, heights[nearest]])


def _joined(points: Ring, joins: list[tuple[int, float, Ring]]) -> Ring:
    """`points` with each piece of (edge, distance from its start, piece) set into its edge."""
    pieces, last = [], 0
    for edge, _, piece in sorted(joins, key=lambda join: join[:2]):
        pieces += [points[last : edge + 1], piece]
        last = edge + 1
    return np.concatenate([*pieces, points[last:]])


def _turned(points: Ring, cx: float, cy: float, degrees: float) -> Ring:
    if not math.isfinite(degrees):
        raise ValueError(f"a rotation by {degrees} degrees; it must be a finite number")
    if degrees == 0:
        return points
    x, y = points[:, 0] - cx, points[:, 1] - cy
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.stack([cx + x * cosine - y * sine, cy + x * sine + y * cosine], 1)
