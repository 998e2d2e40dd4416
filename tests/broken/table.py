"""What a row of the table of broken inputs is, and the tools that break a good folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from helpers import Pixels, encoded

Place = Literal["image", "mask", "name", "annotation", "description", "archive"]
Verdict = Literal["refused", "error", "warning", "note"]
Break = Callable[[Path], object]

VERDICTS: dict[Verdict, str] = {
    "refused": "the dataset does not open: one line on stderr that names the file, and exit code 3 (2 for mistakes in "
    "`dataset.yaml`)",
    "error": "it opens; the audit has a finding of severity error, and to read the sample is refused with exit code 3",
    "warning": "it opens; what cannot be used is left out, and a finding of severity warning counts it",
    "note": "it is taken for something, and a finding of severity info states for what and counts it",
}


@dataclass(frozen=True)
class Row:
    """One kind of broken input: `breaks` makes it of a good folder in `form` (see `folders.GOOD`), and the message of
    the verdict holds `says`. `code` is the exit code of what is refused. `changes`: masks that can still be read are
    not those of the good folder, or samples have other names."""

    place: Place
    form: str
    kind: str
    breaks: Break
    verdict: Verdict
    says: str
    code: int = 3
    changes: bool = False

    @property
    def name(self) -> str:
        """Unique in the table."""
        return f"{self.form}, {self.place}: {self.kind}"


def several(place: Place, form: str, verdict: Verdict, says: str, kinds: dict[str, Break], **more: Any) -> list[Row]:
    """Rows that differ only in the kind."""
    return [Row(place, form, kind, breaks, verdict, says, **more) for kind, breaks in kinds.items()]


# -- breaking a folder ------------------------------------------------------------------------------------------------


def put(name: str, content: bytes | str) -> Break:
    """Writes a file, in place of the one that was there."""

    def breaks(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return breaks


def put_image(name: str, pixels: Pixels | Image.Image, form: str = "PNG", **options: Any) -> Break:
    """Writes an image file."""
    return put(name, encoded(pixels, form, **options))


def swap(name: str, old: str, new: str) -> Break:
    """Exchanges the first `old` in a text file."""

    def breaks(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text, f"{name} holds no {old!r}"
        (folder / name).write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogatepass"))

    return breaks


def edit(name: str, change: Callable[[Any], object]) -> Break:
    """Changes a JSON file; `change` gets its data."""

    def breaks(folder: Path) -> None:
        data = json.loads((folder / name).read_text("utf-8"))
        change(data)
        (folder / name).write_text(json.dumps(data), "utf-8")

    return breaks


def cut(name: str, share: float = 0.5) -> Break:
    """Keeps the first part of a file."""

    def breaks(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return breaks


def remove(name: str) -> Break:
    """Removes a file."""
    return lambda folder: (folder / name).unlink()


def rename(name: str, other: str) -> Break:
    """Renames a file or folder; `other` is its new path."""

    def breaks(folder: Path) -> None:
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(folder / other)

    return breaks


def link_out(name: str) -> Break:
    """Moves a file or folder out of the dataset and leaves a symbolic link."""

    def breaks(folder: Path) -> None:
        outside = folder.parent / f"outside-{Path(name).name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return breaks


def both(*breaks: Break) -> Break:
    """One after the other."""

    def all_of(folder: Path) -> None:
        for one in breaks:
            one(folder)

    return all_of


def joined(*parts: Sequence[Row]) -> tuple[Row, ...]:
    """All rows, whose names must differ."""
    rows = tuple(row for part in parts for row in part)
    names = [row.name for row in rows]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return rows
