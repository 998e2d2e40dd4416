"""Configs in a few words: losses and models as people call them, and the matrix of one against the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskwright.run import MEASURED

# The normalisation comes from the encoder's own statistics.
_DERIVED = MEASURED | {"data.mean", "data.std"}


@dataclass(frozen=True)
class Matrix:
    """Models (rows) against losses (columns): names of entries, None where there is none."""

    rows: list[str]
    columns: list[str]
    cells: list[list[str | None]]


def brief(value: Any) -> str:
    """A value of a config on one line: named terms as a sum, such as `ce + 3 dice`."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return " + ".join(_term(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {brief(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(brief, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _term(term: dict[str, Any]) -> str:
    weight = term.get("weight", 1.0)
    rest = {
        key: value
        for key, value in term.items()
        if key not in ("name", "weight") and value is not None and (key, value) != ("class_weights", "none")
    }
    return ("" if weight == 1 else f"{weight:g} ") + str(term["name"]) + (f" ({brief(rest)})" if rest else "")


def loss_names(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The loss of each config (dotted keys) in words; empty without one."""
    return [brief(config["loss"]) if config.get("loss") else "" for config in configs]


def model_names(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The model of each config (dotted keys): its name, its encoder, and what else of `model` tells it from the others
    of that name; empty without one."""
    parts = [
        {key.removeprefix("model."): value for key, value in config.items() if key.startswith("model.")}
        for config in configs
    ]
    names = ["/".join(str(part[key]) for key in ("name", "encoder") if part.get(key)) for part in parts]
    found = []
    for name, part in zip(names, parts, strict=True):
        same = [other for other_name, other in zip(names, parts, strict=True) if other_name == name]
        keys = dict.fromkeys(key for other in same for key in other)
        own = {key: part.get(key) for key in keys if any(other.get(key) != part.get(key) for other in same)}
        told = ", ".join(f"{key.removeprefix('args.')} {brief(value)}" for key, value in own.items())
        found.append(f"{name} ({told})" if told else name)
    return found


def matrix(
    names: Sequence[str], models: Sequence[str], losses: Sequence[str], differing: Sequence[str]
) -> Matrix | None:
    """Where entries differ in exactly their model and their loss, and by more than one of each."""
    sections = {key.partition(".")[0] for key in differing if key not in _DERIVED}
    cells = dict(zip(zip(models, losses, strict=True), names, strict=True))
    if sections != {"model", "loss"} or len(cells) < len(names):
        return None
    rows, columns = list(dict.fromkeys(models)), list(dict.fromkeys(losses))
    return Matrix(rows, columns, [[cells.get((row, column)) for column in columns] for row in rows])
