"""SearchConfig: a base config and a space of values for its keys, and the configs that are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Document, Location, StrictModel, did_you_mean
from maskwright.config import BestConfig, RunConfig, seconds_of
from maskwright.errors import ConfigError
from maskwright.studies.combining import Choices, Given, base_of, choices_of, config_of, known_key, portable

Number = int | float
# A number, or the name of a choice.
Chosen = dict[str, Any]


class AxisConfig(StrictModel):
    """What a key is chosen from: values, or numbers from `low` to `high`, whole ones where all are whole. A list alone
    is the choices."""

    choices: list[Any] | dict[str, Any] | None = Field(None, description="values, or names and values")
    low: Number | None = None
    high: Number | None = None
    step: Number | None = Field(None, gt=0, description="only low, low + step, …")
    log: bool = Field(False, description="by factors instead of differences: as likely in 1e-4..1e-3 as in 1e-3..1e-2")
    when: dict[str, Any] = Field(default_factory=dict, description="only where another key of the space has this value")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _in_order(self) -> AxisConfig:
        if self.choices is not None:
            if self.log or not self.low is self.high is self.step is None:
                raise ValueError("choices cannot stand beside low, high, step and log; keep one of them")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs choices, or low and high")
        if self.low >= self.high:
            raise ValueError(f"low: {self.low} is not below high: {self.high}; give a range, or put it into the base")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs numbers above 0, and low is {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot stand together; remove one")
        return self


class SamplerConfig(StrictModel):
    """What chooses the values of the next trial; a text alone is the name."""

    name: Literal["tpe", "random", "qmc"] = Field(
        "tpe", description="tpe learns from the trials so far, random and qmc (evenly spread) do not"
    )
    seed: int = Field(0, ge=0, lt=1 << 31)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class PrunerConfig(StrictModel):
    """What ends a trial early by its validation scores; a text alone is the name."""

    name: Literal["median", "halving", "hyperband", "none"] = Field(
        "median", description="median: one whose best score so far is below the median of the others at that moment"
    )
    startup: int | None = Field(None, ge=1, description="median: so many trials are trained to the end first; 5")
    warmup: float | None = Field(None, ge=0, lt=1, description="median: nothing ends before this share of it; 0.2")
    factor: int | None = Field(None, ge=2, description="halving, hyperband: one in so many goes on; 3")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _its_own(self) -> PrunerConfig:
        own = {"median": {"startup", "warmup"}, "none": set()}.get(self.name, {"factor"})
        given = {key for key in ("startup", "warmup", "factor") if getattr(self, key) is not None}
        if wrong := sorted(given - own):
            raise ValueError(f"{self.name} does not take {', '.join(wrong)}; remove it")
        return self


class SearchConfig(StrictModel):
    """Trials of one base config with values from a space, chosen one after the other by what the ones before gave."""

    base: str | dict[str, Any] = Field(
        description="a run.yaml, relative to this file, or its content; what the space gives may be missing in it"
    )
    space: dict[str, AxisConfig] = Field(
        min_length=1, description="dotted keys of the config, each with a list of values, a range, or choices"
    )
    objective: BestConfig | None = Field(
        None, description="the validation score that is searched for, as in train.best; that of the base when left out"
    )
    trials: int | None = Field(None, ge=1, description="at most so many, with those that were ended early")
    time: str | None = Field(None, description="no trial begins later: 90s, 30m, 8h")
    sampler: SamplerConfig = SamplerConfig.model_validate("tpe")
    pruner: PrunerConfig = PrunerConfig.model_validate("median")
    storage: str = Field(
        "sqlite",
        min_length=1,
        description="where trials are noted: sqlite or journal, a file in the folder of the search, or the URL of a "
        "database: postgresql+psycopg://user@host/name",
    )
    name: str | None = Field(None, min_length=1, description="in a database; that of the folder when left out")

    @field_validator("time")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is not None:
            seconds_of(value)
        return value

    @model_validator(mode="after")
    def _ends(self) -> SearchConfig:
        if self.trials is None and self.time is None:
            raise ValueError("would never end; give trials, time, or both")
        return self


@dataclass(frozen=True)
class Axis:
    """A key of the space: what it is chosen from, and for which names of choices of other keys it is there at all."""

    key: str
    of: AxisConfig | Choices
    place: Location
    when: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def ends(self) -> list[Any]:
        """All choices, or both ends."""
        return [self.of.low, self.of.high] if isinstance(self.of, AxisConfig) else [*self.of.labels]

    def given(self, chosen: Any) -> Given:
        """The value for the config."""
        return Given(self.key, chosen, self.place) if isinstance(self.of, AxisConfig) else self.of.given(chosen)

    def suggested(self, trial: Any) -> Any:
        """What a trial of Optuna takes: a number, or the name of a choice."""
        of = self.of
        if not isinstance(of, AxisConfig):
            return trial.suggest_categorical(self.key, of.labels)
        step = {} if of.step is None else {"step": of.step}
        whole = all(isinstance(number, int) for number in (of.low, of.high, of.step or 1))
        suggest = trial.suggest_int if whole else trial.suggest_float
        return suggest(self.key, of.low, of.high, log=of.log, **step)


@dataclass(frozen=True)
class Space:
    """A search.yaml that was read: `config` depends on no further file and on no place."""

    config: SearchConfig
    axes: list[Axis]
    document: Document
    folder: Path
    base: Document

    def suggested(self, trial: Any) -> Chosen:
        """What a trial of Optuna takes for each key that is there for it."""
        chosen: Chosen = {}
        for axis in self.axes:
            if _there(axis, chosen):
                chosen[axis.key] = axis.suggested(trial)
        return chosen

    def run_config(self, chosen: Chosen) -> RunConfig:
        """The config of a trial. ConfigError where these values cannot stand together."""
        values = [axis.given(chosen[axis.key]) for axis in self.axes if axis.key in chosen]
        if self.config.objective is not None:
            values.append(Given("train.best", self.document.data["objective"], ("objective",)))
        return config_of(self.document, self.folder, self.base, values)

    @property
    def best(self) -> BestConfig:
        """The validation score that is searched for."""
        return self.run_config(next(self.corners())).train.best or BestConfig()

    def corners(self) -> Iterator[Chosen]:
        """Values that together meet every choice and both ends of every range, one key at a time."""
        for axis in self.axes:
            for end in axis.ends:
                yield self._with(axis, end)

    def _with(self, axis: Axis, end: Any) -> Chosen:
        wanted = {axis.key: end}
        for other in reversed(self.axes):  # conditions name keys that come before
            if other.key in wanted:
                wanted |= {key: min(names) for key, names in other.when.items() if key not in wanted}
        chosen: Chosen = {}
        for other in self.axes:
            if _there(other, chosen):
                chosen[other.key] = wanted.get(other.key, other.ends[0])
        return chosen


def _there(axis: Axis, chosen: Mapping[str, Any]) -> bool:
    return all(chosen.get(key) in names for key, names in axis.when.items())


def load_search(path: str | Path, overrides: Sequence[str] = ()) -> Space:
    """Reads `search.yaml`; relative paths in it start from its folder, those of a base file from the base's.
    `overrides` are settings of the base, such as `train.iterations=100`.

    Every choice and both ends of every range are tried in a config. Raises ConfigError with every problem at once.
    """
    path = Path(path)
    return check_search(strictyaml.read(path), path.parent.absolute(), overrides)


def check_search(document: Document, folder: Path, overrides: Sequence[str] = ()) -> Space:
    """The search of a parsed file whose relative paths start from `folder`. Raises ConfigError with every problem."""
    problems: list[str] = []
    config: SearchConfig | None = None
    try:
        config = SearchConfig.model_validate(document.data)
    except ValidationError as error:
        problems = strictyaml.problems_of(SearchConfig, document, error)
    base = base_of(document, folder, problems, overrides, config.space if config else ())
    if config is None or base is None:
        raise ConfigError(problems)
    axes: list[Axis] = []
    for key, given in config.space.items():
        if axis := _axis(document, key, given, axes, problems):
            axes.append(axis)
    space = Space(config, axes, document, folder, base)
    if not problems:
        problems += _of_corners(space)
    if problems:
        raise ConfigError(dict.fromkeys(problems))  # one value is part of many trials
    return Space(_settled(space), axes, document, folder, base)


def _axis(document: Document, key: str, given: AxisConfig, before: Sequence[Axis], problems: list[str]) -> Axis | None:
    place: Location = ("space", key)
    when = _when(document, key, given.when, before, problems)
    if given.choices is None:
        return Axis(key, given, place, when) if known_key(document, place, key, problems) else None
    listed = isinstance(document.data["space"][key], list)
    choices = choices_of(document, key, place if listed else (*place, "choices"), given.choices, problems)
    return Axis(key, choices, place, when) if choices else None


def _when(
    document: Document, key: str, given: Mapping[str, Any], before: Sequence[Axis], problems: list[str]
) -> dict[str, frozenset[str]]:
    """The conditions with the names of the choices that they ask for."""
    found = {}
    known = {axis.key: axis.of for axis in before if isinstance(axis.of, Choices)}
    for other, values in given.items():
        place = ("space", key, "when", other)
        choices = known.get(other)
        if choices is None:
            problems.append(
                document.problem(
                    place,
                    "is no key with choices above this one in the space"
                    + (did_you_mean(other, known) if known else ""),
                )
            )
            continue
        names = set()
        for value in values if isinstance(values, list) and values not in choices.values else [values]:
            if value in choices.labels:
                names.add(value)
            elif value in choices.values:
                names.add(choices.labels[choices.values.index(value)])
            else:
                problems.append(
                    document.problem(place, f"{value!r} is no choice of it" + did_you_mean(str(value), choices.labels))
                )
        found[other] = frozenset(names)
    return found


def _of_corners(space: Space) -> Iterator[str]:
    """What is wrong with configs of the space: they cannot be, or their scores could not be compared."""
    same: dict[str, Any] = {}
    for chosen in space.corners():
        try:
            config = space.run_config(chosen)
        except ConfigError as error:
            yield from error.problems
            continue
        judged = {
            "train.best": str(config.train.best),
            "data.root": config.data.root,
            "data.holdout": config.data.holdout,
            "seed": config.seed,
        }
        for key, value in judged.items():
            if same.setdefault(key, value) != value:
                yield space.document.problem(
                    ("space",),
                    f"{key} differs between trials, whose scores then could not be compared; "
                    + ("name the score in `objective`" if key == "train.best" else "leave it out of the space"),
                )


def _settled(space: Space) -> SearchConfig:
    """The search with absolute paths and with names for all choices."""
    data = space.config.model_dump(by_alias=True)
    data["base"] = portable(space.base.data, space.folder)
    for axis in space.axes:
        when = {key: sorted(names) for key, names in axis.when.items()}
        if isinstance(axis.of, Choices):
            data["space"][axis.key]["choices"] = axis.of.portable(space.folder)
        data["space"][axis.key]["when"] = when
    return SearchConfig.model_validate(data)


def search_schema() -> dict[str, Any]:
    """JSON Schema of `search.yaml` for editors."""
    return SearchConfig.model_json_schema() | {
        "title": "Maskwright search.yaml",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
