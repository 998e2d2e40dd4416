"""Writes LabelMe JSON files; what they mean is told in `labelme`."""

from __future__ import annotations

import json
from pathlib import Path

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.polygons import painted, simplify
from maskwright.core.sample import Sample
from maskwright.data.formats.source import Mask, WriteOptions, background_of, image_suffix, stem_of
from maskwright.errors import DataError

BACKGROUND, IGNORED = "_background_", "__ignore__"
_VERSION = "5.5.0"


class LabelMeWriter:
    """`{split}/x.json` beside `{split}/x.jpg`, and `labels.txt`.

    A mask becomes polygons that are filled one after another, the largest first, as LabelMe has no holes: every pixel
    comes back. Background inside a region is `_background_`, and pixels that do not count are `__ignore__`.
    """

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self.folder, self.options = folder, options
        self.background = background_of(classes)
        self.labels = {**dict(enumerate(classes.names)), IGNORE: IGNORED}
        # Another name for the background is kept: it is not LabelMe's.
        if self.background is not None and classes.names[self.background] == "background":
            self.labels[self.background] = BACKGROUND

    def image_path(self, sample: Sample) -> str:
        """`train/x.jpg`."""
        return self._stem(sample) + image_suffix(sample)

    def _stem(self, sample: Sample) -> str:
        return f"{sample.split}/{stem_of(sample)}" if sample.split else stem_of(sample)

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the JSON file; nothing is dropped."""
        path = self.folder / f"{self._stem(sample)}.json"
        if path.exists():
            raise DataError(f"{sample.name}: another sample is written to {path.name} too; rename one of them")
        shapes = [
            {
                "label": self.labels[index],
                "points": simplify(ring, self.options.tolerance).tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for index, ring in painted(mask, self.background)
        ]
        data = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": sample.image.name if self.options.in_place else self.image_path(sample).rpartition("/")[2],
            "imageData": None,
            "imageHeight": mask.shape[0],
            "imageWidth": mask.shape[1],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        return []

    def finish(self) -> None:
        """Writes `labels.txt`, which LabelMe and its converters read: pixels that do not count, background, classes."""
        first = self.labels[self.background] if self.background is not None else BACKGROUND
        names = [name for index, name in self.labels.items() if index not in (self.background, IGNORE)]
        (self.folder / "labels.txt").write_text("\n".join([IGNORED, first, *names]) + "\n", "utf-8")
