"""Tables of text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of rows, the head first: the first column to the left, the others to the right; without columns that are
    empty below the head. Rows may end early."""
    columns = [column for column in zip_longest(*rows, fillvalue="") if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return ["  " + "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(
        zip(cells, widths, strict=True))).rstrip() for cells in zip(*columns, strict=True)]
