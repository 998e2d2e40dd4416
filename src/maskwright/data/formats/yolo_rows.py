"""What the numbers of a YOLO row are: coordinates, and what predictions write behind them.

Ultralytics writes `class coordinates [confidence] [track id]`. One number more than pairs need is told by the row
alone. Two more look like one corner more; they are told by the row where the last is a whole number above 1, which no
share is, and else by the other rows of the file and of the set: an id stands once in a file, and all rows of a file
end alike. What stays open is read as a corner, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
# What stands behind the coordinates: nothing, or what is dropped; "both" is a confidence and a track id.
Extra = Literal["", "confidence", "id", "both"]

MAX_NUMBER = 1_000_000
# Shares beyond it are no slips at an edge: they are pixels, or no coordinates at all.
FAR = 2.0
# Files in which an id of 1 has to stand alone before it is believed without a greater one.
_FILES = 3


@dataclass(slots=True)
class Row:
    """A class number, what follows it, and what of that is `extra` as far as the row alone tells. `open` says that the
    last two could be a confidence and the id 1."""

    number: int
    shares: Values
    extra: Extra = ""
    open: bool = False

    @property
    def coordinates(self) -> Values:
        """Without the extra numbers."""
        return self.shares[: len(self.shares) - {"": 0, "confidence": 1, "id": 1, "both": 2}[self.extra]]


@dataclass(slots=True)
class Rows:
    """The rows of one file, and how many of its lines are none."""

    rows: list[Row] = field(default_factory=list)
    wrong: int = 0


def numbers_of(line: str) -> list[float] | None:
    """A class number and at least four finite numbers behind it, or None for anything else."""
    if "_" in line or not line.isascii():  # Python takes 1_000 for a number
        return None
    try:
        values = [*map(float, line.split())]
    except ValueError:
        return None
    # A sum is finite where all numbers are, unless they are as large as no coordinate is.
    if len(values) < 5 or not math.isfinite(sum(values)):
        return None
    return values if values[0].is_integer() and 0 <= values[0] < MAX_NUMBER else None


def row_of(values: Sequence[float]) -> Row:
    """The row of `numbers_of`, by itself."""
    count, last, before = len(values) - 1, values[-1], values[-2]
    row = Row(int(values[0]), np.array(values[1:]))
    is_id = last >= 1 and last.is_integer()
    if count % 2:
        row.extra = "id" if is_id and last > 1 else "confidence"
    elif count > 4 and is_id and 0 < before <= 1 and (count > 6 or _may_be_box(values[1:5])):
        if last == 1:
            row.open = True
        elif max(map(abs, values[1:-2])) <= FAR:
            row.extra = "both"
    return row


def _may_be_box(values: Sequence[float]) -> bool:
    """Whether a centre and two sides are a box inside the image, as those of predictions are."""
    return all(
        side > 0 and middle - side / 2 >= -0.01 and middle + side / 2 <= 1.01
        for middle, side in zip(values[:2], values[2:], strict=True)
    )


def rows_of(lines: Sequence[str]) -> Rows:
    """The rows of the lines of a file, without what the other files tell."""
    found = Rows()
    for line in lines:
        if (values := numbers_of(line)) is None:
            found.wrong += 1
        else:
            found.rows.append(row_of(values))
    return found


def settle(files: Mapping[str, Rows]) -> tuple[list[str], list[str]]:
    """Decides what the rows together tell: of those that are open, and of those with one number more than pairs need.

    Returns the names of the files of rows that could as well end with a confidence and an id and stay corners, and of
    rows whose last number is dropped although other rows of their file have none, as predictions never do.
    """
    told, plain = False, False
    alone: list[tuple[str, Row]] = []
    among: list[tuple[str, Row]] = []
    odd: list[str] = []
    for name, file in files.items():
        pairs = [row for row in file.rows if len(row.shares) % 2 == 0 and len(row.shares) > 4]
        open_ = [row for row in pairs if row.open]
        others = any(not row.extra and not row.open for row in pairs)
        tracked = any(row.extra == "both" for row in pairs)
        told, plain = told or tracked, plain or others
        if len(open_) == 1:  # two of one id in a file are no ids
            (among if others else alone).append((name, open_[0]))
            if tracked:
                open_[0].extra = "both"
        ends = [row for row in file.rows if row.extra in ("confidence", "id")]
        one = any(row.extra == "id" for row in ends)
        for row in ends:
            if row.extra == "confidence" and len(ends) < len(file.rows):
                odd.append(name)
                row.shares, row.extra = row.shares[:-1], ""
            elif one and row.shares[-1] == 1:
                row.extra = "id"
    if not plain and (told or (len(alone) >= _FILES and all(_stands_apart(row.shares) for _, row in alone))):
        for _, row in alone:
            row.extra = "both"
    unsure = [name for name, row in (*alone, *among) if not row.extra and _stands_apart(row.shares)]
    return unsure, odd


def _stands_apart(shares: Values) -> bool:
    """Whether the last corner lies at the lower edge of the image and no other one does."""
    return bool(shares[1:-2:2].max() < 1)
