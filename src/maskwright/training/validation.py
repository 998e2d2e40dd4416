"""Scores on the whole validation split during training, and the sample pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskwright.base.storage import atomic_write_bytes
from maskwright.core.bands import Stored
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.masks import Mask, differences, overlay, png_bytes
from maskwright.core.tiles import Place, blended, cut, labels_of, parts
from maskwright.evaluation.metrics import level_confusions
from maskwright.modeling.models.segmenter import TORCH, Segmenter, by_class
from maskwright.training.distributed.processes import ALONE, Processes
from maskwright.training.loader import DecodedSamples

_PICTURED, _PICTURE_HEIGHT = 4, 224


def validate(
    segmenter: Segmenter,
    source: DecodedSamples,
    criterion: nn.Module,
    batch_size: int,
    picture: Path | None = None,
    processes: Processes = ALONE,
) -> tuple[list[npt.NDArray[np.int64]], float]:
    """(M, M) confusion counts of each level of the classes at the images' own sizes, top first (the last are the
    leaves' (K, K); a flat list has no others), and the mean loss at the model's size.

    The loss is averaged over batches by the pixels that count in them, so that ignored ones do not dilute it (NaN where
    none counts); `flip_average` is left to the final evaluation, to save time. Large images are covered by tiles, of
    which `batch_size` are a batch: the loss is that of tiles, the labels those of the blended image. `picture` gets a
    few samples as rows of image, truth, prediction, differences. Several processes take batches in turn: all get what
    one would have found with the same weights.
    """
    classes = segmenter.classes
    confusions = [np.zeros((len(level), len(level)), np.int64) for level in classes.levels]
    starts = range(0, len(source), batch_size)
    losses, counted = np.zeros(len(starts)), np.zeros(len(starts), np.int64)
    rows: dict[int, npt.NDArray[np.uint8]] = {}
    shown = set(np.linspace(0, len(source) - 1, min(_PICTURED, len(source))).astype(int).tolist())
    segmenter.model.eval()
    for number in processes.own(range(len(starts))):
        start = starts[number]
        chosen = range(start, min(start + batch_size, len(source)))
        loss = _Loss(segmenter, criterion)
        for i, (truth, predicted) in zip(chosen, _predicted(source, chosen, loss, batch_size), strict=True):
            counts = level_confusions(truth, predicted, classes, implied=segmenter.coherent)
            confusions = [sums + more for sums, more in zip(confusions, counts, strict=True)]
            if picture is not None and i in shown:
                image = source.dataset.read_image(source.samples[i])
                rows[i] = _row(image, truth, predicted[-1], classes)
        losses[number], counted[number] = loss.sum, loss.pixels
    if picture is not None:
        everywhere = {i: row for part in processes.gather(rows) for i, row in part.items()}
        if processes.first:
            write_rows(picture, [everywhere[i] for i in sorted(everywhere)])
    # Added one after the other, whichever process has found them.
    total, pixels = float(processes.total(losses).cumsum()[-1]), int(processes.total(counted).sum())
    return [processes.total(counts) for counts in confusions], total / pixels if pixels else float("nan")


class _Loss:
    """Predicts batches, and adds up their losses by the `pixels` that count in them."""

    def __init__(self, segmenter: Segmenter, criterion: nn.Module) -> None:
        self.segmenter, self._criterion = segmenter, criterion
        self.sum, self.pixels = 0.0, 0

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor, masks: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Images (N, 3, H, W) uint8 with the masks (N, H, W) to probabilities (N, K, H, W)."""
        logits = self.segmenter.logits(images)
        if counted := int((masks != IGNORE).sum()):
            truth = torch.from_numpy(masks).to(self.segmenter.device).long()
            self.sum += float(self._criterion(logits, truth)) * counted
            self.pixels += counted
        return logits.softmax(1)


def _predicted(
    source: DecodedSamples, chosen: Sequence[int], loss: _Loss, batch_size: int
) -> Iterator[tuple[Mask, list[Mask]]]:
    """The truth and the labels of each level of the chosen samples, one after the other, at their own sizes."""
    segmenter, geometry = loss.segmenter, source.geometry
    if not geometry.crop:
        pairs = [source[i] for i in chosen]
        images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
        found = loss.probabilities(images, np.stack([mask for _, mask in pairs]))
        for i, scores in zip(chosen, found, strict=True):
            truth = source.dataset.read_mask(source.samples[i])
            yield truth, segmenter.level_maps(scores, truth.shape)
        return
    for i in chosen:
        image, mask = source[i]
        truth = mask if geometry.crop.scale == 1 else source.dataset.read_mask(source.samples[i])

        def predict(tiles: Stored, places: Sequence[Place], mask: Mask = mask) -> Iterator[torch.Tensor]:
            images = torch.from_numpy(tiles).permute(0, 3, 1, 2)
            return by_class(loss.probabilities(images, cut(mask, geometry.size, places, IGNORE)))

        blocks = blended(image, geometry, segmenter.together(batch_size), predict, TORCH)
        size = (truth.shape[0], truth.shape[1])
        whole = parts(blocks, mask.shape, size, TORCH)
        yield truth, labels_of(whole, size, segmenter.classes.depth, segmenter.selected)


def _row(
    image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], classes: ClassTree
) -> npt.NDArray[np.uint8]:
    drawn = [overlay(image, mask, classes.colours, background=classes.background) for mask in (truth, predicted)]
    parts = [image, *drawn, differences(image, truth, predicted, background=classes.background)]
    height, width = image.shape[:2]
    size = (max(1, round(width * _PICTURE_HEIGHT / height)), _PICTURE_HEIGHT)
    small = [np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8) for part in parts]
    return np.concatenate(small, 1)


def write_rows(path: Path, rows: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Stacks pictures (H, W, 3) of any widths, left-aligned on white, into one PNG."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    atomic_write_bytes(path, png_bytes(np.concatenate(padded)))
