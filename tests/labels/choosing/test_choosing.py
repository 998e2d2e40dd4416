"""Which images are chosen, on points whose answer is known, and what a doubtful region is."""

import numpy as np
import pytest

from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.labels.choosing.choosing import choose


def clusters(rng, sizes, features=8):
    centres = rng.normal(0, 10, (len(sizes), features))
    which = np.repeat(np.arange(len(sizes)), sizes)
    return centres[which] + rng.normal(0, 0.1, (len(which), features)), which


def test_each_group_that_has_no_mask_is_chosen_from_the_largest_first(rng):
    looks, which = clusters(rng, [30, 20, 10, 5])
    labelled = np.zeros(len(looks), bool)
    labelled[np.flatnonzero(which == 0)[:3]] = True
    chosen = choose(looks, labelled, None, 3, 0)
    assert [which[one.place] for one in chosen] == [1, 2, 3]
    assert [one.stands_for for one in chosen] == [20, 10, 5]
    assert chosen[0].gain > chosen[1].gain > chosen[2].gain > 0


def test_doubt_decides_between_groups_of_one_size(rng):
    looks, which = clusters(rng, [20, 20, 20])
    labelled = np.zeros(len(looks), bool)
    for doubted in (0, 1, 2):
        doubts = np.where(which == doubted, 3.0, 1.0)
        assert which[choose(looks, labelled, doubts, 1, 0)[0].place] == doubted


def test_of_equal_images_the_most_doubted_comes_first():
    looks, doubts = np.zeros((5, 3)), [1.0, 1.0, 9.0, 1.0, 1.0]
    chosen = choose(looks, [False] * 5, doubts, 9, 0)
    assert chosen[0].place == 2 and sorted(one.place for one in chosen) == [0, 1, 2, 3, 4]


def test_labelled_images_are_never_chosen_and_the_seed_decides(rng):
    looks = rng.normal(size=(200, 5))
    labelled = rng.random(200) < 0.4
    chosen = [one.place for one in choose(looks, labelled, None, 30, 0)]
    assert not labelled[chosen].any() and len({*chosen}) == 30
    assert chosen == [one.place for one in choose(looks, labelled, None, 30, 0)]
    assert choose(looks, [True] * 200, None, 5, 0) == []


def test_it_is_nearer_to_all_images_than_chance(rng):
    looks, _ = clusters(rng, [40, 25, 20, 10, 5])
    looks = looks + rng.normal(0, 3, looks.shape)
    labelled = np.zeros(100, bool)

    def apart(places):
        return np.linalg.norm(looks[:, None] - looks[None, places], axis=2).min(1).mean()

    own = apart([one.place for one in choose(looks, labelled, None, 10, 0)])
    assert own < min(apart(rng.choice(100, 10, replace=False)) for _ in range(50))


class Views:
    """In place of a segmenter: a region where the mirrored view says otherwise, and noise that is alike in all."""

    classes = ClassTree.flat(["a", "b", "c"])

    def __init__(self, moved):
        import torch

        self.moved, self.torch = moved, torch

        class Preprocessing:
            geometry = Geometry((40, 60), False, "lanczos")

        self.preprocessing = Preprocessing()

    def probabilities(self, batch):
        found = self.torch.full((len(batch), 3, 40, 60), 0.05)
        found[:, 0] = 0.9
        found[:, :, :10, :] = 1 / 3  # unsure, but alike in each view
        if self.moved:
            found[1, :, 24:36, 4:16] = self.torch.tensor([0.02, 0.03, 0.95]).view(3, 1, 1)  # mirrored: columns 44..55
        return found


def test_doubt_is_where_views_differ_and_not_where_all_are_unsure():
    pytest.importorskip("torch")
    from maskwright.labels.choosing.disagreement import doubt, labels, seen

    image = np.zeros((80, 120, 3), np.uint8)
    every = seen([Views(True)], image)
    found = doubt(every)
    top, left, bottom, right = found.region
    assert top >= 22 / 40 and bottom <= 38 / 40 and left >= 42 / 60 and right <= 58 / 60
    assert {*found.classes} == {0, 2} and labels(every).shape == (40, 60) and found.value > 0.1
    assert doubt(seen([Views(False)], image)).value < 1e-6
    both = doubt(seen([Views(True), Views(False)], image))
    assert 0 < both.value < found.value
