"""What detection finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from maskwright.core.description import DatasetFile
from maskwright.core.mask_files import Encoding, Inverted

TABLE = "labels.csv"


@dataclass(frozen=True)
class Answers:
    """What the user says of the values in masks, where they could mean several things: `inverted` and `variable` as in
    `MaskEncoding`; `encoding`, for values that may be classes, numbers of objects or places in a palette; `levels`, the
    grey values of the classes from the first on."""

    inverted: Inverted | None = None
    variable: str | None = None
    encoding: Encoding | None = None
    levels: tuple[int, ...] = ()


NOTHING_SAID = Answers()


@dataclass(frozen=True)
class Detection:
    """What was found, and why: `reasons` maps a key of `dataset.yaml` to one sentence. `pairs` counts the images with
    masks and `images` all; `left_out` says what is not read and why, `unsure` what was taken for something and might be
    something else. `exact` is the share of the mask pixels that have the very value of a class, `shares` that of each
    class by id, as seen in a sample of the masks. `annotations` is the set that was read for it, where there is one."""

    file: DatasetFile
    reasons: dict[str, str]
    images: int = 0
    pairs: int = 0
    left_out: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    exact: float | None = None
    shares: dict[int, float] = field(default_factory=dict)
    annotations: object = field(default=None, repr=False, compare=False)
