"""Mutations of files: of bytes, of text, of JSON and XML as trees, of PNG chunks with right checksums, of zip archives.

Every one is a function of the bytes and a generator, so that a case can be made again from its number.
"""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]

_INTEGERS = [0, 1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "inf",
    "-1",
    "0",
    "-0",
    "1e9",
    "-1e9",
    "1e308",
    "1e-308",
    "0.5",
    "255",
    "256",
    "65536",
    "2147483648",
    "9223372036854775808",
    "9" * 40,
    "9" * 5000,
    "",
    "x",
    "1,5",
    "0x10",
    "1_0",
    "١",
]
_TOKENS = [
    "\0",
    "\n",
    "\r",
    "\t",
    "\u2028",
    "\x1b[31m",
    "é",
    "\ud800",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "&",
    "&x;",
    "<",
    ">",
    "<!DOCTYPE a [<!ENTITY x 'y'>]>",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    ",",
    ":",
    ";",
    "#",
    "null",
    "true",
    "!!python/name:os.system",
    "&a [*a]",
    "x" * 3000,
    "[" * 3000,
    "-",
    " ",
    "\ufeff",
]
_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    255,
    10**9,
    10**20,
    2**63,
    0.5,
    float("nan"),
    float("inf"),
    1e300,
    "",
    "x",
    "../x",
    "a\0b",
    "\ud800",
    "9",
    [],
    {},
    [[]],
    [None],
    [float("nan")] * 6,
    {"a": 1},
    "x" * 3000,
]


def one_of(items: list[Any], rng: Rng) -> Any:
    """A random item."""
    return items[int(rng.integers(len(items)))]


def span(length: int, rng: Rng) -> tuple[int, int]:
    """Begin and end of a part, mostly a short one."""
    begin = int(rng.integers(0, length + 1))
    return begin, min(length, begin + int(2 ** rng.uniform(0, 10)))


# -- bytes ------------------------------------------------------------------------------------------------------------


def flip(data: bytes, rng: Rng) -> bytes:
    """Some bits."""
    found = bytearray(data)
    for place in rng.integers(0, len(found), int(rng.integers(1, 9))) if found else ():
        found[place] ^= 1 << int(rng.integers(8))
    return bytes(found)


def truncate(data: bytes, rng: Rng) -> bytes:
    """The end is missing."""
    return data[: int(rng.integers(0, len(data) + 1))]


def drop(data: bytes, rng: Rng) -> bytes:
    """A part is missing."""
    begin, end = span(len(data), rng)
    return data[:begin] + data[end:]


def double(data: bytes, rng: Rng) -> bytes:
    """A part stands there again, or often."""
    begin, end = span(len(data), rng)
    return data[:end] + data[begin:end] * one_of([1, 2, 100], rng) + data[end:]


def move(data: bytes, rng: Rng) -> bytes:
    """A part stands elsewhere too."""
    begin, end = span(len(data), rng)
    place = int(rng.integers(0, len(data) + 1))
    return data[:place] + data[begin:end] + data[place:]


def overwrite(data: bytes, rng: Rng) -> bytes:
    """A number of one, two or four bytes at the edge of its range."""
    form = one_of(["<B", ">H", "<H", ">I", "<I"], rng)
    size = struct.calcsize(form)
    if len(data) < size:
        return data
    place = int(rng.integers(0, len(data) - size + 1))
    value = one_of(_INTEGERS, rng) % 256**size
    return data[:place] + struct.pack(form, value) + data[place + size :]


def noise(data: bytes, rng: Rng) -> bytes:
    """A part is random, or zero."""
    begin, end = span(len(data), rng)
    return data[:begin] + (rng.bytes(end - begin) if rng.random() < 0.5 else bytes(end - begin)) + data[end:]


BYTES: list[Mutation] = [flip, truncate, drop, double, move, overwrite, noise]


# -- text -------------------------------------------------------------------------------------------------------------


def _textual(change: Callable[[str, Rng], str]) -> Mutation:
    def mutate(data: bytes, rng: Rng) -> bytes:
        return change(data.decode("utf-8", "surrogateescape"), rng).encode(
            "utf-8", "surrogatepass" if rng.random() < 0.5 else "replace"
        )

    return mutate


def _number(text: str, rng: Rng) -> str:
    found = list(re.finditer(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text))
    if not found:
        return text
    match = one_of(found, rng)
    return text[: match.start()] + one_of(_NUMBERS, rng) + text[match.end() :]


def _token(text: str, rng: Rng) -> str:
    place = int(rng.integers(0, len(text) + 1))
    return text[:place] + one_of(_TOKENS, rng) + text[place:]


def _exchange(text: str, rng: Rng) -> str:
    """Two words change places."""
    words = re.split(r"([\w.+-]+)", text)
    if len(words) < 5:
        return text
    first, second = (2 * int(k) + 1 for k in rng.integers(0, (len(words) - 1) // 2, 2))
    words[first], words[second] = words[second], words[first]
    return "".join(words)


def _lines(text: str, rng: Rng) -> str:
    """A line is gone, stands there twice, or elsewhere."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    first, second = (int(k) for k in rng.integers(0, len(lines), 2))
    kind = int(rng.integers(3))
    if kind == 0:
        del lines[first]
    elif kind == 1:
        lines[first:first] = [lines[second]] * one_of([1, 3, 300], rng)
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines)


def _word(text: str, rng: Rng) -> str:
    """A word is exchanged for a token."""
    found = list(re.finditer(r"[\w./-]+", text))
    if not found:
        return text
    match = one_of(found, rng)
    return text[: match.start()] + one_of(_TOKENS, rng) + text[match.end() :]


TEXT: list[Mutation] = [_textual(change) for change in (_number, _number, _number, _token, _exchange, _lines, _word)]


# -- trees ------------------------------------------------------------------------------------------------------------


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    for key, inside in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        found.append((value, key))
        _places(inside, found)


def tree(data: bytes, rng: Rng) -> bytes:
    """A value of a JSON file is exchanged, removed, doubled, or put in the place of another; bytes that are no JSON
    are flipped."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return flip(data, rng)
    places: list[tuple[Any, Any]] = []
    _places(root, places)
    if not places:
        return json.dumps(one_of(_VALUES, rng)).encode()
    holder, key = one_of(places, rng)
    kind = int(rng.integers(5))
    if kind <= 1:
        holder[key] = one_of(_VALUES, rng)
    elif kind == 2:
        del holder[key]
    elif kind == 3:
        if isinstance(holder, list):
            holder[key:key] = [holder[key]] * one_of([1, 2, 300], rng)
        else:
            holder[one_of(["x", "id", "size", "counts", "points", "name", "shapes"], rng)] = holder[key]
    else:
        other, place = one_of(places, rng)
        holder[key] = json.loads(json.dumps(other[place]))
    return json.dumps(root).encode()


def element(data: bytes, rng: Rng) -> bytes:
    """An attribute or an element of an XML file is exchanged, removed or doubled."""
    text = data.decode("utf-8", "surrogateescape")
    attributes = list(re.finditer(r'([\w:]+)="([^"]*)"', text))
    elements = list(re.finditer(r"<(\w+)[^<>]*/>|<(\w+)[^<>]*>[^<>]*</\2>", text))
    if attributes and (rng.random() < 0.6 or not elements):
        match = one_of(attributes, rng)
        other = one_of(
            [
                f'{match[1]}="{one_of(_NUMBERS, rng)}"',
                f'{match[1]}="{one_of(_TOKENS, rng)}"',
                "",
                f"{match[0]} {match[0]}",
                one_of(attributes, rng)[0],
            ],
            rng,
        )
    elif elements:
        match = one_of(elements, rng)
        other = one_of(["", match[0] * one_of([2, 300], rng), one_of(elements, rng)[0], f"<x>{match[0]}</x>"], rng)
    else:
        return flip(data, rng)
    return (text[: match.start()] + other + text[match.end() :]).encode("utf-8", "surrogatepass")


# -- images and archives ----------------------------------------------------------------------------------------------


def chunks(data: bytes, rng: Rng) -> bytes:
    """A chunk of a PNG is mutated, with the checksum and packing of a good one; other bytes are mutated as they are."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return one_of(BYTES, rng)(data, rng)
    found, place = [], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4])
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    if not found:
        return flip(data, rng)
    number = int(rng.integers(len(found)))
    kind, content = found[number]
    if kind == b"IDAT" and rng.random() < 0.7:
        try:
            content = zlib.compress(one_of(BYTES, rng)(zlib.decompress(content), rng), 1)
        except zlib.error:
            content = flip(content, rng)
    elif rng.random() < 0.15:
        kind = one_of([b"tRNS", b"PLTE", b"acTL", b"fdAT", b"eXIf", b"iCCP", b"zTXt", b"IEND", b"IHDR"], rng)
    else:
        content = one_of([flip, overwrite, truncate, noise], rng)(content, rng)
    found[number : number + 1] = [(kind, content)] * (1 if rng.random() < 0.9 else 3)
    return data[:8] + b"".join(
        len(part).to_bytes(4) + name + part + zlib.crc32(name + part).to_bytes(4) for name, part in found
    )


def archive(data: bytes, rng: Rng) -> bytes:
    """The bytes of a zip archive, or a file in it, whose name may change too."""
    if rng.random() < 0.5:
        return one_of(BYTES, rng)(data, rng)
    stream = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        entries = [entry for entry in old.infolist() if not entry.is_dir()]
        chosen = one_of(entries, rng)
        for entry in entries:
            name, content = entry.filename, old.read(entry)
            if entry is chosen:
                content = mutation_of(name, rng)(content, rng)
                name = (
                    name
                    if rng.random() < 0.7
                    else one_of(
                        ["../" + name, "/" + name, name.upper(), name + "x", name.replace("/", "\\"), name + "/x", "x"],
                        rng,
                    )
                )
            new.writestr(name, content)
    return stream.getvalue()


def mutation_of(name: str, rng: Rng) -> Mutation:
    """A mutation for a file, by its ending."""
    ending = name.rpartition(".")[2].lower()
    if ending == "zip":
        return archive
    if ending in ("png", "jpg", "bmp", "tif"):
        return chunks if rng.random() < 0.7 else one_of(BYTES, rng)
    if ending == "parquet":
        return one_of(BYTES, rng)
    draw = rng.random()
    if draw < 0.5 and ending == "json":
        return tree
    if draw < 0.5 and ending == "xml":
        return element
    return one_of(TEXT, rng) if draw < 0.85 else one_of(BYTES, rng)
