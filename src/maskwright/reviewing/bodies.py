"""What travels: JSON bodies that are checked, and masks as bytes and run lengths, since a canvas would corrupt them."""

from __future__ import annotations

import gzip
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import dump_json
from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask
from maskwright.errors import DataError


class Body(BaseModel):
    """A body without anything unknown in it."""

    model_config = ConfigDict(extra="forbid")


class Change(Body):
    """A change of a sample: a new status, a new mask as run lengths (class index, length, class index, …), or both."""

    revision: str
    status: Literal["keep", "exclude", "suspect"] | None = None
    runs: list[StrictInt] | None = None


class Answer(Body):
    """Whether the proposal of that number in that folder of `suspects` is accepted."""

    revision: str
    folder: str
    number: Annotated[int, Field(ge=1, le=255)]
    accept: bool


class Step(Body):
    """The batch that is to be undone or redone."""

    batch: str | None


def json_response(value: Any, status: int = 200) -> Response:
    """Strict JSON, without NaN."""
    return Response(dump_json(value), status, media_type="application/json")


def mask_response(mask: Mask, headers: dict[str, str] | None = None) -> Response:
    """A mask (H, W) as one byte a pixel, with its size in the headers."""
    data = gzip.compress(np.ascontiguousarray(mask).tobytes(), 1)
    size = {"content-encoding": "gzip", "x-height": str(mask.shape[0]), "x-width": str(mask.shape[1])}
    return Response(data, media_type="application/octet-stream", headers=size | (headers or {}))


def mask_of_runs(values: list[int], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W) of `size` from [value, length, value, length, …] along the rows. DataError for what does not fit."""
    pairs = np.array(values, np.int64) if max(values, default=0) <= MAX_PIXELS else np.zeros(1, np.int64)
    if len(pairs) % 2:
        raise DataError("runs: are no pairs of class and length; reload the page")
    indices, lengths = pairs[0::2], pairs[1::2]
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1] or ((indices < 0) | (indices > IGNORE)).any():
        raise DataError(f"runs: do not make a mask of {size[1]}x{size[0]} pixels; reload the page")
    return np.repeat(indices.astype(np.uint8), lengths).reshape(size)
