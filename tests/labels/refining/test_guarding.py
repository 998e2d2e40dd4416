"""The guard on counts whose outcome is known."""

import numpy as np

from maskwright.evaluation.metrics import Marginals
from maskwright.labels.refining.guarding import chosen, difference, helps, not_behind


def counts(hit, images=20, seed=0):
    """Of two classes, of which the model hits about this share of the pixels in each image."""
    rng = np.random.default_rng(seed)
    shares = np.clip(hit + rng.normal(0, 0.02, images), 0, 1)
    right = np.round(1000 * shares).astype(np.int64)
    return Marginals.of(np.array([[[one, 1000 - one], [1000 - one, one]] for one in right.tolist()]))


def test_a_round_that_is_better_beyond_chance_is_chosen():
    names, found = ["poor", "trusted", "H1", "H2"], [counts(0.6), counts(0.5), counts(0.8), counts(0.78)]
    place, apart = chosen(names, found)
    assert place == 2 and [one.first for one in apart] == names[1:] and {one.second for one in apart} == {"poor"}
    assert apart[1].better and apart[1].value.low > 0.1 and not apart[0].better
    assert np.isclose(apart[1].value.value, float(found[2].total().mIoU() - found[0].total().mIoU()))


def test_round_0_stays_where_a_lead_may_be_chance():
    first = counts(0.6, images=5, seed=1)
    ahead = counts(0.603, images=5, seed=2)
    place, (apart,) = chosen(["poor", "H1"], [first, ahead])
    assert place == 0 and apart.value.low < 0 < apart.value.high
    assert chosen(["poor"], [first]) == (0, [])


def test_the_sign_of_a_difference():
    one = difference(("a", "b"), counts(0.8), counts(0.6))
    other = difference(("b", "a"), counts(0.6), counts(0.8))
    assert one.value.value > 0 > other.value.value
    np.testing.assert_allclose([one.value.low, one.value.high], [-other.value.high, -other.value.low])


def test_a_round_helps_when_it_is_ahead_of_all_before():
    assert helps([counts(0.6), counts(0.5), counts(0.7)])
    assert not helps([counts(0.6), counts(0.5), counts(0.55)])
    assert not helps([counts(0.6), counts(0.6)])


def test_what_is_not_worse_beyond_chance_is_not_behind():
    close = [counts(0.6, images=5, seed=1), counts(0.603, images=5, seed=2)]
    assert not_behind(close) == [0, 1]
    assert not_behind([*close, counts(0.3, images=5, seed=3)]) == [0, 1]
    assert not_behind([counts(0.5), counts(0.8)]) == [1]
    assert not_behind([counts(0.5)]) == [0]
