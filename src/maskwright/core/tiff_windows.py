"""TIFF files of any size, read by windows.

The parts of a file, its tiles or strips, are compressed each by itself. A tile, or some strips, become a file of their
own, in memory, with the tags that say how they are read, and that file goes to the one reader of images. So whatever it
reads is read here, in the same way. Tags are those of TIFF 6.0 and of GeoTIFF 1.1 (OGC 19-008r4).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from maskwright.base.limits import MAX_PIXELS
from maskwright.core.bands import Bands, Stored
from maskwright.core.left_out import Kind, Opened
from maskwright.core.sample import InMemory, faults, read_bands
from maskwright.core.tiff import HEADS, MAX_VALUES, directories
from maskwright.core.tiff_files import LONG, Tag, file_of, stored_tag
from maskwright.core.windows import Windows
from maskwright.errors import DataError

# How parts are read: bits, compression, colours, order of bits, bands, their order, differences, palette, what further
# bands are, kind of numbers; options of fax, inks, tables of JPEG, and how its colours are stored.
_READING = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 292, 293, 332, 347, 530, 531)
# Where an image lies on the earth: scale, tie points, transformation, keys and what they refer to.
_PLACE = (33550, 33922, 34264, 34735, 34736, 34737)
_ROWS = 256  # of strips that are decoded together
_RAW = 1


class TiffWindows(Windows):
    """An image of an open file, which messages call `name`. `place` are the tags that say where it lies on the
    earth."""

    def __init__(self, stream: BinaryIO, what: str, tags: ImageFileDirectory_v2, end: str, bands: Bands) -> None:
        def many(tag: int, default: int = 0) -> tuple[int, ...]:
            found = stored_tag(tags, tag)
            return tuple(map(int, found.values)) if found and found.values else (default,)

        self._stream, self.name, self._end, self._bands = stream, what, end, bands
        (width, *_), (height, *_), (samples, *_) = many(256), many(257), many(277, 1)
        self.shape, self.dtype = (height, width, bands.channels), bands.dtype
        self.place = _found(tags, _PLACE)
        self._tiled = 322 in tags
        across, rows = (many(322)[0], many(323)[0]) if self._tiled else (width, min(height, many(278, height)[0]))
        self._offsets, self._counts = (many(tag) for tag in ((324, 325) if self._tiled else (273, 279)))
        self._planes = samples if many(284, 1)[0] == 2 else 1
        if many(274, 1)[0] != 1:
            raise DataError(f"{what}: is stored turned or mirrored, and too large to be turned; save it upright")
        if min(width, height, samples, across, rows) < 1:
            raise DataError(f"{what}: a TIFF without pixels; save it again or remove it")
        if not self._tiled and rows == height and many(259, 1)[0] == _RAW and len(self._offsets) == self._planes:
            bits = many(258, 1)[0] * (samples if self._planes == 1 else 1)
            rows = self._cut((width * bits + 7) // 8)
        self._across = -(-width // across)
        self._down = -(-height // rows)
        if not len(self._offsets) == len(self._counts) == self._across * self._down * self._planes:
            raise DataError(f"{what}: a TIFF whose parts do not fit its size; save it again or remove it")
        self._part = (rows, across)
        self._together = 1 if self._tiled else max(1, _ROWS // rows)  # rows of parts
        self._height = rows * self._together
        if max(across * rows, width * min(self._height, height)) * samples > MAX_VALUES:
            raise DataError(
                f"{what}: its tiles or strips are too large to be read one by one; save it in tiles (`gdal_translate "
                "-co TILED=YES`)"
            )
        shape = {322: Tag(LONG, [across]), 323: Tag(LONG, [rows])} if self._tiled else {278: Tag(LONG, [rows])}
        self._tags = _found(tags, _READING) | shape
        self._most = 2 * across * rows * max(1, *many(258, 1)) // 8 * samples + (1 << 16)
        self._decoded: dict[int, Stored] = {}
        self._kinds: set[Kind] = set()
        self._dark = True

    def _cut(self, row: int) -> int:
        """Makes many strips of the only one of each band, whose rows take so many bytes and are not compressed; how
        many rows each has. DataError where the file does not hold them: a directory may state any height."""
        if max(self._offsets) + self.shape[0] * row > self._stream.seek(0, io.SEEK_END):
            raise DataError(f"{self.name}: a TIFF whose parts do not fit its size; save it again or remove it")
        tops = range(0, self.shape[0], _ROWS)
        self._offsets = tuple(offset + top * row for offset in self._offsets for top in tops)
        self._counts = tuple(min(_ROWS, self.shape[0] - top) * row for _ in range(self._planes) for top in tops)
        return _ROWS

    def left_out(self) -> list[Kind]:
        """What of the parts that were read so far is left out, as `Opened.kinds` says of a whole file."""
        order: list[Kind] = ["bands", "alpha", "bits", "dark"]
        return [kind for kind in order if kind in self._kinds and (kind != "dark" or self._dark)]

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Stored:
        """As `Windows.read`. Rows that were decoded are kept until others below them are asked for. DataError for what
        cannot be decoded."""
        first, last = rows[0] // self._height, max(rows[0], rows[1] - 1) // self._height
        self._decoded = {number: held for number, held in self._decoded.items() if first <= number <= last}
        parts = []
        for number in range(first, last + 1):
            if number not in self._decoded:
                self._decoded[number] = self._decode(number)
            top = number * self._height
            parts.append(self._decoded[number][max(0, rows[0] - top) : rows[1] - top, slice(*columns)])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _decode(self, number: int) -> Stored:
        """(h, W, C) of some rows of parts."""
        first, last = number * self._together, min(self._down, (number + 1) * self._together)
        columns = [self._column(first, last, column) for column in range(self._across)]
        return np.concatenate(columns, 1) if len(columns) > 1 else columns[0]

    def _column(self, first: int, last: int, column: int) -> Stored:
        """(h, w, C) of the parts of one column in these rows of parts."""
        own = [
            (plane * self._down + row) * self._across + column
            for plane in range(self._planes)
            for row in range(first, last)
        ]
        empty = [self._counts[part] == 0 for part in own]  # GDAL leaves out what is black
        if any(empty) and last - first > 1:
            return np.concatenate([self._column(row, row + 1, column) for row in range(first, last)])
        rows, wide = self._part
        height = min(last * rows, self.shape[0]) - first * rows
        width = min(wide, self.shape[1] - column * wide)
        if all(empty):
            return np.zeros((height, width, self.shape[2]), self.dtype)
        if max(self._counts[part] for part in own) > self._most:
            raise DataError(f"{self.name}: a TIFF whose parts do not fit its size; save it again or remove it")
        parts = []
        with faults(Path(self.name)):
            for part in own:
                self._stream.seek(self._offsets[part])
                parts.append(self._stream.read(self._counts[part]))
        tags = {**self._tags, 256: Tag(LONG, [width]), 257: Tag(LONG, [height])}
        opened = Opened()
        file = InMemory(self.name, file_of(tags, parts, self._end, self._tiled))
        pixels = read_bands(file, self._bands, "ignore", opened)
        if self._bands.plain:
            kinds = opened.kinds()
            self._kinds.update(kinds)
            self._dark &= "dark" in kinds
        return pixels


def _found(tags: ImageFileDirectory_v2, wanted: tuple[int, ...]) -> dict[int, Tag]:
    return {tag: value for tag in wanted if (value := stored_tag(tags, tag)) is not None}


@contextmanager
def open_windows(path: Path, bands: Bands) -> Iterator[TiffWindows | None]:
    """A TIFF that is too large to be read at once (see `base.limits`); None for any other file. DataError for one that
    cannot be read by windows either."""
    with ExitStack() as stack:
        with faults(path):
            found = _windows(stack.enter_context(path.open("rb")), path, bands)
        yield found


def _windows(stream: BinaryIO, path: Path, bands: Bands) -> TiffWindows | None:
    if stream.read(4) not in HEADS:
        return None
    stream.seek(0)
    end = "<" if stream.read(2) == b"II" else ">"
    found: TiffWindows | None = None
    for tags in directories(stream):
        if found:
            raise DataError(f"{path}: holds several frames; save one image per file")
        if not _too_large(tags, bands):
            break
        found = TiffWindows(stream, str(path), tags, end, bands)
    return found


def _too_large(tags: ImageFileDirectory_v2, bands: Bands) -> bool:
    """Whether the reader of images refuses it for its size."""
    width, height, samples = (number if isinstance(number := tags.get(tag, 1), int) else 1 for tag in (256, 257, 277))
    return width * height > MAX_PIXELS or (not bands.plain and width * height * samples > MAX_VALUES)
