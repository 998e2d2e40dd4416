"""How far labels are trusted while a model learns from them: pixels in doubt count less often, or never.

    FOLDER/NAME.png   (h, w) 8-bit grey, of any size, over the whole image of the sample NAME: 255 where its label is
                      wholly trusted, 0 where it is surely wrong. `maskwright suspects` writes such maps.

Nothing but the masks of training batches changes: pixels become ignored, which every loss of the table takes, after
image and mask have come to the model's size and before augmentation. Validation and evaluation see the labels as they
are stored, and so do the counts that class weights are made of.

A weight for each pixel would need another form of every loss. Instead a pixel of trust w is there in a share w of the
epochs, so each sum over counted pixels, which losses and their gradients are made of, is on average that of pixels with
the weight w.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from maskwright.base.progress import progress
from maskwright.base.storage import confine, dump_json
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry, pad_to, resize_mask
from maskwright.core.hashes import file_hash
from maskwright.core.mask_files import read_grey
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample
from maskwright.errors import DataError
from maskwright.training.crops import WHOLE, Window


class Trust:
    """The maps of `samples` in `folder`.

    With `least` (0..1), pixels trusted less are ignored. Without it, each is ignored in an epoch with the probability
    1 - w, by draws that follow from (seed, epoch, sample) alone. Maps are kept in memory, at the model's size, while
    they take at most `room` bytes.

    All maps are read once. `version` is a hash of their bytes (BLAKE2b, 32 hex digits). Raises DataError when one is
    missing, lies outside the folder, or is no 8-bit grey PNG.
    """

    def __init__(
        self,
        folder: Path,
        dataset: Dataset,
        samples: Sequence[Sample],
        geometry: Geometry,
        *,
        seed: int,
        least: float | None = None,
        room: int = 0,
    ) -> None:
        self.folder, self.dataset, self.samples, self.geometry = folder, dataset, samples, geometry
        self.seed, self.least = seed, least
        # Pixels below this level, of 0..255, never count.
        self._lowest = 1 if least is None else int(np.count_nonzero(np.arange(256) / 255 < least))
        self._room = room
        self._kept: dict[int, Mask] = {}
        self._taken = 0
        self._files = [confine(folder, f"{sample.name}.png", str(dataset.root)) for sample in samples]
        if missing := [file for file in self._files if not file.is_file()]:
            raise DataError(
                f"{folder}: has no map for {len(missing)} of {len(samples)} training samples, such as "
                f"{missing[0].relative_to(folder)}; let `maskwright suspects` make them, or leave "
                "data.trust out"
            )
        self.version = self._read_all()

    def _read_all(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        with progress("reading trust", len(self.samples), "maps") as advance:
            for index, sample in enumerate(self.samples):
                digest.update(dump_json([sample.name, file_hash(self._files[index])]).encode())
                self._map(index)
                advance(index + 1)
        return digest.hexdigest()

    def _map(self, index: int) -> Mask:
        """(H, W) uint8 at the model's size; what padding has does not matter, its labels are ignored."""
        found = self._kept.get(index)
        if found is None:
            # The place is that of the image: a map's own size need not have the same proportions.
            inner = self.geometry.inner(self.dataset.image_size(self.samples[index]))
            found = resize_mask(read_grey(self._files[index]), inner)
            if not self.geometry.crop:
                found = pad_to(found, self.geometry.size, 0)
            if self._taken + found.nbytes <= self._room:
                self._kept[index] = found
                self._taken += found.nbytes
        return found

    def mask(self, mask: Mask, epoch: int, index: int, window: Window = WHOLE) -> Mask:
        """The mask (H, W) uint8 of the sample `index`, at the model's size, as it counts in `epoch`: a copy with more
        pixels that are `IGNORE`. Of a `window` the mask is that of the window."""
        needed: int | Mask = self._lowest
        if self.least is None:
            # Of the levels 1..255, all equally likely, w * 255 are no higher than a pixel's own.
            rng = np.random.default_rng((self.seed, 3, epoch, index))
            needed = rng.integers(1, 255, mask.shape, dtype=np.uint8, endpoint=True)
        return np.where(self._map(index)[window] >= needed, mask, np.uint8(IGNORE))

    def require_pixels(self, mask: Callable[[int], Mask]) -> None:
        """DataError where no pixel can ever count in any `mask(index)`, (H, W) at the model's size."""
        if not any(
            ((mask(index) != IGNORE) & (self._map(index) >= self._lowest)).any() for index in range(len(self.samples))
        ):
            lower = f"; lower data.trust.least ({self.least:g})" if self.least else "; leave data.trust out"
            raise DataError(f"{self.folder}: no training pixel that has a class is trusted enough to count{lower}")
