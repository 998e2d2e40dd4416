"""Scores by hand, by the absent-class rule, and by properties that hold for any counts."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.errors import DataError
from maskwright.evaluation import metrics
from maskwright.evaluation.metrics import Interval, image_scores, mean_image_iou, scores

NAN = math.nan
PER_CLASS = {name: getattr(metrics, name) for name in ("iou", "dice", "precision", "recall")}
OVERALL = {name: getattr(metrics, name) for name in ("aAcc", "mAcc", "mIoU", "mDice")}


def stacks():
    """(N, K, K) counts with many zeros, so that absent and invented classes are common."""
    counts = st.integers(0, 3) | st.just(0) | st.integers(0, 10**6)
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 5))
    return shapes.flatmap(lambda s: hnp.arrays(np.int64, (s[0], s[1], s[1]), elements=counts))


def one_class_by_definition(confusion, c):
    """The table at the top of scores.py, in plain Python."""
    hit, true, predicted = (int(x) for x in (confusion[c, c], confusion[c].sum(), confusion[:, c].sum()))
    return {
        "iou": hit / (true + predicted - hit) if true + predicted else NAN,
        "dice": 2 * hit / (true + predicted) if true + predicted else NAN,
        "precision": hit / predicted if predicted else NAN,
        "recall": hit / true if true else NAN,
    }


def mean_of_defined(values):
    values = [v for v in values if not math.isnan(v)]
    return sum(values) / len(values) if values else NAN


@given(stacks())
def test_scores_follow_their_definitions(confusions):
    for confusion in confusions:
        rows = [one_class_by_definition(confusion, c) for c in range(len(confusion))]
        for name, score in PER_CLASS.items():
            np.testing.assert_allclose(score(confusion), [row[name] for row in rows], rtol=1e-14)
        expected = {
            "aAcc": np.trace(confusion) / confusion.sum() if confusion.any() else NAN,
            "mAcc": mean_of_defined(row["recall"] for row in rows),
            "mIoU": mean_of_defined(row["iou"] for row in rows),
            "mDice": mean_of_defined(row["dice"] for row in rows),
        }
        for name, score in OVERALL.items():
            np.testing.assert_allclose(score(confusion), expected[name], rtol=1e-12)


@given(stacks())
def test_leading_axes_are_worked_over_at_once(confusions):
    for name, score in (PER_CLASS | OVERALL).items():
        one_by_one = np.stack([score(confusion) for confusion in confusions])
        np.testing.assert_array_equal(score(confusions), one_by_one, err_msg=name)
        np.testing.assert_array_equal(score(confusions[:, None])[:, 0], one_by_one, err_msg=name)


@given(stacks(), st.randoms(use_true_random=False))
def test_order_of_classes_does_not_matter(confusions, random):
    order = list(range(confusions.shape[-1]))
    random.shuffle(order)
    moved = confusions[:, order][:, :, order]
    for score in PER_CLASS.values():
        np.testing.assert_array_equal(score(moved), score(confusions)[:, order])
    for score in OVERALL.values():
        np.testing.assert_allclose(score(moved), score(confusions), rtol=1e-12)


@given(stacks())
def test_relations_between_the_scores(confusions):
    result = scores(confusions.sum(axis=0), [f"c{i}" for i in range(confusions.shape[-1])])
    assert sum(row.true_pixels for row in result.classes) == result.pixels == confusions.sum()
    assert sum(row.predicted_pixels for row in result.classes) == result.pixels
    for row in result.classes:
        if math.isnan(row.iou):
            assert row.true_pixels == row.predicted_pixels == 0 and math.isnan(row.dice)
        else:
            assert row.dice == pytest.approx(2 * row.iou / (1 + row.iou))
    if result.pixels:
        assert sum(row.true_share for row in result.classes) == pytest.approx(1)
        weighted = [row.recall * row.true_share for row in result.classes if row.true_pixels]
        assert sum(weighted) == pytest.approx(result.aAcc)


def test_absent_and_invented_classes():
    #           hit both, half found; absent; invented; never predicted
    confusion = np.array([[6, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]])
    result = scores(confusion, ["a", "absent", "invented", "missed"])
    a, absent, invented, missed = result.classes
    assert (a.iou, a.dice, a.precision, a.recall) == (6 / 10, 12 / 16, 6 / 8, 6 / 8)
    assert all(math.isnan(v) for v in (absent.iou, absent.dice, absent.precision, absent.recall))
    assert (invented.iou, invented.dice, invented.precision) == (0, 0, 0) and math.isnan(invented.recall)
    assert (missed.iou, missed.dice, missed.recall) == (0, 0, 0) and math.isnan(missed.precision)
    assert result.mIoU == pytest.approx(0.6 / 3) and result.mDice == pytest.approx(0.75 / 3)
    assert result.mAcc == pytest.approx(0.75 / 2) and result.aAcc == 0.6


def test_a_dataset_without_counted_pixels_is_undefined_everywhere():
    result = scores(np.zeros((2, 2), np.int64), ["a", "b"])
    assert all(math.isnan(v) for v in (result.aAcc, result.mAcc, result.mIoU, result.mDice))
    assert result.pixels == 0 and math.isnan(result.classes[0].true_share)


def test_a_class_of_one_pixel_counts_as_much_as_the_others():
    found, missed = np.array([[999_999, 0], [0, 1]]), np.array([[999_999, 0], [1, 0]])
    assert scores(found, ["a", "b"]).mIoU == 1
    assert scores(missed, ["a", "b"]).mIoU == pytest.approx(0.4999995)
    assert scores(missed, ["a", "b"]).aAcc == pytest.approx(0.999999)


def test_counts_far_beyond_32_bits():
    confusion = np.array([[2**50, 2**50], [0, 2**51]])
    result = scores(confusion, ["a", "b"])
    assert result.pixels == 2**52
    assert result.classes[0].iou == 0.5 and result.classes[1].iou == pytest.approx(2 / 3)
    small = np.full((2, 2), 2**31 - 1, np.int32)
    assert metrics.dice(small).tolist() == [0.5, 0.5]


def test_dataset_and_image_aggregation_differ_as_stated():
    confusions = np.array([[[90, 0], [10, 0]], [[0, 0], [0, 10]], [[8, 2], [0, 0]]])
    assert metrics.iou(confusions.sum(axis=0))[1] == pytest.approx(10 / 22)
    np.testing.assert_allclose(mean_image_iou(confusions)[1], (0 + 1) / 2)  # the third image lacks the class
    never = np.array([[[5, 1], [0, 0]]])
    np.testing.assert_array_equal(mean_image_iou(never), [5 / 6, NAN])


@given(stacks())
def test_thresholds_that_an_iou_exceeds(confusions):
    found = metrics.thresholded_iou(confusions)
    for image, row in zip(confusions, found, strict=True):
        for c, value in enumerate(row):
            hit, union = int(image[c, c]), int(image[c].sum() + image[:, c].sum() - image[c, c])
            passed = [Fraction(hit, union) > Fraction(k, 20) for k in range(10, 20)] if union else []
            assert value == pytest.approx(sum(passed) / 10) if union else math.isnan(value)
    np.testing.assert_array_equal(metrics.thresholded_iou(confusions, absent=1.0), np.where(np.isnan(found), 1, found))


def test_an_iou_at_a_threshold_does_not_exceed_it():
    found = metrics.thresholded_iou(np.array([[[n, 100 - n], [0, 0]] for n in (50, 51, 55, 56, 95, 96, 100)]))
    np.testing.assert_allclose(found[:, 0], [0, 0.1, 0.1, 0.2, 0.9, 1, 1])
    np.testing.assert_array_equal(found[:-1, 1], 0)  # invented
    assert math.isnan(found[-1, 1])


def test_image_scores_agree_with_the_vectorised_functions():
    confusion = np.array([[7, 1, 0], [2, 3, 0], [0, 0, 0]])
    image = image_scores(confusion)
    np.testing.assert_array_equal(image.iou, metrics.iou(confusion))
    np.testing.assert_array_equal(image.dice, metrics.dice(confusion))
    np.testing.assert_array_equal(image.thresholded_iou, metrics.thresholded_iou(confusion))
    assert all(getattr(image, name) == score(confusion) for name, score in OVERALL.items())
    document = json.loads(json.dumps(image.to_dict(), allow_nan=False))
    assert document["iou"] == [0.7, 0.5, None] and document["mIoU"] == pytest.approx(0.6)


def test_json_form():
    result = scores(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]), ["a", "b", "c"], ids=[0, 4, 9])
    document = json.loads(json.dumps(result.to_dict({"mIoU": Interval(0.375, 0.1, 0.9)}), allow_nan=False))
    assert list(document) == ["pixels", "scores", "classes"]
    assert list(document["scores"]) == ["aAcc", "mAcc", "mIoU", "mDice"]
    assert document["scores"]["mIoU"] == {"value": 0.375, "low": 0.1, "high": 0.9}
    assert document["scores"]["aAcc"] == {"value": 0.75, "low": None, "high": None}
    assert [row["id"] for row in document["classes"]] == [0, 4, 9]
    assert document["classes"][2] == {
        "id": 9, "name": "c", "iou": None, "dice": None, "precision": None, "recall": None,
        "true_pixels": 0, "predicted_pixels": 0, "true_share": 0.0, "predicted_share": 0.0,
    }  # fmt: skip


def test_wrong_input_is_refused():
    square = np.ones((2, 2), np.int64)
    with pytest.raises(DataError, match="3 names and 2 ids for 2 classes"):
        scores(square, ["a", "b", "c"])
    with pytest.raises(DataError, match="1 ids for 2 classes"):
        scores(square, ["a", "b"], ids=[1])
    for call in (lambda c: scores(c, ["a", "b"]), image_scores):
        with pytest.raises(DataError, match=r"one \(K, K\) matrix"):
            call(square[None])
    for wrong in (square[0], np.ones((2, 3), np.int64), square / 4):
        with pytest.raises(DataError, match=r"integer counts \(\.\.\., K, K\)"):
            metrics.mIoU(wrong)
