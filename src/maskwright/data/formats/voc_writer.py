"""Writes Pascal VOC: masks with a palette, XML files of boxes, lists and a label map."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskwright.core.classes import IGNORE, MAX_CLASSES, ClassTree
from maskwright.core.sample import Sample
from maskwright.data.formats.maskfiles import VOID, FileNames, voc_colour, with_own_colours
from maskwright.data.formats.source import Mask, WriteOptions, background_of, image_suffix
from maskwright.data.formats.vocfiles import LABEL_MAP


class VocWriter:
    """`JPEGImages`, `SegmentationClass` (palette PNG in the class colours, 255 does not count), `SegmentationObject`
    (connected parts of each class, numbered from 1 to 254 and then again), `ImageSets/Segmentation` and
    `labelmap.txt`; see `maskwright.data.formats.source.Writer`.

    Values of masks are places in the label map, and 0 is the background. Class ids are those values when they run
    from 0 on; otherwise classes are numbered anew in the order of their ids. The tree of classes is lost.
    """

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self.folder, self.options = folder, options
        self._names = FileNames(split_folders=False)
        self._lists: dict[str, list[str]] = {}
        first = background_of(classes)
        if first is None and 0 in classes.ids:
            first = classes.ids.index(0)
        added = [("background", (0, 0, 0))] if first is None and len(classes) < MAX_CLASSES else []
        leaves = with_own_colours(classes, VOID, *(colour for _, colour in added)).leaves
        order = sorted(range(len(classes)), key=lambda i: (i != first, classes.ids[i]))
        self._labels = added + [(leaves[i].name, leaves[i].colour) for i in order]
        self._values = np.full(256, IGNORE, np.uint8)
        self._values[order] = np.arange(len(self._labels) - len(order), len(self._labels))
        palette = [voc_colour(i) for i in range(256)]
        palette[: len(self._labels)] = [colour for _, colour in self._labels]
        self._palette = bytes(part for colour in palette for part in colour)

    def image_path(self, sample: Sample) -> str:
        """`JPEGImages/a.jpg`, or `JPEGImages/train_a.jpg` when an earlier sample has that name."""
        return f"JPEGImages/{self._names.of(sample)}{image_suffix(sample)}"

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the masks of class and object; mask (H, W) uint8 of class indices with `IGNORE`."""
        name = self._names.of(sample)
        values = self._values[mask]
        self._save(f"SegmentationClass/{name}.png", values, self._palette)
        self._save(
            f"SegmentationObject/{name}.png",
            _objects(values),
            bytes(part for i in range(256) for part in voc_colour(i)),
        )
        split = re.sub(r"[^\w.-]|^\.", "_", sample.split) if sample.split else "default"
        self._lists.setdefault(split, []).append(name)
        return self._names.changed(sample)

    def finish(self) -> None:
        """Writes the lists of splits and the label map."""
        folder = self.folder / "ImageSets" / "Segmentation"
        folder.mkdir(parents=True, exist_ok=True)
        for split, names in self._lists.items():
            (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
        lines = [f"{' '.join(name.splitlines())}:{','.join(map(str, colour))}::" for name, colour in self._labels]
        (self.folder / LABEL_MAP).write_text("\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n", "utf-8")

    def _save(self, name: str, values: Mask, palette: bytes) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(values)
        image.putpalette(palette)
        image.save(target, "PNG")


def _objects(values: Mask) -> Mask:
    """The 8-connected parts of every class but the background, (H, W) uint8."""
    found = np.where(values == IGNORE, IGNORE, 0).astype(np.uint8)
    number = 0
    for value in np.flatnonzero(np.bincount(values.reshape(-1), minlength=256)[1:IGNORE]) + 1:
        count, parts = cv2.connectedComponents((values == value).astype(np.uint8), connectivity=8)
        inside = parts > 0
        found[inside] = ((parts[inside] + number - 1) % 254 + 1).astype(np.uint8)
        number += count - 1
    return found
