"""Run lengths of masks (H, W): COCO's, in plain and in packed form, and CVAT's.

Both list the lengths of runs of equal pixels and start with a run outside (of length 0 when the first pixel is
inside). COCO goes down the columns of the whole image, CVAT along the rows of a box. Whatever does not fit is refused
with a ValueError; no work or memory goes beyond the length of the input and the size of the image.

COCO: maskApi.c of pycocotools (https://github.com/cocodataset/cocoapi). CVAT: `<mask>` in
https://docs.cvat.ai/docs/other/xml_format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.limits import MAX_PIXELS

BoolMask = npt.NDArray[np.bool_]

MAX_SIDE = 1_000_000
MAX_COUNT = 2**32 - 1  # pycocotools counts in 32 bits


def encode_counts(mask: BoolMask) -> list[int]:
    """(H, W) bool -> COCO run lengths down the columns; they sum to H * W."""
    return _runs(mask.T.reshape(-1))


def decode_counts(counts: Sequence[int], height: int, width: int) -> BoolMask:
    """COCO run lengths -> (H, W) bool. Runs of length 0 may stand anywhere.

    Raises ValueError for lengths that are negative, no whole numbers, or do not sum to H * W, and for images of more
    than `MAX_PIXELS`.
    """
    if height < 0 or width < 0 or height * width > MAX_PIXELS:
        raise ValueError(f"run lengths for {width} x {height} pixels; at most {MAX_PIXELS} pixels are read")
    lengths = _fitting(counts, height, width)
    return np.ascontiguousarray(np.repeat(_inside(lengths), lengths).reshape(width, height).T)


def pack_counts(counts: Sequence[int]) -> str:
    """COCO run lengths -> the string that pycocotools writes.

    From the fourth on each is stored as the difference to the one two before, in groups of five bits, lowest first;
    the sixth bit says that another group follows, and 48 makes it a printable character. ValueError as in
    `decode_counts`.
    """
    lengths = _numbers(counts)
    values = lengths.copy()
    values[3:] -= lengths[1:-2]
    # As few groups as leave room for the sign, which is the top bit of the last one.
    magnitudes = np.where(values < 0, ~values, values)
    groups = np.ones_like(values)
    for bits in range(4, 34, 5):
        groups += magnitudes >> bits > 0
    position = _position(groups)
    codes = np.repeat(values, groups) >> 5 * position & 31
    codes += np.where(position + 1 < np.repeat(groups, groups), 32, 0) + 48
    return codes.astype(np.uint8).tobytes().decode("ascii")


def unpack_counts(text: str) -> list[int]:
    """The inverse of `pack_counts`; work and memory grow with the length of the string only.

    Raises ValueError for characters outside "0" to "o", a string that is cut off, and lengths below 0 or beyond 32
    bits. Whether they fit an image is checked by `decode_counts`.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    if not codes.size:
        return []
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError("packed run lengths hold a character that is not one of '0' to 'o'")
    last = np.flatnonzero(codes < 32)
    if not last.size or last[-1] != codes.size - 1:
        raise ValueError("packed run lengths are cut off in the middle of a number")
    groups = np.diff(last, prepend=-1)
    if groups.max() > 7:
        raise ValueError("packed run lengths hold a number of more than 32 bits")
    values = np.add.reduceat((codes & 31) << 5 * _position(groups), last - groups + 1)
    values -= np.where(codes[last] & 16, 1 << 5 * groups, 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.max() > MAX_COUNT:
        raise ValueError(
            f"packed run lengths hold {values[(values < 0) | (values > MAX_COUNT)][0]}; "
            f"lengths lie between 0 and {MAX_COUNT}"
        )
    return [int(value) for value in values]


def encode_box(mask: BoolMask) -> tuple[list[int], int, int, int, int]:
    """(H, W) bool -> CVAT run lengths along the rows of the smallest box, and its left, top, width and height.

    An empty mask has a box of 0 x 0 pixels; CVAT has no such masks, so a writer leaves it out.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return [0], 0, 0, 0, 0
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    return _runs(mask[top:bottom, left:right].reshape(-1)), left, top, right - left, bottom - top


def decode_box(
    counts: Sequence[int], left: int, top: int, width: int, height: int, image_height: int, image_width: int
) -> BoolMask:
    """CVAT run lengths in a box -> (image_height, image_width) bool; what lies outside the image is cut off.

    The box is never laid out in memory. Raises ValueError for sides below 0 or above `MAX_SIDE`, and for lengths that
    are negative, no whole numbers, or do not sum to width * height.
    """
    if not (0 <= width <= MAX_SIDE and 0 <= height <= MAX_SIDE):
        raise ValueError(
            f"run lengths in a box of {width} x {height} pixels; sides between 0 and {MAX_SIDE} are possible"
        )
    lengths = _fitting(counts, height, width)
    mask = np.zeros((image_height, image_width), np.bool_)
    first_row, last_row = max(0, -top), min(height, image_height - top)
    first_column, last_column = max(0, -left), min(width, image_width - left)
    rows, columns = last_row - first_row, last_column - first_column
    if rows <= 0 or columns <= 0:
        return mask
    # How many pixels of the part inside the image come before the end of each run.
    row, column = np.divmod(np.cumsum(lengths), width)
    ends = np.clip(row - first_row, 0, rows) * columns
    ends += np.where((row >= first_row) & (row < last_row), np.clip(column - first_column, 0, columns), 0)
    part = np.repeat(_inside(lengths), np.diff(ends, prepend=0)).reshape(rows, columns)
    mask[top + first_row : top + last_row, left + first_column : left + last_column] = part
    return mask


def _runs(pixels: BoolMask) -> list[int]:
    lengths = np.diff(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1, prepend=0, append=pixels.size)
    return [0] * bool(pixels.size and pixels[0]) + [int(length) for length in lengths]


def _inside(lengths: npt.NDArray[np.int64]) -> BoolMask:
    return np.asarray(np.arange(lengths.size) % 2, np.bool_)


def _position(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of every group within its number: 0, 1, 0, 0, 1, 2 for numbers of 2, 1 and 3 groups."""
    return np.arange(groups.sum()) - np.repeat(np.cumsum(groups) - groups, groups)


def _numbers(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    try:
        values: npt.NDArray[Any] = np.asarray(counts if len(counts) else np.zeros(0, np.int64))
    except ValueError:  # lists of different lengths inside
        values = np.zeros((0, 0))
    if values.ndim != 1 or values.dtype.kind not in "iu" or ((values < 0) | (values > MAX_COUNT)).any():
        raise ValueError(f"run lengths must be whole numbers between 0 and {MAX_COUNT}")
    return values.astype(np.int64)


def _fitting(counts: Sequence[int], height: int, width: int) -> npt.NDArray[np.int64]:
    lengths = _numbers(counts)
    if lengths.sum() != height * width:
        raise ValueError(f"run lengths cover {lengths.sum()} pixels, but {width} x {height} are {height * width}")
    return lengths
