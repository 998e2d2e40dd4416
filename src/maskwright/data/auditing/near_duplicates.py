"""Images that look alike: re-encoded, resized, brightened or slightly cropped copies, and frames of one scene.

A thumbnail of 16 x 16 grey values is all that is kept of an image. From it follows a perceptual hash of 64 bits
(the 8 x 8 lowest frequencies of its discrete cosine transform, each above their median or not, as in pHash:
Zauner 2010). Two images are alike when at most `DISTANCE` bits differ and their thumbnails correlate by at least
`CORRELATION`, which makes both blind to brightness and contrast; the second test keeps smooth or dark images with
like hashes apart. Mirrored and turned copies are found by `turned`.

Measured on 970 images of skin, steel, concrete and faces: two pairs are alike beside those with equal pixels, both
rightly so (one scene, one person). Of 445 copies each in JPEG quality 50, of half the size, and brighter by 10 of 255
all are found, of copies cropped by 1 % on each side 95 % (100 % but for concrete, which is all fine texture), by
2.5 % on each side 45 %.

Pairs are found by bands (multi-index hashing, Norouzi et al. 2012): of DISTANCE + 1 disjoint bands of the hash at
least one is equal in any such pair, so only images with an equal band are compared, a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Thumbnails = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

SIDE = 16
DISTANCE = 8
CORRELATION = 0.95
# Below this deviation of grey values a thumbnail shows nothing that could be compared.
_FLAT = 1.0
_LOW = 8
_WHOLE = 64  # pixels of a side, about, that an image is reduced to first
ROWS = 4096  # thumbnails or pairs at a time
CELLS = 1 << 20  # hashes compared at a time
COMPARED = 50  # pairs of thumbnails compared for each image before the search is given up


def thumbnail(image: npt.NDArray[np.uint8]) -> bytes:
    """SIDE * SIDE grey values of an image (H, W, 3), row by row, each the mean of its cell."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # Means of whole pixels are many times as fast; what does not fill one at the edges is less than 1/64 of a side.
    height, width = (side // max(1, side // _WHOLE) for side in grey.shape)
    if (height, width) != grey.shape:
        down, across = grey.shape[0] // height, grey.shape[1] // width
        top, left = (grey.shape[0] - height * down) // 2, (grey.shape[1] - width * across) // 2
        grey = grey[top : top + height * down, left : left + width * across]
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).data)


def basis() -> npt.NDArray[np.float32]:
    """(SIDE * SIDE, 64): the products of two cosines (DCT-II), without their scale, which only the mean needs."""
    waves = np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(SIDE) + 1) / (2 * SIDE))
    return np.asarray(np.einsum("uy,vx->yxuv", waves, waves).reshape(SIDE * SIDE, _LOW * _LOW), np.float32)


def hashes(thumbnails: Thumbnails) -> Hashes:
    """(N,) perceptual hashes of thumbnails (N, SIDE * SIDE)."""
    products, found = basis(), np.zeros(len(thumbnails), np.uint64)
    for begin in range(0, len(thumbnails), ROWS):
        part = slice(begin, begin + ROWS)
        found[part] = packed(thumbnails[part].astype(np.float32) @ products)
    return found


def packed(waves: npt.NDArray[np.float32]) -> Hashes:
    """(N,) the hashes of the lowest frequencies (N, 64)."""
    above = waves > np.median(waves[:, 1:], axis=1, keepdims=True)  # the first is the mean
    return np.packbits(above, axis=1).view(np.uint64).reshape(-1)


@dataclass(frozen=True)
class Alike:
    """Groups of positions of images that are alike, directly or through others of the group. `complete` is False
    when the search was given up because too many hashes are like one another."""

    groups: list[list[int]]
    complete: bool


def alike(thumbnails: Sequence[bytes]) -> Alike:
    """Finds images that look alike by their thumbnails; images of one colour are in no group."""
    # Equal ones are compared once.
    number: dict[bytes, int] = {}
    of = np.array([number.setdefault(one, len(number)) if shows(one) else -1 for one in thumbnails], np.int64)
    pixels = np.frombuffer(b"".join(number), np.uint8).reshape(-1, SIDE * SIDE)
    del number  # before the search takes memory
    groups = _Groups(pixels)
    complete = groups.search()
    shown = np.flatnonzero(of >= 0)
    root = groups.root[of[shown]]
    order = np.argsort(root, kind="stable")
    parts = np.split(shown[order], np.flatnonzero(np.diff(root[order])) + 1)
    return Alike(sorted(part.tolist() for part in parts if len(part) > 1), complete)


def shows(one: bytes) -> bool:
    """Whether a thumbnail shows anything that could be compared."""
    return float(cv2.meanStdDev(np.frombuffer(one, np.uint8))[1].item()) >= _FLAT


class _Groups:
    """Thumbnails (N, SIDE * SIDE) with the position that stands for the group of each, `root` (N,)."""

    def __init__(self, pixels: Thumbnails) -> None:
        self.pixels, self.hash = pixels, hashes(pixels)
        self.root = np.arange(len(pixels))
        self.left = COMPARED * len(pixels)

    def search(self) -> bool:
        """Joins all pairs that are alike; False when that was given up."""
        bands = np.array_split(np.arange(64), DISTANCE + 1)
        for band in bands:
            key = self.hash >> np.uint64(band[0]) & np.uint64((1 << len(band)) - 1)
            order = np.argsort(key, kind="stable")
            for bucket in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
                for one, other in self._near(bucket):
                    if not self._join(one, other):
                        return False
        return True

    def _near(self, bucket: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Pairs of a bucket within DISTANCE that are not in one group yet."""
        rows = max(1, CELLS // max(1, len(bucket)))
        for begin in range(0, len(bucket) - 1, rows):
            # Where everything is alike, the first block has joined it.
            if (self.root[bucket] == self.root[bucket[0]]).all():
                return
            block, rest = bucket[begin : begin + rows], bucket[begin + 1 :]
            differ = np.bitwise_count(self.hash[block][:, None] ^ self.hash[rest][None])
            row, column = np.nonzero(differ <= DISTANCE)
            later = column >= row
            yield block[row[later]], rest[column[later]]

    def _join(self, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> bool:
        """Joins the groups of the pairs whose thumbnails correlate; False when too many had to be compared."""
        while True:
            apart = self.root[one] != self.root[other]
            one, other = one[apart], other[apart]
            if not one.size:
                return True
            now, then = slice(None, ROWS), slice(ROWS, None)
            self.left -= len(one[now])
            if self.left < 0:
                return False
            same = correlation(self.pixels[one[now]], self.pixels[other[now]]) >= CORRELATION
            for a, b in zip(one[now][same].tolist(), other[now][same].tolist(), strict=True):
                a, b = sorted((self._find(a), self._find(b)))
                self.root[b] = a
            while not np.array_equal(self.root, further := self.root[self.root]):
                self.root = further
            one, other = one[then], other[then]

    def _find(self, index: int) -> int:
        while (above := int(self.root[index])) != index:
            index = above
        return index


def correlation(one: Thumbnails, other: Thumbnails) -> npt.NDArray[np.float32]:
    """(N,) how far thumbnails (N, SIDE * SIDE) are alike, each with its own other one: 1 when they are the same but for
    brightness and contrast."""
    a, b = (part.astype(np.float32) - part.mean(axis=1, dtype=np.float32, keepdims=True) for part in (one, other))
    power = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.asarray((a * b).sum(1) / power, np.float32)
