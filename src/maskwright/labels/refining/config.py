"""RefineConfig: which masks are good, which are poor, and how rounds make the poor ones better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Document, StrictModel, did_you_mean
from maskwright.config import EXCLUSIVE, RunConfig, check_document, rebase, with_pipelines
from maskwright.errors import ConfigError
from maskwright.labels.refining.combining import COMBINATIONS

_RUN = "run."  # how settings of the config of the trainings begin

Start = Literal["trusted", "poor"]


class TrustedConfig(StrictModel):
    """The few samples whose masks are good: some to learn from, others to judge by."""

    baseline: str | list[str] = Field(description="names of samples to learn from, or the file that lists them")
    eval: str | list[str] = Field(description="names of samples to judge by, which no model learns from, or their file")
    masks: str | None = Field(
        None, description="the dataset with their good masks, by the same names; the dataset itself when left out"
    )


class CombineConfig(StrictModel):
    """How a poor mask and the model's probabilities become the mask of the next round."""

    name: str = Field("box", description="a row of the table of combinations")
    least: float | None = Field(None, ge=0, le=1, description="a probability; what it is for, the row says")
    ignore_below: float | None = Field(
        None, gt=0, lt=1, description="pixels whose class has a smaller probability are ignored in training"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in COMBINATIONS:
            raise ValueError(f"the combination {name!r} is not known" + did_you_mean(name, COMBINATIONS))
        return name

    @property
    def probability(self) -> float:
        """`least`, or what the row takes when it is left out."""
        return COMBINATIONS[self.name].least if self.least is None else self.least


class RefineConfig(StrictModel):
    """Everything that decides the rounds of `refine`."""

    data: str = Field(description="the dataset with the poor masks, relative to this file")
    run: str | dict[str, Any] = Field(
        description="how each round trains: a run.yaml, relative to this file, or its content; its data.root, "
        "evaluations and early stopping are those of the rounds"
    )
    trusted: TrustedConfig | None = Field(
        None, description="without it nothing can be judged, and the result is no score that can be believed"
    )
    start: list[Start] = Field(
        default=["trusted", "poor"],
        min_length=1,
        description="what round 0 learns from: the trusted masks alone, or the poor ones too; of both the better stays",
    )
    rounds: int = Field(3, ge=1, le=20, description="at most; fewer when one does not help")
    combine: CombineConfig = CombineConfig.model_validate("box")

    @field_validator("start")
    @classmethod
    def _each_once(cls, start: list[Start]) -> list[Start]:
        if len({*start}) < len(start):
            raise ValueError("the same start twice; keep one")
        return start

    @model_validator(mode="after")
    def _trusted_to_start_from(self) -> RefineConfig:
        if self.trusted is None and self.start == ["trusted"]:
            raise ValueError("start: trusted needs `trusted` masks; name some, or start from the poor ones")
        return self


@dataclass(frozen=True)
class Refinement:
    """A refine.yaml that was read: its paths are absolute, `run` is the config of each training, `baseline` and `held`
    the names of trusted samples to learn from and to judge by (none without trusted masks)."""

    config: RefineConfig
    run: RunConfig
    data: Path
    masks: Path | None
    baseline: list[str]
    held: list[str]


def load_refinement(path: str | Path, overrides: Sequence[str] = ()) -> Refinement:
    """Reads refine.yaml. `overrides` are settings such as `rounds=1` or `run.train.iterations=100`. Raises ConfigError
    with every problem at once."""
    path = Path(path)
    document = strictyaml.read(path)
    own = [one for one in overrides if not one.startswith(_RUN)]
    strictyaml.apply_overrides(document, own)
    folder = path.parent.absolute()
    problems: list[str] = []
    config: RefineConfig | None = None
    try:
        config = RefineConfig.model_validate(document.data)
    except ValidationError as error:
        problems += strictyaml.problems_of(RefineConfig, document, error)
    run: RunConfig | None = None
    try:
        run = _run(document, folder, [one.removeprefix(_RUN) for one in overrides if one.startswith(_RUN)])
    except ConfigError as error:
        problems += error.problems
    lists: dict[str, list[str]] = {"baseline": [], "eval": []}
    trusted: Any = document.data.get("trusted")
    for key in lists if isinstance(trusted, dict) else ():
        try:
            lists[key] = _names(document, key, trusted.get(key), folder)
        except ConfigError as error:
            problems += error.problems
    if both := {*lists["baseline"]} & {*lists["eval"]}:
        problems.append(document.problem(("trusted",), f"{min(both)!r} is in baseline and in eval; keep it in one"))
    if problems or config is None or run is None:
        raise ConfigError(problems)
    masks = folder / config.trusted.masks if config.trusted and config.trusted.masks else None
    return Refinement(config, run, folder / config.data, masks, lists["baseline"], lists["eval"])


def _run(document: Document, folder: Path, overrides: Sequence[str]) -> RunConfig | None:
    """The config of the trainings with the settings `overrides`, and with the dataset in the place of their own; None
    where that is no config at all."""
    given, data = document.data.get("run"), document.data.get("data")
    if isinstance(given, str):
        file = folder / given
        found, place = strictyaml.read(file), file.parent
    elif isinstance(given, dict):
        marks = {location[1:]: mark for location, mark in document.marks.items() if location[:1] == ("run",)}
        found, place = Document(document.source, given, marks), folder
    else:
        return None
    strictyaml.apply_overrides(found, overrides, EXCLUSIVE)
    own = found.data.get("data", {})
    if isinstance(own, dict):
        found.data["data"] = own | {"root": str(folder / data) if isinstance(data, str) else ""}
    return with_pipelines(rebase(check_document(found, place), place))


def _names(document: Document, key: str, given: Any, folder: Path) -> list[str]:
    """The names that are listed, in the file itself or in another; none where that is no list at all, which is reported
    elsewhere."""
    if isinstance(given, str):
        source = str(folder / given)
        try:
            names = [line.strip() for line in Path(source).read_text("utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                document.problem(("trusted", key), f"{source}: cannot be read ({reason}); give a list of names")
            ) from None
    elif isinstance(given, list) and all(isinstance(name, str) for name in given):
        names, source = given, document.where(("trusted", key))
    else:
        return []
    if len({*names}) < len(names):
        raise ConfigError(f"{source}: names a sample twice; keep one")
    if not names:
        raise ConfigError(f"{source}: names no sample; name some, or leave `trusted` out")
    return names
