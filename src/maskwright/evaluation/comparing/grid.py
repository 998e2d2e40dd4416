"""Networks against losses: the grid of a study that varies these two alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskwright.run import MEASURED

# The normalisation comes from the encoder's own statistics.
_DERIVED = MEASURED | {"data.mean", "data.std"}


@dataclass(frozen=True)
class NetworkLossGrid:
    """Models (rows) against losses (columns): names of entries, None where there is none."""

    rows: list[str]
    columns: list[str]
    cells: list[list[str | None]]


def network_loss_grid(
    names: Sequence[str], models: Sequence[str], losses: Sequence[str], differing: Sequence[str]
) -> NetworkLossGrid | None:
    """Where entries differ in exactly their model and their loss, and by more than one of each."""
    sections = {key.partition(".")[0] for key in differing if key not in _DERIVED}
    cells = dict(zip(zip(models, losses, strict=True), names, strict=True))
    if sections != {"model", "loss"} or len(cells) < len(names):
        return None
    rows, columns = list(dict.fromkeys(models)), list(dict.fromkeys(losses))
    return NetworkLossGrid(rows, columns, [[cells.get((row, column)) for column in columns] for row in rows])
