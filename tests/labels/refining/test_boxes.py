"""Boxes of drawings and of masks, and what GrabCut makes of them."""

from pathlib import Path

import numpy as np

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.regions import Drawing, Polygon, Region
from maskwright.core.sample import Sample
from maskwright.labels.refining.boxes import Box, boxes_of, grabcut, touching_threshold

CLASSES = ClassTree.flat(["background", "a", "b"], [0, 3, 9])


def square(left, top, right, bottom):
    return Polygon((np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float),))


def test_boxes_of_a_drawing_overlap_and_leave_the_image():
    drawing = Drawing(
        (
            Region(3, square(1, 2, 5, 6), weak=True),
            Region(9, square(3, 3, 30, 8), weak=True),
            Region(3, square(0, 0, 2, 2)),  # an outline, which is no box
            Region(3, square(20, 20, 25, 25), weak=True),
        ),
        0,
        Path("labels.txt"),
    )
    sample = Sample("s", Path("s.png"), drawing=drawing)
    found = boxes_of(sample, np.zeros((10, 10), np.uint8), CLASSES, 0)
    assert found == [Box(2, 3, 3, 8, 10), Box(1, 2, 1, 6, 5)]


def test_boxes_of_a_mask_are_those_of_its_regions():
    mask = np.zeros((8, 12), np.uint8)
    mask[1:4, 1:5] = 1
    mask[5:7, 6:12] = 2
    mask[0, 11] = 1
    mask[7] = IGNORE
    assert boxes_of(Sample("s", Path("s.png")), mask, CLASSES, 0) == [
        Box(1, 1, 1, 4, 5),
        Box(2, 5, 6, 7, 12),
        Box(1, 0, 11, 1, 12),
    ]


def test_the_threshold_at_which_a_region_touches_all_sides(rng):
    values = rng.random((20, 30)).astype(np.float32)
    found = touching_threshold(values, slack=0.1)
    for threshold, touches in ((found, True), (np.nextafter(found, 2), False)):
        rows, columns = np.nonzero(values >= threshold)
        assert (rows.min() < 2 and rows.max() >= 18 and columns.min() < 3 and columns.max() >= 27) == touches


def test_grabcut_finds_a_disc_in_its_box(rng):
    rows, columns = np.indices((80, 100))
    disc = (rows - 40) ** 2 + (columns - 50) ** 2 < 20**2
    image = np.where(disc[..., None], (200, 60, 40), (40, 90, 60)) + rng.integers(0, 20, (80, 100, 3))
    mask = grabcut(image.astype(np.uint8), [Box(2, 20, 30, 61, 71)], (80, 100), 0)
    assert set(np.unique(mask)) == {0, 2}
    assert np.count_nonzero((mask == 2) & disc) / np.count_nonzero((mask == 2) | disc) > 0.95


def test_a_box_without_contrast_stays_whole():
    mask = grabcut(np.full((40, 40, 3), 90, np.uint8), [Box(1, 5, 5, 30, 30), Box(2, 0, 0, 1, 40)], (40, 40), 0)
    assert (mask[5:30, 5:30] == 1).all() and (mask[0] == 2).all()
