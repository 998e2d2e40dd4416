"""What a model is to those who label images with it, whatever computes it: torch (`modeling.models.segmenter`), or an
exported file (`inference.exporting.exported`). Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from maskwright.core.arrays import Given, as_images
from maskwright.core.bands import RGB, Bands, Stored
from maskwright.core.classes import ClassTree, Selector
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.sample import Exif
from maskwright.core.tiles import Arrays, Maps, Part, label_strips
from maskwright.core.windows import Windows
from maskwright.errors import ConfigError, DataError, argument

Pixels = npt.NDArray[np.uint8]
# The probabilities (H, W) float32 of a class, by its index.
ClassMaps = Callable[[int], npt.NDArray[np.float32]]
WINDOWS = 8  # of an image that go through the model together, if its memory allows it


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to the model's input: whether its EXIF orientation is applied, the size, `mean` and `std` per
    channel, 0..1 of the range of its `bands`."""

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    exif: Exif = "apply"
    bands: Bands = RGB

    def to_dict(self) -> dict[str, Any]:
        """For model files; `from_dict` reads it back. Plain bands and no crop are left out, as in files from before
        there were others."""
        stored = asdict(self)
        if self.bands == RGB:
            del stored["bands"]
        if self.geometry.crop is None:
            del stored["geometry"]["crop"]
        return stored

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; older files have no `exif`. KeyError or TypeError for what is none."""
        shape = data["geometry"]
        crop = Crop(**shape["crop"]) if shape.get("crop") else None
        geometry = Geometry(**(shape | {"size": tuple(shape["size"]), "crop": crop}))
        bands = Bands.from_dict(data["bands"]) if "bands" in data else RGB
        return cls(geometry, tuple(data["mean"]), tuple(data["std"]), data.get("exif", "apply"), bands)


class Predictor(ABC):
    """A model with its `classes` and `preprocessing`. `flip_average` averages over the mirrored image; `selector` is
    how the levels of a class tree are labelled (see `SELECTORS`), `postprocessing` what is done with the labels, None
    for nothing. Subclasses are dataclasses with these fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    classes: ClassTree
    preprocessing: Preprocessing
    flip_average: bool
    selector: Selector
    postprocessing: PostProcessing | None

    @property
    def coherent(self) -> bool:
        """Whether the labels of all levels follow from the leaf's, so that they never contradict each other."""
        return self.selector != "levels"

    def allowed(self, maps: Maps, image: Stored | None, arrays: Arrays) -> Maps:
        """The maps of leaves by whose largest value each pixel gets its class, as post-processing has it. They are at
        the own size of the image (H, W, C), which is None where there is no smoothing."""
        if not self.postprocessing:
            return maps
        if self.postprocessing.smoothing:
            assert image is not None
            ways = self.preprocessing
            maps = self.postprocessing.smoothing.on(maps, image, ways.geometry, ways.bands, arrays)
        return self.postprocessing.allowed(maps)

    def finished(self, maps: list[Pixels]) -> list[Pixels]:
        """The maps of the levels, top first, after post-processing of the leaves, which the levels above follow."""
        return self._above(self.postprocessing.apply(maps[-1])) if self.postprocessing else maps

    def _above(self, leaves: Pixels) -> list[Pixels]:
        return [*(level.mask(leaves) for level in self.classes.levels[:-1]), leaves]

    @abstractmethod
    def labelled(
        self, images: Sequence[Stored], together: int, probabilities: bool
    ) -> Iterator[tuple[list[Pixels], npt.NDArray[np.float32] | None]]:
        """Images (H, W, C) of any sizes, `together` of which may go through the model at once, to what
        `label_levels` gives, and where they are asked for the probabilities (K, H, W) of the leaves at the same size;
        one image after the other."""

    @abstractmethod
    def label_with_maps(self, images: Iterable[Stored]) -> Iterator[tuple[list[Pixels], Callable[[], ClassMaps]]]:
        """As `label_levels`; with what makes the probabilities of each class at the image's own size, one by one where
        all would be large."""

    @abstractmethod
    def class_maps(self, images: Iterable[Stored]) -> Iterator[ClassMaps]:
        """What makes the probabilities of each class of images (H, W, C) at their own size, one image after the other;
        one by one where all would be large, but all at once of a model that sees windows of the image."""

    @property
    def whole_only(self) -> str:
        """Why it labels only images that are held as a whole; empty where it labels others too."""
        if self.postprocessing and (self.postprocessing.smoothing or self.postprocessing.largest_only):
            kind = "smoothing" if self.postprocessing.smoothing else "only the largest component kept"
            return (
                f"its post-processing ({kind}) needs the whole image; leave it out "
                f"({argument('postprocess', '--no-postprocess')})"
            )
        return ""

    @abstractmethod
    def image_parts(self, image: Stored | Windows, together: int) -> Iterator[Part]:
        """The parts of an image (H, W, C), row by row from the left, `together` windows of which go through the model
        at once if it sees windows."""

    @abstractmethod
    def selected(self, maps: Maps, image: Stored | None = None) -> list[Pixels]:
        """The maps of leaves (H, W) to the indices (H, W) uint8 of each level by `selector`, top first. The image is
        needed where post-processing smooths."""

    def label_strips(self, image: Windows, what: str) -> Iterator[list[Pixels]]:
        """As `label_levels`, of an image of any size: some of its rows (h, W) at once, from the top. DataError, which
        names the image as `what`, of models that are `whole_only`."""
        if self.whole_only:
            raise DataError(f"{what}: is so large that it is read by windows, and {self.whole_only}")
        found = label_strips(self.image_parts(image, WINDOWS), image.shape[1], self.classes.depth, self.selected)
        if not self.postprocessing or not self.postprocessing.changes_components:
            return found
        leaves = self.postprocessing.apply_to_strips((levels[-1] for levels in found), image.shape[0])
        return map(self._above, leaves)

    def label_levels(self, images: Iterable[Stored]) -> Iterator[list[Pixels]]:
        """Images (H, W, C) of any sizes to the indices (H, W) uint8 of each level at the same sizes, top first, one
        image after the other."""
        return (levels for levels, _ in self.label_with_maps(images))

    @overload
    def label(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self, images: Given
    ) -> Pixels: ...

    @overload
    def label(self, images: Sequence[Given]) -> list[Pixels]: ...

    def label(self, images: Given | Sequence[Given]) -> Pixels | list[Pixels]:
        """An image to class indices (H, W) uint8 at its own size, or a list of images of any sizes to a list of them.

        An image is the path of a file, an image of Pillow, or an array: (H, W) grey or (H, W, C), with C = 1, 3 (RGB)
        or 4 (RGBA, whose alpha is left out), of uint8, uint16 or floats from 0 to 1; for a model of other bands, with
        these (`preprocessing.bands`), of their own dtype. An array (N, H, W, C) is a list. DataError for anything else.
        """
        pixels, alone = as_images(images, self.preprocessing.exif, self.preprocessing.bands)
        found = [maps[-1] for maps in self.label_levels(pixels)]
        return found[0] if alone else found


P = TypeVar("P", bound=Predictor)


def with_selector(predictor: P, selector: Selector | None, classes: ClassTree | None = None) -> P:
    """The same model with another selector, or with other `classes` of the same leaves. ConfigError when the selector
    is for a class tree and the classes are flat, or labels each level by itself and there is post-processing."""
    changed = replace(predictor, selector=selector or predictor.selector, classes=classes or predictor.classes)
    if changed.selector != "leaf" and changed.classes.depth == 1:
        raise ConfigError(
            f"selector: {changed.selector} is for class trees, and the classes are a flat list; nest "
            "them in dataset.yaml (`children`), or choose the selector leaf"
        )
    return _require_coherent(changed)


def with_postprocessing(predictor: P, postprocessing: PostProcessing | None, source: str) -> P:
    """The same model with this post-processing, which is from `source`, or without any. DataError for one of other
    classes or one that smooths where the model sees windows, ConfigError where each level is labelled by itself."""
    if postprocessing is not None:
        postprocessing.require(predictor.classes, source)
        if postprocessing.smoothing and predictor.preprocessing.geometry.crop:
            raise DataError(
                f"{source}: its post-processing smooths whole images, and the model sees windows; tune again"
            )
    return _require_coherent(replace(predictor, postprocessing=postprocessing))


def _require_coherent(predictor: P) -> P:
    if predictor.postprocessing and predictor.postprocessing.thresholds and predictor.selector != "leaf":
        raise ConfigError(
            f"selector: {predictor.selector} chooses groups first, and least probabilities are for the leaves; choose "
            f"leaf, or leave post-processing out ({argument('postprocess', '--no-postprocess')})"
        )
    if predictor.postprocessing and not predictor.coherent:
        raise ConfigError(
            f"selector: {predictor.selector} labels each level by itself, and post-processing changes the leaves "
            "alone; choose leaf or top_down, or leave post-processing out "
            f"({argument('postprocess', '--no-postprocess')})"
        )
    return predictor
