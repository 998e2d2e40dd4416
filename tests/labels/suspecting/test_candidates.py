"""Candidates: their features by hand in simple cases, `softmin` by its formula, and ignored pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.core.classes import IGNORE
from maskwright.labels.suspecting.candidates import FEATURES, candidates, of_label, softmin
from maskwright.labels.suspecting.colours import Look, look, sides

SIZE = (48, 48)


def one_hot(mask, classes=3, sure=0.9):
    """Probabilities (K, H, W) of `sure` for the class in `mask`, and the rest shared."""
    return np.where(np.arange(classes)[:, None, None] == mask, sure, (1 - sure) / (classes - 1)).astype(np.float32)


def square(left, top=16, side=16, index=1):
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + side, left : left + side] = index
    return mask


PLAIN = Look(np.ones(SIZE, np.float32), np.zeros(SIZE, np.uint8))


def only(label, predicted, seen=PLAIN, **given):
    """The one candidate, and its features by name."""
    found = candidates(label, one_hot(predicted, **given), seen, 0)
    assert len(found) == 1
    return found[0], dict(zip(FEATURES, found[0].features.tolist(), strict=True))


def simulated(seed, classes=3):
    """A random label with ignored pixels, probabilities of something similar, and an image's look."""
    rng = np.random.default_rng(seed)
    label = np.zeros(SIZE, np.uint8)
    for _ in range(3):
        row, column = rng.integers(0, 40, 2)
        high, wide = rng.integers(3, 20, 2)
        label[row : row + high, column : column + wide] = rng.integers(classes)
    moved = np.roll(label, rng.integers(-4, 5, 2), (0, 1))
    scores = 4 * (np.arange(classes)[:, None, None] == moved) + rng.normal(0, 1, (classes, *SIZE))
    label[rng.random(SIZE) < 0.03] = IGNORE
    label[:, 20:22] = IGNORE
    raised = np.exp(scores)
    image = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    return label, (raised / raised.sum(0)).astype(np.float32), look(image)


@given(st.integers(0, 10**6), st.sampled_from([0, 2, None]))
def test_every_feature_is_finite_and_shares_are_shares(seed, background):
    label, probabilities, seen = simulated(seed)
    predicted = probabilities.argmax(0)
    for one in candidates(label, probabilities, seen, background):
        assert one.index != background and np.isfinite(one.features).all()
        values = dict(zip(FEATURES, one.features.tolist(), strict=True))
        for name in ("iou", "extra", "lost", "support", "for_lost", "soft_iou", "taken", "given", "doubt", "softmin"):
            assert -1e-6 <= values[name] <= 1 + 1e-6
        part, other = label[one.window], predicted[one.window]
        assert (part[one.inside] != IGNORE).all()
        assert ((part == one.index) | (other == one.index))[one.inside].all()
        assert (one.differing == (one.inside & (part != other))).all()


def test_a_square_beside_its_place():
    one, values = only(square(16), square(20))
    inside = np.zeros(SIZE, np.bool_)
    inside[one.window] = one.inside
    assert (inside == (square(16, 16) | square(20)).astype(bool)).all() and one.differing.sum() == 2 * 4 * 16
    size = 20 * 16
    by_hand = {
        "iou": 12 * 16 / size,
        "growth": 0,
        "extra": 4 * 16 / size,
        "lost": 4 * 16 / size,
        "support": (12 * 0.9 + 4 * 0.05) / 16,
        "against_extra": 0.95,
        "for_lost": 0.9,
        "most_for_lost": 0.9,
        "shift": 4 / np.sqrt(size),
        "taken": 0,
        "given": 0,
        "evidence": 128 * np.log(0.9 / 0.05) / size,
        "band_extra": 64 / 60,
        "band_lost": 64 / 60,
        "area": np.log(size / 48**2),
        "doubt": 0.1,
        "doubt_between": 0.1,
        "no_label": 0,
        "no_prediction": 0,
        "border": 0,
        "class_seen": 0.9,
        "unlike": 128 / 48**2,
        "solid_label": 256 / 15**2,
        "boxed": 1,
        "corners": np.log(4),
        "rough_label": np.log(60 / (2 * np.sqrt(np.pi * 256))),
        "edge_label": 0,
        "edge_ratio": 0,
    }
    by_hand["soft_iou"] = (12 * 0.9 + 4 * 0.05) * 16 / (256 + 4 * 16 * 0.9)
    assert {name: values[name] for name in by_hand} == pytest.approx(by_hand, abs=2e-3)


def test_an_object_that_is_not_labelled():
    _, values = only(square(16) * 0, square(16))
    assert values == values | {
        "no_label": 1,
        "no_prediction": 0,
        "iou": 0,
        "growth": -1,
        "lost": 1,
        "extra": 0,
        "shift": 0,
        "support": 0.5,
        "taken": 0,
        "given": 0,
    }
    assert values["for_lost"] == pytest.approx(0.9)


def test_an_object_that_is_not_there():
    _, values = only(square(0), square(0) * 0)
    assert values == values | {
        "no_label": 0,
        "no_prediction": 1,
        "iou": 0,
        "growth": 1,
        "extra": 1,
        "lost": 0,
        "border": 1,
        "for_lost": 0,
        "taken": 0,
    }
    assert values["against_extra"] == pytest.approx(0.95) and values["support"] == pytest.approx(0.05)


def test_another_class_makes_two_candidates():
    found = candidates(square(16, index=2), one_hot(square(16)), PLAIN, 0)
    names = list(FEATURES)
    assert [(one.index, one.features[names.index("given")], one.features[names.index("taken")]) for one in found] == [
        (1, 1, 0),
        (2, 0, 1),
    ]


def test_edges_on_the_outline_of_the_prediction_speak_for_it():
    image = np.repeat(np.where(square(22), 220, 30)[..., None], 3, 2).astype(np.uint8)
    _, wrong = only(square(12), square(22), look(image))
    _, right = only(square(22), square(12), look(image))
    assert wrong["edge_ratio"] > 1 > -1 > right["edge_ratio"]
    assert wrong["edge_prediction"] > wrong["edge_label"] and right["edge_label"] > right["edge_prediction"]


def disc(radius):
    rows, columns = np.indices(SIZE)
    return ((rows - 23) ** 2 + (columns - 23) ** 2 <= radius**2).astype(np.uint8)


@pytest.mark.parametrize(
    ("drawn", "rim", "ring"), [(10, 1, -1), (7, 1, 1), (14, -1, -1)], ids=["right", "small", "large"]
)
def test_colours_tell_a_mask_that_is_drawn_too_small_or_too_large(drawn, rim, ring):
    """Without a model's help: the prediction is as wrong as the label."""
    noise = np.random.default_rng(0).normal(0, 12, (*SIZE, 3))
    image = np.clip(np.where(disc(10)[..., None], (200, 90, 90), (60, 110, 70)) + noise, 0, 255).astype(np.uint8)
    _, values = only(disc(drawn), disc(drawn), look(image))
    assert values["colours_apart"] > 1
    assert np.sign(values["colour_rim"]) == rim and np.sign(values["colour_ring"]) == ring
    _, values = only(disc(drawn), disc(10), look(image))
    assert values["colour_lost"] > 1 if drawn < 10 else values["colour_lost"] == 0
    assert values["colour_extra"] < -1 if drawn > 10 else values["colour_extra"] == 0


def test_the_ratio_of_colours_by_its_formula():
    groups = np.repeat(np.arange(3, dtype=np.uint8), 10).reshape(5, 6)
    inside, outside = groups == 0, groups == 2
    found = sides(groups, inside, outside)
    shares = [np.full(24, 1 / 34), np.full(24, 1 / 34)]
    shares[0][0] = shares[1][2] = 11 / 34
    ratio = np.log(shares[0] / shares[1])
    assert found.ratio == pytest.approx(ratio[groups], abs=1e-5)
    assert found.apart == pytest.approx(float(ratio @ (shares[0] - shares[1])))


@pytest.mark.parametrize("shape", [(3, 4), (40, 7), (24, 24)])
def test_colours_of_tiny_and_even_images(shape):
    found = look(np.full((*shape, 3), 120, np.uint8))
    assert found.groups.shape == found.edge.shape == shape and (found.groups == found.groups[0, 0]).all()


def test_small_regions_and_the_background_are_no_candidates():
    assert not candidates(square(10, side=3), one_hot(square(10, side=0)), PLAIN, 0)
    assert [one.index for one in candidates(square(10), one_hot(square(10)), PLAIN, 1)] == [0]


@given(st.integers(0, 10**6))
def test_ignored_pixels_do_not_matter(seed):
    label, probabilities, seen = simulated(seed)
    changed = probabilities.copy()
    known = label != IGNORE
    changed[:, ~known] = np.random.default_rng(seed).dirichlet(np.ones(3), int((~known).sum())).T
    before, after = (candidates(label, values, seen, 0) for values in (probabilities, changed))
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert one.window == other.window and (one.inside == other.inside).all()
        assert (one.features == other.features).all()
    assert softmin(label, probabilities) == softmin(label, changed)


def test_nothing_but_ignored_pixels():
    label = np.full(SIZE, IGNORE, np.uint8)
    assert not candidates(label, one_hot(square(16)), PLAIN, 0)
    assert softmin(label, one_hot(square(16))) == 1


@given(st.integers(0, 10**6))
def test_softmin_by_its_formula(seed):
    label, probabilities, _ = simulated(seed)
    values = [float(probabilities[label[row, column], row, column]) for row, column in np.argwhere(label != IGNORE)]
    weights = [np.exp((1 - value) / 0.1) for value in values]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert softmin(label, probabilities) == pytest.approx(expected, rel=1e-9)
    assert of_label(label, probabilities)[label != IGNORE].tolist() == pytest.approx(values)


def test_softmin_as_cleanlab_has_it():
    rank = pytest.importorskip("cleanlab.segmentation.rank")
    cases = [simulated(seed) for seed in range(4)]
    labels = np.stack([np.where(label == IGNORE, 0, label) for label, _, _ in cases])
    probabilities = np.stack([values for _, values, _ in cases])
    scores, _ = rank.get_label_quality_scores(labels, probabilities, method="softmin", verbose=False)
    own = [softmin(label, values) for label, values in zip(labels, probabilities, strict=True)]
    assert own == pytest.approx(list(scores), rel=1e-4)
