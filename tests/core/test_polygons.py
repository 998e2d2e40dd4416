"""Polygons and masks against exact arithmetic on every pixel, scikit-image, scipy and geometry."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.draw import polygon2mask

from maskwright.core.polygons import (
    CHUNK,
    Ring,
    box_ring,
    bridged,
    ellipse_ring,
    outlines,
    painted,
    rasterise,
    simplify,
)

BoolMask = npt.NDArray[np.bool_]
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=10)
REGIONS = hnp.arrays(np.bool_, SHAPES, elements=st.booleans(), fill=st.nothing())
MASKS = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 2, 255]), fill=st.nothing())
# Halves meet pixel centres all the time.
HALVES = st.lists(st.tuples(*[st.integers(-4, 20).map(lambda n: n / 2)] * 2), max_size=8).map(
    lambda points: np.array(points, np.float64).reshape(-1, 2)
)
SQUARE = np.array([(1, 1), (4, 1), (4, 4), (1, 4)], np.float64)


def exactly(rings: list[Ring], height: int, width: int) -> BoolMask:
    """A ray to the left of each centre, in fractions."""
    inside = np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        cx, cy = column + Fraction(1, 2), row + Fraction(1, 2)
        for ring in rings:
            points = [(Fraction(x), Fraction(y)) for x, y in ring.tolist()] if len(ring) >= 3 else []
            for (xa, ya), (xb, yb) in zip(points, points[1:] + points[:1], strict=True):
                if (ya <= cy) != (yb <= cy):
                    inside[row, column] ^= xa + (cy - ya) * (xb - xa) / (yb - ya) <= cx
    return inside


@given(st.lists(HALVES, max_size=3), st.integers(1, 8), st.integers(1, 8))
def test_rasterise_is_exact(rings: list[Ring], height: int, width: int) -> None:
    np.testing.assert_array_equal(rasterise(rings, height, width), exactly(rings, height, width))


def test_an_edge_through_a_centre() -> None:
    """Its slope, 25/11, is no short number, yet it meets (2.5, 20.5) exactly: that pixel is on its right side."""
    edge = [(-10, 15), (15, 26)]
    np.testing.assert_array_equal(np.flatnonzero(rasterise([np.array([*edge, (15, 15)])], 30, 30)[20]), range(2, 15))
    np.testing.assert_array_equal(np.flatnonzero(rasterise([np.array([*edge, (-10, 26)])], 30, 30)[20]), range(2))


def test_rasterise_agrees_with_scikit_image(rng: np.random.Generator) -> None:
    for points in (3, 4, 7, 30, 200):
        for _ in range(5):
            ring = rng.random((points, 2)) * (90, 70) - 10
            expected = polygon2mask((50, 60), ring[:, ::-1] - 0.5)
            np.testing.assert_array_equal(rasterise([ring], 50, 60), expected)


def test_rings_together_are_even_odd() -> None:
    whole, hole = box_ring(0, 0, 6, 6), box_ring(2, 2, 4, 5)
    expected = np.ones((6, 6), bool)
    expected[2:5, 2:4] = False
    np.testing.assert_array_equal(rasterise([whole, hole], 6, 6), expected)
    assert not rasterise([whole, whole[::-1]], 6, 6).any()
    assert not rasterise([], 3, 3).any()
    assert not rasterise([np.zeros((0, 2)), whole[:2]], 6, 6).any()
    assert rasterise([whole], 0, 4).shape == (0, 4)


def test_shared_edges_neither_overlap_nor_leave_a_gap(rng: np.random.Generator) -> None:
    lines = np.stack(np.meshgrid(np.arange(-1, 9), np.arange(-1, 9)), -1) * 5.0
    for nodes in (lines + rng.uniform(-1, 1, lines.shape), lines + rng.integers(-2, 3, lines.shape) / 2):
        times = np.zeros((35, 35), int)
        for row, column in np.ndindex(9, 9):
            a, b, c, d = (nodes[row + r, column + q] for r, q in ((0, 0), (0, 1), (1, 1), (1, 0)))
            # Two triangles, which run along their common edges in either direction.
            for ring in ([a, b, c], [a, c, d]) if row % 2 else ([c, b, a], [a, c, d]):
                times += rasterise([np.array(ring)], 35, 35)
        np.testing.assert_array_equal(times, np.ones_like(times))


def test_far_coordinates_and_many_points_take_little_memory(rng: np.random.Generator) -> None:
    far = rasterise([np.array([(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9)])], 300, 300)
    np.testing.assert_array_equal(far, np.triu(np.ones((300, 300), bool)))
    tall = rng.random((20_000, 2)) * (300, 2e9) - (0, 1e9)
    assert 300 * len(tall) / 4 > 2 * CHUNK  # more than one part
    tracemalloc.start()
    found = rasterise([tall], 300, 300)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    # Each row by itself: how many edges cross left of its pixels.
    start, end = tall, np.roll(tall, -1, 0)
    for row in (0, 137, 299):
        cut = (start[:, 1] <= row + 0.5) != (end[:, 1] <= row + 0.5)
        x = start[cut, 0] + (row + 0.5 - start[cut, 1]) / (end[cut, 1] - start[cut, 1]) * (end - start)[cut, 0]
        np.testing.assert_array_equal(found[row], np.searchsorted(np.sort(x), np.arange(300) + 0.5) % 2 == 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e13, -1e300])
def test_numbers_that_are_no_coordinates(value: float) -> None:
    ring = SQUARE.copy()
    ring[2, 1] = value
    for use in (
        lambda: rasterise([SQUARE, ring], 5, 5),
        lambda: bridged([SQUARE, ring]),
        lambda: simplify(ring, 1),
        lambda: box_ring(0, 0, value, 4, 30),
        lambda: ellipse_ring(3, value, 4, 5, 30),
    ):
        with pytest.raises(ValueError, match=r"point at \(.*coordinates must be finite and within 1e\+12"):
            use()


def test_other_numbers_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        rasterise([np.zeros(3)], 5, 5)
    for rings in ([], [SQUARE, SQUARE[:0]]):
        with pytest.raises(ValueError, match="no rings"):
            bridged(rings)
    for tolerance in (-1, math.nan, math.inf, 1e40):
        with pytest.raises(ValueError, match="tolerance of"):
            simplify(SQUARE, tolerance)
    for radius in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="radii of"):
            ellipse_ring(0, 0, 3, radius)
    for degrees in (math.nan, math.inf):
        with pytest.raises(ValueError, match="rotation by"):
            box_ring(0, 0, 3, 3, degrees)


def signed_area(ring: Ring) -> float:
    """Positive for a ring that goes clockwise on the screen."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@given(REGIONS)
def test_outlines(region: BoolMask) -> None:
    components = outlines(region)
    np.testing.assert_array_equal(rasterise([ring for rings in components for ring in rings], *region.shape), region)
    labels, count = ndimage.label(region)
    assert len(components) == count
    for rings in components:
        part = rasterise(rings, *region.shape)
        np.testing.assert_array_equal(part, labels == labels[part][0])
        assert len(rings) == ndimage.label(np.pad(~part, 1, constant_values=True), np.ones((3, 3)))[1]
        assert signed_area(rings[0]) > 0 and all(signed_area(hole) < 0 for hole in rings[1:])
        assert sum(map(signed_area, rings)) == part.sum()
        for ring in rings:
            assert ring.dtype == np.float64 and np.array_equal(ring, ring.round())
            steps = np.roll(ring, -1, 0) - ring
            assert ((steps != 0).sum(1) == 1).all()  # along rows or columns
            assert ((steps * np.roll(steps, 1, 0)).sum(1) == 0).all()  # every point is a corner


def test_outlines_of_a_known_shape() -> None:
    region = np.array([[0, 0, 0, 0, 1, 0], [0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, 1, 1, 0, 0, 1]], bool)
    (first,), (open_,), (last,) = outlines(region)
    assert first.tolist() == [[4, 0], [5, 0], [5, 1], [4, 1]]
    assert last.tolist() == [[5, 3], [6, 3], [6, 4], [5, 4]]
    # What is open at a corner is no hole: the ring goes in and out there.
    assert open_.tolist() == [[1, 1], [4, 1], [4, 3], [3, 3], [3, 2], [2, 2], [2, 3], [3, 3], [3, 4], [1, 4]]
    region[3, 3] = True
    ((outer, hole),) = outlines(region[:, :4])
    assert outer.tolist() == [[1, 1], [4, 1], [4, 4], [1, 4]]
    assert hole.tolist() == [[2, 3], [3, 3], [3, 2], [2, 2]]
    assert outlines(np.zeros((3, 4), bool)) == [] == outlines(np.zeros((0, 4), bool))


@pytest.mark.parametrize("density", [0.3, 0.5, 0.7])
def test_noise_comes_back(rng: np.random.Generator, density: float) -> None:
    region = rng.random((70, 90)) < density
    components = outlines(region)
    np.testing.assert_array_equal(rasterise([ring for rings in components for ring in rings], 70, 90), region)
    np.testing.assert_array_equal(rasterise([bridged(rings) for rings in components], 70, 90), region)
    mask = np.where(region, 1, rng.integers(2, 4, region.shape)).astype(np.uint8)
    np.testing.assert_array_equal(repainted(painted(mask, 2), mask.shape, 2), mask)


def repainted(rings: list[tuple[int, Ring]], shape: tuple[int, ...], background: int) -> npt.NDArray[np.uint8]:
    canvas = np.full(shape, background, np.uint8)
    for value, ring in rings:
        canvas[rasterise([ring], *shape)] = value
    return canvas


@given(MASKS, st.sampled_from([0, 1, 7, 255]))
def test_painted(mask: npt.NDArray[np.uint8], background: int) -> None:
    np.testing.assert_array_equal(repainted(painted(mask, background), mask.shape, background), mask)
    everything = painted(mask, None)
    np.testing.assert_array_equal(repainted(everything, mask.shape, 77), mask)
    for value in np.unique(mask):
        assert sum(value == found for found, _ in everything) == ndimage.label(mask == value)[1]


def test_painted_leaves_out_the_canvas() -> None:
    mask = np.zeros((9, 9), np.uint8)
    assert painted(mask, 0) == []
    assert len(painted(mask, None)) == 1
    mask[1:8, 1:8] = 1  # around background, around ignored pixels, around a dot
    mask[2:7, 2:7] = 0
    mask[3:6, 3:6] = 255
    mask[4, 4] = 1
    assert [(value, signed_area(ring)) for value, ring in painted(mask, 0)] == [(1, 49), (0, 25), (255, 9), (1, 1)]
    assert [value for value, _ in painted(mask, None)] == [0, 1, 0, 255, 1]


def unit_edges(ring: Ring) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The steps of one pixel along a ring, regardless of their direction."""
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for a, b in zip(ring.astype(int), np.roll(ring, -1, 0).astype(int), strict=True):
        assert (a != b).sum() == 1  # upright or level
        line = np.linspace(a, b, abs(b - a).sum() + 1).round().astype(int).tolist()
        for step in itertools.pairwise(line):
            low, high = sorted(map(tuple, step))
            found[low, high] += 1
    return found


def cuts_lie_inside(region: BoolMask) -> None:
    for rings in outlines(region):
        part = rasterise(rings, *region.shape)
        ring = bridged(rings)
        np.testing.assert_array_equal(rasterise([ring], *region.shape), part)
        outline: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
        for one in rings:
            outline += unit_edges(one)
        cuts = unit_edges(ring) - outline
        for ((x, y), (x_end, _)), times in cuts.items():
            # Upright, walked there and back, between two pixels of the part.
            assert times == 2 and x == x_end and part[y, x - 1] and part[y, x]


@given(REGIONS)
def test_bridged(region: BoolMask) -> None:
    cuts_lie_inside(region)


def test_bridged_with_holes_below_holes(rng: np.random.Generator) -> None:
    cuts_lie_inside(rng.random((60, 60)) < 0.8)


def test_bridged_once_simplified(rng: np.random.Generator) -> None:
    """Holes that stick out of their simplified outer ring are joined as well."""
    region = ndimage.gaussian_filter(rng.random((120, 120)), 2) > 0.49
    rings = max(outlines(region), key=len)
    assert len(rings) > 5
    rough = [simplify(ring, 3) for ring in rings]
    lone = [rough[0] + (0, 500), *rough[1:]]  # nothing above any hole
    for some in (rough, lone):
        expected = rasterise(some, 700, 120)
        # Only pixels whose centre lies on a slanted edge that a cut divides may differ.
        assert np.count_nonzero(rasterise([bridged(some)], 700, 120) != expected) <= 2
    assert bridged(rough[:1]).shape == rough[0].shape


def distances(points: Ring, ring: Ring) -> npt.NDArray[np.float64]:
    """Of each point (N, 2) to the nearest edge of a ring."""
    start, along = ring, np.roll(ring, -1, 0) - ring
    lengths = np.maximum((along**2).sum(1), 1e-30)
    share = np.clip(((points[:, None] - start) * along).sum(2) / lengths, 0, 1)
    return np.asarray(np.linalg.norm(points[:, None] - start - share[..., None] * along, axis=2).min(1))


@pytest.mark.parametrize("tolerance", [0.5, 1, 2.5])
def test_simplify_stays_within_its_tolerance(rng: np.random.Generator, tolerance: float) -> None:
    region = ndimage.gaussian_filter(rng.random((90, 90)), 3) > 0.5
    walks = [np.cumsum(rng.normal(0, 2, (50, 2)), 0) for _ in range(20)]
    for ring in [*walks, *(ring + 0.123456789 for rings in outlines(region) for ring in rings)]:
        kept = simplify(ring, tolerance)
        assert set(map(tuple, kept.tolist())) <= set(map(tuple, ring.tolist()))
        assert distances(ring, kept).max() <= tolerance * 1.3
        assert len(kept) < len(ring) or len(ring) < 40


def test_simplify_keeps_what_is_small() -> None:
    np.testing.assert_array_equal(simplify(SQUARE, 0), SQUARE)
    np.testing.assert_array_equal(simplify(SQUARE, 50), SQUARE)
    np.testing.assert_array_equal(simplify(np.zeros((9, 2)), 1), np.zeros((9, 2)))
    long = np.array([(0, 0), (5, 0.2), (10, 0), (10, 10), (0, 10)])
    assert simplify(long, 0.3).tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]


def test_box_turns_as_in_cvat() -> None:
    np.testing.assert_array_equal(box_ring(1, 1, 4, 4), SQUARE)
    np.testing.assert_allclose(box_ring(0, 0, 4, 2, 90), [(3, -1), (3, 3), (1, 3), (1, -1)], atol=1e-12)
    # By 30 degrees clockwise, the right end of a level box goes down.
    right = box_ring(-10, -1, 10, 1, 30)[1:3].mean(0)
    np.testing.assert_allclose(right, (10 * math.cos(math.pi / 6), 5))


@given(st.floats(0, 900), st.floats(0, 900), st.floats(-360, 360))
def test_ellipse(rx: float, ry: float, degrees: float) -> None:
    ring = ellipse_ring(50, 20, rx, ry, degrees)
    assert len(ring) >= 12
    turn = np.exp(-1j * math.radians(degrees))
    place = ((ring - (50, 20)) @ (1, 1j)) * turn
    np.testing.assert_allclose(np.hypot(place.real * ry, place.imag * rx), rx * ry, rtol=1e-9, atol=1e-6)
    angles = np.linspace(0, 2 * math.pi, 500)
    curve = (rx * np.cos(angles) + 1j * ry * np.sin(angles)) / turn
    assert distances(np.stack([50 + curve.real, 20 + curve.imag], 1), ring).max() < 0.05
    assert ellipse_ring(0, 0, 1e12, 1, degrees).shape == (1 << 16, 2)
