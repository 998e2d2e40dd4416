"""The section `data` of `run.yaml`: the images, and how they come to the model."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from maskwright.base.strictyaml import StrictModel
from maskwright.core.geometry import MOST_OVERLAP, MOST_SCALE

Positive = Annotated[int, Field(gt=0)]


class TrustConfig(StrictModel):
    """How far the labels of training images are trusted, pixel by pixel; a text alone is the folder."""

    folder: str = Field(
        description="NAME.png for each training sample, 0..255, as `suspects` writes them; relative to this file"
    )
    mode: Literal["weight", "ignore"] = Field(
        "weight",
        description="weight: a pixel of trust w counts in a share w of the epochs; ignore: in none when it "
        "is trusted less than `least`",
    )
    least: float | None = Field(None, gt=0, le=1, description="for mode ignore, which takes 0.5 when it is left out")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"folder": value}
        if isinstance(value, dict) and value.get("mode") == "ignore" and value.get("least") is None:
            return value | {"least": 0.5}
        return value

    @model_validator(mode="after")
    def _least_of_some(self) -> TrustConfig:
        if self.mode == "weight" and self.least is not None:
            raise ValueError("mode weight has no least; remove it, or set mode to ignore")
        return self


class CropConfig(StrictModel):
    """Windows of image_size in place of whole images; `true` alone takes all as it is here."""

    scale: float = Field(1.0, gt=0, le=MOST_SCALE, description="of the images' own size, the same for both sides")
    overlap: float = Field(
        0.25, ge=0, le=MOST_OVERLAP, description="share of their sides, of the tiles of a prediction"
    )
    rare: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the training windows that are drawn around a class that is not the largest",
    )


class DataConfig(StrictModel):
    """The images and how they come to the model."""

    root: str = Field(description="dataset folder, relative to this file")
    image_size: Annotated[list[Positive], Field(min_length=2, max_length=2)] = Field(description="height, width")
    crop: CropConfig | None = Field(
        None,
        description="train on windows of image_size and predict by tiles; if left out, whole images are resized to it",
    )
    keep_ratio: bool = Field(False, description="pad with ignored pixels instead of stretching")
    resample: Literal["bilinear", "bicubic", "lanczos", "area"] = "lanczos"
    holdout: float = Field(0.2, gt=0, lt=1, description="share of train used for validation when there is no val split")
    mean: Annotated[list[float], Field(min_length=1)] | None = Field(
        None,
        description="channel means, 0..1; left out, the encoder's own, or those of the training images where these are "
        "not 8-bit RGB",
    )
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
    repeat_rare: float | None = Field(
        None,
        gt=0,
        le=1,
        description="images with a class that fewer than this share of the training images have are drawn more often; "
        "all equally often if left out",
    )
    trust: TrustConfig | None = Field(
        None, description="doubtful pixels count less in training; all count equally if left out"
    )

    @field_validator("crop", mode="before")
    @classmethod
    def _as_it_is(cls, value: Any) -> Any:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _one_ratio(self) -> DataConfig:
        if self.crop and self.keep_ratio:
            raise ValueError("crop keeps the ratio by itself; leave keep_ratio out")
        return self

    @field_validator("image_size", mode="before")
    @classmethod
    def _two_sides(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2:
            return value
        sides = [int(number) for number in re.findall(r"[0-9]{1,6}", str(value))]
        if len(sides) == 3:  # channels first or last
            sides = sides[1:] if sides[0] in (1, 3, 4) else sides[:2]
        if len(sides) not in (1, 2):
            raise ValueError(f"give [height, width], such as [224, 224] (given {value!r})")
        height, width = (max(32, round(side / 32) * 32) for side in (sides * 2)[:2])
        raise ValueError(f"give [height, width], best in multiples of 32: [{height}, {width}] (given {value!r})")
