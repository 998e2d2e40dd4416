"""Writers of plain folders: `img/{split}/…` and `labels/{split}/…` with the same names (`images/` and `labels/`
without splits), `labels.csv` and `dataset.yaml`.

All that a dataset knows survives: ids, colours, tree and the ignored pixels in `dataset.yaml`; split, status and
provenance of each sample in `labels.csv`. Names change only where two would be one file.
"""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.description import FILE_NAME, DatasetFile, ImagesSpec, MasksSpec, render
from maskwright.core.mask_files import INDEX, MaskEncoding, read_mask
from maskwright.core.masks import mask_png
from maskwright.core.palette import to_hex
from maskwright.core.sample import Sample
from maskwright.data.formats.maskfiles import VOID, FileNames, with_own_colours
from maskwright.data.formats.source import Mask, WriteOptions, describe, image_suffix

TABLE = "labels.csv"


class _FolderWriter(ABC):
    """Everything but the mask files; see `maskwright.data.formats.source.Writer`."""

    encoding: MaskEncoding = INDEX
    ending = ".png"

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self.folder, self.classes, self.options = folder, classes, options
        self._names = FileNames(split_folders=True)
        self._images = ""  # decided by the first sample
        self._rows: list[tuple[str, ...]] = []

    def image_path(self, sample: Sample) -> str:
        """`img/train/a.jpg`, or `images/a.jpg` when the first sample has no split."""
        self._images = self._images or ("img" if sample.split else "images")
        return f"{self._images}/{self._names.of(sample)}{image_suffix(sample)}"

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the mask (H, W) uint8 of class indices with `IGNORE`; returns what of it was dropped, in words."""
        image = self.image_path(sample).removeprefix(f"{self._images}/")
        name = self._names.of(sample) + self.ending
        target = self.folder / "labels" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        dropped = self._write(target, mask)
        self._rows.append((image, name, sample.split or "", sample.status, sample.provenance))
        return dropped + self._names.changed(sample)

    def finish(self) -> None:
        """Writes `labels.csv` and `dataset.yaml`."""
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["image", "mask", "split", "status", "provenance"])
        rows.writerows(self._rows)
        (self.folder / TABLE).write_text(table.getvalue(), "utf-8")
        file = DatasetFile(
            layout="table",
            table=TABLE,
            images=ImagesSpec.with_bands(self.options.bands, folder=self._images or "images", exif=self.options.exif),
            masks=MasksSpec(
                folder="labels",
                encoding=self.encoding.kind,
                levels={str(grey): id_ for grey, id_ in self.encoding.levels.items()},
                ignore_colour=to_hex(self.encoding.ignore_colour) if self.encoding.ignore_colour else None,
            ),
            classes=describe(self.classes),
            ignore=self.classes.ignore,
        )
        (self.folder / FILE_NAME).write_text(render(file, {"layout": f"{TABLE} pairs images with masks"}), "utf-8")

    @abstractmethod
    def _write(self, target: Path, mask: Mask) -> list[str]:
        """Writes one mask file; returns what was dropped."""


class IndexWriter(_FolderWriter):
    """Grey PNGs of class ids: 8 bits, or 16 when an id is above 255."""

    def _write(self, target: Path, mask: Mask) -> list[str]:
        Image.fromarray(self.classes.to_ids(mask)).save(target, "PNG")
        return []


class PaletteWriter(_FolderWriter):
    """PNGs of class ids with the class colours as palette; grey with 16 bits when an id is above 255."""

    def _write(self, target: Path, mask: Mask) -> list[str]:
        target.write_bytes(mask_png(mask, self.classes))
        return []


class ColourWriter(_FolderWriter):
    """RGB PNGs in the class colours, ignored pixels in that of Pascal VOC. A colour that two classes share, or that
    is this one, is exchanged."""

    encoding = MaskEncoding("colour", ignore_colour=VOID)

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        super().__init__(folder, with_own_colours(classes, VOID), options)
        self._table = np.zeros((256, 3), np.uint8)
        self._table[: len(classes)] = self.classes.colours
        self._table[IGNORE] = VOID

    def _write(self, target: Path, mask: Mask) -> list[str]:
        Image.fromarray(self._table[mask]).save(target, "PNG")
        return []


class JpegWriter(_FolderWriter):
    """Grey JPEGs: lossy. Levels are spread evenly over 0..255 in the order of the classes, ignored pixels last."""

    ending = ".jpg"

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        super().__init__(folder, classes, options)
        levels = np.linspace(0, 255, len(classes) + 1).round().astype(np.uint8)
        ids = [*classes.ids, classes.ignore]
        self.encoding = MaskEncoding("levels", dict(zip(levels.tolist(), ids, strict=True)))
        self._table = np.zeros(256, np.uint8)
        self._table[: len(classes)] = levels[:-1]
        self._table[IGNORE] = levels[-1]

    def _write(self, target: Path, mask: Mask) -> list[str]:
        Image.fromarray(self._table[mask]).save(target, "JPEG", quality=self.options.quality)
        back = self.classes.to_indices(read_mask(target, self.encoding, self.classes).ids)
        changed = int(np.count_nonzero(back != mask))
        return [f"{changed} px have another class in the JPEG"] if changed else []
