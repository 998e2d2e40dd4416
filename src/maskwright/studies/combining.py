"""A base config and the values that are put into it: how the runs of a study and of a search get their configs, in
which every value knows in which file it was written."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Document, Location
from maskwright.config import EXCLUSIVE, RunConfig, check_document, rebase, with_pipelines
from maskwright.errors import ConfigError, argument
from maskwright.modeling import augment
from maskwright.studies.naming import NAME, labels


def base_of(
    document: Document, folder: Path, problems: list[str], overrides: Sequence[str] = (), varied: Iterable[str] = ()
) -> Document | None:
    """The base as a document of its own, with the settings `overrides` in it, whose paths are absolute where it is
    another file. To set one of the keys `varied`, which are given for each run, is a problem."""
    try:
        base, home = _read_base(document, folder)
        if base is None:
            return None
        strictyaml.apply_overrides(base, overrides, EXCLUSIVE)
    except ConfigError as error:
        problems += error.problems
        return None
    for override in overrides:
        key = override.partition("=")[0]
        if other := next((one for one in varied if f"{key}.".startswith(f"{one}.")), None):
            problems.append(f"{argument('overrides', '--set')} {override}: {other} is varied between the runs")
    write_out(base.data)
    if home is not None:
        _anchor(base.data, home)
    return base


def _read_base(document: Document, folder: Path) -> tuple[Document | None, Path | None]:
    """The base, written out, and the folder of its file if it is one. ConfigError for a file that cannot be read."""
    given = document.data.get("base")
    if isinstance(given, str):
        file = folder / given
        try:
            found = strictyaml.read(file)
        except ConfigError as error:
            where = document.where(("base",))
            raise ConfigError(f"{where}: base: {problem}" for problem in error.problems) from None
        write_out(found.data)
        return found, file.parent
    if isinstance(given, dict):
        marks = {location[1:]: mark for location, mark in document.marks.items() if location[:1] == ("base",)}
        found = Document(document.source, copy.deepcopy(given), marks)
        write_out(found.data)
        return found, None
    return None, None


@dataclass(frozen=True)
class Given:
    """A value for a dotted key of the config, and where it stands in the file."""

    key: str
    value: Any
    place: Location


@dataclass(frozen=True)
class Choices:
    """A key of the config with names and values to choose from, and the place of each value in the file."""

    key: str
    labels: list[str]
    values: list[Any]
    places: list[Location]

    def given(self, label: str) -> Given:
        """The value of that name."""
        i = self.labels.index(label)
        return Given(self.key, self.values[i], self.places[i])

    def portable(self, folder: Path) -> dict[str, Any]:
        """Names and values, which mean the same at any place."""
        return {
            label: portable_value(self.key, value, folder)
            for label, value in zip(self.labels, self.values, strict=True)
        }


def choices_of(
    document: Document, key: str, place: Location, given: list[Any] | dict[str, Any], problems: list[str]
) -> Choices | None:
    """The choices for `key` that stand at `place`; what is wrong with them is added to `problems`. None without any."""
    values = [*given] if isinstance(given, list) else [*given.values()]
    names = labels(key, values) if isinstance(given, list) else [*given]
    places = [(*place, at) for at in (range(len(values)) if isinstance(given, list) else given)]
    if not known_key(document, place, key, problems):
        return None
    if not given:
        problems.append(document.problem(place, "has no values; give some, or remove it"))
        return None
    for i, value in enumerate(values):
        if value in values[:i]:
            problems.append(document.problem(places[i], "is the same value again; remove one"))
        check_name(document, places[i], names[i], problems)
    return Choices(key, names, values, places)


def check_name(document: Document, place: Location, name: str, problems: list[str]) -> None:
    """Notes in `problems` what is wrong with the name of a value."""
    if not NAME.fullmatch(name):
        why = "a name is made of letters, digits and . + - _, since it becomes part of a folder's name"
        problems.append(document.problem(place, why))


def known_key(document: Document, place: Location, key: str, problems: list[str]) -> bool:
    """Whether `key` can be one of a config; noted in `problems` where it cannot."""
    if all(key.split(".")):
        return True
    problems.append(document.problem(place, "is no key of a config, such as loss or optimizer.lr"))
    return False


def config_of(document: Document, folder: Path, base: Document, values: Sequence[Given]) -> RunConfig:
    """The config of one run, whose paths are absolute. Whole sections are put in before single values in them; what
    they rule out in the base is left out. Raises ConfigError with every problem, each with the place of its value."""
    given = []
    combined = Document(base.source, copy.deepcopy(base.data), dict(base.marks))
    for one in sorted(values, key=lambda one: one.key.count(".")):
        at = strictyaml.put(combined, one.key, copy.deepcopy(one.value), document.where(one.place))
        combined.marks |= {
            at + mark[len(one.place) :]: where
            for mark, where in document.marks.items()
            if mark[: len(one.place)] == one.place
        }
        write_out(combined.data)
        given.append(at)
    strictyaml.remove_excluded(combined, given, EXCLUSIVE)
    return with_pipelines(rebase(check_document(combined, folder), folder))


def portable(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The data of a config, or of a part of it, with absolute paths and with the pipeline that a file holds."""
    data = copy.deepcopy(data)
    write_out(data)
    _anchor(data, folder)
    for term in _pipelines(data):
        term["pipeline"] = augment.pass_through(term.pop("file"))
    return data


def portable_value(key: str, value: Any, folder: Path) -> Any:
    """The value of a dotted key as `portable` has it."""
    shell = Document("", {})
    strictyaml.put(shell, key, copy.deepcopy(value), "")
    found: Any = portable(shell.data, folder)
    for part in key.split("."):
        found = found[part]
    return found


def write_out(data: dict[str, Any]) -> None:
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
