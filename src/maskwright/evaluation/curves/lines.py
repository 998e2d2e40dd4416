"""Reading logs line by line: JSON lines and CSV, with the line in every error.

The last line of a log may be torn, as its tool may have been killed or be writing still: it is left out.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.errors import DataError

_HEAD = 1 << 20
_FURTHEST = 2.0**53  # whole numbers up to here are exact


@dataclass(frozen=True)
class Start:
    """The beginning of a file, by which a reader knows its own: the first MiB."""

    head: bytes

    @classmethod
    def of(cls, path: Path) -> Start:
        """Of a file. DataError when it cannot be read."""
        try:
            with open(path, "rb") as stream:
                return cls(stream.read(_HEAD))
        except OSError as error:
            raise DataError(f"{path}: not readable ({error.strerror}); give a run folder or a log") from None

    def records(self) -> list[dict[str, Any]]:
        """The JSON objects of its first five lines; none when it is something else."""
        found = []
        for line in self.head.split(b"\n", 5)[:5]:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                found.append(record)
        return found

    def columns(self) -> list[str]:
        """The cells of its first line as CSV, without the spaces around them."""
        line = self.head.partition(b"\n")[0].decode("utf-8-sig", "replace")
        return [cell.strip() for cell in line.split(",")]


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, record) of each JSON object of a file with one a line. Raises DataError."""
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                if not line.endswith(b"\n"):
                    return
                raise DataError(f"{path}:{number}: not valid JSON; restore the file or delete the line") from None
            if not isinstance(record, dict):
                raise DataError(
                    f"{path}:{number}: {type(record).__name__} where an object {{…}} is expected; is this a log?"
                )
            yield number, record


def table(path: Path) -> Iterator[tuple[int, dict[str, float | None]]]:
    """(line number, values by column) of each row of a CSV file with a header; empty cells are left out, numbers that
    are not finite are None. Raises DataError."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, strict=True)
        try:
            columns = [cell.strip() for cell in next(rows, [])]
            if doubled := {name for name in columns if name and columns.count(name) > 1}:
                raise DataError(f"{path}:1: the column {min(doubled)!r} stands there twice; rename one")
            torn: DataError | None = None
            for row in rows:
                if torn:
                    raise torn
                try:
                    yield rows.line_num, _row(columns, row, f"{path}:{rows.line_num}")
                except DataError as error:
                    torn = error  # unless it is the last line
        except csv.Error as error:
            raise DataError(f"{path}:{rows.line_num}: not valid CSV ({error}); check the quotes") from None
        except UnicodeDecodeError:
            raise DataError(f"{path}:{rows.line_num + 1}: not text in UTF-8; save it as such") from None
    if torn and _ends_line(path):
        raise torn


def _row(columns: list[str], row: list[str], where: str) -> dict[str, float | None]:
    if row and len(row) != len(columns):
        raise DataError(f"{where}: {len(row)} cells where the header has {len(columns)}; restore or delete the line")
    values = {}
    for column, cell in zip(columns, row, strict=False):
        if cell.strip():
            try:
                values[column] = finite(float(cell))
            except ValueError:
                raise DataError(f"{where}: column {column!r}: {cell.strip()!r} is not a number; correct it") from None
    return values


def _ends_line(path: Path) -> bool:
    with open(path, "rb") as stream:
        stream.seek(-1, 2)
        return stream.read() == b"\n"


def finite(value: float) -> float | None:
    """`value`, or None when it is no finite number."""
    return value if math.isfinite(value) else None


def number(value: Any) -> float | None:
    """A JSON number as float, None when it is not finite. Raises TypeError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    try:
        return finite(float(value))
    except OverflowError:
        return None


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def position(value: Any, where: str, name: str) -> float:
    """`value` as x: a number >= 0. Raises DataError, which names `where` and the key or column `name`."""
    at = number(value) if is_number(value) else None
    if at is None or not 0 <= at <= _FURTHEST:
        raise DataError(f"{where}: {name!r} is {value!r:.80} where a number from 0 on is expected; correct the line")
    return at
