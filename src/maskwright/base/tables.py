"""Tables of text for a terminal, and counts in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest


def plural(number: int, noun: str) -> str:
    """`1 image`, `2 images`, `3 classes`."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of rows, the head first: the first column to the left, the others to the right; without columns that are
    empty below the head. Rows may end early."""
    columns = [column for column in zip_longest(*rows, fillvalue="") if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in zip(*columns, strict=True)
    ]
