"""What comes back for an image: its mask as an index PNG, as run lengths or as polygons, and what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from maskwright.base.storage import dump_json
from maskwright.core.masks import Mask, class_pixels, mask_png
from maskwright.core.polygons import outlines
from maskwright.core.predictor import Predictor
from maskwright.core.rle import BoolMask, encode_counts, pack_counts
from maskwright.core.sample import InMemory, read_bands
from maskwright.errors import DataError
from maskwright.inference.predict import memory_errors

Form = Literal["png", "json", "rle", "polygons"]
FORMS: tuple[Form, ...] = ("png", "json", "rle", "polygons")
BODY = "the body"  # what messages call the image


@dataclass(frozen=True)
class Answer:
    """The body of a response and its headers."""

    body: bytes
    headers: dict[str, str]


def answer(predictor: Predictor, content: bytes, form: Form) -> Answer:
    """Labels the image file that `content` is. DataError for one that cannot be read or holds other bands than the
    model takes, SetupError where memory does not suffice."""
    preprocessing = predictor.preprocessing
    try:
        pixels = read_bands(InMemory(BODY, content), preprocessing.bands, preprocessing.exif)
    except DataError as error:  # the advice is for files of a dataset
        raise DataError(f"{str(error).rpartition(';')[0]}; send another image") from None
    if not pixels.size:
        raise DataError(f"{BODY}: an image without pixels; send another image")
    with memory_errors(BODY, pixels.shape):
        levels, maps = next(predictor.label_with_maps([pixels]))
        mask = levels[-1]
        counts = class_pixels(mask, len(predictor.classes))[:-1].tolist()
        if form == "png":
            there = {id_: count for id_, count in zip(predictor.classes.ids, counts, strict=True) if count}
            headers = {"content-type": "image/png", "x-class-pixels": json.dumps(there, separators=(",", ":"))}
            return Answer(mask_png(mask, predictor.classes), headers)
        height, width = mask.shape
        found = {"width": width, "height": height, "classes": [*_classes(predictor, mask, counts, maps(), form)]}
        return Answer(dump_json(found).encode(), {"content-type": "application/json"})


def _classes(predictor: Predictor, mask: Mask, counts: list[int], maps: Any, form: Form) -> Iterator[dict[str, Any]]:
    for index, (leaf, pixels) in enumerate(zip(predictor.classes.leaves, counts, strict=True)):
        region: BoolMask = mask == index
        # Only of classes that are there: enlarging a map takes as long for one that is not.
        confidence = float(maps(index)[region].mean(dtype=np.float64)) if pixels else None
        row = {
            "id": leaf.id,
            "name": leaf.name,
            "pixels": pixels,
            "share": pixels / mask.size,
            "confidence": confidence,
        }
        if form == "rle":
            row["rle"] = {"size": [*mask.shape], "counts": pack_counts(encode_counts(region))}
        elif form == "polygons":
            row["polygons"] = [[ring.astype(int).tolist() for ring in rings] for rings in outlines(region)]
        yield row
