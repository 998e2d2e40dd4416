"""What the page shows: images as a browser can draw them, thumbnails, and masks of other hands."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.base.storage import atomic_write_bytes
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import letterbox
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.masks import Mask, Pixels, class_pixels, jpeg_bytes, png_bytes
from maskwright.core.sample import Sample, dropped_channel, header_of, open_image
from maskwright.errors import DataError
from maskwright.labels.suspecting.folds import read_probabilities
from maskwright.reporting.overlays import thumbnails

V = TypeVar("V")
Floats = npt.NDArray[np.float32]
_SCREEN = 25_000_000  # pixels; a larger image is shown smaller
_SIDE = 4096
_CACHE = 200 << 20  # bytes of thumbnails on disk
_KEEP = 6  # of what is held in memory
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class Recent:
    """The last few values by key, each made once."""

    def __init__(self, most: int = _KEEP) -> None:
        self._most, self._lock = most, threading.Lock()
        self._values: OrderedDict[object, object] = OrderedDict()

    def get(self, key: object, make: Callable[[], V]) -> V:
        """The value of `key`; `make` makes it."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]  # type: ignore[return-value]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


def browser_image(dataset: Dataset, sample: Sample) -> tuple[bytes, str]:
    """The bytes and the type of an image in the pixels that its mask is about: the file itself where browsers show it
    as it is read here, else a PNG; of more than 25 million pixels a JPEG of 4096 pixels on the long side."""
    with open_image(sample.image, page=sample.page) as image:
        header = header_of(image)
        plain = image.mode in ("L", "RGB") and sample.page is None and sample.image.suffix.lower() != ".gz"
        plain = plain and not dropped_channel(image)
    pixels = header.size[0] * header.size[1]
    if plain and header.format in _TYPES and header.orientation == 1 and pixels <= _SCREEN:
        return sample.image.read_bytes(), _TYPES[header.format]
    array = dataset.read_image(sample)
    if pixels <= _SCREEN:
        return png_bytes(array), "image/png"
    scale = _SIDE / max(array.shape[:2])
    size = (max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale)))
    return jpeg_bytes(np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), np.uint8), 92), "image/jpeg"


def small_probabilities(dataset: Dataset, sample: Sample, folder: Path, keep_ratio: bool) -> Floats:
    """(K, h, w) float32: what models that have not seen the image say in the output `folder` of `suspects`, at their
    size, without the padding. DataError where there is nothing."""
    small = read_probabilities(folder, sample.name, len(dataset.classes))
    height, width = letterbox(dataset.image_size(sample), (small.shape[1], small.shape[2]), keep_ratio)
    return small[:, :height, :width]


def labels_at(small: Floats, size: tuple[int, int]) -> Mask:
    """The most likely class (H, W) of probabilities (K, h, w) at a `size` (H, W); one class after the other, so that
    many classes take no more memory than two."""
    best = np.full(size, -1, np.float32)
    found = np.zeros(size, np.uint8)
    for index, one in enumerate(small):
        large = cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR)
        better = large > best
        found[better] = index
        best[better] = large[better]
    return found


def evaluated(dataset: Dataset, sample: Sample, file: Path) -> Mask:
    """(H, W) class indices of a prediction that an evaluation has stored. DataError for one of another size."""
    mask = dataset.classes.to_indices(read_mask(file, INDEX, dataset.classes).ids, str(file))
    if mask.shape != dataset.image_size(sample):
        raise DataError(f"{file}: is not of the size of the image of {sample.name}; evaluate the run again")
    return mask


class Thumbnails:
    """Overlays and images of 220 pixels, kept in a folder of at most 200 MB."""

    def __init__(self, folder: Path, colours: npt.NDArray[np.uint8], most: int = _CACHE) -> None:
        self._folder, self._colours, self._most = folder, colours, most
        self._lock = threading.Lock()
        self._written = most  # so that the first one looks how much there is

    def get(self, dataset: Dataset, sample: Sample, mask: Callable[[], Mask], plain: bool, revision: str) -> bytes:
        """A JPEG of the sample: the image where `plain`, else with its mask, which is read when it is needed."""
        state = sample.image.stat()
        stored = [file.stat() for file in sample.mask_files if file.is_file()]
        key = [sample.name, revision, plain, state.st_size, state.st_mtime_ns, dataset.classes.to_dict(), dataset.exif]
        key += [dataset.reading(), *((one.st_size, one.st_mtime_ns) for one in stored)]
        name = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        file = self._folder / f"{name}.jpg"
        try:
            return file.read_bytes()
        except OSError:
            pass
        image = dataset.read_image(sample)
        small, drawn = thumbnails(image, _fitting(image, mask), self._colours, dataset.classes.background)
        data = jpeg_bytes(small if plain else drawn, 85)
        atomic_write_bytes(file, data, durable=False)
        self._prune(len(data))
        return data

    def _prune(self, size: int) -> None:
        """Deletes the oldest tenth when there is too much."""
        with self._lock:
            self._written += size
            if self._written < self._most // 20 or not self._folder.is_dir():
                return
            self._written = 0
            files = []
            for path in self._folder.glob("*.jpg"):
                try:
                    state = path.stat()
                except OSError:
                    continue
                files.append((state.st_mtime, state.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, one, path in sorted(files):
                if total <= self._most * 0.9:
                    break
                path.unlink(missing_ok=True)
                total -= one


def _fitting(image: Pixels, mask: Callable[[], Mask]) -> Mask:
    """The mask, or nothing but ignored pixels where it cannot be shown on the image."""
    try:
        found = mask()
    except DataError:
        found = np.full(image.shape[:2], IGNORE, np.uint8)
    return found if found.shape == image.shape[:2] else np.full(image.shape[:2], IGNORE, np.uint8)


def present(mask: Mask, classes: int) -> list[int]:
    """The class indices that a mask holds."""
    return [int(index) for index in np.flatnonzero(class_pixels(mask, classes)[:classes])]
