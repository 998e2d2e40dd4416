"""TensorBoard's event files, read without TensorBoard: framed records, each an `Event` in the wire format of protocol
buffers, of which only scalars are taken.

A record is its length (uint64), a checksum of the length, the data, a checksum of the data; little-endian, checksums
masked CRC-32C (TFRecord, tensorflow.org/tutorials/load_data/tfrecord). Messages are those of tensorflow's
`event.proto`, `summary.proto` and `tensor.proto`. Every length is checked against what is there before it is used.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.errors import DataError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_TENSORS = {1: ("<f", 5), 2: ("<d", 6)}  # DT_FLOAT, DT_DOUBLE: how a value is packed, and the field of its values
_LANE = 1024


class _Malformed(ValueError):
    """Bytes that are no message."""


def scalars(path: Path) -> Iterator[tuple[str, int, float]]:
    """(tag, step, value) of every scalar, in the order of the file; the value may be NaN or infinite.

    A record that is cut off at the end of the file is left out, as after a kill. Raises DataError, which names the
    record, for everything else that is not as it must be.
    """
    for count, data in enumerate(records(path), 1):
        try:
            yield from _event(data)
        except _Malformed as error:
            raise DataError(f"{path}: record {count}: {error}; restore the file") from None


def starts_like_one(head: bytes) -> bool:
    """Whether `head` begins with a record's length and the checksum of it."""
    return len(head) >= 12 and masked_crc(head[:8]) == int.from_bytes(head[8:12], "little")


def records(path: Path) -> Iterator[bytes]:
    """The data of each record whose checksums are right. Raises DataError for one whose are not."""
    with open(path, "rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        count = 0
        while left >= 12:
            count += 1
            head = stream.read(12)
            if not starts_like_one(head):
                raise DataError(f"{path}: record {count}: its length has a wrong checksum; restore the file")
            length = int.from_bytes(head[:8], "little")
            left -= 12 + length + 4
            if left < 0:
                return
            data = stream.read(length)
            if masked_crc(data) != int.from_bytes(stream.read(4), "little"):
                raise DataError(f"{path}: record {count}: its data have a wrong checksum; restore the file")
            yield data


def _event(data: bytes) -> Iterator[tuple[str, int, float]]:
    step, summaries = 0, []
    for field, kind, value in _fields(data):
        if field == 2 and kind == _VARINT:
            step = value - (1 << 64) if value >> 63 else value
        elif field == 5 and kind == _BYTES:
            summaries.append(value)
    for summary in summaries:
        for field, kind, value in _fields(summary):
            if field == 1 and kind == _BYTES and (found := _value(value)):
                yield found[0], step, found[1]


def _value(data: bytes) -> tuple[str, float] | None:
    """Tag and number of a `Summary.Value`, or None when it is a picture, a histogram or a text."""
    tag, scalar = "", None
    for field, kind, value in _fields(data):
        if field == 1 and kind == _BYTES:
            try:
                tag = value.decode("utf-8")
            except UnicodeDecodeError:
                raise _Malformed("a tag is not text in UTF-8") from None
        elif field == 2 and kind == _FIXED32:
            (scalar,) = struct.unpack("<f", value)
        elif field == 8 and kind == _BYTES:
            scalar = _tensor(value)
    return (tag, scalar) if tag and scalar is not None else None


def _tensor(data: bytes) -> float | None:
    """The value of a tensor that holds one number, as `tf.summary.scalar` writes it; else None."""
    fields = list(_fields(data))
    form, place = _TENSORS.get(next((value for field, _, value in fields if field == 1), 0), ("", 0))
    if not form:
        return None
    # Values are packed into the bytes of field 4 or of their own field, or stand there one by one.
    values = b"".join(value for field, kind, value in fields if field in (4, place) and kind != _VARINT)
    return float(struct.unpack(form, values)[0]) if len(values) == struct.calcsize(form) else None


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value) of each field of a message: an int for a varint, else bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise _Malformed(f"a field of the unknown wire type {kind}")
        if size > len(data) - at:
            raise _Malformed("a field is longer than its message")
        yield key >> 3, kind, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, lowest first, and where it ends."""
    value = 0
    for count in range(10):
        if at >= len(data):
            raise _Malformed("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise _Malformed("a number is longer than ten bytes")


def masked_crc(data: bytes) -> int:
    """The CRC-32C of `data` as a TFRecord file stores it."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of `data`.

    Long data, such as pictures, are cut into lanes that go side by side; as the checksum is linear, those of the
    lanes are then put together.
    """
    lanes = len(data) // _LANE
    state = 0xFFFFFFFF
    if lanes > 1:
        columns = np.frombuffer(data, np.uint8, lanes * _LANE).reshape(lanes, _LANE).T
        states = np.zeros(lanes, np.uint32)
        states[0] = state
        for column in columns:
            states = _table()[(states ^ column) & 255] ^ states >> 8
        state = 0
        for one in states.tolist():
            state = _after_a_lane(state) ^ one
        data = data[lanes * _LANE :]
    entries = _entries()
    for byte in data:
        state = entries[(state ^ byte) & 255] ^ state >> 8
    return state ^ 0xFFFFFFFF


def _after_a_lane(state: int) -> int:
    """`state` after a lane of zeros: the sum of what becomes of its bits."""
    return int(np.bitwise_xor.reduce(_bits()[[bit for bit in range(32) if state >> bit & 1]], initial=0))


@lru_cache
def _table() -> np.ndarray[Any, np.dtype[np.uint32]]:
    states = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = np.where(states & 1, states >> 1 ^ np.uint32(0x82F63B78), states >> 1)
    return states


@lru_cache
def _entries() -> tuple[int, ...]:
    return tuple(map(int, _table()))


@lru_cache
def _bits() -> np.ndarray[Any, np.dtype[np.uint32]]:
    states = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
    for _ in range(_LANE):
        states = _table()[states & 255] ^ states >> 8
    return states
