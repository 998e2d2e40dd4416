"""Directories and files of TIFF, written: TIFF 6.0, and BigTIFF for files that may grow beyond 4 GB."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL.TiffImagePlugin import ImageFileDirectory_v2

# The letters of `struct` for the types of values, by their numbers.
_FORMS = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q"}
SHORT, LONG, LONG8 = 3, 4, 16


@dataclass(frozen=True)
class Tag:
    """Values of one of the types of TIFF."""

    kind: int
    values: Sequence[int | float]

    def packed(self, end: str) -> bytes:
        """In the byte order `end`, `<` or `>`."""
        return struct.pack(f"{end}{len(self.values)}{_FORMS[self.kind]}", *self.values)


def stored_tag(tags: ImageFileDirectory_v2, number: int) -> Tag | None:
    """A tag as a file has it, to be written again; None where it has none, or one of fractions."""
    kind = tags.tagtype.get(number)
    if number not in tags or kind not in _FORMS:
        return None
    value = tags[number]
    if isinstance(value, str):
        value = value.encode("latin-1", "replace") + b"\0"
    return Tag(kind, tuple(value) if isinstance(value, bytes | tuple | list) else (value,))


def directory(tags: Mapping[int, Tag], end: str, start: int, big: bool) -> bytes:
    """The bytes of a directory that begins at `start` in its file, with all values of its tags."""
    number, inline = ("Q", 8) if big else ("I", 4)
    entries, beyond = b"", b""
    after = start + (8 if big else 2) + len(tags) * (12 + 2 * (inline - 4)) + inline
    for tag, value in sorted(tags.items()):
        packed = value.packed(end)
        if len(packed) > inline:
            packed, beyond = struct.pack(end + number, after + len(beyond)), beyond + packed + b"\0" * (len(packed) % 2)
        entries += struct.pack(f"{end}HH{number}", tag, value.kind, len(value.values)) + packed.ljust(inline, b"\0")
    return struct.pack(end + ("Q" if big else "H"), len(tags)) + entries + bytes(inline) + beyond


def file_of(tags: Mapping[int, Tag], parts: Sequence[bytes], end: str, tiled: bool) -> bytes:
    """A file of one image, which `tags` describe but for where its `parts`, tiles or strips, lie."""
    offsets, at = [], 8
    for part in parts:
        offsets.append(at)
        at += len(part)
    start = at + at % 2
    places = {324 if tiled else 273: Tag(LONG, offsets), 325 if tiled else 279: Tag(LONG, [*map(len, parts)])}
    head = (b"II" if end == "<" else b"MM") + struct.pack(end + "HI", 42, start)
    return b"".join([head, *parts, bytes(at % 2), directory({**tags, **places}, end, start, False)])
