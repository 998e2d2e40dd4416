"""What is compared of a recorded file: its bytes, or its text without what differs from one recording to the next.

A file that holds others (zip, npz, safetensors) is taken apart. JSON is read and written again in one form, so that
its keys can be found; all other text stays as it is, but for what is in the table of volatile things below.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

# Everything that two recordings of the same source differ in, found by recording twice. A key that gets a new name
# gets it here too, beside the old one.
VOLATILE: dict[str, tuple[str, ...]] = {
    # Files, by the end of their path, that hold times, or go by them.
    "files": (r"timing\.jsonl", r"\.maskwright/hashes\.json"),
    # Commands whose output depends on the moment at which they were stopped.
    "outputs": (r"output/(train|resume)-stopped\.txt",),
    # Keys of JSON whose values are times, rates or dates, wholly.
    "keys": (
        r".*seconds.*",
        r".*per_second.*",
        r"time",
        r"created",
        r"started",
        r"ended",
        r"finished_at",
        r"pid",
        r"host",
        r"speed",
        r"mtime",
        r"waited",
    ),
    # In text: dates, rates beside durations in rows of tables, what depends on the time of a step, durations.
    "text": (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?",
        r"\b\d+ ms\s+\d+(\.\d+)?\s+\d+ s\b",
        r"<td>\d+(\.\d+)?</td>\s*<td>\d+(\.\d+)? (s|min|h)\b( \d+ (s|min)\b)?",
        r"\b\d+ % of the time of a step",
        r"\b\d+:\d\d(:\d\d)?\b",
        r"\b\d+(\.\d+)?[ \u00a0](h|min|minutes?|m?s|seconds?)\b(?! ?[-.]\w)( \d+ (s|min)\b)?",
        r"\b\d+(\.\d+)?[ \u00a0](img|images)/s",
    ),
    # Findings about times, which may come or not: entries of JSON, lines of text.
    "findings": (r"number\.loading", r"train\.loader"),
}
# Files that hold nothing but pixels or tensors; those in text are numbers or words.
BYTES = {".png", ".jpg", ".jpeg", ".webp", ".npy", ".bin"}
# A number with its sign, and the values of JSON that are no text.
NUMBER = re.compile(
    r"(?:(?<![\w)\]])[-\u2212+])?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?|\b(?:nan|NaN|inf|Infinity)\b"
    "|\u27e8(?:true|false|null)\u27e9"
)
_VALUES = {True: "\u27e8true\u27e9", False: "\u27e8false\u27e9", None: "\u27e8null\u27e9"}
_FILES = re.compile("(" + "|".join(VOLATILE["files"]) + ")$|^(" + "|".join(VOLATILE["outputs"]) + ")$")
_KEYS = re.compile("|".join(VOLATILE["keys"]))
_TEXT = re.compile("|".join(f"(?:{pattern})" for pattern in VOLATILE["text"]))
_FINDINGS = re.compile("|".join(VOLATILE["findings"]))
_EMBEDDED = re.compile(r"data:([a-z/+-]+);base64,([A-Za-z0-9+/=]+)")

Rename = Callable[[str], str]


def is_volatile(path: str) -> bool:
    """Whether nothing can be said of this file but that it is there."""
    return _FILES.search(path) is not None


def read_parts(folder: Path, path: str) -> dict[str, bytes]:
    """The file's content by name: its own path, or one with `!` for each thing inside."""
    return dict(_apart(path, (folder / path).read_bytes()))


def _apart(path: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    suffix = PurePosixPath(path).suffix
    if suffix in (".zip", ".npz"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from _apart(f"{path}!{name}", archive.read(name))
    elif suffix == ".safetensors":
        yield from _tensors(path, data)
    else:
        yield path, data


def _tensors(path: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The metadata as JSON, and the tensors in the order of their bytes. Their names are words, so they are in the
    JSON; places are left out, since a longer name moves them."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    named = {name: {"dtype": tensor["dtype"], "shape": tensor["shape"]} for name, tensor in tensors}
    yield f"{path}!header.json", json.dumps({"metadata": metadata, "tensors": named}).encode()
    for place, (_, tensor) in enumerate(tensors):
        begin, end = tensor["data_offsets"]
        yield f"{path}!{place:04d}.bin", data[8 + length + begin : 8 + length + end]


def normal_text(path: str, data: bytes, root: str, rename: Rename, *, ordered: bool = True) -> str | None:
    """The text to compare, or None where bytes are compared. `root` is the folder of the recording, `rename` puts new
    words for old ones; JSON with `ordered=False` gets its keys in the order of the alphabet."""
    suffix = PurePosixPath(path).suffix
    if suffix in BYTES:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None

    def clean(text: str) -> str:
        return rename(_TEXT.sub("<time>", _EMBEDDED.sub(_digest, text.replace(root, "<folder>"))))

    documents = _documents(text)
    if documents is None:
        return clean("\n".join(line for line in text.split("\n") if not _FINDINGS.search(line)))
    return "\n".join(
        json.dumps(_normal(document, clean, rename), indent=1, sort_keys=not ordered, ensure_ascii=False)
        for document in documents
    )


def _documents(text: str) -> list[Any] | None:
    """The documents of JSON or of JSON lines; None for other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return [json.loads(text)]
    except ValueError:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            return None


def _normal(value: Any, clean: Callable[[str], str], rename: Rename) -> Any:
    if isinstance(value, Mapping):
        return {
            rename(str(key)): "<time>" if _KEYS.fullmatch(str(key)) else _normal(item, clean, rename)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_normal(item, clean, rename) for item in value if not _about_times(item)]
    if value is None or isinstance(value, bool):
        return _VALUES[value]
    if isinstance(value, str):
        inside = _documents(value) if value.startswith(("{", "[")) else None  # such as metadata of safetensors
        return clean(value) if inside is None else _normal(inside, clean, rename)
    return value


def _about_times(value: Any) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(item, str) and _FINDINGS.fullmatch(item) for item in value.values()
    )


def _digest(match: re.Match[str]) -> str:
    """Pixels inside a page count as their digest: other pixels are other numbers."""
    return f"data:{match[1]} {int(hashlib.sha256(match[2].encode()).hexdigest(), 16)}"
