"""What the plan depends on in the data: sizes, what the masks hold of each class, mirror symmetry, colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.base.progress import progress
from maskwright.core.class_facts import ClassFacts, ClassSurvey
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.sample import read_header
from maskwright.data.auditing.symmetry import Mirror, Positions
from maskwright.errors import DataError

# Sizes, colours and symmetry are seen in a few images. A class may be in few: of it all masks tell, up to a number of
# masks, and of pixels, which is a matter of seconds on any machine, so that the plan does not depend on its speed.
_READ, _MOST, _PIXELS = 200, 2_000, 1 << 29
_MULTIPLE = 32


@dataclass(frozen=True)
class Fingerprint:
    """What the plan looks at. `height`, `width`: medians in pixels; `shares` (K,): class shares of counted
    pixels; `mirrors`: whether left and right, and top and bottom, may be exchanged;
    `grey`: whether the images have no colours; `classes`: what the `read` masks hold of each class, at their own size.
    """

    images: int
    train: int
    validation: int
    height: int
    width: int
    shares: npt.NDArray[np.float64]
    mirrors: tuple[Mirror, Mirror]
    grey: bool
    classes: Sequence[ClassFacts] = ()
    read: int = 0


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Reads the masks of up to 2,000 labelled training samples, evenly spread, fewer where they are large; of up to 200
    the rest. DataError when none is labelled."""
    splits = {name: [s for s in samples if s.labelled] for name, samples in dataset.splits.items()}
    train = splits.get("train") or splits.get("", [])
    if not train:
        raise DataError(f"{dataset.root}: no labelled training samples; add masks, or a train split")
    chosen = _spread(len(train), _READ)
    positions = Positions(dataset.classes.names)
    survey = ClassSurvey(len(dataset.classes))
    grey = all(not np.ptp(dataset.read_image(train[i]), axis=2).any() for i in chosen[:: max(1, len(chosen) // 5)])
    sizes = [read_header(train[i].image, train[i].page, dataset.bands).size for i in chosen]
    height, width = (int(v) for v in np.median(np.array(sizes), axis=0))
    more = _spread(len(train), min(_MOST, max(_READ, _PIXELS // (height * width))))
    few, read = {*chosen}, sorted({*chosen, *more})
    with progress("reading", len(read)) as advance:
        for done, i in enumerate(read, 1):
            mask = dataset.read_mask(train[i])
            survey.add(mask)
            if i in few:
                positions.add(mask)
            advance(done)
    if not survey.pixels.any():
        raise DataError(f"{dataset.root}: every pixel is ignored ({IGNORE}); check the masks")
    return Fingerprint(
        sum(map(len, splits.values())),
        len(train),
        len(splits.get("val", [])),
        height,
        width,
        survey.pixels / survey.pixels.sum(),
        positions.mirrors(),
        grey,
        survey.facts(),
        len(read),
    )


def _spread(count: int, most: int) -> list[int]:
    """At most `most` places at even distances among `count`."""
    places: list[int] = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()
    return places


def model_size(fingerprint: Fingerprint, most: int) -> tuple[int, int]:
    """The median size, shrunk to at most `most` pixels with its aspect ratio, in multiples of 32."""
    scale = min(1.0, math.sqrt(most / (fingerprint.height * fingerprint.width)))
    rounding = math.ceil if scale == 1.0 else round
    height, width = (
        max(_MULTIPLE, rounding(v * scale / _MULTIPLE) * _MULTIPLE) for v in (fingerprint.height, fingerprint.width)
    )
    return height, width
