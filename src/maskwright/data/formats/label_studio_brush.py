"""The packed run lengths of Label Studio's brush.

They are those of @thi.ng/rle-pack: a stream of bits, the highest of each byte first, of the number of values (32 bits),
the bits of a value less one (5), and four sizes less one (4 each). Then, until all values are there: one bit that says
whether a value repeats, two that choose a size, the length less one in so many bits, and one value, or as many as the
length says. The values are bytes, red, green, blue and alpha in turn, along the rows of the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from maskwright.core.regions import Runs
from maskwright.data.formats.shapes import row_runs

_HEAD, _WORD = 53, 8
_CHANNELS, _ALPHA = 4, 3
# Literal values that are read one by one rather than as an array.
_FEW = 8


def decode(values: Any, height: int, width: int) -> Runs | None:
    """The pixels of an image (H, W) whose alpha is not 0; None where there is none.

    No work or memory goes beyond the length of `values`. Raises ValueError for what is no list of bytes, ends too early
    or holds another number of pixels.
    """
    try:
        data = bytes(values) if isinstance(values, list) else b""
    except (TypeError, ValueError):
        raise ValueError("no list of bytes") from None
    end, padded = len(data) * 8, data + bytes(8)

    def read(position: int, size: int) -> int:
        part = int.from_bytes(padded[position >> 3 : (position >> 3) + 8])
        return part >> (64 - (position & 7) - size) & ((1 << size) - 1)

    total = read(0, 32)
    sizes = [read(37 + 4 * place, 4) + 1 for place in range(4)]
    if end < _HEAD or total != height * width * _CHANNELS or read(32, 5) + 1 != _WORD:
        raise ValueError("another number of pixels than the image has")
    lengths: list[int] = []
    inside: list[bool] = []
    bit, done = _HEAD, 0
    while done < total:
        # The head of a run and its first value have at most 27 bits.
        part = int.from_bytes(padded[bit >> 3 : (bit >> 3) + 8]) << (bit & 7)
        size = sizes[part >> 61 & 3]
        count = (part >> (61 - size) & ((1 << size) - 1)) + 1
        start = bit + 3 + size
        repeats = part >> 63 & 1
        bit = start + (_WORD if repeats else _WORD * count)
        if bit > end or done + count > total:
            raise ValueError("ends too early, or holds more pixels than the image has")
        # Of the values from i on, the first alpha is that of pixel i // 4.
        if repeats:
            lengths.append((done + count) // _CHANNELS - done // _CHANNELS)
            inside.append(part >> (53 - size) & 255 != 0)
        else:
            first = (_ALPHA - done) % _CHANNELS
            if count <= _FEW:
                alphas = [read(start + _WORD * place, _WORD) != 0 for place in range(first, count, _CHANNELS)]
            else:
                words = np.unpackbits(np.frombuffer(data[start >> 3 : (bit + 7) >> 3], np.uint8))
                alphas = (np.packbits(words[start & 7 : (start & 7) + _WORD * count])[first::_CHANNELS] != 0).tolist()
            lengths += [1] * len(alphas)
            inside += alphas
        done += count
    return row_runs(np.array(lengths, np.int64), np.array(inside, np.bool_), width)
