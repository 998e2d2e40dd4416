"""RunConfig: everything that decides a training, as strict models of the sections of `run.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_serializer, model_validator

from maskwright.base.strictyaml import StrictModel, did_you_mean
from maskwright.config.data_section import DataConfig, Positive
from maskwright.core.classes import Selector
from maskwright.errors import ConfigError, argument
from maskwright.modeling import augment, losses, models, optim
from maskwright.training.tracking import trackers

Weight = Annotated[float, Field(gt=0)]
ClassWeights = (
    Literal["none", "inverse_frequency", "median_frequency", "effective_number", "inverse_root"]
    | list[Weight | list[Weight]]
)


def by_name(value: Any) -> Any:
    """The short form: `dice` for `{name: dice}`."""
    return {"name": value} if isinstance(value, str) else value


def row_name(entry: dict[str, Any]) -> str:
    """The name of an entry; empty when it is no text, which the model of the config reports."""
    name = entry.get("name")
    return name if isinstance(name, str) else ""


class ModelConfig(StrictModel):
    """A row of the model table with its arguments."""

    name: str
    encoder: str | None = None
    weights: str = Field(
        "none", description="imagenet, none, or relative to this file a .safetensors file, or the folder of a run"
    )
    weights_sha256: str | None = Field(
        None, description="of the checkpoint of the run that `weights` names; written by the run"
    )
    args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> ModelConfig:
        if self.name not in models.MODELS:
            raise ValueError(f"the model {self.name!r} is not known" + did_you_mean(self.name, models.MODELS))
        if models.takes_encoder(self.name) and not self.encoder:
            raise ValueError(f"{self.name} needs an encoder, such as resnet34 or tu-mobilenetv2_100")
        for_encoder = self.weights == "imagenet" or self.weights.endswith(".safetensors")
        if not models.takes_encoder(self.name) and (self.encoder or for_encoder):
            raise ValueError(
                f"{self.name} has no separate encoder and no pretrained weights; remove them, take 'Unet', or start "
                "from a run: its folder in `weights`"
            )
        return self


class _Named(StrictModel):
    """An entry whose further keys are arguments of a row of its `table`, which holds rows of that `kind`. Abstract."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    kind: ClassVar[str]
    table: ClassVar[Mapping[str, Any]]
    name: str

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in cls.table:
            raise ValueError(f"the {cls.kind} {name!r} is not known" + did_you_mean(name, cls.table))
        return name

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys that go to the table row."""
        return dict(self.model_extra or {})


class LossTerm(_Named):
    """A row of the loss table with its weight in the sum."""

    kind, table = "loss", losses.LOSSES
    weight: float = Field(1.0, gt=0)
    class_weights: ClassWeights = Field(
        "none", description="a kind, or a number for each class; with `levels`, a list of numbers for each level"
    )
    levels: Literal["equal"] | list[Annotated[float, Field(ge=0)]] | None = Field(
        None, description="of a class tree: a weight for each level, top first, or `equal`; leaves only when left out"
    )

    @field_validator("levels")
    @classmethod
    def _some_level(cls, levels: str | list[float] | None) -> str | list[float] | None:
        if levels is not None and levels != "equal" and not any(levels):
            raise ValueError("no level has a weight above 0; give one to the last level at least")
        return levels


class AugmentTerm(_Named):
    """A row of the augmentation table, or `Albumentations` with the `file` of a pipeline saved by it."""

    kind, table = "augmentation", augment.AUGMENTATIONS

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if elsewhere := augment.ELSEWHERE.get(name):
            raise ValueError(f"the augmentation {name!r} is not known; {elsewhere}")
        return name if name == augment.PASS_THROUGH else super()._known(name)


class TrackerTerm(_Named):
    """A row of the tracker table."""

    kind, table = "tracker", trackers.TRACKERS


class GroupConfig(StrictModel):
    """What is different for a part of the model."""

    lr_mult: float = Field(1.0, ge=0, description="on top of head_lr_mult; 0 keeps it as it is")
    weight_decay: float | None = Field(None, ge=0, description="that of the optimizer when left out")


class OptimizerConfig(_Named):
    """A row of the optimizer table. `lr` is that of the encoder (of everything, for a model without one); decoder
    and head get `lr * head_lr_mult`. Weight decay is not applied to biases and normalisation. Left out, `lr` and
    `weight_decay` are those of the row."""

    kind, table = "optimizer", optim.OPTIMIZERS
    name: str = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    head_lr_mult: float = Field(default=1.0, gt=0)
    groups: dict[str, GroupConfig] = Field(
        default_factory=dict, description="parts of the model, by how the names of their parameters begin"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_therow_name(cls, value: Any) -> Any:
        if not isinstance(value, dict) or row_name(value) not in optim.OPTIMIZERS:
            return value
        own = optim.optimizer_arguments(row_name(value))
        return {key: own[key].default for key in ("lr", "weight_decay")} | value


class ScheduleConfig(_Named):
    """A row of the schedule table: a factor on the learning rate, times a linear warm-up over `warmup` iterations
    (at most a fifth of all). one_cycle rises by itself and has no warm-up."""

    kind, table = "schedule", optim.SCHEDULES
    name: str = "poly"
    warmup: int = Field(default=50, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _rising(cls, value: Any) -> Any:
        return {"warmup": 0} | value if isinstance(value, dict) and row_name(value) == "one_cycle" else value

    @model_validator(mode="after")
    def _one_rise(self) -> ScheduleConfig:
        if self.name == "one_cycle" and self.warmup:
            raise ValueError("one_cycle rises by itself, over the share `rise` of the run; leave warmup out")
        return self


class RefitConfig(StrictModel):
    """A new length, decided by a budget after `iteration`."""

    iteration: Positive
    iterations: Positive
    evaluate_every: Positive


class ThreadsConfig(StrictModel):
    """Another number of threads, decided after `iteration` when the machine had become slower or faster."""

    iteration: Positive
    threads: Positive


class ProgressiveConfig(StrictModel):
    """The first part of a training is made with smaller images."""

    until: float = Field(0.7, gt=0, lt=1, description="share of the iterations")
    scale: float = Field(0.5, ge=0.25, lt=1, description="of the sides of data.image_size, in multiples of 32")


# Of a class, and without one the mean of all.
OF_CLASSES = ("iou", "dice", "precision", "recall")
_MEANS = {"iou": "mIoU", "dice": "mDice", "recall": "mAcc", "precision": "mean precision"}


class BestConfig(StrictModel):
    """The validation score that chooses the checkpoint; a text alone is the score."""

    score: Literal["mIoU", "mDice", "mAcc", "aAcc", "loss", "iou", "dice", "precision", "recall"] = Field(
        default="mIoU",
        description="as in the scores of `evaluate`; the last four are of a class, or the mean of all; of the "
        "loss the lowest is best",
    )
    class_: str | None = Field(
        default=None, alias="class", description="the name of a class, for iou, dice, precision, recall"
    )
    level: Positive | None = Field(default=None, description="of a class tree, 1 is the top; the leaves when left out")
    without_background: bool = Field(default=False, description="the mean of all classes but the background")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"score": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _together(self) -> BestConfig:
        if self.class_ is not None and self.score not in OF_CLASSES:
            raise ValueError(f"{self.score} is of all classes; of one there are {', '.join(OF_CLASSES)}")
        if self.without_background and (self.class_ is not None or self.score in ("aAcc", "loss")):
            raise ValueError("without_background is for means of classes; remove it, or take mIoU, mDice or mAcc")
        if self.level is not None and self.score == "loss":
            raise ValueError("the loss is of all levels; remove level")
        return self

    @model_serializer
    def _plain(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "class": self.class_,
            "level": self.level,
            "without_background": self.without_background,
        }

    @property
    def lower_is_better(self) -> bool:
        """Of the loss; of all others the highest is best."""
        return self.score == "loss"

    def __str__(self) -> str:
        """`mIoU`, or `dice of 'crack' at level 2`."""
        name = _MEANS.get(self.score, self.score) if self.class_ is None else f"{self.score} of {self.class_!r}"
        level = f" at level {self.level}" if self.level else ""
        return name + level + " without background" * self.without_background


LENGTHS = ("iterations", "epochs", "budget")


class TrainConfig(StrictModel):
    """How long and how. One of `iterations`, `epochs` and `budget` is given."""

    iterations: Positive | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    budget: str | None = Field(None, description="wall time such as 90s, 5m or 1.5h, evaluation included")
    refits: list[RefitConfig] = Field(
        default_factory=list, description="what a budget made of `iterations` while it trained; written by the run"
    )
    thread_changes: list[ThreadsConfig] = Field(
        default_factory=list, description="what became of `threads` while it trained; written by the run"
    )
    batch_size: Positive = 8
    progressive: ProgressiveConfig | None = Field(
        None, description="progressive resizing: smaller images at first, whose steps are cheap; not evaluated then"
    )
    evaluate_every: Positive | None = Field(None, description="iterations; an eighth of the run when left out")
    best: BestConfig | None = Field(
        None, description="the validation score that chooses the checkpoint and stops early; mIoU when left out"
    )
    early_stopping: Positive | None = Field(None, description="evaluations without a better val mIoU, or `best`")
    ema: float | None = Field(0.99, gt=0, lt=1, description="decay of the average of the weights")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool | Literal["auto"] = Field("auto", description="layout of images in memory; measured if auto")
    threads: Positive | None = Field(None, description="of the CPU; torch's own number or fewer when left out")
    compile: Literal["none", "default", "reduce-overhead"] = Field(
        "none", description="torch.compile of the step; reduce-overhead: with CUDA graphs"
    )
    workers: int | None = Field(None, ge=0, description="loader processes; chosen by device when left out")

    @field_validator("budget")
    @classmethod
    def _budget(cls, text: str | None) -> str | None:
        if text is not None:
            seconds_of(text)
        return text

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "give one of iterations, epochs and budget" + (f" (given: {', '.join(given)})" if given else "")
            )
        if self.thread_changes and not (self.threads and self.iterations):
            raise ValueError("thread_changes belong to the threads and iterations they were written with; remove them")
        if self.refits and not self.iterations:
            raise ValueError("refits belong to the iterations they were written with; remove them")
        return self


class RunConfig(StrictModel):
    """One training."""

    seed: int = Field(0, ge=0, lt=2**31)
    data: DataConfig
    model: ModelConfig
    loss: list[LossTerm] = Field(min_length=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    augment: list[AugmentTerm] = Field(default_factory=list)
    border: Literal["reflect", "ignore"] = Field(
        "reflect", description="labels where geometry uncovers places: mirrored like the image there, or ignored"
    )
    flip_average: bool = Field(False, description="average predictions over the mirrored image: twice the work")
    selector: Selector = Field("leaf", description="how a class tree's levels are labelled; see the table of selectors")
    trackers: list[TrackerTerm] = Field(default_factory=list, description="tools that show the run; each at most once")

    @field_validator("model", "optimizer", "schedule", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return by_name(value)

    @model_validator(mode="after")
    def _windows_as_they_are(self) -> RunConfig:
        if self.data.crop and self.train.progressive:
            raise ValueError("train.progressive makes small what data.crop keeps large; remove one of the two")
        return self

    @field_validator("trackers")
    @classmethod
    def _each_once(cls, terms: list[TrackerTerm]) -> list[TrackerTerm]:
        names = [term.name for term in terms]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(repeated)}: given twice; keep one")
        return terms

    @field_validator("augment")
    @classmethod
    def _alone(cls, terms: list[AugmentTerm]) -> list[AugmentTerm]:
        if len(terms) > 1 and any(term.name == augment.PASS_THROUGH for term in terms):
            raise ValueError(f"{augment.PASS_THROUGH} is a whole pipeline and stands alone; remove the other entries")
        return terms

    @field_validator("loss", "augment", "trackers", mode="before")
    @classmethod
    def _short_list(cls, value: Any) -> Any:
        return [by_name(item) for item in (value if isinstance(value, list) else [value])]

    def to_dict(self) -> dict[str, Any]:
        """Plain data with every value, which `RunConfig.model_validate` reads back."""
        return self.model_dump()


def seconds_of(text: str) -> float:
    """`90s`, `5m`, `1.5h` in seconds; ValueError otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text)
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not a time such as 90s, 5m or 1.5h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def seconds_argument(name: str, text: str) -> float:
    """As `seconds_of`, for the argument `name` of a function: ConfigError names it."""
    try:
        return seconds_of(text)
    except ValueError as error:
        raise ConfigError(f"{argument(name)}: {error}") from None
