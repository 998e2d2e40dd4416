"""Tables for pandas, which is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskwright.errors import SetupError


def data_frame(rows: Sequence[Mapping[str, Any]], index: str | None = None) -> Any:
    """A pandas DataFrame with a row for each of `rows` and a column for each of their keys, the column `index` being
    its index. SetupError without pandas."""
    try:
        import pandas
    except ImportError:
        raise SetupError("a table needs pandas: not installed; `pip install maskwright[pandas]`") from None
    frame = pandas.DataFrame([dict(row) for row in rows])
    return frame if index is None else frame.set_index(index)
