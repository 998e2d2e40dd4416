"""What `repr`, `str` and a notebook show of an object, whatever its names hold."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

from maskwright.base.display import LONGEST_VALUE, MOST_ROWS, Result, data_frame, html_table
from maskwright.errors import SetupError


@dataclass(frozen=True, repr=False)
class Thing(Result):
    name: str
    values: list[float]

    def facts(self) -> dict[str, object]:
        return {"name": self.name, "number of values": len(self.values), "mean": 1 / 3, "folder": None, "why": ""}

    def human(self) -> str:
        return f"{self.name}\nhas values"


class Texts(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_line_says_the_facts_and_nothing_else() -> None:
    assert repr(Thing("steel", [0.5] * 1000)) == "Thing(name='steel', number_of_values=1000, mean=0.3333)"


def test_text_is_what_a_terminal_shows() -> None:
    thing = Thing("steel", [])
    assert str(thing) == f"{thing}" == thing.human() == "steel\nhas values"


def test_long_values_are_cut_and_the_line_stays_one() -> None:
    shown = repr(Thing("x\n" * 500, []))
    assert "\n" not in shown
    assert len(shown) < LONGEST_VALUE + 100


def test_a_table_escapes_what_is_in_it() -> None:
    page = Texts(Thing("<script>alert(1)</script>\0\ud800", [1.0])._repr_html_())
    assert {*page.tags} == {"table", "tr", "th", "td"}
    assert "<script>alert(1)</script>\ufffd\ufffd" in page.texts
    assert page.texts[0] == "Thing"
    "".join(page.texts).encode()


def test_a_long_table_counts_the_rest() -> None:
    page = Texts(html_table([["sample"], *([f"s{i}"] for i in range(MOST_ROWS + 3))]))
    assert page.texts[-1] == "and 3 more"
    assert f"s{MOST_ROWS}" not in page.texts


def test_numbers_stand_on_the_right() -> None:
    assert html_table([["a"], [1234], ["b"]]).count("text-align:right") == 1
    assert "1,234" in html_table([["a"], [1234]])


def test_rows_become_a_table_of_pandas() -> None:
    frame = data_frame({"name": f"s{i}", "mask": None} for i in range(2))
    assert [*frame.columns] == ["name", "mask"]
    assert [*frame["name"]] == ["s0", "s1"]


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SetupError, match=r"maskwright\[pandas\]"):
        data_frame([])


def test_paths_are_written_as_text() -> None:
    assert "a/b" in html_table([["file"], [Path("a/b")]])
