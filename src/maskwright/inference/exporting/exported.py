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
from maskwright.core.predictor import ClassMaps, Pixels, Predictor, Preprocessing, with_postprocessing
from maskwright.errors import DataError
from maskwright.inference.exporting.levels import Floats, resized, select
from maskwright.inference.exporting.metadata import INPUT, KEY, OUTPUT, Metadata
from maskwright.inference.exporting.session import open_session

SUFFIX = ".onnx"
_BATCH, _PROBABILITIES = 8, 1 << 26  # images that go through the model together, and numbers that come out of it


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
        channels, count = len(metadata.preprocessing.mean), len(metadata.classes)
        size = [None, None] if metadata.any_size else [*metadata.preprocessing.geometry.size]
        if (
            [(one.name, one.type) for one in inputs] != [(INPUT, "tensor(uint8)")]
            or [(one.name, one.type) for one in outputs] != [(OUTPUT, "tensor(float)")]
            or _numbers(inputs[0].shape) != [None, *size, channels]
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
        """(N, h, w, C) uint8 at the model's size to probabilities (N, K, h, w) float32. RuntimeError where memory does
        not suffice."""
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
        """As `Predictor.labelled`; all images go through the model at once."""
        for inner, size in self._inner(images):
            maps = self.finished(select(inner, size, self.classes.levels, self.selector))
            yield maps, np.stack([resized(leaf, size) for leaf in inner]) if probabilities else None

    def label_with_maps(self, images: Iterable[Stored]) -> Iterator[tuple[list[Pixels], Callable[[], ClassMaps]]]:
        """As `Predictor.label_with_maps`."""
        height, width = self.preprocessing.geometry.size
        together = max(1, min(_BATCH, _PROBABILITIES // (len(self.classes) * height * width)))
        left = iter(images)
        while some := [*islice(left, together)]:
            for inner, size in self._inner(some):
                maps = self.finished(select(inner, size, self.classes.levels, self.selector))
                yield maps, partial(_class_maps, inner, size)

    def _inner(self, images: Sequence[Stored]) -> Iterator[tuple[Floats, tuple[int, int]]]:
        """Of each image the probabilities (K, h, w) at the model's size, padding cut off, and its own size."""
        geometry = self.preprocessing.geometry
        batch = self.probabilities(np.stack([geometry.image(image) for image in images]))
        for whole, image in zip(batch, images, strict=True):
            size = (image.shape[0], image.shape[1])
            height, width = geometry.inner(size)
            yield whole[:, :height, :width], size


def _class_maps(inner: Floats, size: tuple[int, int]) -> ClassMaps:
    return lambda index: resized(inner[index], size)


def _numbers(shape: Sequence[object]) -> list[int | None]:
    """A shape with None where any number may stand."""
    return [number if isinstance(number, int) else None for number in shape]
