"""How objects show themselves in Python: one short line as `repr`, a small table in a notebook, `human()` as text, and
rows as a table of pandas."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from maskwright.errors import SetupError

if TYPE_CHECKING:
    import pandas

# What keeps a line a line, and a table on a screen.
LONGEST_VALUE, MOST_ROWS = 80, 20
_RIGHT = ' style="text-align:right"'


class Display(ABC):
    """Something with a short `repr` and a small table in notebooks, both made of `facts`.

    A dataclass has to be made with `repr=False`, or it gets a `repr` of its own.
    """

    @abstractmethod
    def facts(self) -> Mapping[str, object]:
        """What the line and the table say, the most important first: words, numbers and paths, no arrays or lists.
        What is None or "" is left out."""

    def __repr__(self) -> str:
        said = ", ".join(
            f"{key.replace(' ', '_')}={_short(value if isinstance(value, int | float) else repr(_text(value)))}"
            for key, value in _said(self.facts())
        )
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        return html_table([["", type(self).__name__], *([key, value] for key, value in _said(self.facts()))])


class Result(Display):
    """What a verb returns: it can also say all that matters on a terminal."""

    @abstractmethod
    def human(self) -> str:
        """Text for a terminal."""

    def __str__(self) -> str:
        return self.human()


def data_frame(rows: Iterable[Mapping[str, object]]) -> pandas.DataFrame:
    """The rows as a table of pandas, with the columns of the first. SetupError without pandas."""
    try:
        import pandas
    except ImportError:
        raise SetupError("a table needs pandas: not installed; `pip install maskwright[pandas]`") from None
    return pandas.DataFrame([dict(row) for row in rows])


def html_table(rows: Sequence[Sequence[object]]) -> str:
    """A table of HTML, the head first. Every cell is escaped, long ones are cut, and what is below `MOST_ROWS` rows is
    only counted. Numbers stand on the right."""
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{_escaped(cell)}</th>" for cell in head) + "</tr>"]
    for row in body[:MOST_ROWS]:
        cells = (f"<td{_RIGHT * isinstance(cell, int | float)}>{_escaped(cell)}</td>" for cell in row)
        lines.append("<tr>" + "".join(cells) + "</tr>")
    if len(body) > MOST_ROWS:
        lines.append(f'<tr><td colspan="{len(head)}">and {len(body) - MOST_ROWS:,} more</td></tr>')
    return "<table>" + "".join(lines) + "</table>"


def _said(facts: Mapping[str, object]) -> list[tuple[str, object]]:
    return [(key, value) for key, value in facts.items() if value is not None and value != ""]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _short(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _escaped(value: object) -> str:
    # Names come from files: control characters and halves of surrogate pairs are no valid HTML.
    return escape(re.sub("[\0-\x1f\ud800-\udfff]", "\ufffd", _short(_text(value))))
