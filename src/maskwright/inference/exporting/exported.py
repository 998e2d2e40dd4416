"""ExportedModel: an ONNX file that labels images as the run does that it came from. Needs onnxruntime and no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.core.bands import Stored
from maskwright.core.classes import ClassTree, Selector
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.predictor import WINDOWS, ClassMaps, Pixels, Predictor, Preprocessing, with_postprocessing
from maskwright.core.tiles import NUMPY, Maps, Part, blended, in_strips, joined, labels_of, parts, whole
from maskwright.core.windows import Windows, scaled
from maskwright.errors import DataError
from maskwright.inference.exporting.levels import Floats, enlarged, select
from maskwright.inference.exporting.metadata import INPUT, KEY, OUTPUT, Metadata
from maskwright.inference.exporting.session import open_session

SUFFIX = ".onnx"
_PROBABILITIES = 1 << 26  # numbers that come out of the model at once


def is_exported(model: object) -> bool:
    """Whether it names an exported model, which may be missing, and no folder."""
    return isinstance(model, (str, Path)) and Path(model).suffix == SUFFIX and not Path(model).is_dir()


@dataclass
class ExportedModel(Predictor):
    """A model that `export` wrote, ready for `label`; `metadata` is what the file says of itself."""

    file: Path
    session: Any
    metadata: Metadata
    classes: ClassTree
    preprocessing: Preprocessing
    flip_average: bool
    selector: Selector
    postprocessing: PostProcessing | None

    @classmethod
    def open(cls, file: str | Path, device: str | None = None) -> ExportedModel:
        """The model in a file. DataError when it is none of ours, SetupError without onnxruntime or the `device`."""
        path = Path(file)
        if not path.is_file():
            raise DataError(f"{path}: no such file; give one that `export` wrote")
        return cls.of(path, open_session(path, device))

    @classmethod
    def of(cls, file: Path, session: Any) -> ExportedModel:
        """A session that is open. DataError when the graph and what it says of itself do not fit together."""
        metadata = Metadata.from_json(session.get_modelmeta().custom_metadata_map.get(KEY), str(file))
        inputs, outputs = session.get_inputs(), session.get_outputs()
        bands, count = metadata.preprocessing.bands, len(metadata.classes)
        size = [None, None] if metadata.any_size else [*metadata.preprocessing.geometry.size]
        if (
            [(one.name, one.type) for one in inputs] != [(INPUT, f"tensor({bands.dtype})")]
            or [(one.name, one.type) for one in outputs] != [(OUTPUT, "tensor(float)")]
            or _numbers(inputs[0].shape) != [None, *size, bands.channels]
            or _numbers(outputs[0].shape) != [None, count, *size]
        ):
            raise DataError(f"{file}: its graph is not what its metadata says; export it again")
        model = cls(
            file,
            session,
            metadata,
            metadata.classes,
            metadata.preprocessing,
            metadata.flip_average,
            metadata.selector,
            None,
        )
        return with_postprocessing(model, metadata.postprocessing, str(file))

    def probabilities(self, images: Stored) -> Floats:
        """(N, h, w, C) uint8 or uint16 at the model's size to probabilities (N, K, h, w) float32. RuntimeError where
        memory does not suffice."""
        found = self._run(images)
        if self.flip_average:
            mirrored = self._run(np.ascontiguousarray(images[:, :, ::-1]))[..., ::-1]
            found = np.multiply(found + mirrored, np.float32(0.5))
        return found

    def _run(self, images: Stored) -> Floats:
        try:
            return self.session.run([OUTPUT], {INPUT: images})[0]  # type: ignore[no-any-return]
        except Exception as error:  # onnxruntime has a class for each status, below no common one
            raise RuntimeError(f"{self.file}: {error}") from error

    def labelled(
        self, images: Sequence[Stored], together: int, probabilities: bool
    ) -> Iterator[tuple[list[Pixels], npt.NDArray[np.float32] | None]]:
        """As `Predictor.labelled`; all images go through the model at once or, where it sees windows of them,
        `together` windows."""
        if self.preprocessing.geometry.crop:
            for image in images:
                if probabilities:
                    found = self._tiled(image, together)
                    yield self._labels(whole(found), image), found
                else:
                    yield self._tiled_labels(image, together), None
            return
        for inner, image in self._inner(images):
            maps = enlarged(inner, _size(image))
            yield (
                self._labels(maps, image),
                np.stack([maps([index]) for index in range(len(inner))]) if probabilities else None,
            )

    def label_with_maps(self, images: Iterable[Stored]) -> Iterator[tuple[list[Pixels], Callable[[], ClassMaps]]]:
        """As `Predictor.label_with_maps`. Of a model that sees windows of the image, the probabilities are predicted
        again, all at once."""
        if self.preprocessing.geometry.crop:
            for image in images:
                yield self._tiled_labels(image, WINDOWS), partial(self._first_maps, image)
            return
        for maps, image in self._enlarged(images):
            yield self._labels(maps, image), partial(_class_maps, maps)

    def _first_maps(self, image: Stored) -> ClassMaps:
        return next(self.class_maps([image]))

    def class_maps(self, images: Iterable[Stored]) -> Iterator[ClassMaps]:
        """As `Predictor.class_maps`."""
        if self.preprocessing.geometry.crop:
            yield from (self._tiled(image, WINDOWS).__getitem__ for image in images)
        else:
            yield from (_class_maps(maps) for maps, _ in self._enlarged(images))

    def _enlarged(self, images: Iterable[Stored]) -> Iterator[tuple[Maps, Stored]]:
        left = iter(images)
        while some := [*islice(left, self._together(WINDOWS))]:
            yield from ((enlarged(inner, _size(image)), image) for inner, image in self._inner(some))

    def _labels(self, maps: Maps, image: Stored) -> list[Pixels]:
        return self.finished(self.selected(maps, image))

    def selected(self, maps: Maps, image: Stored | None = None) -> list[Pixels]:
        """As `Predictor.selected`."""
        return select(self.allowed(maps, image, NUMPY), self.classes.levels, self.selector)

    def _inner(self, images: Sequence[Stored]) -> Iterator[tuple[Floats, Stored]]:
        """Of each image the probabilities (K, h, w) at the model's size, padding cut off, and itself."""
        geometry = self.preprocessing.geometry
        batch = self.probabilities(np.stack([geometry.image(image) for image in images]))
        for inner, image in zip(batch, images, strict=True):
            height, width = geometry.inner(_size(image))
            yield inner[:, :height, :width], image

    def _tiled_labels(self, image: Stored, together: int) -> list[Pixels]:
        found = labels_of(self.image_parts(image, together), image.shape[:2], self.classes.depth, self.selected)
        return self.finished(found)

    def _tiled(self, image: Stored, together: int) -> Floats:
        return joined(self.image_parts(image, together), image.shape[:2], len(self.classes), NUMPY)

    def image_parts(self, image: Stored | Windows, together: int) -> Iterator[Part]:
        """As `Predictor.image_parts`."""
        geometry, size = self.preprocessing.geometry, (image.shape[0], image.shape[1])
        small = scaled(image, geometry)
        if geometry.crop:
            blocks = blended(
                small, geometry, self._together(together), lambda tiles, _: self.probabilities(tiles), NUMPY
            )
        else:
            ((inner, _),) = self._inner([np.asarray(small)])
            blocks = in_strips(inner, size)
        return parts(blocks, geometry.inner(size), size, NUMPY)

    def _together(self, most: int) -> int:
        """As `Segmenter.together`."""
        geometry = self.preprocessing.geometry
        numbers = _PROBABILITIES // 4 if geometry.crop else _PROBABILITIES
        return max(1, min(most, numbers // (len(self.classes) * geometry.size[0] * geometry.size[1])))


def _size(image: Stored) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _class_maps(maps: Maps) -> ClassMaps:
    return lambda index: maps([index])


def _numbers(shape: Sequence[object]) -> list[int | None]:
    """A shape with None where any number may stand."""
    return [number if isinstance(number, int) else None for number in shape]
