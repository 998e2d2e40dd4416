"""A page: one Jinja environment that escapes everything, how numbers are written, and the way to the disk."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from maskwright import __version__
from maskwright.base.storage import atomic_write_text, next_free, require_absent
from maskwright.base.texts import duration as duration
from maskwright.base.texts import percent as as_percent
from maskwright.base.texts import plural as plural
from maskwright.core.classes import ClassTree
from maskwright.core.palette import to_hex
from maskwright.reporting import svg

# The page of a folder that a verb has made: one name everywhere.
PAGE = "index.html"
UNDEFINED = Markup('<abbr title="undefined: the class occurs in none of these pixels">–</abbr>')


def score(value: float | None) -> Markup:
    """A number to three decimals, with the exact value in the markup."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return Markup('<data value="{!r}">{:.3f}</data>').format(float(value), value)


def percent(share: float | None) -> Markup:
    """A share 0..1 as `12.3 %`; what rounds to nothing but is not nothing says so."""
    if share is None or math.isnan(share):
        return UNDEFINED
    return Markup('<data value="{!r}">{}</data>').format(float(share), as_percent(share).replace(" ", "\u00a0"))


def count(value: float) -> Markup:
    """A whole number with commas."""
    return Markup('<data value="{:.0f}">{:,.0f}</data>').format(value, value)


def ticked(text: str) -> Markup:
    """Escaped text, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def class_rows(classes: ClassTree) -> list[dict[str, Any]]:
    """Id, name and CSS colour of each class, in the order of their indices."""
    return [{"id": leaf.id, "name": leaf.name, "colour": to_hex(leaf.colour)} for leaf in classes.leaves]


def _environment() -> Environment:
    loader = PackageLoader(__name__.rpartition(".")[0])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        score=score, percent=percent, count=count, duration=duration, plural=plural, ticked=ticked, bar=svg.bar
    )
    return environment


def write_page(path: Path, template: str, content: dict[str, Any], *, replace: bool = False) -> Path:
    """Renders `templates/TEMPLATE` with `content` and writes it to `path`. ConfigError when the file exists, unless it
    is to be replaced, which happens in one step: a reader sees the old page or the new one."""
    if not replace:
        require_absent(path)
    created = datetime.now(UTC).replace(microsecond=0)
    text = (
        _environment()
        .get_template(template)
        .render(
            content
            | {
                "version": __version__,
                "created": created.isoformat(),
                "created_text": created.strftime("%Y-%m-%d %H:%M UTC"),
            }
        )
    )
    # A control character or half of a surrogate pair, from a hostile name, is no valid HTML.
    atomic_write_text(path, re.sub("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\ufffd", text))
    return path


def free_page(folder: Path, stem: str) -> Path:
    """`folder/stem-001.html`, or the next number behind the highest that is taken."""
    return next_free(folder, stem, ".html")
