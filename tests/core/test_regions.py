"""Drawings become masks by the rules that they state."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.polygons import box_ring, rasterise
from maskwright.core.regions import BoxRule, Drawing, Polygon, Region, Runs
from maskwright.core.rle import decode_box, encode_box, encode_counts
from maskwright.core.spans import places_inside

SIZE = (8, 10)


def box(id_, left, top, right, bottom, weak=True, order=0):
    return Region(id_, Polygon((box_ring(left, top, right, bottom),)), order, weak)


def drawn(*regions, fill=0, **rule):
    return Drawing(regions, fill, Path("a.json"), SIZE, BoxRule(**rule)).render(*SIZE)


def painted(*slices, fill=0):
    mask = np.full(SIZE, fill)
    for id_, rows, columns in slices:
        mask[rows, columns] = id_
    return mask


BIG, SMALL = box(1, 1, 1, 9, 7), box(2, 2, 2, 4, 4)


@pytest.mark.parametrize(("overlap", "top"), [("smaller_on_top", 2), ("larger_on_top", 1), ("file_order", 1)])
def test_which_of_two_boxes_is_on_top(overlap, top):
    ids, hidden = drawn(SMALL, BIG, overlap=overlap)
    wanted = [(2, slice(2, 4), slice(2, 4)), (1, slice(1, 7), slice(1, 9))]
    assert (ids == painted(*(wanted if top == 1 else wanted[::-1]))).all()
    assert hidden == 4
    assert ids.dtype == np.uint16


def test_later_is_on_top_and_order_comes_first():
    first, second = box(1, 0, 0, 4, 4, weak=False), box(2, 2, 2, 6, 6, weak=False)
    assert drawn(first, second)[0][3, 3] == 2
    assert drawn(second, first)[0][3, 3] == 1
    assert drawn(box(2, 2, 2, 6, 6, weak=False, order=1), first)[0][3, 3] == 2


def test_an_outline_lies_above_a_box_in_it_or_around_it():
    outline = box(3, 3, 3, 8, 6, weak=False)
    for boxes in ([outline, BIG], [BIG, outline], [outline, box(2, 4, 4, 5, 5)]):
        assert (drawn(*boxes)[0][3:6, 3:8] == 3).all()


def test_overlap_of_the_same_class_hides_nothing():
    assert drawn(BIG, box(1, 0, 0, 5, 5))[1] == 0


def test_shrink_pulls_the_sides_of_boxes_in_and_leaves_outlines_alone():
    ids, _ = drawn(box(1, 0, 0, 8, 8), shrink=0.5)
    assert (ids == painted((1, slice(2, 6), slice(2, 6)))).all()
    ids, _ = drawn(box(1, 0, 0, 8, 8, weak=False), shrink=0.5)
    assert (ids == painted((1, slice(0, 8), slice(0, 8)))).all()


def test_fill_is_what_no_region_covers():
    assert (drawn(SMALL, fill=255)[0] == painted((2, slice(2, 4), slice(2, 4)), fill=255)).all()


def test_run_lengths_by_columns_and_by_rows(rng):
    mask = rng.random(SIZE) < 0.4
    by_columns = Runs(np.array(encode_counts(mask), np.uint32), size=SIZE)
    counts, *place = encode_box(mask)
    by_rows = Runs(np.array(counts, np.uint32), box=tuple(place))
    for runs in (by_columns, by_rows):
        assert (drawn(Region(5, runs))[0] == np.where(mask, 5, 0)).all()


def test_run_lengths_of_another_size_are_cut_or_filled(rng):
    mask = rng.random((12, 6)) < 0.5
    found, _ = drawn(Region(1, Runs(np.array(encode_counts(mask), np.uint32), size=(12, 6))))
    assert (found[:, :6] == mask[:8]).all() and not found[:, 6:].any()


@given(st.integers(0, 2**32 - 1))
def test_only_the_window_of_a_region_is_touched_and_nothing_of_it_is_lost(seed):
    """Against the whole image, decoded at once; regions inside, at the border, outside, and empty ones."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 12, 2).tolist()
    mask = np.zeros((height, width), np.bool_)
    top, left = rng.integers(0, (height, width))
    mask[top : top + rng.integers(0, 5), left : left + rng.integers(0, 5)] = True
    mask &= rng.random(mask.shape) < 0.7
    counts, *place = encode_box(mask)
    place[0], place[1] = place[0] + int(rng.integers(-3, 4)), place[1] + int(rng.integers(-3, 4))
    ring = rng.uniform(-4, 14, (4, 2)).round(1)
    for shape, whole in (
        (Runs(np.array(encode_counts(mask), np.uint32), size=(height, width)), mask),
        (Runs(np.array(counts, np.uint32), box=tuple(place)), decode_box(counts, *place, height, width)),
        (Polygon((ring,)), rasterise([ring], height, width)),
    ):
        inside, top, left = shape.window(height, width)
        found = np.zeros((height, width), np.bool_)
        found[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        assert (found == whole).all()


def test_run_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError):
        drawn(Region(1, Runs(np.array([3, 4], np.uint32), size=SIZE)))


def test_the_digest_tells_all_that_changes_the_mask(rng):
    mask = rng.random(SIZE) < 0.4
    runs = np.array(encode_counts(mask), np.uint32)
    drawings = [
        Drawing((BIG, SMALL), 0, Path("a"), SIZE),
        Drawing((SMALL, BIG), 0, Path("a"), SIZE),
        Drawing((BIG,), 0, Path("a"), SIZE),
        Drawing((BIG, SMALL), 1, Path("a"), SIZE),
        Drawing((BIG, SMALL), 0, Path("a"), (8, 11)),
        Drawing((BIG, SMALL), 0, Path("a")),
        Drawing((BIG, SMALL), 0, Path("a"), SIZE, BoxRule(shrink=0.1)),
        Drawing((BIG, box(2, 2, 2, 4, 5)), 0, Path("a"), SIZE),
        Drawing((BIG, box(3, 2, 2, 4, 4)), 0, Path("a"), SIZE),
        Drawing((BIG, box(2, 2, 2, 4, 4, weak=False)), 0, Path("a"), SIZE),
        Drawing((BIG, box(2, 2, 2, 4, 4, order=1)), 0, Path("a"), SIZE),
        Drawing((Region(1, Runs(runs, size=SIZE)),), 0, Path("a"), SIZE),
        Drawing((Region(1, Runs(runs, box=(0, 0, 10, 8))),), 0, Path("a"), SIZE),
    ]
    assert len({drawing.digest() for drawing in drawings}) == len(drawings)
    assert Drawing((BIG, SMALL), 0, Path("elsewhere"), SIZE).digest() == drawings[0].digest()


def test_shapes_of_equal_arrays_are_equal() -> None:
    ring = np.array([(0, 0), (3, 0), (3, 3)], float)
    assert Polygon((ring,)) == Polygon((ring.copy(),)) != Polygon((ring + 1,))
    assert Polygon((ring,)) != Polygon((ring, ring)) and Polygon(()) == Polygon(())
    counts = np.array([1, 2, 3], np.uint32)
    assert Runs(counts, (2, 3)) == Runs(counts.copy(), (2, 3)) != Runs(counts, (3, 2))
    assert Runs(counts, (2, 3)) != Runs(counts[::-1], (2, 3)) and Runs(counts) != Polygon((ring,))


def star(rng, size, corners, radius):
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    far = radius * rng.uniform(0.3, 1.2, (corners, 1))
    return rng.uniform(-5, size, 2) + far * np.stack([np.cos(angles), np.sin(angles)], 1)


def one_by_one(drawing, height, width):
    """Each region by itself, in the order of the rule."""
    ids, drawn, hidden = np.full((height, width), drawing.fill, np.uint16), np.zeros((height, width), np.bool_), 0
    for region in sorted(drawing.regions, key=drawing._rank):
        inside, top, left = region.shape.window(height, width)
        whole = np.zeros_like(drawn)
        whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        hidden += int((whole & drawn & (ids != region.id)).sum())
        ids[whole], drawn = region.id, drawn | whole
    return ids, hidden


@given(st.integers(0, 2**32 - 1))
def test_polygons_together_are_those_by_themselves(seed):
    """With holes, short rings, shapes at and beyond the border, run lengths between them, and more than one bundle."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2).tolist()
    regions = []
    for _ in range(int(rng.integers(0, 150))):
        rings = [star(rng, 50, int(rng.integers(0, 9)), rng.uniform(0, 20)) for _ in range(rng.integers(0, 4))]
        if rng.random() < 0.5:
            rings = [(ring * 2).round() / 2 for ring in rings]  # edges through centres
        shape = Polygon(tuple(rings))
        if rng.random() < 0.1:
            shape = Runs(np.array(encode_counts(rng.random((height, width)) < 0.2), np.uint32), size=(height, width))
        regions.append(Region(int(rng.integers(1, 4)), shape, int(rng.integers(0, 2)), bool(rng.random() < 0.2)))
    drawing = Drawing(tuple(regions), 0, Path("a"))
    ids, hidden = drawing.render(height, width)
    expected, expected_hidden = one_by_one(drawing, height, width)
    assert (ids == expected).all() and hidden == expected_hidden


def test_large_polygons_are_drawn_by_themselves_and_small_ones_beside_them(rng):
    rings = [star(rng, 500, corners, radius) for corners, radius in ((5000, 20), (9, 400), (6, 10), (4000, 300))]
    drawing = Drawing(tuple(Region(i + 1, Polygon((ring,))) for i, ring in enumerate(rings)), 0, Path("a"))
    assert [places is None for places in places_inside([[ring] for ring in rings], 600, 500)] == [
        True,
        True,
        False,
        True,
    ]
    ids, hidden = drawing.render(600, 500)
    expected, expected_hidden = one_by_one(drawing, 600, 500)
    assert (ids == expected).all() and hidden == expected_hidden


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e13])
def test_coordinates_that_are_none_are_refused_among_others(wrong):
    bad = Region(1, Polygon((np.array([(0, 0), (4, 0), (wrong, 4.0)]),)))
    with pytest.raises(ValueError, match="coordinates must be finite"):
        drawn(box(1, 0, 0, 4, 4), bad, box(2, 0, 0, 4, 4))
    with pytest.raises(ValueError, match="a ring of shape"):
        drawn(box(1, 0, 0, 4, 4), Region(1, Polygon((np.zeros((4, 3)),))))


def test_sixty_small_polygons_are_quickly_drawn(rng):
    """Each by itself takes some four times as long."""
    rings = [star(rng, 480, 24, 30) for _ in range(60)]
    drawing = Drawing(tuple(Region(i % 5 + 1, Polygon((ring,))) for i, ring in enumerate(rings)), 0, Path("a"))

    def seconds(draw):
        began = time.process_time()
        for _ in range(5):
            draw(480, 480)
        return time.process_time() - began

    times = [(seconds(drawing.render), seconds(lambda h, w: one_by_one(drawing, h, w))) for _ in range(3)]
    assert min(fast for fast, _ in times) < min(slow for _, slow in times) / 2
