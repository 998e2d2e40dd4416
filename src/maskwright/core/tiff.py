"""TIFF files with any number of bands of 8 or 16 bits, which Pillow opens as RGB or not at all.

Compressed parts know nothing of bands: the parts of a file with C bands are handed to Pillow's decoders as those of a
grey image that is C times as wide. So every lossless compression that Pillow reads is read, and only by its decoders.
Tags are those of TIFF 6.0.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from maskwright.base.limits import MAX_PIXELS
from maskwright.core.bands import Stored
from maskwright.core.tiff_files import LONG, Tag, file_of
from maskwright.errors import DataError

HEADS = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
# Of values, as many as Pillow decodes of a grey image; of pages in one file.
MAX_VALUES, _PAGES = 2 * MAX_PIXELS, 4096
_RAW, _LOSSLESS = 1, {1, 5, 8, 32773, 32946, 34925, 50000}
# Differences to the pixel before, in the compressions that libtiff applies them to.
_DIFFERENCES, _DIFFERING = 2, {5, 8, 32946, 34925, 50000}
_COLOURS = {0, 1, 2}  # white is 0, black is 0, RGB
_ALPHA = {1, 2}
_OVERVIEW_OR_MASK = 1 | 4


@dataclass(frozen=True)
class Page:
    """One image of a TIFF, as its directory says. `tile` is the (width, height) of its parts, which are whole rows
    unless `tiled`; `planar` where each band has parts of its own; `alpha` where the last band is one."""

    size: tuple[int, int]
    bands: int
    bits: int
    alpha: bool
    planar: bool
    inverted: bool
    orientation: int
    compression: int
    predictor: int
    fill_order: int
    tiled: bool
    tile: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, tags: ImageFileDirectory_v2, what: str) -> Page:
        """DataError for what cannot be read as numbers of 8 or 16 bits."""

        def many(tag: int, default: int = 0) -> tuple[int, ...]:
            value: Any = tags.get(tag, default)
            return tuple(int(one) for one in (value if isinstance(value, tuple) else (value,)))

        def one(tag: int, default: int = 0) -> int:
            return many(tag, default)[0]

        width, height, bands = one(256), one(257), one(277, 1)
        bits, formats, extra = {*many(258, 1)}, {*many(339, 1)}, many(338, 0) if 338 in tags else ()
        if width < 1 or height < 1 or bands < 1:
            raise DataError(f"{what}: a TIFF without pixels; save it again or remove it")
        if width * height * bands > MAX_VALUES or width * height > MAX_PIXELS:
            raise DataError(
                f"{what}: more than {MAX_PIXELS // 10**6} million pixels, or {MAX_VALUES // 10**6} million values in "
                "all bands; tile it"
            )
        if not (bits == {8} or bits == {16}) or not formats <= {1, 4}:
            raise DataError(f"{what}: its values are not whole numbers of 8 or 16 bits from 0 on; save it so")
        if one(262, 1) not in _COLOURS or one(259, 1) not in _LOSSLESS:
            raise DataError(
                f"{what}: a TIFF with a palette, in CMYK or compressed with loss, whose values are not those of its "
                "bands; save it without"
            )
        tiled = 322 in tags
        tile = (one(322), one(323)) if tiled else (width, min(height, one(278, height) or height))
        page = cls(
            (height, width),
            bands,
            max(bits),
            len(extra) > 0 and extra[-1] in _ALPHA,
            one(284, 1) == 2 and bands > 1,
            one(262, 1) == 0,
            one(274, 1),
            one(259, 1),
            one(317, 1),
            one(266, 1),
            tiled,
            tile,
            many(324 if tiled else 273),
            many(325 if tiled else 279),
        )
        if (
            min(tile) < 1
            or tile[0] * tile[1] * bands > MAX_VALUES
            or not (len(page.offsets) == len(page.counts) == page.parts * (bands if page.planar else 1))
        ):
            raise DataError(f"{what}: a TIFF whose parts do not fit its size; save it again or remove it")
        return page

    @property
    def parts(self) -> int:
        """How many parts a band has, or all of them together where they are not planar."""
        return -(-self.size[1] // self.tile[0]) * -(-self.size[0] // self.tile[1])


def _all_directories(stream: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    stream.seek(0)
    head = stream.read(8)
    if head[2:3] == b"+" or head[3:4] == b"+":
        head += stream.read(8)
    tags = ImageFileDirectory_v2(head)
    seen: set[int] = set()
    while tags.next and tags.next not in seen and len(seen) < _PAGES:
        seen.add(tags.next)
        stream.seek(tags.next)
        tags.load(stream)
        yield tags


def directories(stream: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    """The tags of each image of a TIFF, without its overviews and masks. They are one object, which the next image
    changes."""
    return (tags for tags in _all_directories(stream) if _is_image(tags))


def image_frames(stream: BinaryIO) -> list[int]:
    """Which of the directories of a TIFF are images, counted from 0; the position of the stream stays."""
    position = stream.tell()
    found = [number for number, tags in enumerate(_all_directories(stream)) if _is_image(tags)]
    stream.seek(position)
    return found


def _is_image(tags: ImageFileDirectory_v2) -> bool:
    return not int(tags.get(254, 0)) & _OVERVIEW_OR_MASK


def pages(stream: BinaryIO, what: str) -> list[Page]:
    """The images of a TIFF. DataError for what cannot be read."""
    found = [Page.of(tags, what) for tags in directories(stream)]
    if not found:
        raise DataError(f"{what}: a TIFF without an image; save it again or remove it")
    return found


def chosen(found: Sequence[Page], page: int | None, what: str) -> list[Page]:
    """The pages that make up an image: the one that is asked for, the only one, or all where each holds one band of it.
    DataError where there is no such page, or where pages are several images."""
    if page is not None:
        if page >= len(found):
            raise DataError(f"{what}: holds fewer pages; save one image per file")
        return [found[page]]
    if len(found) > 1 and (len({(one.size, one.bits) for one in found}) > 1 or max(one.bands for one in found) > 1):
        raise DataError(f"{what}: holds several frames; save one image per file")
    if len(found) > 1 and found[0].size[0] * found[0].size[1] * len(found) > MAX_VALUES:
        raise DataError(f"{what}: more than {MAX_VALUES // 10**6} million values in all bands; tile it")
    return list(found)


def decoded(stream: BinaryIO, page: Page) -> Stored:
    """(H, W, C) as stored."""
    stream.seek(0)
    end = "<" if stream.read(2) == b"II" else ">"
    height, width = page.size
    if page.planar:
        of_band = [slice(band * page.parts, (band + 1) * page.parts) for band in range(page.bands)]
        bands = [_grey(stream, end, page, part, 1, page.predictor) for part in of_band]
        pixels: Stored = np.stack(bands, axis=2)
    else:
        pixels = _grey(stream, end, page, slice(None), page.bands, 1).reshape(height, width, page.bands)
        if page.predictor == _DIFFERENCES and page.compression in _DIFFERING:
            for left in range(0, width, page.tile[0]):
                part = pixels[:, left : left + page.tile[0]]
                np.cumsum(part, axis=1, dtype=part.dtype, out=part)
    return np.invert(pixels) if page.inverted else pixels


def _grey(stream: BinaryIO, end: str, page: Page, part: slice, wide: int, predictor: int) -> Stored:
    """(H, W * wide): some parts of a file as one grey image, its pixels `wide` times as many."""
    parts = []
    for offset, count in zip(page.offsets[part], page.counts[part], strict=True):
        stream.seek(offset)
        parts.append(stream.read(count))
    height, width = page.size
    rows = {322: page.tile[0] * wide, 323: page.tile[1]} if page.tiled else {278: page.tile[1]}
    numbers = {
        256: width * wide,
        257: height,
        258: page.bits,
        259: page.compression,
        262: 1,
        266: page.fill_order,
        277: 1,
        317: predictor,
    }
    tags = {tag: Tag(LONG, [number]) for tag, number in {**numbers, **rows}.items()}
    file = io.BytesIO(file_of(tags, parts, end, page.tiled))
    with Image.open(file, formats=("TIFF",)) as image:
        found = np.asarray(image)
    return np.array(found, np.uint8 if page.bits == 8 else np.uint16)
