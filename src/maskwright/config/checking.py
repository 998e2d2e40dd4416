"""A parsed `run.yaml` becomes a RunConfig, or every problem in it at once, with file, line and column: wrong keys and
values, names that are in no table, and arguments that a model, loss or augmentation does not take."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_origin

from pydantic import BaseModel, ConfigDict, Strict, ValidationError, create_model

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Document
from maskwright.config.schema import OptimizerConfig, RunConfig, ScheduleConfig, by_name, row_name
from maskwright.config.synonyms import SYNONYMS
from maskwright.errors import ConfigError
from maskwright.modeling import augment, losses, models, optim
from maskwright.training.tracking import trackers


def arguments_model(name: str, parameters: dict[str, inspect.Parameter]) -> type[BaseModel]:
    """The arguments of a table row as a model, so that they are checked like any other value."""
    fields: dict[str, Any] = {
        key: (
            Any if parameter.annotation is parameter.empty else _from_yaml(parameter.annotation),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for key, parameter in parameters.items()
    }
    config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
    return create_model(name, __config__=config, **fields)


def _from_yaml(annotation: Any) -> Any:
    """YAML writes tuples as lists."""
    return Annotated[annotation, Strict(False)] if get_origin(annotation) is tuple else annotation


def _argument_problems(document: Document, folder: Path) -> list[str]:
    """Arguments that table rows do not take, found on the raw values so that they join the other problems."""
    problems: list[str] = []
    has_torch = importlib.util.find_spec("torch") is not None

    def check(
        location: tuple[str | int, ...],
        name: str,
        parameters: dict[str, inspect.Parameter],
        given: dict[str, Any],
        build: Callable[..., Any] | None = None,
        own: Collection[str] = (),
    ) -> None:
        """`own` are keys of the entry itself, which are checked elsewhere: here they are only known."""
        known = dict.fromkeys(own, inspect.Parameter("own", inspect.Parameter.KEYWORD_ONLY, default=None))
        model = arguments_model(name, parameters | known)
        try:
            model.model_validate(given)
        except ValidationError as error:
            words = SYNONYMS if location in (("optimizer",), ("schedule",)) else {}
            problems.extend(strictyaml.problems_of(model, document, error, location, words))
            return
        if build is not None:
            try:
                build(**{key: value for key, value in given.items() if key not in own})
            except ConfigError as error:
                problems.extend(document.problem(location, problem) for problem in error.problems)
            except ValueError as error:
                problems.append(document.problem(location, str(error)))

    for section, table, arguments, own, needs_torch in (
        ("loss", losses.LOSSES, losses.arguments, {"name", "weight", "class_weights", "levels"}, True),
        (
            "augment",
            augment.AUGMENTATIONS | {augment.PASS_THROUGH: partial(_check_pipeline, folder)},
            augment.arguments,
            {"name"},
            False,
        ),
        ("trackers", trackers.TRACKERS, trackers.arguments, {"name"}, False),
    ):
        entries = document.data.get(section, [])
        for i, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            entry = by_name(entry)
            if isinstance(entry, dict) and row_name(entry) in table and (has_torch or not needs_torch):
                given = {key: value for key, value in entry.items() if key not in own}
                row = table[entry["name"]]
                check(
                    (section, i),
                    entry["name"],
                    arguments(entry["name"]),
                    given,
                    models.load(row) if isinstance(row, str) else row,
                )
                if (
                    section == "loss"
                    and entry.get("class_weights", "none") != "none"
                    and not losses.takes_class_weights(entry["name"])
                ):
                    problems.append(
                        document.problem(
                            (section, i, "class_weights"), f"{entry['name']} does not look at classes; remove it"
                        )
                    )
    builders: dict[str, dict[str, Callable[..., Any]]] = {
        "optimizer": dict(optim.OPTIMIZERS),
        "schedule": {name: partial(schedule, 0, 1) for name, schedule in optim.SCHEDULES.items()},
    }
    for section, owner, row_arguments in (
        ("optimizer", OptimizerConfig, optim.optimizer_arguments),
        ("schedule", ScheduleConfig, optim.schedule_arguments),
    ):
        entry = document.data.get(section)
        if isinstance(entry, dict) and (name := row_name({"name": owner().name} | entry)) in builders[section]:
            check((section,), name, row_arguments(name), entry, builders[section][name], owner.model_fields)
    model = document.data.get("model")
    if has_torch and isinstance(model, dict) and row_name(model) in models.MODELS:
        given = model.get("args", {})
        if isinstance(given, dict):
            check(("model", "args"), model["name"], models.arguments(model["name"]), given)
    return problems


def _check_pipeline(folder: Path, file: str | None = None, pipeline: dict[str, Any] | None = None) -> None:
    """Raises ConfigError when a pipeline of albumentations, in a file relative to `folder`, cannot be used."""
    data = augment.pass_through(None if file is None else str(folder / file), pipeline)
    if found := augment.passthrough.problems(data):
        raise ConfigError([f"{file}: {problem}" if file else problem for problem in found])


def check_document(document: Document, folder: Path = Path()) -> RunConfig:
    """The config of a parsed file whose relative paths start from `folder`. Raises ConfigError with every problem at
    once."""
    problems: list[str] = []
    config = None
    try:
        config = RunConfig.model_validate(document.data)
    except ValidationError as error:
        problems = strictyaml.problems_of(RunConfig, document, error, (), SYNONYMS)
    problems += _argument_problems(document, folder)
    if problems or config is None:
        raise ConfigError(problems)
    return config
