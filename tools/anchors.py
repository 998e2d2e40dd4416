"""A hook of mkdocs: the anchor of a heading never begins with a digit, which the scripts of the theme cannot find."""

from __future__ import annotations

from typing import Any

from markdown.extensions.toc import slugify


def on_config(config: Any) -> Any:
    """Called by mkdocs with its settings, before the first page is read."""
    config["mdx_configs"]["toc"]["slugify"] = slug
    return config


def slug(text: str, separator: str) -> str:
    """`16. Title` as `decision-16-title`; other headings as usual."""
    found = slugify(text, separator)
    return f"decision{separator}{found}" if found[:1].isdigit() else found
