"""Scores of boundaries against a loop over pixels, MONAI and SciPy, and by what must hold for any masks."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics import BoundaryScores, Tolerance, boundary_scores

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peer's own imports warn of is not ours to fix
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

K = 3
NAN = math.nan


@st.composite
def pairs(draw, ignored=True):
    """Masks of a few pixels, in which classes, boundaries and counted pixels are often missing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    ids = st.sampled_from(draw(st.lists(st.integers(0, K - 1), min_size=1, max_size=3)))
    truth_ids = st.one_of(ids, ids, st.just(255)) if ignored else ids
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    return draw(hnp.arrays(dtype, shape, elements=truth_ids)), draw(hnp.arrays(np.uint8, shape, elements=ids))


def boundary_by_loop(mask, counted, c):
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            around = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
            if (
                counted[y, x]
                and mask[y, x] == c
                and any(0 <= v < height and 0 <= u < width and counted[v, u] and mask[v, u] != c for v, u in around)
            ):
                found.append((y, x))
    return found


def percentile(values, share):
    """Linear between ranks, as numpy, torch and MONAI have it."""
    values = sorted(values)
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def one_class_by_loop(truth, prediction, c, limit):
    """The definitions and the table at the top of boundary.py, in plain Python."""
    counted = truth != 255
    t, p = boundary_by_loop(truth, counted, c), boundary_by_loop(prediction, counted, c)
    in_truth, in_prediction = ((mask == c) & counted for mask in (truth, prediction))
    diagonal = math.hypot(*truth.shape)
    if not in_truth.any():
        return [0, 0, diagonal, diagonal] if in_prediction.any() else [NAN] * 4
    if not t:
        return [NAN] * 4
    if not p:
        return [0, 0, diagonal, diagonal]
    to_p = [min(math.dist(a, b) for b in p) for a in t]
    to_t = [min(math.dist(a, b) for b in t) for a in p]
    found, right = sum(d <= limit for d in to_p), sum(d <= limit for d in to_t)
    r, precision = found / len(t), right / len(p)
    return [
        2 * precision * r / (precision + r) if r + precision else 0,
        (found + right) / (len(t) + len(p)),
        max(percentile(to_p, 0.95), percentile(to_t, 0.95)),
        sum(to_p + to_t) / (len(t) + len(p)),
    ]


@given(pairs(), st.sampled_from([0, 1, math.sqrt(2), 1.5, 2, math.sqrt(5), 3]))
def test_equals_a_loop_over_pixels(pair, limit):
    truth, prediction = pair
    prediction = prediction.astype(truth.dtype)
    found = boundary_scores(truth, prediction, K, Tolerance(pixels=limit))
    expected = np.array([one_class_by_loop(truth, prediction, c, limit) for c in range(K)], float).T
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def blobs(seed, shape=(60, 50)):
    """Three classes in patches that stay away from the frame, where MONAI sees boundaries and we do not."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(K, *shape)), (0, 4, 4))
    smooth[0] += 0.03
    mask = smooth.argmax(0).astype(np.uint8)
    mask[:2] = mask[-2:] = 0
    mask[:, :2] = mask[:, -2:] = 0
    return mask


@pytest.mark.filterwarnings("ignore:monai.metrics:FutureWarning")  # of what it calls itself
@pytest.mark.parametrize("seed", range(4))
def test_monai_agrees_away_from_the_frame(seed):
    truth, prediction = blobs(seed), np.where(np.random.default_rng(seed).random((60, 50)) < 0.9, blobs(seed), blobs(9))
    limit = 1.5
    ours = boundary_scores(truth, prediction, K, Tolerance(pixels=limit))
    y, x = (torch.from_numpy(np.stack([mask == c for c in range(K)])[None]) for mask in (truth, prediction))
    theirs = (
        compute_surface_dice(x, y, [limit] * (K - 1)),
        compute_hausdorff_distance(x, y, percentile=95),
        compute_average_surface_distance(x, y, symmetric=True),
    )
    for mine, their in zip((ours.nsd, ours.hd95, ours.assd), theirs, strict=True):
        np.testing.assert_allclose(mine[1:], their[0], rtol=1e-5)


def test_distances_are_those_of_scipy_at_any_size():
    truth, prediction = np.zeros((2, 700, 900), np.uint8)
    truth[3, 5] = prediction[690, 880] = 1
    found = boundary_scores(truth, prediction, 2)
    assert found.hd95[1] == found.assd[1] == math.hypot(687, 875)
    rng = np.random.default_rng(0)
    truth, prediction = (ndimage.gaussian_filter(rng.normal(size=(2, 300, 400)), (0, 9, 9)) > 0).astype(np.uint8)
    edges = [ndimage.binary_dilation(1 - mask) & (mask == 1) for mask in (truth, prediction)]
    to_p, to_t = (ndimage.distance_transform_edt(~goal)[start] for start, goal in (edges, edges[::-1]))
    found = boundary_scores(truth, prediction, 2, Tolerance(pixels=3))
    assert found.hd95[1] == pytest.approx(max(np.quantile(to_p, 0.95), np.quantile(to_t, 0.95)), rel=1e-12)
    assert found.assd[1] == pytest.approx(np.concatenate([to_p, to_t]).mean(), rel=1e-12)
    assert found.nsd[1] == pytest.approx((np.concatenate([to_p, to_t]) <= 3).mean(), rel=1e-12)


@given(pairs(ignored=False))
def test_mirrored_and_turned_masks_have_the_same_scores(pair):
    expected = boundary_scores(*(mask.astype(np.uint8) for mask in pair), K)
    for turned in (np.flipud, np.fliplr, np.transpose):
        found = boundary_scores(*(turned(mask).astype(np.uint8) for mask in pair), K)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(pairs(), st.permutations(range(K)))
def test_renaming_classes_moves_their_scores(pair, renamed):
    table = np.arange(256)
    table[:K] = renamed
    table = table.astype(np.uint8)
    truth, prediction = (mask.astype(np.uint8) for mask in pair)
    moved = boundary_scores(table[truth], table[prediction], K)
    np.testing.assert_array_equal(np.array(moved)[:, renamed], boundary_scores(truth, prediction, K))


@given(pairs(), st.integers(0, K - 1))
def test_what_is_predicted_at_ignored_pixels_does_not_matter(pair, other):
    truth, prediction = (mask.astype(np.uint8) for mask in pair)
    np.testing.assert_array_equal(
        boundary_scores(truth, np.where(truth == 255, np.uint8(other), prediction), K),
        boundary_scores(truth, prediction, K),
    )


@given(pairs())
def test_ranges_and_order(pair):
    truth, prediction = (mask.astype(np.uint8) for mask in pair)
    narrow, wide = (boundary_scores(truth, prediction, K, Tolerance(pixels=limit)) for limit in (1, 2))
    defined = ~np.isnan(narrow.f)
    for few, more in ((narrow.f, wide.f), (narrow.nsd, wide.nsd)):
        assert (few[defined] >= 0).all() and (few[defined] <= more[defined]).all() and (more[defined] <= 1).all()
    assert (narrow.hd95[defined] <= math.hypot(*truth.shape)).all()
    same = boundary_scores(truth, np.where(truth == 255, prediction, truth), K)
    shown = ~np.isnan(same.f)
    assert (same.f[shown] == 1).all() and (same.hd95[shown] == 0).all() and (same.assd[shown] == 0).all()


def square(at, side=20, size=60):
    mask = np.zeros((size, size), np.uint8)
    mask[at : at + side, at : at + side] = 1
    return mask


def test_a_grown_square_is_as_far_off_as_it_was_grown():
    truth, grown = square(20), square(17, 26)
    within, short = (boundary_scores(truth, grown, 2, Tolerance(pixels=limit)) for limit in (math.sqrt(18), 2.99))
    assert within.f[1] == within.nsd[1] == 1  # the corners are the farthest, and the limit itself is within it
    assert short.f[1] == short.nsd[1] == 0
    assert 3 <= within.hd95[1] < math.sqrt(18) and 3 <= within.assd[1] < 3.2


def test_neither_the_frame_nor_ignored_pixels_are_a_boundary():
    truth = np.zeros((8, 9), np.uint8)
    truth[:, :4] = 1
    assert boundary_scores(truth, truth, 2).f.tolist() == [1, 1]
    prediction = np.roll(truth, 1, axis=1)
    prediction[:, 0] = 1
    assert boundary_scores(truth, prediction, 2).assd.tolist() == [1, 1]  # nothing along the frame
    truth[:, 3:5] = 255  # now the outline is hidden
    assert np.isnan(boundary_scores(truth, prediction, 2)).all()


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ("00", "00", [NAN, NAN]),
        ("01", "01", [0.0, 0.0]),
        ("00", "01", [NAN, 5.0]),
        ("01", "00", [5.0, 5.0]),
        ("00", "11", [NAN, 5.0]),
        ("11", "01", [5.0, NAN]),
        ("1i", "00", [5.0, NAN]),
        ("1i", "10", [NAN, NAN]),
    ],
)
def test_absent_and_boundless_classes(truth, prediction, expected):
    """3 x 4 pixels, whose diagonal is 5; the left and the right half hold what the two letters say."""
    masks = [
        np.repeat(np.array([[{"0": 0, "1": 1, "i": 255}[letter] for letter in text]], np.uint8), 2, axis=1).repeat(
            3, axis=0
        )
        for text in (truth, prediction)
    ]
    found = boundary_scores(*masks, 2)
    np.testing.assert_array_equal(found.hd95, expected)
    np.testing.assert_array_equal(found.assd, expected)
    np.testing.assert_array_equal(found.f, [NAN if math.isnan(d) else float(d == 0) for d in expected])
    np.testing.assert_array_equal(found.nsd, found.f)


def test_tolerances():
    assert Tolerance().of((600, 800)) == 7.5 and Tolerance().of((30, 40)) == 1.0
    assert Tolerance.parse("3") == Tolerance.parse(3) == Tolerance.parse("3.0") == Tolerance(pixels=3.0)
    assert Tolerance.parse(" 1.5 % ") == Tolerance(share=0.015) and Tolerance.parse("0").of((600, 800)) == 0
    assert str(Tolerance.parse("0.75%")) == "0.75 % of the image's diagonal, at least 1 px"
    assert str(Tolerance(pixels=2)) == "2 px"
    for wrong in ("", "-1", "2px", "nan", "1e3", "%"):
        with pytest.raises(ConfigError, match="tolerance: .* give pixels, like 2, or a share"):
            Tolerance.parse(wrong)


def test_several_images_are_stacked():
    one, other = boundary_scores(square(20), square(21), 2), boundary_scores(square(20), square(0), 2)
    stacked = BoundaryScores.stacked([one, other])
    assert stacked.f.shape == stacked.hd95.shape == (2, 2)
    np.testing.assert_array_equal(stacked.hd95[1], other.hd95)


def test_wrong_masks_are_refused():
    with pytest.raises(DataError, match="its size 60 x 60 differs"):
        boundary_scores(square(20)[:50], square(20), 2)
    with pytest.raises(DataError, match="uint8 or uint16"):
        boundary_scores(square(20).astype(np.int64), square(20), 2)
