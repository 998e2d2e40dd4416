"""Short names for the values of a study, from which the names of its runs are made: safe as paths, distinct on file
systems that know no capitals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

LONGEST = 150
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
_LONGEST_LABEL = 48


def labels(key: str, values: Sequence[Any]) -> list[str]:
    """A name for each value of the config's `key`: the value itself or its `name`; with its arguments where that is
    needed to tell two apart, and a number where even that is not enough."""
    found = [_safe(_brief(key, value)) for value in values]
    found = _where_shared(found, lambda i: _safe(_full(key, values[i])))
    numbers: Counter[str] = Counter()

    def numbered(i: int) -> str:
        numbers[found[i].lower()] += 1
        return f"{found[i][: _LONGEST_LABEL - 4]}-{numbers[found[i].lower()]}"

    return _where_shared(found, numbered)


def _where_shared(names: list[str], other: Callable[[int], str]) -> list[str]:
    counts = Counter(name.lower() for name in names)
    return [other(i) if counts[name.lower()] > 1 else name for i, name in enumerate(names)]


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", text).strip("-.+_")[:_LONGEST_LABEL].rstrip("-.+_") or "value"


def _brief(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return str(value["name"]) if "name" in value else _full(key, value)
    if isinstance(value, list):
        return _joined(key, value, _brief)
    if isinstance(value, str):
        return value.rstrip("/").rpartition("/")[2]
    return f"{_last(key)}{'' if type(value) in (int, float) else '-'}{value}".lower()


def _full(key: str, value: Any) -> str:
    if isinstance(value, dict):
        named = [str(value["name"])] if "name" in value else []
        return "-".join([*named, *(f"{name}{_plain(item)}" for name, item in value.items() if name != "name")])
    return _joined(key, value, _full) if isinstance(value, list) else _brief(key, value)


def _joined(key: str, values: list[Any], name: Callable[[str, Any], str]) -> str:
    """The terms of a loss as `ce+dice`, a size as `image_size64x96`."""
    if all(isinstance(value, (str, dict)) for value in values):
        return "+".join(name(key, value) for value in values) or f"{_last(key)}-none"
    return f"{_last(key)}{_plain(values)}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "-".join(f"{name}{_plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "x".join(map(_plain, value))
    return str(value) if type(value) in (int, float) else f"-{value}".lower()


def _last(key: str) -> str:
    return key.rpartition(".")[2]
