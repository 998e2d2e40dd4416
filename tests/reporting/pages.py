"""Reads a page as strictly as a browser does not, and holds it against what every page promises."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Parses strictly: every element is closed in order. Collects attributes, tables and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[tuple[str, list[str]]]]] = []  # table, row, cell: text and exact values
        self.text = ""
        self.source = text
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    @property
    def _in_cell(self) -> bool:
        return bool({"td", "th"} & set(self.open))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append(("", []))
        elif tag == "data" and self._in_cell:
            self.tables[-1][-1][-1][1].append(dict(attrs)["value"] or "")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
            if self._in_cell:
                text, values = self.tables[-1][-1][-1]
                self.tables[-1][-1][-1] = (text + data, values)


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def table(page: Page, *columns: str) -> list[list[tuple[str, list[str]]]]:
    """The rows of the table whose header begins with `columns`."""
    for rows in page.tables:
        if [text.strip() for text, _ in rows[0]][: len(columns)] == list(columns):
            return rows[1:]
    raise AssertionError(f"no table with {columns}")


def check_promises(page: Page) -> None:
    """One file, nothing loaded, no script; headings, names and targets that a screen reader and a keyboard need."""
    assert "@import" not in page.source and "url(" not in page.source
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "xlink:href", "poster", "background"):
            value = attributes.get(name) or "#"
            assert value.startswith("#") or (tag == "img" and value.startswith("data:image/webp;base64,")), (tag, value)
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    for _, attributes in page.tags:
        targets = [(attributes.get("href") or "")[1:], *(attributes.get("aria-labelledby") or "").split()]
        assert {target for target in targets if target} <= set(identities)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    assert [tag for tag, _ in page.tags if tag in ("title", "h1", "main")][:3] == ["title", "h1", "main"]
    assert dict(page.tags)["html"]["lang"] == "en"
