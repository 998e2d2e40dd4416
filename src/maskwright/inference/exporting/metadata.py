"""What an exported model says of itself: one JSON text in the `metadata_props` of the ONNX file, under `KEY`.

The graph takes `INPUT` (N, H, W, C) uint8 or uint16, by default RGB, at the model's size and gives `OUTPUT`
(N, K, H, W) float32, the probabilities of the leaves. How a file becomes that input, and what the output means, stands
here. Of a model that sees windows of images (`crop` in the geometry), the input are the windows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from maskwright import __version__
from maskwright.core.bands import RGB
from maskwright.core.classes import SELECTORS, ClassTree, Selector
from maskwright.core.geometry import MOST_OVERLAP, MOST_SCALE
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.predictor import Preprocessing
from maskwright.errors import DataError, MaskwrightError

KEY = "maskwright"
# The first versions read format 1 only, and know neither windows nor other bands than RGB of 8 bits.
_KIND, _FORMAT, _PLAIN = "maskwright-onnx", 2, 1
INPUT, OUTPUT = "images", "probabilities"
Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Metadata:
    """`model` is what the network is (its constructor arguments), `run` the name of the training and `dataset_version`
    the content that it learnt from; `weights` are source and licence of the pretrained weights it began with, None
    without. `any_size`: whether the graph takes other sizes than the model's. With `flip_average` the probabilities
    are to be averaged with those of the mirrored image; `postprocessing` is what is done with the labels."""

    classes: ClassTree
    preprocessing: Preprocessing
    model: Mapping[str, Any]
    flip_average: bool = False
    selector: Selector = "leaf"
    precision: Precision = "float32"
    any_size: bool = False
    run: str | None = None
    dataset_version: str | None = None
    weights: Mapping[str, Any] | None = None
    postprocessing: PostProcessing | None = None

    def to_json(self) -> str:
        """The text under `KEY`; `from_json` reads it back."""
        plain = self.preprocessing.bands == RGB and self.preprocessing.geometry.crop is None
        return json.dumps(
            {
                "format": f"{_KIND}-{_PLAIN if plain else _FORMAT}",
                "version": __version__,
                "classes": self.classes.to_dict(),
                "preprocessing": self.preprocessing.to_dict(),
                "flip_average": self.flip_average,
                "selector": self.selector,
                "postprocessing": self.postprocessing.to_dict() if self.postprocessing else None,
                "model": self.model,
                "precision": self.precision,
                "any_size": self.any_size,
                "run": self.run,
                "dataset_version": self.dataset_version,
                "weights": self.weights,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str | None, source: str) -> Self:
        """DataError when it is missing or damaged, or asks for what this version does not do."""
        if text is None:
            raise DataError(f"{source}: was not exported by maskwright; give a file that `export` wrote")
        damaged = DataError(f"{source}: what it says of itself is damaged; export it again")
        try:
            data = json.loads(text)
            kind, _, number = str(data["format"]).rpartition("-")
            if kind == _KIND and number.isdecimal() and int(number) > _FORMAT:
                raise DataError(f"{source}: is from a newer Maskwright; `pip install --upgrade maskwright`")
            if kind != _KIND or data["selector"] not in SELECTORS or data["precision"] not in ("float32", "int8"):
                raise damaged
            preprocessing = Preprocessing.from_dict(data["preprocessing"])
            if not _usable(preprocessing):
                raise damaged
            return cls(
                ClassTree.from_dict(data["classes"]),
                preprocessing,
                dict(data["model"]),
                bool(data["flip_average"]),
                data["selector"],
                data["precision"],
                bool(data["any_size"]),
                data["run"],
                data["dataset_version"],
                data["weights"],
                None if data["postprocessing"] is None else PostProcessing.from_dict(data["postprocessing"], source),
            )
        except DataError:
            raise
        except (MaskwrightError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            raise damaged from None


def _usable(preprocessing: Preprocessing) -> bool:
    """Whether windows cover an image, and the bands that are shown are there."""
    crop, bands = preprocessing.geometry.crop, preprocessing.bands
    (low, high), shown = bands.range, all(1 <= band <= bands.channels for band in bands.show)
    covers = crop is None or (0 < crop.scale <= MOST_SCALE and 0 <= crop.overlap <= MOST_OVERLAP)
    return covers and bands.bits in (8, 16) and low < high and shown and len(bands.show) in (1, 3)
