"""Whole images from windows: tiles that cover an image, and their probabilities blended into those of the image.

A network knows least at the border of its window. So tiles overlap, and each weighs most in its middle: by a Gaussian
whose deviation is an eighth of the side, as in nnU-Net (Isensee et al. 2021, Nature Methods 18). The weights of a row
and of a column of tiles are divided by their sums beforehand: at each pixel those of all tiles add up to 1.

Nothing here holds all classes of the whole image. Of a tile that was added, the part that no later tile reaches is
handed out; of the rest only the overlap with the row below waits.

Probabilities stay with the library that made them (see `Arrays`), so that those of a GPU are blended there, and those
of an exported model without torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from maskwright.core.bands import Stored
from maskwright.core.geometry import Geometry, P, Size, pad_to
from maskwright.core.windows import Windows

Place = tuple[int, int]
# An array of numpy or a tensor of torch, of floats.
Values = Any
# The summed probabilities (H, W) of some leaves.
Maps = Callable[[Sequence[int]], Values]
# The deviation of the Gaussian over the side of a tile.
_DEVIATION = 1 / 8
_PART = 1 << 22  # pixels


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows of `window` pixels begin that cover `length` pixels at even distances, each overlapping the next by
    the share `overlap` (0..1) or more. The last one ends with the image; of an image that is smaller, the only one goes
    beyond."""
    if length <= window:
        return [0]
    count = math.ceil((length - window) / max(1, math.floor(window * (1 - overlap)))) + 1
    return [round(place) for place in np.linspace(0, length - window, count).tolist()]


@dataclass(frozen=True)
class Arrays:
    """What libraries of arrays call differently, each for `values` of that library.

    `like(array, values)`: an array of numpy where the values are. `empty(values, shape)`: room for others of their
    dtype. `copy(values)`. `join(parts, axis)`. `between(first, second, share)`: from the first (0) to the second (1).
    `to_numpy(values)`: float32 in main memory.
    """

    like: Callable[[npt.NDArray[Any], Values], Values]
    empty: Callable[[Values, tuple[int, ...]], Values]
    copy: Callable[[Values], Values]
    join: Callable[[Sequence[Values], int], Values]
    between: Callable[[Values, Values, Values], Values]
    to_numpy: Callable[[Values], npt.NDArray[np.float32]]


NUMPY = Arrays(
    like=lambda array, values: array,
    empty=lambda values, shape: np.empty(shape, values.dtype),
    copy=np.copy,
    join=np.concatenate,
    between=lambda first, second, share: first + share * (second - first),
    to_numpy=lambda values: np.asarray(values, np.float32),
)


def whole(probabilities: Values) -> Maps:
    """The maps of (K, H, W) probabilities."""
    return lambda members: probabilities[members[0]] if len(members) == 1 else probabilities[list(members)].sum(0)


def weights(places: Sequence[int], window: int) -> npt.NDArray[np.float32]:
    """(T, window) float32: how much each of T windows that begin at `places` counts; at each pixel the sum is 1."""
    bell = np.exp(-0.5 * ((np.arange(window) + 0.5 - window / 2) / (window * _DEVIATION)) ** 2)
    total = np.zeros(places[-1] + window)
    for place in places:
        total[place : place + window] += bell
    return np.stack([bell / total[place : place + window] for place in places]).astype(np.float32)


@dataclass(frozen=True)
class Block:
    """A finished part of an image: its `values` (K, h, w), whose first row and column lie at `place`."""

    place: Place
    values: Values


def blended(
    image: Stored | Windows,
    geometry: Geometry,
    together: int,
    predict: Callable[[Stored, Sequence[Place]], Iterable[Values]],
    arrays: Arrays,
) -> Iterator[Block]:
    """The blocks of a scaled image (H, W, C), row by row from the left, which cover it and do not overlap; where
    the image is smaller than a window, also the padding.

    `predict` makes tiles (N, h, w, C), of which there are at most `together`, and their places in the image to
    probabilities (K, h, w), one tile after the other, each class by itself in memory.
    """
    height, width = geometry.size
    tops, lefts = grid(image, geometry)
    down, across = weights(tops, height), weights(lefts, width)
    tiles = _predicted(image, geometry.size, [*product(tops, lefts)], together, predict)
    # Sums of the tiles so far: `above` of the rows that this row of tiles shares with those above, over the whole
    # width; `before` of the columns that this tile shares with those at its left.
    above: Values | None = None
    before: Values | None = None
    for row, top in enumerate(tops):
        shared_rows = tops[row - 1] + height - top if row else 0
        ready_rows = (tops[row + 1] - top) if row + 1 < len(tops) else height
        for column, left in enumerate(lefts):
            shared = lefts[column - 1] + width - left if column else 0
            ready = (lefts[column + 1] - left) if column + 1 < len(lefts) else width
            values = next(tiles)
            values = values * arrays.like(down[row, :, None] * across[column], values)
            if before is not None and shared:
                values[:, :, :shared] += before
            before = arrays.copy(values[:, :, ready:]) if ready < width else None
            values = values[:, :, :ready]
            if above is not None and shared_rows:
                values[:, :shared_rows] += above[:, :shared_rows, left : left + ready]
            yield Block((top, left), values[:, :ready_rows])
            if ready_rows < height:
                if above is None:
                    above = arrays.empty(values, (len(values), max(_overlaps(tops, height)), lefts[-1] + width))
                above[:, : height - ready_rows, left : left + ready] = values[:, ready_rows:]
            del values
        before = None


def grid(image: Stored | Windows, geometry: Geometry) -> tuple[list[int], list[int]]:
    """Where the rows and the columns of tiles begin that cover a scaled image (H, W, C)."""
    assert geometry.crop
    sides = zip(image.shape[:2], geometry.size, strict=True)
    tops, lefts = (starts(length, window, geometry.crop.overlap) for length, window in sides)
    return tops, lefts


def drawn(image: Stored, geometry: Geometry, count: int, rng: np.random.Generator) -> Stored:
    """At most `count` of the tiles that cover a scaled image (H, W, C), by chance: (N, h, w, C)."""
    places = list(product(*grid(image, geometry)))
    chosen = rng.choice(len(places), min(count, len(places)), replace=False).tolist()
    return cut(image, geometry.size, [places[number] for number in chosen])


def _overlaps(places: Sequence[int], window: int) -> list[int]:
    return [first + window - second for first, second in pairwise(places)]


def _predicted(
    image: Stored | Windows,
    window: Size,
    places: Sequence[Place],
    together: int,
    predict: Callable[[Stored, Sequence[Place]], Iterable[Values]],
) -> Iterator[Values]:
    for start in range(0, len(places), together):
        some = places[start : start + together]
        yield from predict(cut(image, window, some), some)


@overload
def cut(image: P, window: Size, places: Sequence[Place], fill: int = 0) -> P: ...


@overload
def cut(image: Stored | Windows, window: Size, places: Sequence[Place], fill: int = 0) -> Stored: ...


def cut(image: Any, window: Size, places: Sequence[Place], fill: int = 0) -> Any:
    """The windows (N, h, w, ...) of an image (H, W, ...) at these places, padded with `fill` where it ends."""
    parts = [image[top : top + window[0], left : left + window[1]] for top, left in places]
    return np.stack([pad_to(part, window, fill) for part in parts])


def in_strips(probabilities: Values, size: Size) -> Iterator[Block]:
    """The blocks of an image that was seen as a whole (K, h, w), each of so few rows that they become no more than
    `_PART` pixels at the image's own `size`, if one row does not."""
    height = probabilities.shape[1]
    rows = max(1, _PART * height // (size[0] * size[1]))
    return (Block((top, 0), probabilities[:, top : top + rows]) for top in range(0, height, rows))


@dataclass(frozen=True)
class Part:
    """A part of an image at its own size: rows and columns, and the maps of its leaves (see `selectors`)."""

    rows: slice
    columns: slice
    maps: Maps


def parts(blocks: Iterator[Block], scaled: Size, size: Size, arrays: Arrays) -> Iterator[Part]:
    """The blocks of an image of the size `scaled` to parts of it at its own `size`, between pixels linearly: what the
    whole image would become, without holding it."""
    rows, columns = _between(scaled[0], size[0]), _between(scaled[1], size[1])
    # The last row of the blocks above, over the whole width, and the last column of the block at the left.
    edge: Values | None = None
    side: Values | None = None
    for block in blocks:
        (top, left), values = block.place, block.values
        if scaled == size:
            values = values[:, : size[0] - top, : size[1] - left]
            yield Part(_slice(top, values.shape[1]), _slice(left, values.shape[2]), whole(values))
            continue
        if edge is None:
            edge = arrays.copy(values[:, -1:])
        elif edge.shape[2] < left + values.shape[2]:
            edge = arrays.join([edge, values[:, -1:]], 2)
        first_row, first_column = min(top, 1), min(left, 1)
        around = values
        if first_row:
            around = arrays.join([edge[:, :, left : left + values.shape[2]], around], 1)
        if first_column:
            assert side is not None
            around = arrays.join([side[:, 1 - first_row :], around], 2)
        # The corner above the next block is overwritten by this one's last row.
        corner = arrays.copy(edge[:, :, left + values.shape[2] - 1 :][:, :, :1])
        side = arrays.join([corner, values[:, :, -1:]], 1)
        edge[:, :, left : left + values.shape[2]] = values[:, -1:]
        own_rows = rows.within(top, top + values.shape[1])
        own_columns = columns.within(left, left + values.shape[2])
        down, across = rows.of(own_rows, top - first_row), columns.of(own_columns, left - first_column)
        yield Part(own_rows, own_columns, _resampled(around, down, across, arrays))


def labels_of(
    found: Iterator[Part], size: Size, levels: int, select: Callable[[Maps], Sequence[npt.NDArray[np.uint8]]]
) -> list[npt.NDArray[np.uint8]]:
    """The indices (H, W) uint8 of so many levels at an image's own `size`, top first, which `select` finds in maps."""
    labels = [np.empty(size, np.uint8) for _ in range(levels)]
    top = 0
    for strips in label_strips(found, size[1], levels, select):
        for labelled, strip in zip(labels, strips, strict=True):
            labelled[top : top + len(strip)] = strip
        top += len(strips[0])
    return labels


def label_strips(
    found: Iterator[Part], width: int, levels: int, select: Callable[[Maps], Sequence[npt.NDArray[np.uint8]]]
) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """As `labels_of`, some rows (h, width) of the image at once, from the top."""
    strips: list[npt.NDArray[np.uint8]] = []
    for part in found:
        if part.columns.start == part.columns.stop or part.rows.start == part.rows.stop:
            continue  # where the image is padded
        if part.columns.start == 0:
            strips = [np.empty((part.rows.stop - part.rows.start, width), np.uint8) for _ in range(levels)]
        for strip, chosen in zip(strips, select(part.maps), strict=True):
            strip[:, part.columns] = chosen
        if part.columns.stop == width:
            yield strips


def joined(found: Iterator[Part], size: Size, classes: int, arrays: Arrays) -> npt.NDArray[np.float32]:
    """(K, H, W) in main memory, at an image's own `size`: the probabilities of all `classes`."""
    probabilities = np.empty((classes, *size), np.float32)
    for part in found:
        for index in range(classes):
            probabilities[index, part.rows, part.columns] = arrays.to_numpy(part.maps([index]))
    return probabilities


def _slice(start: int, length: int) -> slice:
    return slice(start, start + length)


@dataclass(frozen=True)
class _Between:
    """Between which pixels of the one side each pixel of the other lies, `low` and `high`, and how far (0..1)."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    share: npt.NDArray[np.float32]

    def within(self, start: int, stop: int) -> slice:
        """Those that need nothing at or beyond `stop` and something at or beyond `start`."""
        return slice(*np.searchsorted(self.high, (start, stop)).tolist())

    def of(self, chosen: slice, start: int) -> tuple[npt.NDArray[Any], ...]:
        return self.low[chosen] - start, self.high[chosen] - start, self.share[chosen]


def _between(count: int, wanted: int) -> _Between:
    """As `torch.nn.functional.interpolate` does it for bilinear without aligned corners."""
    places = np.maximum((np.arange(wanted) + 0.5) * (count / wanted) - 0.5, 0)
    low = np.minimum(places.astype(np.int64), count - 1)
    return _Between(low, np.minimum(low + 1, count - 1), (places - low).clip(0, 1).astype(np.float32))


def _resampled(
    values: Values, rows: Sequence[npt.NDArray[Any]], columns: Sequence[npt.NDArray[Any]], arrays: Arrays
) -> Maps:
    """The maps of (K, h, w), made one by one."""
    (low, high, down), (left, right, across) = (
        tuple(arrays.like(part, values) for part in axis) for axis in (rows, columns)
    )
    maps = whole(values)

    def summed(members: Sequence[int]) -> Values:
        total = maps(members)
        across_rows = arrays.between(total[low], total[high], down[:, None])
        return arrays.between(across_rows[:, left], across_rows[:, right], across)

    return summed
