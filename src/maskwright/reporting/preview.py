"""What the model will see: training samples after resizing and augmentation, with their masks, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from maskwright.base.display import Result
from maskwright.base.progress import progress, say
from maskwright.base.storage import next_free, require_absent, staged_folder
from maskwright.base.texts import plural
from maskwright.config import RunConfig
from maskwright.core.geometry import Geometry
from maskwright.core.masks import Mask, Pixels, overlay
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError
from maskwright.modeling import augment
from maskwright.reporting.overlays import Colours, full_legend, safe_colours, shrink_mask, stack, write_text
from maskwright.training.loader import DecodedSamples
from maskwright.training.prepare import batches_of, crops_of, geometry_of, settle, training_splits

_DRAWS, _ROWS = 4, 4
_SMALLEST, _LARGEST = 160, 320  # of a tile's long side, in pixels; in between it has the model's own size
_GAP, _LETTERS = 8, 14
_PAPER = (255, 255, 255)


@dataclass(frozen=True, repr=False)
class Preview(Result):
    """What `preview` wrote into `folder`: the sheets in order, the legend, and the names of the samples shown."""

    folder: Path
    sheets: tuple[Path, ...]
    legend: Path
    samples: tuple[str, ...]

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        return {"folder": self.folder, "samples": len(self.samples), "sheets": len(self.sheets)}

    def human(self) -> str:
        """One line."""
        return f"{plural(len(self.samples), 'training image')} on {plural(len(self.sheets), 'sheet')} in {self.folder}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "folder": str(self.folder),
            "sheets": [str(sheet) for sheet in self.sheets],
            "legend": str(self.legend),
            "samples": list(self.samples),
        }


def preview(
    config: RunConfig | str | Path,
    *,
    images: int = 8,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    augmentation: augment.Compose | None = None,
) -> Preview:
    """Draws `images` training samples, at even distances through them, each resized and as the first four epochs
    will show it: the very draws of the training, as they follow from the seed. Above the image, below its mask on it;
    hatched pixels do not count. With `data.crop`, the first window of each.

    The other arguments are those of `train`; the pictures go to `out`, or to `previews/NAME-001` beside the config.
    Nothing is trained and no weights are needed. Raises MaskwrightError subclasses.
    """
    if images < 1:
        raise ConfigError(f"preview: {images} images asked for; give at least 1")
    settled, folder = settle(config, overrides, augmentation)
    dataset = load_dataset(settled.data.root)
    path = require_absent(Path(out) if out else next_free(folder / "previews", dataset.name))
    say(f"preview folder: {path}")
    samples, _ = training_splits(dataset, settled.data.holdout, settled.seed)
    source = DecodedSamples(dataset, samples, geometry_of(settled))
    batches = batches_of(settled, source)
    if settled.data.crop:
        with progress("reading", len(samples)) as advance:
            counts = source.fill(lambda done, _: advance(done))
        batches.crops = crops_of(settled, source, counts[:, : len(dataset.classes)])
    resized = Geometry(source.geometry.size, source.geometry.keep_ratio or settled.data.crop is not None)
    chosen = np.linspace(0, len(samples) - 1, min(images, len(samples))).round().astype(int).tolist()
    colours = safe_colours(dataset.classes)
    sheets: list[str] = []
    with staged_folder(path) as staging, progress("drawing", len(chosen)) as advance:
        for start in range(0, len(chosen), _ROWS):
            blocks = [_heads(settled.data.image_size)]
            for done, index in enumerate(chosen[start : start + _ROWS], start + 1):
                image, mask = source[index]
                place = int(np.searchsorted(batches.crops.owners, index)) if batches.crops else index
                stored = [
                    (resized.image(image), resized.mask(mask)),
                    *(batches.pair(epoch, place) for epoch in range(_DRAWS)),
                ]
                pairs = [(dataset.bands.picture(image), mask) for image, mask in stored]
                blocks.append(sample_block(samples[index].name, pairs, colours, dataset.classes.background))
                advance(done)
            sheets.append(f"preview-{len(sheets) + 1:03d}.png")
            stack(blocks).save(staging / sheets[-1])
        full_legend(dataset.classes, colours, bool((colours == dataset.classes.colours).all())).save(
            staging / "legend.png"
        )
    say(f"{len(chosen)} of {len(samples)} training images, {len(sheets)} sheets; preview folder: {path}")
    return Preview(
        path,
        tuple(path / sheet for sheet in sheets),
        path / "legend.png",
        tuple(samples[index].name for index in chosen),
    )


def tile_size(size: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a tile for the model's `size`: that itself, unless it is too small or too large to look at."""
    side = max(size)
    scale = -(-_SMALLEST // side) if side < _SMALLEST else min(1.0, _LARGEST / side)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _heads(size: Sequence[int]) -> Image.Image:
    """A line that tells what the columns are."""
    width = tile_size(size)[1]
    line = Image.new("RGB", (_GAP + (1 + _DRAWS) * (width + _GAP), 2 * _LETTERS), _PAPER)
    for column, text in enumerate([f"resized to {size[0]}x{size[1]}", *(f"epoch {n}" for n in range(1, _DRAWS + 1))]):
        write_text(ImageDraw.Draw(line), (_GAP + column * (width + _GAP), _LETTERS), text, width, _LETTERS)
    return line


def sample_block(
    name: str, pairs: Sequence[tuple[Pixels, Mask]], colours: Colours, background: int | None = 0
) -> Image.Image:
    """One sample: its name, a row of images and a row of the same with their masks."""
    height, width = tile_size(pairs[0][1].shape)
    block = Image.new("RGB", (_GAP + len(pairs) * (width + _GAP), 2 * (height + 2) + 2 * _LETTERS + _GAP), _PAPER)
    write_text(ImageDraw.Draw(block), (_GAP, _LETTERS), name, block.width - 2 * _GAP, _LETTERS)
    for column, (image, mask) in enumerate(pairs):
        if height > mask.shape[0]:
            small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
            labels = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
        else:
            small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            labels = shrink_mask(mask, width, height, background) if height < mask.shape[0] else mask
        x, y = _GAP + column * (width + _GAP), 2 * _LETTERS
        block.paste(Image.fromarray(small), (x, y))
        block.paste(Image.fromarray(overlay(small, labels, colours, background=background)), (x, y + height + 2))
    return block
