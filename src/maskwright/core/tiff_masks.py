"""Masks of any size as TIFF, written some rows at a time: BigTIFF in compressed tiles, which programs for maps read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from maskwright.core.classes import ClassTree
from maskwright.core.masks import Mask, palette_of
from maskwright.core.tiff_files import LONG, LONG8, SHORT, Tag, directory

_TILE = 512
_DEFLATE, _GREY, _PALETTE = 8, 1, 3


class MaskWriter:
    """Writes a mask of `classes` and `size` into a seekable stream; `place` are tags of its image that say where it
    lies on the earth. Ids are 8 bits with the class colours as palette when they fit, else 16-bit grey."""

    def __init__(self, stream: BinaryIO, size: tuple[int, int], classes: ClassTree, place: Mapping[int, Tag]) -> None:
        self._stream, self._size, self._classes, self._place = stream, size, classes, place
        self._waiting = np.empty((0, size[1]), np.uint8)
        self._offsets: list[int] = []
        self._counts: list[int] = []
        stream.write(b"II" + struct.pack("<HHHQ", 43, 8, 0, 0))

    def add(self, rows: Mask) -> None:
        """The next rows (h, W) of indices, from the top."""
        self._waiting = np.concatenate([self._waiting, rows])
        while len(self._waiting) >= _TILE:
            self._write(self._waiting[:_TILE])
            self._waiting = self._waiting[_TILE:]

    def _write(self, rows: Mask) -> None:
        """A row of tiles."""
        ids = self._classes.to_ids(rows)
        for left in range(0, self._size[1], _TILE):
            tile = np.zeros((_TILE, _TILE), ids.dtype)
            part = ids[:, left : left + _TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            data = zlib.compress(tile.astype(tile.dtype.newbyteorder("<"), copy=False).tobytes())
            self._offsets.append(self._stream.tell())
            self._counts.append(len(data))
            self._stream.write(data)

    def finish(self) -> None:
        """What is left, and the directory."""
        if len(self._waiting):
            self._write(self._waiting)
        self._stream.write(bytes(self._stream.tell() % 2))
        start = self._stream.tell()
        height, width = self._size
        palette = palette_of(self._classes)
        numbers = {
            256: width,
            257: height,
            258: 16 if palette is None else 8,
            259: _DEFLATE,
            262: _GREY if palette is None else _PALETTE,
            277: 1,
            322: _TILE,
            323: _TILE,
        }
        tags = {tag: Tag(LONG if tag in (256, 257) else SHORT, [number]) for tag, number in numbers.items()}
        if palette is not None:
            tags[320] = Tag(SHORT, (palette.T.astype(np.uint16) * 257).reshape(-1).tolist())
        places = {324: Tag(LONG8, self._offsets), 325: Tag(LONG8, self._counts)}
        self._stream.write(directory({**tags, **places, **self._place}, "<", start, True))
        self._stream.seek(8)
        self._stream.write(struct.pack("<Q", start))
