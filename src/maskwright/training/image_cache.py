"""Images and masks decoded and resized once, in files that several trainings map into their memory.

    FOLDER/KEY/images.npy   (T, C) uint8 or uint16: the T pixels of all images, row by row, one image after the other
    FOLDER/KEY/masks.npy    (T,) uint8: those of the masks
    FOLDER/KEY/names.json   for each sample its first pixel, height and width

KEY is a hash of all that the pixels depend on: the content of the dataset and its way to the model's size. So what
lies there is what a training would decode itself, and a dataset that was changed has another KEY. The pages are the
system's: processes on one host share them, and where memory is short they are read again.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright import __version__
from maskwright.base.progress import progress, say
from maskwright.base.storage import atomic_write_json, dump_json, read_json, staged_folder
from maskwright.base.workers import in_order, worker_count
from maskwright.core.bands import Stored
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.core.sample import Sample, Tell
from maskwright.errors import DataError

Pair = tuple[Stored, npt.NDArray[np.uint8]]
# Of the disk's free bytes, what the files may take.
_SHARE = 0.25


def decoded_folder(folder: Path, version: str, geometry: Geometry) -> Path:
    """Where the samples of a dataset with the content `version` lie below `folder`."""
    key = dump_json([__version__, version, asdict(geometry)])
    return folder / hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Decoded:
    """Samples in files; `places` are the first pixel, height and width of each."""

    images: Stored
    masks: npt.NDArray[np.uint8]
    places: dict[str, list[int]]

    @classmethod
    def open(cls, folder: Path) -> Decoded | None:
        """What lies in `folder`; None when nothing does, or only a damaged rest."""
        if not folder.is_dir():
            return None
        try:
            images, masks = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("images", "masks")
            )
            places = read_json(folder / "names.json")
        except (OSError, ValueError, EOFError, DataError) as error:
            say(f"{folder}: cannot be used ({error}); the images are decoded again")
            return None
        return cls(images, masks, places)

    def pair(self, sample: Sample) -> Pair | None:
        """Image (H, W, C) and mask (H, W), which cannot be written to; None for an unknown sample."""
        place = self.places.get(sample.name)
        if place is None:
            return None
        first, height, width = place
        own = slice(first, first + height * width)
        return (
            np.asarray(self.images[own]).reshape(height, width, -1),
            np.asarray(self.masks[own]).reshape(height, width),
        )


def write_decoded(folder: Path, dataset: Dataset, samples: Sequence[Sample], geometry: Geometry) -> bool:
    """Decodes `samples` into the new `folder`, with all cores. False, and nothing written, where it would take more
    than a quarter of the free disk. Raises DataError for a file that cannot be read."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    pixels, kind = pixels_of(dataset, samples, geometry), dataset.bands.dtype
    needed = (dataset.bands.channels * kind.itemsize + 1) * pixels
    if needed > _SHARE * shutil.disk_usage(folder.parent).free:
        say(f"{folder}: {needed >> 20} MiB of decoded images are too much for this disk; each training decodes its own")
        return False
    with staged_folder(folder) as staging, progress("decoding", len(samples)) as advance:
        # Written in a row and not through a map, where a full disk would kill the process.
        with open(staging / "images.npy", "wb") as images, open(staging / "masks.npy", "wb") as masks:
            for stream, descr, rest in ((images, kind.str, (dataset.bands.channels,)), (masks, "|u1", ())):
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": descr, "fortran_order": False, "shape": (pixels, *rest)}
                )
            pairs = in_order(partial(decode, dataset, geometry), samples, worker_count())
            places, first = {}, 0
            for done, (sample, (image, mask)) in enumerate(zip(samples, pairs, strict=True), 1):
                images.write(image.tobytes())
                masks.write(mask.tobytes())
                places[sample.name] = [first, *mask.shape]
                first += mask.size
                advance(done)
        atomic_write_json(staging / "names.json", places)
    return True


def pixels_of(dataset: Dataset, samples: Sequence[Sample], geometry: Geometry) -> int:
    """How many pixels the samples have together as `geometry` gives them, by the headers of their files."""
    if not geometry.crop:
        return geometry.size[0] * geometry.size[1] * len(samples)
    return sum(math.prod(geometry.inner(dataset.image_size(sample))) for sample in samples)


def decode(dataset: Dataset, geometry: Geometry, sample: Sample, tell: Tell | None = None) -> Pair:
    """Image (H, W, C), uint8 or uint16, and mask (H, W) uint8 at the geometry's size; `tell` is shown the opened
    image."""
    image, mask = dataset.read_stored(sample, tell)
    return geometry.image(image), geometry.mask(mask)
