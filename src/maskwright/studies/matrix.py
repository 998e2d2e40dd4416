"""StudyConfig: a base config, versions of it and a matrix of values, and the runs that they make.

`load_study` builds the config of every run before the first one is trained, and reports all that is wrong with any of
them at once: in the words of a run's config, with file, line and column of the value that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Document, Location, StrictModel, did_you_mean
from maskwright.config import RunConfig, json_schema
from maskwright.errors import ConfigError
from maskwright.studies.combining import (
    Choices,
    Given,
    base_of,
    check_name,
    choices_of,
    config_of,
    known_key,
    portable,
    portable_value,
)
from maskwright.studies.naming import LONGEST

_MOST = 1000
VERSION = "version"


class StudyConfig(StrictModel):
    """Runs that belong together: all combinations of versions and of the values of a matrix, put into a base config."""

    base: str | dict[str, Any] = Field(
        description="a run.yaml, relative to this file, or its content; what is given below may be missing in it"
    )
    versions: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="names, each with values for dotted keys of the config, which go together"
    )
    matrix: dict[str, list[Any] | dict[str, Any]] = Field(
        default_factory=dict,
        description="dotted keys of the config, each with a list of values or with names and values",
    )
    exclude: list[dict[str, Any]] = Field(
        default_factory=list,
        description="combinations that are left out: keys of the matrix with a name or value, `version` with a name",
    )
    evaluate: list[str] | None = Field(
        None, min_length=1, description="splits to score after each training; test when left out, else val"
    )

    @property
    def varied(self) -> dict[str, Iterable[Any]]:
        """What runs differ in, with the names of its values where these have names."""
        return {**({VERSION: self.versions} if self.versions else {}), **self.matrix}

    @model_validator(mode="after")
    def _some(self) -> StudyConfig:
        if not self.varied:
            raise ValueError("has neither `versions` nor a `matrix`: give what the runs differ in")
        return self


@dataclass(frozen=True)
class Versions:
    """Values that go together, by the name of their version."""

    values: list[dict[str, Any]]
    labels: list[str]
    key: str = VERSION

    def given(self, label: str) -> list[Given]:
        """The values of that version."""
        values = self.values[self.labels.index(label)]
        return [Given(key, value, ("versions", label, key)) for key, value in values.items()]

    def portable(self, folder: Path) -> dict[str, Any]:
        """Names and values, which mean the same at any place."""
        return {
            label: {key: portable_value(key, value, folder) for key, value in values.items()}
            for label, values in zip(self.labels, self.values, strict=True)
        }


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


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Matrix:
    """Reads `study.yaml`; relative paths in it start from its folder, those of a base file from the base's.
    `overrides` are settings of the base, such as `train.iterations=100`.

    Raises ConfigError with every problem of every run at once.
    """
    path = Path(path)
    return check_study(strictyaml.read(path), path.parent.absolute(), overrides)


def check_study(document: Document, folder: Path, overrides: Sequence[str] = ()) -> Matrix:
    """The study of a parsed file whose relative paths start from `folder`. Raises ConfigError with every problem."""
    problems: list[str] = []
    try:
        StudyConfig.model_validate(document.data)
    except ValidationError as error:
        problems = strictyaml.problems_of(StudyConfig, document, error)
    choices = [axis for axis in _axes(document, problems) if axis.values]
    versions = _versions(document, [axis.key for axis in choices], problems)
    axes: list[Versions | Choices] = [*([versions] if versions else []), *choices]
    given_by_all = set.intersection(*map(set, versions.values)) if versions else set()
    varied = [*(axis.key for axis in choices), *given_by_all]  # what only some versions give may be set for the others
    base = base_of(document, folder, problems, overrides, varied)
    excluded = _excluded(document, axes, problems)
    entries: list[StudyEntry] = []
    if base is not None and (runs := prod(len(axis.values) for axis in axes)) <= _MOST:
        for values in combinations({axis.key: axis.labels for axis in axes}, excluded):
            try:
                given = [axis.given(values[axis.key]) for axis in choices]
                given += versions.given(values[VERSION]) if versions else []
                config = config_of(document, folder, base, given)
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


def _axes(document: Document, problems: list[str]) -> Iterator[Choices]:
    matrix = document.data.get("matrix")
    for key, given in matrix.items() if isinstance(matrix, dict) else ():
        if isinstance(given, (list, dict)) and (found := choices_of(document, key, ("matrix", key), given, problems)):
            yield found


def _versions(document: Document, keys: Sequence[str], problems: list[str]) -> Versions | None:
    """The versions, whose names and keys are fit; other keys of the matrix are `keys`."""
    given = document.data.get("versions")
    found: dict[str, dict[str, Any]] = {}
    for name, values in given.items() if isinstance(given, dict) else ():
        place: Location = ("versions", name)
        if not isinstance(values, dict):
            continue
        check_name(document, place, name, problems)
        if values in found.values():
            problems.append(document.problem(place, "is the same version again; remove one"))
        before = len(problems)
        for key in values:
            if key in keys:
                problems.append(document.problem((*place, key), "is a key of the matrix too; give it in one of them"))
            else:
                known_key(document, (*place, key), key, problems)
        if len(problems) == before:
            found[name] = values
    return Versions([*found.values()], [*found]) if found else None


def _excluded(document: Document, axes: Sequence[Versions | Choices], problems: list[str]) -> list[dict[str, str]]:
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
            elif isinstance(axis, Choices) and value in axis.values:
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
    axes: Sequence[Versions | Choices],
    excluded: Sequence[Mapping[str, str]],
) -> StudyConfig:
    """The study with names for all values, which means the same at any place."""
    assert base is not None
    given = {axis.key: axis.portable(folder) for axis in axes}
    return StudyConfig(
        base=portable(base.data, folder),
        versions=given.pop(VERSION, {}),
        matrix={**given},
        exclude=[dict(one) for one in excluded],
        evaluate=document.data.get("evaluate"),
    )


def study_schema() -> dict[str, Any]:
    """JSON Schema of `study.yaml` for editors: a key of the matrix takes what a run's config takes there."""
    schema, run = StudyConfig.model_json_schema(), json_schema()
    run.pop("$schema")
    definitions = run.pop("$defs")
    inline = {key: value for key, value in run.items() if key != "required"}  # the matrix may give the rest
    schema["properties"]["base"]["anyOf"] = [{"type": "string"}, {"$ref": "#/$defs/RunConfig"}]
    schema["properties"]["versions"]["additionalProperties"] |= {
        "properties": run["properties"],
        "patternProperties": {r"\.": {}},
        "additionalProperties": False,
    }
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
