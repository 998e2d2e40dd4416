"""Slices: their counts against masks, what is worse found, and no alarm where all is alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from maskwright.evaluation.explaining.against_rest import compare_with_rest
from maskwright.evaluation.explaining.anatomy import dissect
from maskwright.evaluation.explaining.slices import SIZES, ZONES, SliceFacts, condensed, facts_of, slices, zone_map
from maskwright.evaluation.metrics import Marginals, bootstrap, confusion_matrix, holm, mIoU
from maskwright.evaluation.metrics.statistics import percentile_interval, resampled_table
from scenes import BENCH

NAMES = ["ground", "grass", "tree", "stone"]


def test_the_facts_of_an_image_are_those_of_its_masks(rng):
    image, mask = BENCH.scene(rng)
    mask[3, 3] = 1  # a tiny object
    truth, prediction, *_ = BENCH.planted(mask, 4, rng, label=False)
    truth = truth.copy()
    truth[-9:] = 255
    found = facts_of(image, truth, prediction, dissect(image, truth, prediction), 4, 0)
    np.testing.assert_array_equal(found.counts, condensed(confusion_matrix(truth, prediction, 4)))
    np.testing.assert_array_equal(found.zones.sum(0), found.counts)
    zones = zone_map(*truth.shape)
    centre = np.where(zones == 0, truth, 255).astype(np.uint8)
    np.testing.assert_array_equal(found.zones[0], condensed(confusion_matrix(centre, prediction, 4)))
    assert found.sizes[:, 1].sum() == ((truth > 0) & (truth < 255)).sum()
    assert found.sizes[:, 0].sum() == ((truth > 0) & (truth == prediction)).sum()
    assert found.sizes[0].tolist()[1:3] == [1, 1]
    grey = image @ np.array([0.299, 0.587, 0.114]) / 255
    assert found.brightness == pytest.approx(grey.mean(), abs=2e-3)
    assert found.contrast == pytest.approx(grey.std(), abs=2e-3)


def test_zones_are_a_quarter_a_frame_and_what_is_between():
    share = np.bincount(zone_map(200, 300).reshape(-1)) / 60_000
    np.testing.assert_allclose(share, [0.25, 0.39, 0.36], atol=1e-9)
    assert zone_map(200, 300)[100, 150] == 0 and zone_map(200, 300)[0, 150] == zone_map(200, 300)[100, 0] == 2


def counts(rng: np.random.Generator, images: int, accuracy: np.ndarray | float, classes: int = 3) -> np.ndarray:
    """(images, 3, K): each image with an accuracy of its own around the one given."""
    own = np.clip(np.broadcast_to(accuracy, images) + rng.normal(0, 0.08, images), 0.05, 0.98)
    confusions = []
    for share in own:
        true = rng.integers(50, 2000, classes)
        wrong = rng.multinomial(1, np.full(classes, 1 / classes), classes) * np.round(true * (1 - share))[:, None]
        confusion = wrong.astype(int)
        confusion[np.diag_indices(classes)] += true - wrong.sum(1).astype(int)
        confusions.append(condensed(confusion))
    return np.stack(confusions)


def facts(rng: np.random.Generator, accuracy: np.ndarray, brightness: np.ndarray) -> list[SliceFacts]:
    found = []
    for one, light in zip(counts(rng, len(accuracy), accuracy), brightness, strict=True):
        zones = np.stack([rng.binomial(one, 1 / 3) for _ in ZONES])
        sizes = np.array([[30, 40, 3, 3]] * len(SIZES)) + rng.integers(0, 10, (len(SIZES), 1))
        found.append(SliceFacts(one, zones, sizes, float(light), float(rng.random())))
    return found


def test_dark_images_that_are_worse_are_named_and_nothing_else():
    rng = np.random.default_rng(0)
    brightness = rng.random(60)
    accuracy = np.where(brightness < np.quantile(brightness, 1 / 3), 0.5, 0.8)
    found = slices(facts(rng, accuracy, brightness), NAMES[:3])
    assert [(one.axis, one.name) for one in found if one.worse] == [("brightness", "dark")]
    dark = next(one for one in found if one.worse)
    assert dark.images == 20 and dark.difference.value < -0.2 and dark.difference.high < 0 and dark.p < 0.01
    assert dark.score.low < dark.score.value < dark.score.high
    assert [one.name for one in found if one.axis == "class"] == ["grass", "tree"]
    assert {one.axis for one in found} == {"size", "position", "brightness", "contrast", "class"}


def test_slices_of_few_images_or_objects_are_marked_and_never_worse():
    rng = np.random.default_rng(0)
    found = slices(facts(rng, np.full(12, 0.5), np.arange(12) / 12), NAMES[:3])
    assert all(one.few for one in found if one.axis == "brightness")
    assert not any(one.worse for one in found if one.few)
    assert not any(one.few for one in found if one.axis == "position")
    one = slices(facts(rng, np.full(1, 0.5), np.zeros(1)), NAMES[:3])
    assert one and all(each.few and math.isnan(each.score.low) for each in one)
    assert "brightness" not in {each.axis for each in one}  # all images are alike


def test_parts_that_are_alike_are_seldom_called_worse():
    """At most 5 % of evaluations may have any slice that is worse by chance; of 300, so many at most by the binomial."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        images, group = counts(rng, 36, 0.75), rng.permutation(36) % 3
        table = np.stack([images * (group == part)[:, None, None] for part in range(3)], 1)
        alarms += any(p < 0.05 for p in holm([one.p for one in compare_with_rest(table, Marginals.mIoU)]))
    assert alarms <= scipy.stats.binom.ppf(0.99, 300, 0.05)


def test_a_rest_that_is_not_pooled_is_the_mean_of_the_others(rng):
    table = counts(rng, 30, 0.7).transpose(0, 2, 1)[..., None]
    found = compare_with_rest(table, Marginals.mIoU, pooled=False)
    alone = Marginals.of_table(table.sum(0)).mIoU()
    assert found[0].score.value == alone[0]
    assert found[0].difference.value == pytest.approx(alone[0] - alone[1:].mean())


def test_resampling_is_that_of_the_metrics(rng):
    confusions = rng.integers(0, 30, (25, 4, 4))
    drawn = Marginals.of_table(resampled_table(np.stack([condensed(one) for one in confusions]))).mIoU()
    mine = percentile_interval(float(mIoU(confusions.sum(0))), drawn, 25)
    theirs = bootstrap(confusions, mIoU)
    assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=5e-3)
