"""Networks, losses and other parts of a config in words: the same in charts, on the board of `compare` and in reports.

A name is short, with its details in a bracket behind it where there are any: `Unet resnet34 (weights=imagenet)`,
`ce + 3 dice (ce class_weights=inverse_frequency)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def brief(value: Any) -> str:
    """A value of a config on one line: named terms as a sum, such as `ce + 3 dice`."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return loss_name(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={brief(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(brief, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def loss_name(terms: Sequence[Mapping[str, Any]]) -> str:
    """The terms of a loss, or of another list of named things, as a sum with their weights."""
    weights = [term.get("weight", 1.0) for term in terms]
    short = " + ".join(
        str(term["name"]) if weight == 1 else f"{weight:g} {term['name']}"
        for term, weight in zip(terms, weights, strict=True)
    )
    details = [
        f"{term['name']} {text}"
        for term in terms
        if (text := _details({key: value for key, value in term.items() if key not in ("name", "weight")}))
    ]
    return _with(short, "; ".join(details))


def network_name(model: Mapping[str, Any]) -> str:
    """The network of a config's section `model`: its name and encoder, with weights and arguments in the bracket."""
    return _with(_network(model), _details({"weights": model.get("weights"), **(model.get("args") or {})}))


def network_names(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """The networks of sections `model` beside each other, with dotted keys in each: of each the name and the encoder,
    and in the bracket what tells it from the others of that name; empty without one."""
    names = [_network(model) for model in models]
    found = []
    for name, model in zip(names, models, strict=True):
        same = [other for other_name, other in zip(names, models, strict=True) if other_name == name]
        keys = dict.fromkeys(key for other in same for key in other)
        apart = {key: model.get(key) for key in keys if any(other.get(key) != model.get(key) for other in same)}
        found.append(_with(name, brief({key.removeprefix("args."): value for key, value in apart.items()} or "")))
    return found


def short_name(name: str) -> str:
    """A name without its bracket."""
    return name.partition(" (")[0]


def _network(model: Mapping[str, Any]) -> str:
    return " ".join(str(model[key]) for key in ("name", "encoder") if model.get(key))


def _with(short: str, details: str) -> str:
    return f"{short} ({details})" if details else short


def _details(values: Mapping[str, Any]) -> str:
    """Values that say something."""
    known = {key: value for key, value in values.items() if value not in (None, "none", {}, [])}
    return brief(known) if known else ""
