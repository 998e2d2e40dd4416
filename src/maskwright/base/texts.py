"""How numbers, durations, lists and tables are written for people: one way each."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Sequence
from itertools import zip_longest


def plural(number: int, noun: str) -> str:
    """`1 image`, `2 images`, `3 classes`."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def counted(number: int, text: str) -> str:
    """`number` and a text that agrees with it, where `{one|many}` holds both forms: `"image{|s} {is|are} missing"`."""
    return f"{number:,} " + re.sub(r"{([^{}|]*)\|([^{}|]*)}", lambda forms: forms[1 if number == 1 else 2], text)


def listing(names: Iterable[str], most: int = 3) -> str:
    """The first `most` names, and the number of the others."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def percent(share: float | None) -> str:
    """A share 0..1 as `12.3 %`; what rounds to nothing but is not nothing says so; `-` where it is not known."""
    if share is None or math.isnan(share):
        return "-"
    return "< 0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"


def clock(seconds: float) -> str:
    """A duration on a clock: 4:05, 10:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def duration(seconds: float) -> str:
    """`8.2 s`, `3 min 05 s` or `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def table(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """Lines of rows, the head first: the columns `left` (from 0) to the left, the others to the right; without columns
    that are empty below the head. Rows may end early."""
    filled = {place: column for place, column in enumerate(zip_longest(*rows, fillvalue="")) if any(column[1:])}
    columns = [*filled.values()]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, cell, width in zip(filled, cells, widths, strict=True)
        ).rstrip()
        for cells in zip(*columns, strict=True)
    ]
