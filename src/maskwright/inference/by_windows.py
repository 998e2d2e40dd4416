"""The prediction of an image that is too large to be held: read by windows, labelled and written some rows at a time.

Its mask is a TIFF that lies on the same place of the earth; a PNG of that size is refused by most programs. Its overlay
is of a smaller copy of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.progress import progress
from maskwright.base.storage import atomic_stream, atomic_write_bytes
from maskwright.core.classes import Level
from maskwright.core.components import ComponentCounts
from maskwright.core.masks import Mask, class_pixels, jpeg_bytes, overlay
from maskwright.core.predictor import Predictor
from maskwright.core.tiff_masks import MaskWriter
from maskwright.core.tiff_windows import TiffWindows
from maskwright.errors import DataError, argument
from maskwright.inference.derived import LARGE, statistics

_OVERLAY = 4096  # pixels of the longer side


def predict_by_windows(
    segmenter: Predictor, folder: Path, name: str, image: TiffWindows, above: Sequence[Level], probabilities: bool
) -> dict[str, Any]:
    """Writes the masks and the overlay of an image; what its record says of them. DataError for an image that cannot be
    decoded, and for what needs a whole image."""
    if probabilities:
        raise DataError(
            f"{image.name}: is so large that it is read by windows, and probabilities of such images are not written; "
            f"leave {argument('probabilities')} out"
        )
    classes, size = segmenter.classes, (image.shape[0], image.shape[1])
    files = [f"levels/{level.number}/{name}{LARGE}" for level in above]
    mask_file, overlay_file = f"masks/{name}{LARGE}", f"overlays/{name}.jpg"
    small = _Small(size)
    pixels, objects = np.zeros(len(classes) + 1, np.int64), ComponentCounts(len(classes))
    with ExitStack() as stack:
        writers = [
            MaskWriter(stack.enter_context(atomic_stream(folder / file, durable=False)), size, tree, image.place)
            for file, tree in zip([*files, mask_file], [*(level.classes for level in above), classes], strict=True)
        ]
        advance = stack.enter_context(progress(f"windows of {name}", size[0], "rows"))
        done = 0
        for strips in segmenter.label_strips(image, image.name):
            for writer, rows in zip(writers, [*strips[: len(above)], strips[-1]], strict=True):
                writer.add(rows)
            pixels += class_pixels(strips[-1], len(classes))
            objects.add(strips[-1])
            small.add(strips[-1])
            advance(done := done + len(strips[-1]))
        for writer in writers:
            writer.finish()
    shrunk = segmenter.preprocessing.bands.picture(np.asarray(image.resized(small.size, "area")))
    drawn = overlay(shrunk, small.mask, classes.colours, background=classes.background)
    atomic_write_bytes(folder / overlay_file, jpeg_bytes(drawn), durable=False)
    return {
        **({"left_out": kinds} if (kinds := image.left_out()) else {}),
        "mask": mask_file,
        "overlay": overlay_file,
        "height": size[0],
        "width": size[1],
        **statistics(pixels[:-1].tolist(), objects.counts.tolist(), size[0] * size[1], classes),
        **({"levels": files} if files else {}),
    }


class _Small:
    """The rows and columns of a mask that a smaller copy has, as `resize_mask` takes them."""

    def __init__(self, size: tuple[int, int]) -> None:
        times = min(1.0, _OVERLAY / max(size))
        self.size = (max(1, round(size[0] * times)), max(1, round(size[1] * times)))
        self._rows, self._columns = (
            ((np.arange(small) + 0.5) * (length / small)).astype(np.int64)
            for small, length in zip(self.size, size, strict=True)
        )
        self._top = 0
        self._kept: list[Mask] = []

    def add(self, rows: Mask) -> None:
        """The next rows from the top."""
        first, last = np.searchsorted(self._rows, (self._top, self._top + len(rows))).tolist()
        self._kept.append(rows[self._rows[first:last] - self._top][:, self._columns])
        self._top += len(rows)

    @property
    def mask(self) -> Mask:
        """All of it."""
        return np.concatenate(self._kept)
