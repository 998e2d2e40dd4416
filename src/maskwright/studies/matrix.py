"""StudyConfig: a base config and a matrix of values, and the runs that they make.

`load_study` builds the config of every run before the first one is trained, and reports all that is wrong with any of
them at once: in the words of a run's config, with file, line and column of the value that it comes from.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Document, StrictModel, did_you_mean
from maskwright.config import EXCLUSIVE, RunConfig, check_document, json_schema, rebase, with_pipelines
from maskwright.errors import ConfigError
from maskwright.modeling import augment
from maskwright.studies.naming import LONGEST, NAME, labels

_MOST = 1000


class StudyConfig(StrictModel):
    """Runs that belong together: all combinations of the values of a matrix, put into a base config."""

    base: str | dict[str, Any] = Field(
        description="a run.yaml, relative to this file, or its content; what the matrix gives may be missing in it"
    )
    matrix: dict[str, list[Any] | dict[str, Any]] = Field(
        min_length=1, description="dotted keys of the config, each with a list of values or with names and values"
    )
    exclude: list[dict[str, Any]] = Field(
        default_factory=list, description="combinations that are left out: keys of the matrix with a name or value"
    )
    evaluate: list[str] | None = Field(
        None, min_length=1, description="splits to score after each training; test when left out, else val"
    )


@dataclass(frozen=True)
class StudyEntry:
    """One run: its name, the name of its value for each key of the matrix, and its config, whose paths are absolute."""

    name: str
    values: dict[str, str]
    config: RunConfig


@dataclass(frozen=True)
class Matrix:
    """A study that was read: `config` depends on no further file and on no place."""

    config: StudyConfig
    entries: list[StudyEntry]


@dataclass(frozen=True)
class _Axis:
    """A key of the matrix: names and values, and where each value stands in the study's file."""

    key: str
    labels: list[str]
    values: list[Any]
    places: list[str | int]


def load_study(path: str | Path) -> Matrix:
    """Reads `study.yaml`; relative paths in it start from its folder, those of a base file from the base's.

    Raises ConfigError with every problem of every run at once.
    """
    path = Path(path)
    return check_study(strictyaml.read(path), path.parent.absolute())


def check_study(document: Document, folder: Path) -> Matrix:
    """The study of a parsed file whose relative paths start from `folder`. Raises ConfigError with every problem."""
    problems: list[str] = []
    try:
        StudyConfig.model_validate(document.data)
    except ValidationError as error:
        problems = strictyaml.problems_of(StudyConfig, document, error)
    base = _base(document, folder, problems)
    axes = [axis for axis in _axes(document, problems) if axis.values]
    excluded = _excluded(document, axes, problems)
    entries: list[StudyEntry] = []
    if base is not None and (runs := prod(len(axis.values) for axis in axes)) <= _MOST:
        for values in combinations({axis.key: axis.labels for axis in axes}, excluded):
            try:
                combined = _combined(document, base, axes, values)
                config = with_pipelines(rebase(check_document(combined, folder), folder))
                entries.append(StudyEntry(name_of(values), values, config))
            except ConfigError as error:
                problems += error.problems
    elif base is not None:
        problems.append(document.problem(("matrix",), f"makes {runs} runs, and at most {_MOST} are allowed"))
    if not problems:
        problems += _names(document, entries)
    if problems:
        raise ConfigError(dict.fromkeys(problems))  # one value is part of many runs
    return Matrix(_settled(document, folder, base, axes, excluded), entries)


def combinations(matrix: Mapping[str, Iterable[str]], exclude: Sequence[Mapping[str, str]]) -> Iterator[dict[str, str]]:
    """The name of a value for each key, of every run; those of the last key change first."""
    for chosen in product(*matrix.values()):
        values = dict(zip(matrix, chosen, strict=True))
        if not any(one.items() <= values.items() for one in exclude):
            yield values


def name_of(values: Mapping[str, str]) -> str:
    """The name of the run with these values."""
    return "_".join(values.values())


def _base(document: Document, folder: Path, problems: list[str]) -> Document | None:
    """The base as a document of its own, whose paths are absolute where it is another file."""
    given = document.data.get("base")
    if isinstance(given, str):
        file = folder / given
        try:
            found = strictyaml.read(file)
        except ConfigError as error:
            problems += [f"{document.where(('base',))}: base: {problem}" for problem in error.problems]
            return None
        _write_out(found.data)
        _anchor(found.data, file.parent)
        return found
    if isinstance(given, dict):
        marks = {location[1:]: mark for location, mark in document.marks.items() if location[:1] == ("base",)}
        found = Document(document.source, copy.deepcopy(given), marks)
        _write_out(found.data)
        return found
    return None


def _axes(document: Document, problems: list[str]) -> Iterator[_Axis]:
    matrix = document.data.get("matrix")
    for key, given in matrix.items() if isinstance(matrix, dict) else ():
        place = ("matrix", key)
        if not isinstance(given, (list, dict)):
            continue
        if not all(key.split(".")):
            problems.append(document.problem(place, "is no key of a config, such as loss or optimizer.lr"))
            continue
        if not given:
            problems.append(document.problem(place, "has no values; give some, or remove it"))
        values = [*given] if isinstance(given, list) else [*given.values()]
        names = labels(key, values) if isinstance(given, list) else [*given]
        places = [*range(len(values))] if isinstance(given, list) else [*given]
        for i, value in enumerate(values):
            if value in values[:i]:
                problems.append(document.problem((*place, places[i]), "is the same value again; remove one"))
            if not NAME.fullmatch(names[i]):
                problems.append(
                    document.problem(
                        (*place, places[i]),
                        "a name is made of letters, digits and . + - _, since it becomes part of a folder's name",
                    )
                )
        yield _Axis(key, names, values, places)


def _excluded(document: Document, axes: Sequence[_Axis], problems: list[str]) -> list[dict[str, str]]:
    """The entries of `exclude` with the names of their values."""
    known = {axis.key: axis for axis in axes}
    found = []
    given = document.data.get("exclude")
    for i, one in enumerate(given if isinstance(given, list) else ()):
        named = {}
        for key, value in one.items() if isinstance(one, dict) else ():
            axis = known.get(key)
            if axis is None:
                problems.append(
                    document.problem(("exclude", i, key), "no such key in the matrix" + did_you_mean(key, known))
                )
            elif value in axis.labels:
                named[key] = value
            elif value in axis.values:
                named[key] = axis.labels[axis.values.index(value)]
            else:
                problems.append(
                    document.problem(
                        ("exclude", i, key), f"{value!r} is no value of it" + did_you_mean(str(value), axis.labels)
                    )
                )
        if named:
            found.append(named)
    return found


def _combined(document: Document, base: Document, axes: Sequence[_Axis], values: Mapping[str, str]) -> Document:
    """The document of one run, in which every value knows where it was written. Whole sections are put in before
    single values in them; what they rule out in the base is left out."""
    given = []
    combined = Document(base.source, copy.deepcopy(base.data), dict(base.marks))
    for axis in sorted(axes, key=lambda axis: axis.key.count(".")):
        i = axis.labels.index(values[axis.key])
        place = ("matrix", axis.key, axis.places[i])
        at = strictyaml.put(combined, axis.key, copy.deepcopy(axis.values[i]), document.where(place))
        combined.marks |= {
            at + mark[len(place) :]: where for mark, where in document.marks.items() if mark[: len(place)] == place
        }
        _write_out(combined.data)
        given.append(at)
    strictyaml.remove_excluded(combined, given, EXCLUSIVE)
    return combined


def _names(document: Document, entries: Sequence[StudyEntry]) -> list[str]:
    """What is wrong with the names of the runs."""
    names = [entry.name.lower() for entry in entries]
    advice = "name the values (`key: {short: value, …}`)"
    if not entries:
        return [document.problem(("exclude",), "leaves no run; remove some of it")]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return [document.problem(("matrix",), f"two runs would be called {twice[0]}; {advice}")]
    if len(longest := max(names, key=len)) > LONGEST:
        return [document.problem(("matrix",), f"the name {longest} is longer than {LONGEST} letters; {advice}")]
    return []


def _settled(
    document: Document,
    folder: Path,
    base: Document | None,
    axes: Sequence[_Axis],
    excluded: Sequence[Mapping[str, str]],
) -> StudyConfig:
    """The study with names for all values, which means the same at any place."""
    assert base is not None
    matrix: dict[str, Any] = {}
    for axis in axes:
        matrix[axis.key] = {}
        for label, value in zip(axis.labels, axis.values, strict=True):
            shell = Document("", {})
            strictyaml.put(shell, axis.key, copy.deepcopy(value), "")
            matrix[axis.key][label] = _at(_portable(shell.data, folder), axis.key)
    return StudyConfig(
        base=_portable(base.data, folder),
        matrix=matrix,
        exclude=[dict(one) for one in excluded],
        evaluate=document.data.get("evaluate"),
    )


def _at(data: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        data = data[part]
    return data


def _portable(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The data of a config, or of a part of it, with absolute paths and with the pipeline that a file holds."""
    data = copy.deepcopy(data)
    _write_out(data)
    _anchor(data, folder)
    for term in _pipelines(data):
        term["pipeline"] = augment.pass_through(term.pop("file"))
    return data


def _write_out(data: dict[str, Any]) -> None:
    """Short forms (`dice` for `[{name: dice}]`) as they are read, in place, so that single values in them have a
    place."""
    for section in ("model", "optimizer", "schedule"):
        if isinstance(data.get(section), str):
            data[section] = {"name": data[section]}
    if isinstance(images := data.get("data"), dict) and isinstance(images.get("trust"), str):
        images["trust"] = {"folder": images["trust"]}
    for section in ("loss", "augment", "trackers"):
        if isinstance(given := data.get(section), (str, dict)) and not any(map(str.isdecimal, given)):
            data[section] = [given]
        if isinstance(given := data.get(section), list):
            data[section] = [{"name": term} if isinstance(term, str) else term for term in given]


def _anchor(data: dict[str, Any], folder: Path) -> None:
    """Makes paths that start from `folder` absolute, in place. What is no path yet is left to be reported."""
    images = data.get("data")
    trust = images.get("trust") if isinstance(images, dict) else None
    for held, key in ((images, "root"), (trust, "folder"), (data.get("model"), "weights")):
        if isinstance(held, dict) and isinstance(path := held.get(key), str) and path not in ("none", "imagenet"):
            held[key] = str(folder / path)
    for term in _pipelines(data):
        term["file"] = str(folder / term["file"])


def _pipelines(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    terms = data.get("augment")
    for term in terms if isinstance(terms, list) else ():
        if isinstance(term, dict) and term.get("name") == augment.PASS_THROUGH and isinstance(term.get("file"), str):
            yield term


def study_schema() -> dict[str, Any]:
    """JSON Schema of `study.yaml` for editors: a key of the matrix takes what a run's config takes there."""
    schema, run = StudyConfig.model_json_schema(), json_schema()
    run.pop("$schema")
    definitions = run.pop("$defs")
    inline = {key: value for key, value in run.items() if key != "required"}  # the matrix may give the rest
    schema["properties"]["base"]["anyOf"] = [{"type": "string"}, {"$ref": "#/$defs/RunConfig"}]
    several = schema["properties"]["matrix"].pop("additionalProperties")
    several["anyOf"] = [
        one | {"minItems" if one["type"] == "array" else "minProperties": 1} for one in several["anyOf"]
    ]
    schema["properties"]["matrix"] |= {
        "properties": {
            key: {
                "anyOf": [
                    {"type": "array", "items": value, "minItems": 1},
                    {"type": "object", "additionalProperties": value, "minProperties": 1},
                ]
            }
            for key, value in run["properties"].items()
        },
        "patternProperties": {r"\.": several},
        "additionalProperties": False,
    }
    return schema | {
        "$defs": definitions | {"RunConfig": inline},
        "title": "Maskwright study.yaml",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
