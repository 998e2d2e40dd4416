"""Run lengths against pycocotools, and CVAT's against its own way of reading them."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from maskwright.core.rle import (
    MAX_PIXELS,
    decode_box,
    decode_counts,
    encode_box,
    encode_counts,
    pack_counts,
    unpack_counts,
)

# pycocotools hands out arrays in a way that numpy will no longer take one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BoolMask = npt.NDArray[np.bool_]
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def by_pycocotools(counts: list[int], height: int, width: int) -> str:
    return coco.frPyObjects({"counts": counts, "size": [height, width]}, height, width)["counts"].decode()


@given(MASKS)
def test_coco_agrees_with_pycocotools(mask: BoolMask) -> None:
    height, width = mask.shape
    counts = encode_counts(mask)
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert pack_counts(counts).encode() == packed
    assert unpack_counts(packed.decode()) == counts
    np.testing.assert_array_equal(decode_counts(counts, height, width), mask)
    np.testing.assert_array_equal(coco.decode({"counts": pack_counts(counts), "size": [height, width]}), mask)


def test_coco_at_a_real_size(rng: np.random.Generator) -> None:
    blobs = np.kron(rng.random((16, 20)) < 0.5, np.ones((40, 37), bool)) ^ (rng.random((640, 740)) < 0.01)
    packed = coco.encode(np.asfortranarray(blobs.astype(np.uint8)))["counts"].decode()
    assert pack_counts(encode_counts(blobs)) == packed
    np.testing.assert_array_equal(decode_counts(unpack_counts(packed), *blobs.shape), blobs)


# Below 2**24: pycocotools writes past the end of its buffer when every number takes six groups.
@given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**24 - 1)), max_size=40))
def test_packing_any_counts(counts: list[int]) -> None:
    packed = pack_counts(counts)
    assert packed == by_pycocotools(counts, 1, sum(counts))
    assert unpack_counts(packed) == counts


def test_packing_the_largest_and_smallest() -> None:
    for counts in ([], [0], [2**32 - 1], [0, 2**32 - 1, 2**32 - 1, 0, 0], [15, 16, 31, 32, 0, 1]):
        assert unpack_counts(pack_counts(counts)) == counts
    assert pack_counts([0, 2**32 - 1, 2**32 - 1, 0, 0]).count("o") == 12  # all bits set, twice six groups


def test_empty_runs_are_allowed() -> None:
    expected = np.array([[False, True, True]])
    np.testing.assert_array_equal(decode_counts([0, 0, 1, 1, 0, 1, 0, 0], 1, 3), expected)
    assert decode_counts([], 0, 5).shape == (0, 5)
    assert encode_counts(np.zeros((0, 5), bool)) == [0]


@pytest.mark.parametrize(
    "counts, message",
    [
        ([5], "cover 5 pixels, but 3 x 2 are 6"),
        ([7], "cover 7 pixels"),
        ([7, -1], "whole numbers between 0"),
        ([2.0, 4.0], "whole numbers"),
        ([2**32, 6], "whole numbers"),
        ([2**80], "whole numbers"),
        ([2**63, 6], "whole numbers"),
        ([[1], [2, 3]], "whole numbers"),
        ([[3, 3]], "whole numbers"),
        (["a", "b"], "whole numbers"),
        ([True, False], "whole numbers"),
        ([None], "whole numbers"),
    ],
)
def test_counts_that_do_not_fit(counts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_counts(counts, 2, 3)
    with pytest.raises(ValueError, match=message):
        decode_box(counts, 0, 0, 3, 2, 9, 9)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 2", "character"),
        ("1p", "character"),
        ("1é", "character"),
        ("\ud800", "character"),
        ("/", "character"),
        ("1o", "cut off"),
        ("P", "cut off"),
        ("oooooooo1", "more than 32 bits"),
        ("P" * 500_000 + "1", "more than 32 bits"),
        ("P" * 7 + "0", "32 bits"),
        ("O", "hold -1"),
        ("111N", "hold -1"),
        ("1" + "PPPPPP?", "lengths lie between"),
    ],
)
def test_strings_that_are_no_counts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack_counts(text)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_strings_give_counts_or_an_error(text: str) -> None:
    try:
        counts = unpack_counts(text)
    except ValueError:
        return
    assert all(0 <= count < 2**32 for count in counts)
    assert unpack_counts(pack_counts(counts)) == counts


def test_sizes_beyond_reason() -> None:
    tracemalloc.start()
    for height, width in ((10**9, 10**9), (1, MAX_PIXELS + 1), (-1, -6)):
        with pytest.raises(ValueError, match="pixels are read"):
            decode_counts([6], height, width)
    for box in ((10**6 + 1, 1), (1, 10**18), (-1, -6)):
        with pytest.raises(ValueError, match="sides between"):
            decode_box([6], 0, 0, *box, 9, 9)
    # The largest box there is, all inside: only the image is laid out.
    full = [0] + [4 * 10**9, 0] * 250
    assert decode_box(full, -(10**5), -(10**5), 10**6, 10**6, 9, 9).all()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def as_cvat_reads(counts: list[int], width: int, height: int) -> BoolMask:
    """CVAT takes its rows for the columns of COCO."""
    packed = coco.frPyObjects({"counts": counts, "size": [width, height]}, width, height)
    return np.asarray(coco.decode(packed).T, bool)


@given(MASKS)
def test_box(mask: BoolMask) -> None:
    counts, left, top, width, height = encode_box(mask)
    np.testing.assert_array_equal(decode_box(counts, left, top, width, height, *mask.shape), mask)
    if not mask.any():
        assert (counts, width, height) == ([0], 0, 0)
        return
    part = mask[top : top + height, left : left + width]
    assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()
    np.testing.assert_array_equal(as_cvat_reads(counts, width, height), part)


@given(MASKS, st.integers(-14, 9), st.integers(-14, 9), st.integers(1, 9), st.integers(1, 9))
def test_box_across_the_border(part: BoolMask, left: int, top: int, height: int, width: int) -> None:
    counts = [len(list(run)) for _, run in itertools.groupby(np.append(False, part).tolist())]
    counts[0] -= 1
    expected = np.zeros((height, width), bool)
    for row, column in np.ndindex(*part.shape):
        if 0 <= top + row < height and 0 <= left + column < width:
            expected[top + row, left + column] = part[row, column]
    found = decode_box(counts, left, top, part.shape[1], part.shape[0], height, width)
    np.testing.assert_array_equal(found, expected)


def test_box_drawn_in_cvat() -> None:
    """A brush stroke from an export (https://github.com/cvat-ai/cvat/issues/4723): a disc of 40 pixels."""
    text = (
        "17, 10, 27, 15, 23, 18, 20, 21, 18, 23, 16, 24, 15, 26, 13, 27, 13, 27, 12, 29, 10, 30, 9, 32, 7, 34, 5, 36, 3, "
        "38, 2, 38, 2, 39, 1, 39, 1, 120, 1, 39, 1, 39, 1, 39, 2, 38, 2, 38, 3, 37, 3, 37, 3, 37, 4, 36, 4, 35, 6, 34, "
        "7, 33, 7, 32, 9, 30, 10, 29, 13, 26, 15, 23, 18, 20, 22, 15, 12"
    )
    mask = decode_box([int(count) for count in text.split(",")], 79, 304, 40, 40, 400, 200)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (304, 343, 79, 118)
    # Read along the rows every line of a disc is one run.
    assert (np.count_nonzero(np.diff(mask[304:344].astype(int), axis=1) == 1, axis=1) == 1).all()
