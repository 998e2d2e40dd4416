"""Whole images from windows: tiles that cover an image, and their probabilities blended into those of the image.

A network knows least at the border of its window. So tiles overlap, and each weighs most in its middle: by a Gaussian
whose deviation is an eighth of the side, as in nnU-Net (Isensee et al. 2021, Nature Methods 18). The weights of a row
and of a column of tiles are divided by their sums beforehand: at each pixel those of all tiles add up to 1.

Nothing here holds all classes of the whole image. Of a tile that was added, the part that no later tile reaches is
handed out; of the rest only the overlap with the row below waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from maskwright.core.bands import Stored
from maskwright.core.classes import Level, Selector
from maskwright.core.geometry import Geometry, Size, pad_to
from maskwright.modeling.models.selectors import Maps, select, whole

Place = tuple[int, int]
# The deviation of the Gaussian over the side of a tile.
_DEVIATION = 1 / 8


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows of `window` pixels begin that cover `length` pixels at even distances, each overlapping the next by
    the share `overlap` (0..1) or more. The last one ends with the image; of an image that is smaller, the only one goes
    beyond."""
    if length <= window:
        return [0]
    count = math.ceil((length - window) / max(1, math.floor(window * (1 - overlap)))) + 1
    return [round(place) for place in np.linspace(0, length - window, count).tolist()]


def weights(places: Sequence[int], window: int) -> torch.Tensor:
    """(T, window) float32: how much each of T windows that begin at `places` counts; at each pixel the sum is 1."""
    bell = np.exp(-0.5 * ((np.arange(window) + 0.5 - window / 2) / (window * _DEVIATION)) ** 2)
    total = np.zeros(places[-1] + window)
    for place in places:
        total[place : place + window] += bell
    return torch.from_numpy(np.stack([bell / total[place : place + window] for place in places]).astype(np.float32))


@dataclass(frozen=True)
class Block:
    """A finished part of an image: its `values` (K, h, w), whose first row and column lie at `place`."""

    place: Place
    values: torch.Tensor


def blended(
    image: Stored, geometry: Geometry, together: int, predict: Callable[[torch.Tensor, Sequence[Place]], torch.Tensor]
) -> Iterator[Block]:
    """The blocks of a scaled image (H, W, C), row by row from the left, which cover it and do not overlap; where
    the image is smaller than a window, also the padding.

    `predict` makes tiles (N, C, h, w), of which there are at most `together`, and their places in the image to
    probabilities (N, K, h, w).
    """
    assert geometry.crop
    (height, width), overlap = geometry.size, geometry.crop.overlap
    tops = starts(image.shape[0], height, overlap)
    lefts = starts(image.shape[1], width, overlap)
    down, across = weights(tops, height), weights(lefts, width)
    image = pad_to(image, (max(height, image.shape[0]), max(width, image.shape[1])), 0)
    tiles = _predicted(image, geometry.size, [(top, left) for top in tops for left in lefts], together, predict)
    # Sums of the tiles so far: `above` of the rows that this row of tiles shares with those above, over the whole
    # width; `before` of the columns that this tile shares with those at its left.
    above: torch.Tensor | None = None
    before: torch.Tensor | None = None
    for row, top in enumerate(tops):
        shared_rows = tops[row - 1] + height - top if row else 0
        ready_rows = (tops[row + 1] - top) if row + 1 < len(tops) else height
        for column, left in enumerate(lefts):
            shared = lefts[column - 1] + width - left if column else 0
            ready = (lefts[column + 1] - left) if column + 1 < len(lefts) else width
            # Class by class in memory: networks give channels last, and classes are looked at one after the other.
            values = next(tiles).contiguous()
            values = values * (down[row, :, None] * across[column]).to(values)
            if before is not None and shared:
                values[:, :, :shared] += before
            before = values[:, :, ready:].clone() if ready < width else None
            values = values[:, :, :ready]
            if above is not None and shared_rows:
                values[:, :shared_rows] += above[:, :shared_rows, left : left + ready]
            yield Block((top, left), values[:, :ready_rows])
            if ready_rows < height:
                if above is None:
                    above = values.new_empty((len(values), max(_overlaps(tops, height)), image.shape[1]))
                above[:, : height - ready_rows, left : left + ready] = values[:, ready_rows:]
            del values
        before = None


def _overlaps(places: Sequence[int], window: int) -> list[int]:
    return [first + window - second for first, second in pairwise(places)]


def _predicted(
    image: Stored,
    window: Size,
    places: Sequence[Place],
    together: int,
    predict: Callable[[torch.Tensor, Sequence[Place]], torch.Tensor],
) -> Iterator[torch.Tensor]:
    for start in range(0, len(places), together):
        some = places[start : start + together]
        tiles = np.stack([image[top : top + window[0], left : left + window[1]] for top, left in some])
        found = predict(torch.from_numpy(tiles).permute(0, 3, 1, 2), some)
        yield from found


@dataclass(frozen=True)
class Part:
    """A part of an image at its own size: rows and columns, and the maps of its leaves (see `selectors`)."""

    rows: slice
    columns: slice
    maps: Maps


def parts(blocks: Iterator[Block], scaled: Size, size: Size) -> Iterator[Part]:
    """The blocks of an image of the size `scaled` to parts of it at its own `size`, between pixels linearly: what the
    whole image would become, without holding it."""
    rows, columns = _between(scaled[0], size[0]), _between(scaled[1], size[1])
    # The last row of the blocks above, over the whole width, and the last column of the block at the left.
    edge: torch.Tensor | None = None
    side: torch.Tensor | None = None
    for block in blocks:
        (top, left), values = block.place, block.values
        if scaled == size:
            values = values[:, : size[0] - top, : size[1] - left]
            yield Part(_slice(top, values.shape[1]), _slice(left, values.shape[2]), whole(values))
            continue
        if edge is None:
            edge = values.new_zeros((len(values), 1, left + values.shape[2]))
        if edge.shape[2] < left + values.shape[2]:
            edge = torch.cat([edge, edge.new_zeros((len(values), 1, left + values.shape[2] - edge.shape[2]))], 2)
        first_row, first_column = min(top, 1), min(left, 1)
        around = values
        if first_row:
            around = torch.cat([edge[:, :, left : left + values.shape[2]], around], 1)
        if first_column:
            assert side is not None
            around = torch.cat([side[:, 1 - first_row :], around], 2)
        # The corner above the next block is overwritten by this one's last row.
        corner = edge[:, :, left + values.shape[2] - 1 :][:, :, :1].clone()
        side = torch.cat([corner, values[:, :, -1:]], 1)
        edge[:, :, left : left + values.shape[2]] = values[:, -1:]
        own_rows = rows.within(top, top + values.shape[1])
        own_columns = columns.within(left, left + values.shape[2])
        down, across = rows.of(own_rows, top - first_row), columns.of(own_columns, left - first_column)
        yield Part(own_rows, own_columns, _resampled(around, down, across))


def labels_of(
    found: Iterator[Part], size: Size, levels: Sequence[Level], selector: Selector
) -> list[npt.NDArray[np.uint8]]:
    """The indices (H, W) uint8 of each level at an image's own `size`, top first."""
    labels = [np.empty(size, np.uint8) for _ in levels]
    for part in found:
        for labelled, chosen in zip(labels, select(part.maps, levels, selector), strict=True):
            labelled[part.rows, part.columns] = chosen
    return labels


def joined(found: Iterator[Part], size: Size, classes: int) -> torch.Tensor:
    """(K, H, W) float32 in main memory, at an image's own `size`: the probabilities of all `classes`."""
    probabilities = torch.empty((classes, *size))
    for part in found:
        for index in range(classes):
            probabilities[index, part.rows, part.columns] = part.maps([index]).float().cpu()
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

    def of(self, chosen: slice, start: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        low, high = self.low[chosen] - start, self.high[chosen] - start
        return torch.from_numpy(low), torch.from_numpy(high), torch.from_numpy(self.share[chosen])


def _between(count: int, wanted: int) -> _Between:
    """As `torch.nn.functional.interpolate` does it for bilinear without aligned corners."""
    places = np.maximum((np.arange(wanted) + 0.5) * (count / wanted) - 0.5, 0)
    low = np.minimum(places.astype(np.int64), count - 1)
    return _Between(low, np.minimum(low + 1, count - 1), (places - low).clip(0, 1).astype(np.float32))


def _resampled(
    values: torch.Tensor,
    rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    columns: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> Maps:
    """The maps of (K, h, w), made one by one."""
    device = values.device
    (low, high, down), (left, right, across) = (tuple(part.to(device) for part in axis) for axis in (rows, columns))

    def summed(members: Sequence[int]) -> torch.Tensor:
        total = values[members[0]] if len(members) == 1 else values[list(members)].sum(0)
        across_rows = torch.lerp(total[low], total[high], down[:, None])
        return torch.lerp(across_rows[:, left], across_rows[:, right], across)

    return summed
