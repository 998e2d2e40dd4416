"""What `decide` has estimated as one page, drawn from its JSON: the three ways side by side, and what they rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskwright.base.storage import read_json
from maskwright.errors import DataError
from maskwright.reporting.page import PAGE, write_page
from maskwright.reporting.svg import interval_strip, ticks

FILE = "decision.json"


def draw_decision(folder: Path) -> Path:
    """Draws the page of what `decide` has written to `folder`, in place of one that is there; needs no torch and no
    dataset. DataError when it holds something else."""
    stored = read_json(folder / FILE)
    try:
        return write_page(folder / PAGE, "decision.html.j2", _content(stored), replace=True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder / FILE}: is no result of `decide` ({type(error).__name__}: {error}); run `maskwright "
            "decide` again"
        ) from None


def _content(stored: dict[str, Any]) -> dict[str, Any]:
    """The differences, each with its interval drawn on one scale for all, which holds 0."""
    found = [row["difference"] for row in stored["differences"]]
    ends = [value for row in found for value in row.values() if value is not None]
    rounds = ticks(min([0.0, *ends]), max([0.0, *ends]))
    low, high = rounds[0], rounds[-1]

    def place(value: float | None) -> float | None:
        return None if value is None else (value - low) / (high - low)

    pairs = [
        row
        | {
            "strip": interval_strip(
                place(one["value"]) or 0.0, place(one["low"]), place(one["high"]), [-low / (high - low)]
            )
        }
        for row, one in zip(stored["differences"], found, strict=True)
    ]
    return {"result": stored, "pairs": pairs, "ends": (low, high)}
