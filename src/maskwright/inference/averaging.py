"""Probabilities averaged over several models, and over an image at several scales. Needs no torch.

Everything is averaged at the image's own size, with equal weights, before anything is labelled; so selectors and
post-processing see one model. Mirrored images are a matter of each model (`flip_average`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskwright.core.bands import Stored
from maskwright.core.classes import ClassTree, Selector
from maskwright.core.geometry import MOST_SCALE
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.predictor import ClassMaps, Pixels, Predictor, Preprocessing
from maskwright.core.tiles import NUMPY, Maps, Part
from maskwright.core.windows import Windows
from maskwright.errors import ConfigError, argument
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.exporting.levels import select

if TYPE_CHECKING:
    from maskwright.modeling.models.segmenter import Segmenter

_BATCH = 8  # images that are looked at together
Floats = npt.NDArray[np.float32]


@dataclass
class Averaged(Predictor):
    """The mean of the probabilities of `members`, which have the same classes, bands and rule for EXIF."""

    members: Sequence[Predictor]
    classes: ClassTree
    preprocessing: Preprocessing
    flip_average: bool
    selector: Selector
    postprocessing: PostProcessing | None

    def class_maps(self, images: Iterable[Stored]) -> Iterator[ClassMaps]:
        """As `Predictor.class_maps`."""
        return (means for means, _ in self._means(images))

    def _means(self, images: Iterable[Stored]) -> Iterator[tuple[ClassMaps, Stored]]:
        left = iter(images)
        while some := [*islice(left, _BATCH)]:
            found = [member.class_maps(some) for member in self.members]
            for image in some:
                yield self._mean(found, (image.shape[0], image.shape[1])), image

    def _mean(self, found: Sequence[Iterator[ClassMaps]], size: tuple[int, int]) -> ClassMaps:
        """The means for the next image of each member. Of members that see windows, which have all of an image at once,
        one sum is held."""
        tiled: Floats | None = None
        others = []
        for member, maps in zip(self.members, found, strict=True):
            own = next(maps)
            if member.preprocessing.geometry.crop is None:
                others.append(own)
                continue
            if tiled is None:
                tiled = np.zeros((len(self.classes), *size), np.float32)
            for index, total in enumerate(tiled):
                total += own(index)
        return partial(_mean_map, others, tiled, len(self.members))

    def labelled(
        self, images: Sequence[Stored], together: int, probabilities: bool
    ) -> Iterator[tuple[list[Pixels], Floats | None]]:
        """As `Predictor.labelled`; how much goes through a model at once is its own choice."""
        for means, image in self._means(images):
            found = np.stack([means(index) for index in range(len(self.classes))]) if probabilities else None
            yield self._labels(means if found is None else found.__getitem__, image), found

    def label_with_maps(self, images: Iterable[Stored]) -> Iterator[tuple[list[Pixels], Any]]:
        """As `Predictor.label_with_maps`."""
        for means, image in self._means(images):
            yield self._labels(means, image), partial(_itself, means)

    @property
    def whole_only(self) -> str:
        """As `Predictor.whole_only`."""
        return (
            "an average over models or scales needs the whole image; leave "
            f"{argument('with_', '--with')} and {argument('scales')} out"
        )

    def image_parts(self, image: Stored | Windows, together: int) -> Iterator[Part]:
        """As `Predictor.image_parts`: of an average the only part is the whole image."""
        whole = np.asarray(image)
        height, width = whole.shape[:2]
        return (Part(slice(0, height), slice(0, width), _summed(means)) for means in self.class_maps([whole]))

    def selected(self, maps: Maps, image: Stored | None = None) -> list[Pixels]:
        """As `Predictor.selected`."""
        return select(self.allowed(maps, image, NUMPY), self.classes.levels, self.selector)

    def _labels(self, means: ClassMaps, image: Stored) -> list[Pixels]:
        return self.finished(self.selected(_summed(means), image))


def _itself(means: ClassMaps) -> ClassMaps:
    return means


def _mean_map(others: Sequence[ClassMaps], tiled: Floats | None, count: int, index: int) -> Floats:
    total = np.array(tiled[index] if tiled is not None else others[0](index), np.float32)
    for maps in others if tiled is not None else others[1:]:
        total += maps(index)
    return np.divide(total, np.float32(count), out=total)


def _summed(means: ClassMaps) -> Maps:
    def summed(members: Sequence[int]) -> Floats:
        total = means(members[0])
        for index in members[1:]:
            total = total + means(index)
        return total

    return summed


def averaged(
    model: Segmenter | ExportedModel,
    others: Sequence[Segmenter | ExportedModel] = (),
    flip_average: bool | None = None,
    scales: Sequence[float] = (),
) -> Predictor:
    """The mean of a model and `others`, each at all `scales` of what it was trained at (1 when left out), and over
    mirrored images where `flip_average` says so, or, left out, where a model does it anyway. Selector and
    post-processing are the first model's.

    ConfigError for models of other classes or images, for scales that are none, and where a model takes images of one
    size only.
    """
    for other in others:
        _require_same(model, other)
    if wrong := [scale for scale in scales if not 0 < scale <= MOST_SCALE]:
        raise ConfigError(f"{argument('scales')}: {wrong[0]:g} is no scale; give numbers above 0, up to {MOST_SCALE:g}")
    models: list[Predictor] = [model, *others]
    if flip_average is not None:
        models = [replace(one, flip_average=flip_average) for one in models]
    members = [_at_scale(one, scale) for one in models for scale in dict.fromkeys(scales or (1.0,))]
    if len(members) == 1:
        return members[0]
    return Averaged(
        members, model.classes, model.preprocessing, models[0].flip_average, model.selector, model.postprocessing
    )


def _require_same(model: Predictor, other: Predictor) -> None:
    ours, theirs = model.classes, other.classes
    if (ours.names, ours.ids, ours.structure) != (theirs.names, theirs.ids, theirs.structure):
        raise ConfigError(
            f"{argument('with_', '--with')}: its classes ({', '.join(theirs.names)}; ids {theirs.ids}) are not those "
            f"of the first model ({', '.join(ours.names)}; ids {ours.ids}); average models of the same classes"
        )
    (bands, exif), (others, rule) = ((one.preprocessing.bands, one.preprocessing.exif) for one in (model, other))
    if (bands.channels, bands.bits, exif) != (others.channels, others.bits, rule):
        raise ConfigError(
            f"{argument('with_', '--with')}: it takes {others} (EXIF: {rule}), and the first model {bands} (EXIF: "
            f"{exif}); average models of the same images"
        )


def _at_scale(model: Predictor, scale: float) -> Predictor:
    """The same model for which an image is so many times as large."""
    if scale == 1:
        return model
    geometry = model.preprocessing.geometry
    if geometry.crop:
        changed = replace(geometry, crop=replace(geometry.crop, scale=geometry.crop.scale * scale))
    else:
        height, width = (max(1, round(side * scale)) for side in geometry.size)
        changed = replace(geometry, size=(height, width))
    scaled = replace(model, preprocessing=replace(model.preprocessing, geometry=changed))
    bands = model.preprocessing.bands
    try:
        if geometry.crop is None:  # some networks take only the size that they were made for
            scaled.label(np.zeros((*changed.size, bands.channels), bands.dtype))
    except (RuntimeError, ValueError, AssertionError):
        raise ConfigError(
            f"{argument('scales')}: {scale:g} is not possible, as the model takes images of {geometry.size[1]}x"
            f"{geometry.size[0]} only; leave it out"
        ) from None
    return scaled
