"""Planted errors: each kind changes one object, in the way and by the amount that it says."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage

from maskwright.core.classes import IGNORE
from maskwright.labels.suspecting.planting import IOU_RANGE, KINDS, Thing, plant, things

CLASSES = 4
ALL_AROUND = np.ones((3, 3))
seeds = st.integers(0, 10**6)


def objects(mask, background):
    """Every region of one class, by another labelling: (class, pixels)."""
    for index in range(CLASSES):
        labels, count = ndimage.label(mask == index, ALL_AROUND)
        yield from ((index, labels == number) for number in range(1, count + 1) if index != background)


@st.composite
def masks(draw, ignored=True):
    """Ellipses of any class on each other, and stripes and specks of ignored pixels."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.sampled_from([(48, 64), (70, 40)]))
    mask, places = np.zeros(size, np.uint8), np.indices(size)
    for _ in range(draw(st.integers(1, 5))):
        middle, reach = rng.uniform(0, size, 2), rng.uniform(4, 20, 2)
        mask[sum(((place - at) / far) ** 2 for place, at, far in zip(places, middle, reach, strict=True)) < 1] = (
            rng.integers(1, CLASSES)
        )
    if ignored and draw(st.booleans()):
        start = int(rng.integers(40))
        mask[:, start : start + int(rng.integers(1, 6))] = IGNORE
        mask[rng.random(size) < 0.01] = IGNORE
    return mask


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@given(masks(), st.sampled_from([*KINDS]), st.sampled_from([0, 2, None]), seeds)
def test_every_kind_changes_something_and_keeps_the_rest(mask, kind, background, seed):
    before = mask.copy()
    drawn = plant(mask, kind, np.random.default_rng(seed), CLASSES, background)
    assert (mask == before).all()
    again = plant(mask, kind, np.random.default_rng(seed), CLASSES, background)
    if drawn is None:
        assert again is None
        return
    assert (drawn == again).all() and (drawn != mask).any()
    assert drawn.shape == mask.shape and drawn.dtype == np.uint8
    assert ((drawn == IGNORE) == (mask == IGNORE)).all()
    assert {*np.unique(drawn)} <= {*range(CLASSES), IGNORE}


@given(masks(), st.sampled_from([0, 1, None]))
def test_objects_are_the_large_regions(mask, background):
    expected = [
        (index, inside) for index, inside in objects(mask, background) if inside.sum() >= max(30, 0.002 * mask.size)
    ]
    found = things(mask, background)
    assert [thing.inside.sum() for thing in found] == sorted((inside.sum() for _, inside in expected), reverse=True)
    assert {(thing.index, thing.inside.tobytes()) for thing in found} == {
        (index, inside.tobytes()) for index, inside in expected
    }
    for thing in found:
        smaller = [inside for _, inside in objects(mask, background) if inside.sum() < thing.inside.sum()]
        assert (thing.blocked == np.any([np.zeros_like(thing.inside), *smaller], axis=0)).all()


@given(masks(), st.sampled_from([0, None]), seeds)
def test_missing_takes_exactly_one_object(mask, background, seed):
    drawn = plant(mask, "missing", np.random.default_rng(seed), CLASSES, background)
    if drawn is None:
        assert len(things(mask, background)) <= (background is None)
        return
    assert any((inside == (drawn != mask)).all() for _, inside in objects(mask, background))


@given(masks(), st.sampled_from(["swollen", "shrunk", "shifted", "coarse_blob"]), seeds)
def test_an_object_is_redrawn_by_a_visible_amount(mask, kind, seed):
    # One object a class, so that old and new pixels are known to be its own.
    assume(all(ndimage.label(mask == index, ALL_AROUND)[1] <= 1 for index in range(1, CLASSES)))
    drawn = plant(mask, kind, np.random.default_rng(seed), CLASSES)
    assume(drawn is not None)
    fitting = []
    for thing in things(mask, 0):
        now = drawn == thing.index
        if IOU_RANGE[0] <= iou(thing.inside, now) <= IOU_RANGE[1] and not (now & thing.blocked).any():
            lost, gained = thing.inside & ~now, now & ~thing.inside
            fitting.append(not {"swollen": lost, "shrunk": gained}.get(kind, lost & gained).any())
    assert any(fitting)


@pytest.mark.parametrize("kind", ["swollen", "shifted", "coarse_blob"])
def test_what_is_drawn_on_ignored_pixels_does_not_count(kind):
    mask = np.full((60, 60), IGNORE, np.uint8)
    mask[:12], mask[-12:], mask[15:45, 15:45] = 0, 0, 1
    for seed in range(20):
        drawn = plant(mask, kind, np.random.default_rng(seed), 2)
        assert drawn is None or IOU_RANGE[0] <= iou(mask == 1, drawn == 1) <= IOU_RANGE[1]


@given(masks(), seeds)
def test_a_hallucinated_object_lies_on_one_class(mask, seed):
    drawn = plant(mask, "hallucinated", np.random.default_rng(seed), CLASSES)
    assume(drawn is not None)
    changed = drawn != mask
    assert len(np.unique(mask[changed])) == len(np.unique(drawn[changed])) == 1
    assert drawn[changed][0] in {thing.index for thing in things(mask, 0)}


@given(masks(), seeds)
def test_a_wrong_class_is_one_of_the_others(mask, seed):
    drawn = plant(mask, "wrong_class", np.random.default_rng(seed), CLASSES)
    assert (drawn is None) == (not things(mask, 0))
    if drawn is not None:
        changed = drawn != mask
        assert any((inside == changed).all() for _, inside in objects(mask, 0))
        assert len(np.unique(drawn[changed])) == 1 and drawn[changed][0] in {1, 2, 3}


def test_two_classes_are_swapped(rng):
    mask = np.zeros((40, 40), np.uint8)
    mask[5:20, 5:20], mask[30:] = 1, IGNORE
    drawn = plant(mask, "wrong_class", rng, 2)
    assert (drawn == np.where(mask == IGNORE, IGNORE, 1 - mask)).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "patch"])
@pytest.mark.parametrize("value", [0, IGNORE])
def test_without_an_object_there_is_nothing_to_draw_wrong(rng, kind, value):
    assert plant(np.full((40, 40), value, np.uint8), kind, rng, 3) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_a_patch_has_one_class_and_a_bounded_size(rng, classes):
    mask = np.zeros((64, 80), np.uint8)
    mask[20:44, 20:60], mask[:8] = 1, IGNORE
    seen = set()
    for _ in range(60):
        drawn = plant(mask, "patch", rng, classes)
        changed = drawn != mask
        index = {*np.unique(drawn[changed]).tolist()}
        assert len(index) == 1 and (drawn[mask == IGNORE] == IGNORE).all()
        assert 30 <= changed.sum() <= 0.4 * mask.size  # stretched corners reach further than the radius
        seen |= index
    assert seen == {*range(classes)}
    assert plant(np.full((40, 40), IGNORE, np.uint8), "patch", rng, 3) is None
    assert plant(np.zeros((40, 40), np.uint8), "patch", rng, 2) is not None  # an empty mask can be wrong, too


def test_a_donor_is_given_to_an_empty_mask(rng):
    inside = np.zeros((40, 40), np.bool_)
    inside[10:30, 10:30] = True
    drawn = plant(np.zeros((40, 40), np.uint8), "hallucinated", rng, 3, donors=[Thing(2, inside, ~inside & False)])
    assert {*np.unique(drawn)} == {0, 2} and 100 <= (drawn == 2).sum() <= 400


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_drawn(kind):
    mask = np.zeros((48, 64), np.uint8)
    mask[8:30, 10:30], mask[20:40, 36:56] = 1, 2
    drawn = [plant(mask, kind, np.random.default_rng(seed), 3) for seed in range(20)]
    assert all(one is not None for one in drawn)
    assert len({one.tobytes() for one in drawn}) > (1 if kind in ("missing", "wrong_class") else 5)


def test_an_object_that_touches_no_background_is_taken_over_by_its_neighbour(rng):
    mask = np.ones((40, 40), np.uint8)
    mask[15:25, 15:25] = 2
    assert [(plant(mask, "missing", np.random.default_rng(seed), 3, 0) == 1).all() for seed in range(20)].count(True)
    assert (plant(mask, "missing", rng, 3, 1) == 1).all()
