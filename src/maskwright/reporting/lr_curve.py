"""The curve of a learning-rate range test as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.base.storage import atomic_write_text, require_absent
from maskwright.reporting.svg import Series, line_chart, standalone

if TYPE_CHECKING:
    from maskwright.training.lr_finder import RangeTest


def draw_rates(found: RangeTest, path: Path) -> Path:
    """Writes the losses over the logarithm of the rate as one SVG file. ConfigError when the file exists."""
    require_absent(path)
    decade = math.floor(math.log10(found.rates[0]) + 1e-9)

    def place(rate: float) -> float:
        return max(0.0, math.log10(rate) - decade)

    lines = [
        Series(name, [(place(rate), loss) for rate, loss in zip(found.rates, losses, strict=True)], colour)
        for name, losses, colour in (
            ("batch", found.losses, "var(--series-2)"),
            ("mean", found.smoothed, "var(--series-1)"),
        )
    ]
    mark = (place(found.suggested), f"{found.suggested:.1e}") if found.suggested else None
    atomic_write_text(
        path,
        standalone(
            line_chart(
                "rates",
                "Learning-rate range test",
                lines,
                x_label="learning rate",
                y_label="loss (no unit)",
                mark=mark,
                x_text=lambda column: f"1e{decade + column:.0f}",
            )
        ),
    )
    return path
