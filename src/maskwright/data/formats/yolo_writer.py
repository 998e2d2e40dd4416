"""Writes YOLO sets: text files of polygons or boxes, and `data.yaml`. What they mean is told in `yolo`."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.polygons import Ring, bridged, outlines, simplify
from maskwright.core.sample import Sample
from maskwright.data.formats import yolo_lists as lists
from maskwright.data.formats.source import Mask, WriteOptions, background_of, image_suffix, stem_of
from maskwright.errors import DataError


class _Writer(ABC):
    """`images/{split}/x.jpg`, `labels/{split}/x.txt` and `data.yaml`. Class numbers count the classes without the
    background from 0; pixels that do not count are a last class `ignore`, where there are any."""

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self.folder, self.options = folder, options
        background = background_of(classes)
        self.names = {index: name for index, name in enumerate(classes.names) if index != background}
        self.numbers = {index: number for number, index in enumerate([*self.names, IGNORE])}
        self.splits: dict[str, None] = {}
        self.unsplit: list[str] = []

    @abstractmethod
    def lines(self, index: int, region: npt.NDArray[np.bool_]) -> tuple[list[Ring], int]:
        """For the pixels (H, W) of a class the numbers of each line in pixels, and how many outlines they lose."""

    def image_path(self, sample: Sample) -> str:
        """`images/train/x.jpg`."""
        return f"images/{self._stem(sample)}{image_suffix(sample)}"

    def _stem(self, sample: Sample) -> str:
        return f"{sample.split}/{stem_of(sample)}" if sample.split else stem_of(sample)

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the text file; boxes lose the outlines of regions, which is said."""
        if sample.split:
            self.splits[sample.split] = None
        else:
            self.unsplit.append(self.image_path(sample))
        lost = 0
        path = self.folder / f"labels/{self._stem(sample)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise DataError(f"{sample.name}: another sample is written to {path.name} too; rename one of them")
        with path.open("w", encoding="ascii") as stream:
            for index in np.unique(mask).tolist():
                if index not in self.numbers:
                    continue
                if index == IGNORE:
                    self.names.setdefault(IGNORE, "ignore")
                found, changed = self.lines(index, mask == index)
                lost += changed
                for values in found:
                    shares = (values.reshape(-1, 2) / mask.shape[::-1]).reshape(-1).tolist()
                    # Twelve digits are 1e-8 pixels in an image of 20,000.
                    stream.write(" ".join([str(self.numbers[index]), *(f"{share:.12g}" for share in shares)]) + "\n")
        return [f"the outlines of {lost} regions: only boxes are written"] if lost else []

    def finish(self) -> None:
        """Writes `data.yaml`; without `path`, its own folder is the root."""

        def quoted(text: str) -> str:
            return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize)).rstrip("\n")

        lines = [f"{quoted(split)}: {quoted(f'images/{split}')}" for split in self.splits]
        if self.splits and self.unsplit:
            (self.folder / f"{lists.UNSPLIT}.txt").write_text("\n".join(self.unsplit) + "\n", "utf-8")
            lines.append(f"{lists.UNSPLIT}: {lists.UNSPLIT}.txt")
        lines += [f"nc: {len(self.names)}", "names:" if self.names else "names: []"]
        lines += [f"  {self.numbers[index]}: {quoted(name)}" for index, name in self.names.items()]
        (self.folder / "data.yaml").write_text("\n".join(lines) + "\n", "utf-8")


class PolygonWriter(_Writer):
    """One polygon for each 4-connected component, its holes joined by cuts of no width: every pixel comes back."""

    def lines(self, index: int, region: npt.NDArray[np.bool_]) -> tuple[list[Ring], int]:
        """Simplified as the options say."""
        tolerance = self.options.tolerance
        return [bridged([simplify(ring, tolerance) for ring in rings]) for rings in outlines(region)], 0


class BoxWriter(_Writer):
    """One box for each 8-connected component: shapes are lost, and boxes may hide each other."""

    def lines(self, index: int, region: npt.NDArray[np.bool_]) -> tuple[list[Ring], int]:
        """Counts the components that do not fill their box."""
        _, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
        left, top, width, height, area = stats[1:].T.astype(np.float64)
        boxes = np.stack([left + width / 2, top + height / 2, width, height], 1)
        return list(boxes), int(np.count_nonzero(area != width * height))
