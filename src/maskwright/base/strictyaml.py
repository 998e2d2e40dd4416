"""Strict YAML into typed models: every problem at once, each with file, line and column.

Stricter than YAML 1.1 where it surprises people: duplicate keys, anchors and tags are refused, only
`true` and `false` are booleans (`no` is text), and `1e-3` is a number.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from maskwright.errors import ConfigError, argument

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound="StrictModel")
_MAX_BYTES = 4 << 20
_MAX_DEPTH = 32


class StrictModel(BaseModel):
    """Base of everything read from YAML: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2 for booleans and numbers, and no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag
        not in (
            "tag:yaml.org,2002:bool",
            "tag:yaml.org,2002:float",
            "tag:yaml.org,2002:timestamp",
            "tag:yaml.org,2002:merge",
            "tag:yaml.org,2002:int",
            "tag:yaml.org,2002:value",
        )
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
# No `010` (octal) and no `1:30` (base 60), which are text here.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile("^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
        r"|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


@dataclass
class Document:
    """Plain data of one YAML file and where each value stands in it."""

    source: str
    data: dict[str, Any]
    marks: dict[Location, str] = field(default_factory=dict)

    def where(self, location: Location) -> str:
        """`file:line:column` of the value at `location`, or of its nearest parent that is written down."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.marks:
                return self.marks[location[:length]]
        return self.source

    def problem(self, location: Location, what: str) -> str:
        """One line for the user: `file:line:column: a.b.0: what`."""
        dotted = ".".join(str(part) for part in location)
        return f"{self.where(location)}: {dotted + ': ' if dotted else ''}{what}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the known words when none is near (all of them, when they are few)."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    near = near or [name for name in names if name.lower() == word.lower()]
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if len(names) <= 40 else ""


def parse(text: str, source: str) -> Document:
    """Parses YAML text whose top level is a mapping. Raises ConfigError."""
    document = Document(source, {})
    problems: list[str] = []
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{source}{at}: not valid YAML ({error.problem}); check quotes and indentation") from None
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        raise ConfigError(
            f"{source}:{line}:{column}: the character {text[error.position]!a} is not allowed; save it as UTF-8 text"
        ) from None
    except RecursionError:
        raise ConfigError(f"{source}: nested more than {_MAX_DEPTH} deep; flatten it") from None

    def plain(node: yaml.Node) -> Any:
        """The value of a scalar. Raises ValueError for what is not written as plain text or number."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != _default_tag(loader, node):
            raise ValueError(f"the tag {node.tag} is not supported")
        value = loader.construct_object(node)
        if isinstance(value, str) and not _is_text(value):
            raise ValueError("text with NUL or half characters is not supported")
        return value

    def build(node: yaml.Node, location: Location, depth: int) -> Any:
        at = f"{source}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        document.marks.setdefault(location, at)
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{at}: nested more than {_MAX_DEPTH} deep; flatten it")
        if id(node) in seen:
            raise ConfigError(f"{at}: anchors and aliases (& and *) are not supported; write the value again")
        seen.add(id(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag != _default_tag(loader, node):
            problems.append(f"{at}: the tag {node.tag} is not supported; only plain values are read")
        if isinstance(node, yaml.MappingNode):
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key_at = f"{source}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
                try:
                    key = plain(key_node)
                except ValueError:
                    key = None
                if not isinstance(key, (str, int)) or isinstance(key, bool):
                    problems.append(f"{key_at}: a key must be text; put it in quotes")
                    continue
                key = str(key)
                if key in mapping:
                    problems.append(f"{key_at}: {key!r} is given twice; keep one")
                document.marks[(*location, key)] = key_at
                mapping[key] = build(value_node, (*location, key), depth + 1)
            return mapping
        if isinstance(node, yaml.SequenceNode):
            return [build(item, (*location, i), depth + 1) for i, item in enumerate(node.value)]
        try:
            return plain(node)
        except ValueError as error:
            problems.append(f"{at}: {error}; only plain values are read")
            return None

    seen: set[int] = set()
    data = build(node, (), 0) if node is not None else {}
    if problems:
        raise ConfigError(problems)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}:1:1: expected `key: value` lines at the top level; got a {type(data).__name__}")
    document.data = data
    return document


def _default_tag(loader: _Loader, node: yaml.Node) -> str:
    """The tag that a node has when none is written."""
    if not isinstance(node, yaml.ScalarNode):
        return f"tag:yaml.org,2002:{'map' if isinstance(node, yaml.MappingNode) else 'seq'}"
    unquoted = node.style is None
    return str(loader.resolve(yaml.ScalarNode, node.value, (unquoted, not unquoted)))  # type: ignore[no-untyped-call]


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def read(path: Path) -> Document:
    """Reads a YAML file. Raises ConfigError when it is missing, too large, not UTF-8 or not YAML."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; is this the right file?")
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error}); is this the right file?") from None
    return parse(text, str(path))


@dataclass(frozen=True)
class Exclusive:
    """A key that cannot stand beside some others: with a value other than null, `key` at the dotted `place` (`*` is any
    item of a list) rules out the keys that `others` names for that value."""

    place: str
    key: str
    others: Callable[[Any], tuple[str, ...]]


def apply_overrides(document: Document, overrides: Sequence[str], exclusive: Sequence[Exclusive] = ()) -> None:
    """Applies `a.b=c` settings in place; list items by number (`loss.0.weight=2`). Values are YAML. What a setting
    rules out by `exclusive` is removed from the document, unless it is set too."""
    given = []
    for override in overrides:
        source = f"{argument('overrides', '--set')} {override}"
        dotted, equals, text = override.partition("=")
        if not equals or not all(dotted.split(".")):
            raise ConfigError(f"{source}: expected a.b=value")
        value = parse(f"value: {text}", source).data["value"]
        given.append(put(document, dotted, value, source))
    remove_excluded(document, given, exclusive)


def remove_excluded(document: Document, given: Sequence[Location], exclusive: Sequence[Exclusive]) -> None:
    """Removes in place what the values that were put at the locations `given` rule out. What was put itself stays, to
    be refused when the document is checked."""
    for location in given:
        holder = _at(document.data, location[:-1])
        value = holder.get(location[-1]) if isinstance(holder, dict) else None
        for one in exclusive:
            place = (*one.place.split("."), one.key)
            if (
                value is None
                or len(place) != len(location)
                or any(asked not in ("*", part) for asked, part in zip(place, location, strict=True))
            ):
                continue
            for key in one.others(value):
                other = (*location[:-1], key)
                if not any(other[: len(put_at)] == put_at for put_at in given):
                    holder.pop(key, None)


def _at(data: Any, location: Location) -> Any:
    """The value at `location`; None where a later setting has taken the place away."""
    for part in location:
        inside = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if part not in inside:
            return None
        data = data[part]
    return data


def put(document: Document, dotted: str, value: Any, source: str) -> Location:
    """Sets the value at `dotted` in place, said to stand at `source`, and returns where it stands now; list items by
    number. Raises ConfigError when there is no such place."""
    parts = dotted.split(".")
    target: Any = document.data
    location: Location = ()
    for i, part in enumerate(parts):
        key: str | int = part
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                raise ConfigError(f"{source}: the list has {len(target)} items, numbered from 0")
            key = int(part)
        elif not isinstance(target, dict):
            raise ConfigError(f"{source}: {'.'.join(parts[:i])} holds no values to set")
        location = (*location, key)
        if i == len(parts) - 1:
            target[key] = value
        else:
            if isinstance(target, dict) and key not in target:
                target[key] = {}
                document.marks[location] = source
            target = target[key]
    for known in [mark for mark in document.marks if mark[: len(location)] == location]:
        del document.marks[known]
    document.marks[location] = source
    return location


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model whose fields stand at `location`, looking through lists, unions and mappings."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            found = _first_model(model.model_fields[part].annotation)
            if found is None:
                return None
            model = found
    return model


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for item in get_args(annotation) if (found := _first_model(item))), None)


def _say(error: Any, model: type[BaseModel], location: Location, synonyms: Mapping[str, str]) -> str:
    kind, given = error["type"], error.get("input")
    if kind == "extra_forbidden":
        word = str(location[-1])
        if meant := synonyms.get(word.lower().replace("-", "_").replace(" ", "_")):
            return f"no such key; did you mean {meant!r}?"
        owner = _model_at(model, location[:-1])
        return "no such key" + did_you_mean(str(location[-1]), owner.model_fields if owner else ())
    if kind == "missing":
        return "is missing; add it"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return f"{given!r} is not known" + did_you_mean(str(given), known)
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("list_type", "tuple_type") and (example := _as_list(given, model, location)):
        return f"give a list, such as {example} (given {given!r})"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{message} (given {given!r})" if not isinstance(given, (dict, list)) else message


def _as_list(given: Any, model: type[BaseModel], location: Location) -> str:
    """The numbers of a value that is no list, as the list that it should be; empty where there are none."""
    numbers = re.findall(r"\d+(?:\.\d+)?", str(given)) if isinstance(given, (int, float, str)) else []
    field = model.model_fields.get(str(location[-1])) if location else None
    places = [item for item in get_args(field.annotation) if item is not Ellipsis] if field else []
    if len(numbers) == 1 and get_origin(field.annotation if field else None) is tuple:
        numbers *= len(places)
    return f"[{', '.join(numbers)}]" if numbers else ""


def problems_of(
    model: type[BaseModel],
    document: Document,
    error: ValidationError,
    prefix: Location = (),
    synonyms: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Pydantic's errors as lines for the user. `synonyms` are other words for keys, with the place of the key."""
    found: dict[Location, str] = {}
    for item in error.errors():
        location = _written(document.data, (*prefix, *item["loc"]), item["type"] == "missing")
        # The branches of a union each complain about the same value: the first one speaks.
        found.setdefault(location, document.problem(location, _say(item, model, item["loc"], synonyms)))
    # A branch that got further into the value knows better what is wrong with it.
    return [
        line
        for location, line in found.items()
        if not any(len(other) > len(location) and other[: len(location)] == location for other in found)
    ]


def _written(data: Any, location: Location, missing: bool) -> Location:
    """The parts of pydantic's `location` that stand in the user's file, without the names of union branches."""
    kept: list[str | int] = []
    for i, part in enumerate(location):
        inside = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if part in inside:
            kept.append(part)
            data = data[part]
        elif missing and i == len(location) - 1:
            kept.append(part)
    return tuple(kept)


def validate(model: type[Model], document: Document) -> Model:
    """The typed model of a document. Raises ConfigError with every problem at once."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError(problems_of(model, document, error)) from None
