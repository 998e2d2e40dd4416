"""What draws with the user: along edges, from strokes, from boxes and clicks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.errors import ConfigError, DataError
from maskwright.reviewing.assisting import (
    NO_STROKE,
    Edges,
    distances,
    from_box,
    from_point,
    from_strokes,
    painted,
    pixel_features,
    stroke_features,
)

ROWS, COLUMNS = np.indices((96, 128))
DISC = (ROWS - 48) ** 2 + (COLUMNS - 60) ** 2 < 30**2


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """A reddish disc on a greenish ground, both noisy."""
    colours = np.array([(70, 120, 60), (170, 90, 80)], float)[DISC.astype(int)]
    return np.clip(colours + rng.normal(0, 14, (*DISC.shape, 3)), 0, 255).astype(np.uint8)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_a_line_keeps_to_the_edge(image: np.ndarray) -> None:
    points = np.array(Edges(image).line((60, 18), (90, 48)))  # a quarter of the circle
    assert tuple(points[0]) == (60.5, 18.5) and tuple(points[-1]) == (90.5, 48.5)
    radii = np.hypot(points[:, 0] - 60, points[:, 1] - 48)
    assert len(points) > 30 and np.abs(radii - 30).max() < 3.5 and (np.abs(np.diff(points, axis=0)) <= 1).all()
    # Straight, it would come as near to the middle as 21.
    assert len(Edges(image).line((-5, -5), (-9, -9))) == 2 and Edges(image).line((500, 500), (0, 0))[0] == (127.5, 95.5)


def test_strokes_become_a_mask_at_once(image: np.ndarray) -> None:
    strokes = np.full(DISC.shape, NO_STROKE, np.uint8)
    strokes[46:50, 50:70], strokes[4:7, 10:40] = 1, 0
    found = from_strokes(pixel_features(image), strokes)
    assert iou(found == 1, DISC) > 0.9
    assert (found[strokes != NO_STROKE] == strokes[strokes != NO_STROKE]).all()
    assert (found == from_strokes(pixel_features(image), strokes)).all()
    strokes[60, 60] = IGNORE  # what is stroked stays, and nothing else is among the classes
    assert {*np.unique(from_strokes(pixel_features(image), strokes))} <= {0, 1, IGNORE}
    strokes[strokes != 1] = NO_STROKE
    with pytest.raises(ConfigError, match="stroke another class"):
        from_strokes(pixel_features(image), strokes)


def dijkstra_distances(costs: np.ndarray, begin: list[int]) -> np.ndarray:
    """(h, w) by scipy, of costs (h, w) of the pixel that a step leads to."""
    height, width = costs.shape
    rows, columns = np.indices(costs.shape).reshape(2, -1)
    steps = []
    for down, across in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b):
        there = (rows + down >= 0) & (rows + down < height) & (columns + across >= 0) & (columns + across < width)
        to = (rows + down)[there] * width + (columns + across)[there]
        length = costs.reshape(-1)[to] * (2**0.5 if down and across else 1)
        steps.append((np.flatnonzero(there), to, length))
    here, to, length = (np.concatenate(one) for one in zip(*steps, strict=True))
    graph = csr_matrix((length, (here, to)), shape=(costs.size, costs.size))
    return dijkstra(graph, indices=begin, min_only=True).reshape(height, width)


def test_distances_are_those_of_the_shortest_ways(rng: np.random.Generator) -> None:
    even = np.full((40, 2, 56), 0.5, np.float32)
    places = [np.array([5, 60]), np.array([40 * 56 - 1])]
    found = distances(even, places, np.full_like(even, 1e9))
    for number, begin in enumerate(places):
        np.testing.assert_allclose(found[:, number], dijkstra_distances(even[:, number], begin.tolist()), atol=1e-3)
    # Where costs differ, ways that wind much are found a little too long, and none too short.
    rough = np.stack([cv2.GaussianBlur(rng.random((40, 56)), (0, 0), 3) ** 4 for _ in range(2)], 1).astype(np.float32)
    rough = rough / rough.max() + np.float32(0.01)
    found = distances(rough, places, np.full_like(rough, 1e9))
    for number, begin in enumerate(places):
        exact = dijkstra_distances(rough[:, number], begin.tolist())
        assert (found[:, number] >= exact - 1e-3).all() and np.median(found[:, number] / (exact + 1e-9)) < 1.01
    # A way that begins anywhere for 3 is never longer than 3.
    assert np.allclose(distances(rough, places, np.full_like(rough, 3)), np.minimum(found, 3), atol=1e-3)


def test_a_stroke_corrects_what_is_around_it(image: np.ndarray) -> None:
    """Two discs that look alike: a stroke finds both; one of another class takes the second, and leaves the first."""
    both = np.concatenate([image, image], 1)
    strokes = np.full(both.shape[:2], NO_STROKE, np.uint8)
    strokes[46:50, 50:70], strokes[4:7, 10:40] = 1, 0
    features = stroke_features(both)
    other = np.pad(DISC, ((0, 0), (DISC.shape[1], 0)))
    assert (from_strokes(features, strokes)[other] == 1).mean() > 0.7
    strokes[46:50, 50 + 128 : 70 + 128] = 2
    found = from_strokes(features, strokes)
    assert (found[other] == 2).mean() > 0.9 and (found[:, :128][DISC] == 1).mean() > 0.9


def test_probabilities_tell_apart_what_looks_alike(rng: np.random.Generator) -> None:
    grey = np.full((*DISC.shape, 3), 128, np.uint8)
    strokes = np.full(DISC.shape, NO_STROKE, np.uint8)
    strokes[48, 50:70], strokes[80, 10:40] = 1, 0
    chances = np.stack([~DISC, DISC]).astype(np.float32)
    without = from_strokes(pixel_features(grey), strokes)
    assert iou(from_strokes(pixel_features(grey, chances), strokes) == 1, DISC) > 0.95 > iou(without == 1, DISC)


def test_a_box_finds_the_object_in_it(image: np.ndarray) -> None:
    found = from_box(image, (26, 14, 70, 70))
    assert iou(found, DISC) > 0.95 and (found == from_box(image, (26, 14, 70, 70))).all()
    assert not found[:14].any() and not found[:, :26].any()
    assert iou(from_box(image, (-50, -50, 500, 500)), DISC) > 0.95  # the whole image
    hint = np.where(DISC, 0.9, 0.1).astype(np.float32)
    assert iou(from_box(image, (26, 14, 70, 70), hint), DISC) > 0.95
    for outside in ((200, 200, 5, 5), (5, 5, 1, 1), (5, 5, -9, 4)):
        with pytest.raises(ConfigError, match="draw it around"):
            from_box(image, outside)


def test_a_click_finds_the_region_around_it(image: np.ndarray) -> None:
    assert iou(from_point((image // 64) * 64, (60, 48), DISC.astype(np.uint8)), DISC) == 1
    even = np.where(DISC[..., None], (170, 90, 80), (70, 120, 60)).astype(np.uint8)
    assert iou(from_point(even, (60, 48)), DISC) > 0.97 and iou(from_point(even, (0, 0)), ~DISC) > 0.97
    with pytest.raises(ConfigError, match="outside"):
        from_point(image, (128, 0))


def test_a_region_is_put_into_the_mask() -> None:
    classes = ClassTree.flat(["background", "one", "two"])
    mask = painted(np.zeros(DISC.shape, np.uint8), DISC, 2, classes)
    assert ((mask == 2) == DISC).all() and (painted(mask, DISC, IGNORE, classes)[DISC] == IGNORE).all()
    with pytest.raises(DataError):
        painted(mask, DISC, 3, classes)
    mask[:, 100:] = 2  # beside the box
    mask[40:44, 50:54] = 1
    drawn = painted(mask, ROWS < 30, 2, classes, (-5, -5, 105, 500))  # the object anew: it was too large
    inside = COLUMNS < 100
    expected = np.where(ROWS < 30, 2, np.where(inside & (mask == 2), 0, mask))
    assert (drawn == expected).all() and (drawn[40:44, 50:54] == 1).all()
