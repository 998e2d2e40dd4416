"""Each rule on masks that are small enough to be worked out by hand."""

import numpy as np
import pytest

from maskwright.core.classes import IGNORE
from maskwright.labels.refining.boxes import Box
from maskwright.labels.refining.combining import CHANGED, COMBINATIONS, KEPT, LEFT_OUT, combine


def probabilities(objects):
    """(2, H, W) of background and one class."""
    found = np.array(objects, np.float32)
    return np.stack([1 - found, found])


def combined(name, poor, seen, boxes=(), least=None, **more):
    least = COMBINATIONS[name].least if least is None else least
    return combine(np.array(poor, np.uint8), seen, boxes, 0, name, least, **more)


def test_rules_about_pixels():
    poor, seen = [[0, 0, 1, 1]], probabilities([[0.2, 0.9, 0.4, 0.6]])
    assert combined("model", poor, seen)[0].tolist() == [[0, 1, 0, 1]]
    assert combined("confident", poor, seen, least=0.75)[0].tolist() == [[0, 1, 1, 1]]
    assert combined("confident", poor, seen, least=0.55)[0].tolist() == [[0, 1, 0, 1]]
    assert combined("union", poor, seen)[0].tolist() == [[0, 1, 1, 1]]
    assert combined("intersection", poor, seen)[0].tolist() == [[0, 0, 0, 1]]


def test_classes_that_differ_are_left_out_of_an_intersection():
    seen = np.array([[[0.1, 0.1]], [[0.8, 0.1]], [[0.1, 0.8]]], np.float32)
    assert combined("intersection", [[1, 1]], seen)[0].tolist() == [[1, IGNORE]]
    assert combined("union", [[1, 1]], seen)[0].tolist() == [[1, 2]]  # the model says of which class


def test_what_became_of_each_pixel():
    seen = probabilities([[0.55, 0.9, 0.1, 0.9]])
    mask, fate = combined("model", [[0, 0, 0, IGNORE]], seen, ignore_below=0.6)
    assert mask.tolist() == [[IGNORE, 1, 0, IGNORE]]
    assert fate.tolist() == [[LEFT_OUT, CHANGED, KEPT, KEPT]]


def test_nothing_counts_outside_of_the_boxes():
    seen = probabilities(np.full((6, 6), 0.9))
    mask, _ = combined("box", np.zeros((6, 6)), seen, [Box(1, 1, 2, 4, 5)])
    inside = np.zeros((6, 6), np.uint8)
    inside[1:4, 2:5] = 1
    np.testing.assert_array_equal(mask, inside)


def test_an_object_touches_the_four_sides_of_its_box():
    """A cross whose ends are seen weakly: the threshold is lowered until they count, and no further."""
    seen = np.full((9, 9), 0.05, np.float32)
    seen[4, 1:8] = seen[1:8, 4] = 0.3
    seen[3:6, 3:6] = 0.9
    box = [Box(1, 1, 1, 8, 8)]
    mask, _ = combined("box", np.zeros((9, 9)), probabilities(seen), box)
    np.testing.assert_array_equal(mask == 1, seen >= 0.3)
    mask, _ = combined("box", np.zeros((9, 9)), probabilities(seen), box, least=0.4)
    np.testing.assert_array_equal(mask == 1, seen >= 0.4)  # not below `least`


def test_a_box_in_which_nothing_is_found_is_left_out():
    seen = np.full((6, 12), 0.05, np.float32)
    seen[1:5, 7:11] = 0.9
    boxes = [Box(1, 1, 1, 5, 5), Box(1, 1, 7, 5, 11)]
    mask, fate = combined("box", (seen > 2), probabilities(seen), boxes)
    assert (mask[1:5, 1:5] == IGNORE).all() and (fate[1:5, 1:5] == LEFT_OUT).all()
    assert (mask[1:5, 7:11] == 1).all() and np.count_nonzero(mask == 0) == 6 * 12 - 32


def test_a_box_allows_its_own_class_only():
    seen = np.zeros((3, 4, 4), np.float32)
    seen[2], seen[1], seen[0] = 0.6, 0.3, 0.1
    mask, _ = combined("box", np.zeros((4, 4)), seen, [Box(1, 0, 0, 4, 4)])
    assert (mask == 1).all()  # .3 of the .4 that are allowed
    mask, _ = combined("box", np.zeros((4, 4)), seen, [Box(1, 0, 0, 4, 4), Box(2, 0, 0, 4, 2)])
    assert (mask[:, :2] == 2).all() and (mask[:, 2:] == 1).all()


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_rule_gives_classes_and_keeps_what_is_ignored(name, rng):
    seen = rng.random((4, 16, 16)).astype(np.float32)
    seen /= seen.sum(0)
    poor = rng.integers(0, 4, (16, 16)).astype(np.uint8)
    poor[:3] = IGNORE
    before = seen.copy(), poor.copy()
    mask, fate = combined(name, poor, seen, [Box(1, 2, 2, 9, 9), Box(3, 5, 5, 16, 16)])
    assert mask.dtype == np.uint8 and (mask[:3] == IGNORE).all() and set(np.unique(mask)) <= {0, 1, 2, 3, IGNORE}
    np.testing.assert_array_equal(fate == KEPT, mask == poor)
    np.testing.assert_array_equal(before[0], seen)
    np.testing.assert_array_equal(before[1], poor)
