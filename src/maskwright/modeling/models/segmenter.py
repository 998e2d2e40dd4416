"""Segmenter: a model with all that is needed to use it, in memory and in one file.

The file is safetensors; its header holds the constructor arguments, classes, preprocessing and code
version as JSON, so that the model is rebuilt from it and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from maskwright import __version__
from maskwright.base.storage import atomic_write_bytes
from maskwright.core.bands import Stored
from maskwright.core.classes import SELECTORS, ClassTree, Selector
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.predictor import WINDOWS, ClassMaps, Predictor
from maskwright.core.predictor import Preprocessing as Preprocessing
from maskwright.core.predictor import with_selector as with_selector
from maskwright.core.tiles import Arrays, Maps, Part, blended, in_strips, joined, labels_of, parts, whole
from maskwright.core.windows import Windows, scaled
from maskwright.errors import DataError
from maskwright.modeling.models.blocks import cropped, pad_to_multiple
from maskwright.modeling.models.build import ModelSpec, build_model, size_multiple
from maskwright.modeling.models.selectors import enlarged, resized, select

FORMAT = "maskwright-model-1"
# A single header key: the order of several would not be the same in every file.
HEADER = "maskwright"
_LOGITS = 1 << 26  # numbers that come out of the model at once
AUTOCAST = {"bfloat16": torch.bfloat16, "float32": None}
TORCH = Arrays(
    like=lambda array, values: torch.from_numpy(array).to(values.device),
    empty=lambda values, shape: values.new_empty(shape),
    copy=torch.clone,
    join=torch.cat,  # type: ignore[arg-type]
    between=torch.lerp,
    to_numpy=lambda values: values.float().cpu().numpy(),
)


@dataclass
class Segmenter(Predictor):
    """A model of torch with its classes and preprocessing. `flip_average` averages over the mirrored image; `selector`
    is how the levels of a class tree are labelled (see `SELECTORS`); `channels_last` is how the images that the model
    gets lie in memory."""

    model: nn.Module
    spec: ModelSpec
    classes: ClassTree
    preprocessing: Preprocessing
    precision: str = "float32"
    flip_average: bool = False
    selector: Selector = "leaf"
    channels_last: bool = True
    postprocessing: PostProcessing | None = None

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.model.parameters()).device

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) uint8 or uint16 to the model's own float type (float32, unless the model was made in another
        one) on its device, in the layout that the model works with."""
        device, dtype = self.device, next(self.model.parameters()).dtype
        low, high = self.preprocessing.bands.range
        mean, std = (
            torch.tensor(values, device=device, dtype=dtype).view(1, -1, 1, 1) * (high - low)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        mean += low
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        floats = images.to(device, non_blocking=True).to(dtype, memory_format=layout)
        return floats.sub_(mean).div_(std)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) at the model's size to logits (N, K, H, W) float32 (of a float64 model, float64)."""
        return self.weighted_logits(images)[0][1]

    def weighted_logits(self, images: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """As `logits`, with their weight in the loss. A model with auxiliary heads gives several such pairs while it
        trains, the main one first; all others give one of weight 1."""
        dtype = AUTOCAST[self.precision]
        with torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            result = self.model(pad_to_multiple(self.normalise(images), size_multiple(self.model)))
        heads = [(1.0, result)] if isinstance(result, torch.Tensor) else result
        return [
            (weight, cropped(logits, images).to(torch.promote_types(logits.dtype, torch.float32)))
            for weight, logits in heads
        ]

    def mirrored(self, images: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
        """The probabilities averaged with those of the mirrored images, if `flip_average` asks for it."""
        if not self.flip_average:
            return probabilities
        return (probabilities + self.logits(images.flip(3)).softmax(1).flip(3)) / 2

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) uint8 or uint16 at the model's size to probabilities (N, K, H, W) float32."""
        self.model.eval()
        return self.mirrored(images, self.logits(images).softmax(1))

    def level_maps(
        self, probabilities: torch.Tensor, size: tuple[int, ...], image: Stored | None = None
    ) -> list[npt.NDArray[np.uint8]]:
        """(K, H, W) at the model's size to indices (h, w) uint8 at an image's own `size`, padding cut off: one map for
        each level of the classes by `selector`, top first. The last one is that of the leaves. The image is needed
        where post-processing smooths.

        Probabilities at the image's own size are made class by class where all of them would take much memory.
        """
        return self.selected(enlarged(self._inner(probabilities, size), size), image)

    def selected(self, maps: Maps, image: Stored | None = None) -> list[npt.NDArray[np.uint8]]:
        """As `Predictor.selected`."""
        return select(self.allowed(maps, image, TORCH), self.classes.levels, self.selector)

    def at_size(self, probabilities: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        """(K, H, W) at the model's size to (K, h, w) at an image's own `size`, padding cut off."""
        return resized(self._inner(probabilities, size), size)

    def _inner(self, probabilities: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        height, width = self.preprocessing.geometry.inner((size[0], size[1]))
        return probabilities[:, :height, :width]

    def small_probabilities(self, images: Sequence[Stored]) -> torch.Tensor:
        """Images (H, W, C) of any sizes to probabilities (N, K, h, w) float32 at the model's size."""
        batch = np.stack([self.preprocessing.geometry.image(image) for image in images])
        return self.probabilities(torch.from_numpy(batch).permute(0, 3, 1, 2))

    def own_probabilities(self, images: Sequence[Stored]) -> Iterator[torch.Tensor]:
        """Images (H, W, C) of any sizes to their probabilities (K, H, W) float32 at the same sizes, one after
        the other."""
        if self.preprocessing.geometry.crop:
            yield from (torch.from_numpy(self._tiled_probabilities(image, WINDOWS)) for image in images)
            return
        for probabilities, image in zip(self.small_probabilities(images), images, strict=True):
            yield self.at_size(probabilities, image.shape[:2])

    def _tiled_probabilities(self, image: Stored, together: int) -> npt.NDArray[np.float32]:
        return joined(self.image_parts(image, together), image.shape[:2], len(self.classes), TORCH)

    def image_parts(self, image: Stored | Windows, together: int) -> Iterator[Part]:
        """As `Predictor.image_parts`."""
        geometry, size = self.preprocessing.geometry, (image.shape[0], image.shape[1])
        small = scaled(image, geometry)
        if geometry.crop:
            blocks = blended(small, geometry, self.together(together), self._tiles, TORCH)
        else:
            blocks = in_strips(self._inner(self.small_probabilities([np.asarray(small)])[0], size), size)
        return parts(blocks, geometry.inner(size), size, TORCH)

    def _tiles(self, tiles: Stored, _: object) -> Iterator[torch.Tensor]:
        return by_class(self.probabilities(torch.from_numpy(tiles).permute(0, 3, 1, 2)))

    def together(self, most: int = WINDOWS) -> int:
        """How many images of the model's size go through it at once: `most`, or fewer where that takes much memory."""
        geometry = self.preprocessing.geometry
        numbers = _LOGITS // 4 if geometry.crop else _LOGITS  # of a large image other tiles wait meanwhile
        return max(1, min(most, numbers // (len(self.classes) * geometry.size[0] * geometry.size[1])))

    def labelled(
        self, images: Sequence[Stored], together: int, probabilities: bool
    ) -> Iterator[tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.float32] | None]]:
        """As `Predictor.labelled`; all images go through the model at once or, where it sees windows of them,
        `together` windows."""
        if self.preprocessing.geometry.crop:
            for image in images:
                if probabilities:
                    found = self._tiled_probabilities(image, together)
                    yield self.finished(self.selected(whole(torch.from_numpy(found)))), found
                else:
                    parts = self.image_parts(image, together)
                    yield self.finished(labels_of(parts, image.shape[:2], self.classes.depth, self.selected)), None
            return
        for small, image in zip(self.small_probabilities(images), images, strict=True):
            size = image.shape[:2]
            maps = self.finished(self.level_maps(small, size, image))
            yield maps, self.at_size(small, size).cpu().numpy() if probabilities else None

    def label_with_maps(
        self, images: Iterable[Stored]
    ) -> Iterator[tuple[list[npt.NDArray[np.uint8]], Callable[[], ClassMaps]]]:
        """As `Predictor.label_with_maps`. Of a model that sees windows of the image, the probabilities are predicted
        again, all at once."""
        if self.preprocessing.geometry.crop:
            for image in images:
                for maps, _ in self.labelled([image], WINDOWS, False):
                    yield maps, partial(self._first_maps, image)
            return
        for small, image in self._small(images):
            size = image.shape[:2]
            yield self.finished(self.level_maps(small, size, image)), partial(self._class_maps, small, size)

    def _first_maps(self, image: Stored) -> ClassMaps:
        return next(self.class_maps([image]))

    def class_maps(self, images: Iterable[Stored]) -> Iterator[ClassMaps]:
        """As `Predictor.class_maps`."""
        if self.preprocessing.geometry.crop:
            yield from (self._tiled_probabilities(image, WINDOWS).__getitem__ for image in images)
        else:
            yield from (self._class_maps(small, image.shape[:2]) for small, image in self._small(images))

    def _small(self, images: Iterable[Stored]) -> Iterator[tuple[torch.Tensor, Stored]]:
        """Of each image the probabilities (K, h, w) at the model's size, and itself."""
        left = iter(images)
        while some := [*islice(left, self.together())]:
            yield from zip(self.small_probabilities(some), some, strict=True)

    def _class_maps(self, probabilities: torch.Tensor, size: tuple[int, ...]) -> ClassMaps:
        maps = enlarged(self._inner(probabilities, size), size)
        return lambda index: maps([index]).cpu().numpy()

    def header(self) -> dict[str, Any]:
        """Everything but the tensors. The usual selector is left out, as files from before there was another do."""
        selector = {} if self.selector == "leaf" else {"selector": self.selector}
        return selector | {
            "format": FORMAT,
            "version": __version__,
            "model": self.spec.to_dict(),
            "classes": self.classes.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "precision": self.precision,
            "flip_average": self.flip_average,
        }

    def save(self, path: Path) -> None:
        """Writes one self-contained model file, atomically. The same model gives the same bytes."""
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.model.state_dict().items()}
        atomic_write_bytes(path, save(tensors, {HEADER: json.dumps(self.header(), sort_keys=True)}))


def by_class(probabilities: torch.Tensor) -> Iterator[torch.Tensor]:
    """(N, K, H, W) to (K, H, W), one after the other, class by class in memory: networks give channels last, and
    classes are looked at one after the other."""
    return (one.contiguous() for one in probabilities)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The JSON header and the tensors of one of our safetensors files. DataError when it is none."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is the run complete?") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a readable model file ({error}); restore it") from None
    if text is None:
        raise DataError(f"{path}: was not written by maskwright; give a run or one of its checkpoints")
    try:
        return dict(json.loads(text)), tensors
    except (TypeError, ValueError):
        raise DataError(f"{path}: its header is damaged; restore the file") from None


def load_segmenter(path: Path, device: str = "cpu") -> Segmenter:
    """Rebuilds a Segmenter from its file. DataError when the file is damaged or of another format."""
    header, tensors = read_tensors(path)
    if header.get("format") != FORMAT:
        kind, _, number = str(header.get("format")).rpartition("-")
        if kind == FORMAT.rpartition("-")[0] and number.isdecimal():
            raise DataError(
                f"{path}: is of model format {number}, from a newer Maskwright (this version reads "
                f"{FORMAT.rpartition('-')[2]}); `pip install --upgrade maskwright`"
            )
        raise DataError(f"{path}: is no model file of this version ({FORMAT}); give a run or its best.safetensors")
    try:
        spec = ModelSpec(**header["model"])
        with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
            model = build_model(spec)
        model.load_state_dict(tensors)
        preprocessing = Preprocessing.from_dict(header["preprocessing"])
        classes, precision, flip_average = header["classes"], header["precision"], header["flip_average"]
        selector = header.get("selector", "leaf")
        if selector not in SELECTORS:
            raise KeyError(selector)
    except (RuntimeError, KeyError, TypeError):
        raise DataError(f"{path}: its header and tensors do not fit together; restore the file") from None
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    return Segmenter(model, spec, ClassTree.from_dict(classes), preprocessing, precision, flip_average, selector)


def with_model(segmenter: Segmenter, model: nn.Module) -> Segmenter:
    """The same segmenter around other weights (the averaged ones)."""
    return replace(segmenter, model=model)
