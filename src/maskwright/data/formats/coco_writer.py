"""Writes COCO instances, annotation by annotation.

By default as packed run lengths, which are exact, and which readers take for single objects too; on demand as polygons
along the edges of pixels, and as run lengths what has holes, which COCO's polygons cannot have. An annotation is an
8-connected component: a mask knows no objects, and a scratch of one pixel's width that runs diagonally would otherwise
be as many annotations as it has pixels. Ignored pixels are a category `ignore` with the ignore id. Beyond the standard
stand only `color`, as in panoptic COCO, and `parents` for trees deeper than one supercategory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.polygons import Ring, outlines, simplify
from maskwright.core.rle import pack_counts
from maskwright.core.sample import Sample
from maskwright.data.formats.coco_values import text_of
from maskwright.data.formats.source import (
    IGNORE_NAMES,
    Mask,
    WriteOptions,
    background_of,
    image_suffix,
    kept_name,
    present,
    stem_of,
)
from maskwright.errors import DataError


class CocoWriter:
    """Writes `annotations/instances_{split}.json`, or `instances_default.json` for samples without a split; see
    `maskwright.data.formats.source.Writer`. Annotations go to the file as they come; images and categories end it.

    DataError for splits that cannot be part of a file name."""

    def __init__(self, folder: Path, classes: ClassTree, options: WriteOptions) -> None:
        self._folder, self._classes, self._options = folder, classes, options
        self._paths: dict[str, str] = {}  # by sample
        self._taken: set[str] = set()
        self._images: dict[str, list[str]] = {}  # by split, as JSON
        self._annotations: Counter[str] = Counter()  # by split
        self._ignored = False

    def image_path(self, sample: Sample) -> str:
        """`images/{split}/{name}`; a second sample of that name gets a number behind it."""
        if sample.name not in self._paths:
            stem, suffix = f"images/{_folder_of(sample)}/{stem_of(sample)}", image_suffix(sample)
            path, number = stem + suffix, 1
            while path in self._taken:
                number += 1
                path = f"{stem}-{number}{suffix}"
            self._paths[sample.name] = path
            self._taken.add(path)
        return self._paths[sample.name]

    def add(self, sample: Sample, mask: Mask) -> list[str]:
        """Writes the components of mask (H, W) uint8. Nothing is dropped; said are classes that are called like
        ignored pixels."""
        split, in_place = _folder_of(sample), self._options.in_place
        file_name = kept_name(sample) if in_place else self.image_path(sample).split("/", 2)[2]
        number = 1 + sum(map(len, self._images.values()))
        classes = list(present(mask, self._classes))
        regions = [(self._classes.ids[index], mask == index) for index, _ in classes]
        if (ignored := mask == IGNORE).any():
            self._ignored = True
            regions.append((self._classes.ignore, ignored))
        with self._open(split) as stream:
            for category, region in regions:
                for fields in self._components(region):
                    stream.write(",\n" if self._annotations[split] else "\n")
                    self._annotations[split] += 1
                    stream.write(
                        _json(
                            {
                                "id": self._annotations.total(),
                                "image_id": number,
                                "category_id": category,
                                **fields,
                                "iscrowd": 0,
                            }
                        )
                    )
        self._images.setdefault(split, []).append(
            _json({"id": number, "file_name": file_name, "width": mask.shape[1], "height": mask.shape[0]})
        )
        return [
            f"{np.count_nonzero(mask == index)} px of {name!r}, whose name means ignored"
            for index, name in classes
            if name.lower() in IGNORE_NAMES
        ]

    def finish(self) -> None:
        """Ends every file with its images and the categories."""
        background = background_of(self._classes)
        categories: list[dict[str, Any]] = []
        for index, leaf in enumerate(self._classes.leaves):
            if index != background:
                deep = {"parents": leaf.parents} if len(leaf.parents) > 1 else {}
                categories.append(
                    {
                        "id": leaf.id,
                        "name": leaf.name,
                        "color": leaf.colour,
                        "supercategory": leaf.parents[-1] if leaf.parents else "",
                        **deep,
                    }
                )
        if self._ignored:
            categories.append({"id": self._classes.ignore, "name": "ignore", "supercategory": ""})
        for split, images in self._images.items():
            with self._open(split) as stream:
                stream.write('\n],"images":[\n' + ",\n".join(images) + f'\n],"categories":{_json(categories)}}}\n')

    def _open(self, split: str) -> TextIO:
        path = self._folder / "annotations" / f"instances_{split}.json"
        if split not in self._images:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('{"info":{},"licenses":[],"annotations":[', "utf-8")
        return path.open("a", encoding="utf-8")

    def _components(self, region: npt.NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
        height, width = region.shape
        number, labels, boxes, _ = cv2.connectedComponentsWithStats(region.view(np.uint8), connectivity=8)
        for component in range(1, number):
            left, top, wide, high, area = boxes[component].tolist()
            part = labels[top : top + high, left : left + wide] == component
            found = outlines(part) if self._options.polygons else []
            if found and all(len(rings) == 1 for rings in found):
                yield self._polygons([rings[0] + (left, top) for rings in found])
            else:
                counts = pack_counts(counts_of_part(part, left, top, height, width))
                yield {
                    "segmentation": {"size": [height, width], "counts": counts},
                    "area": area,
                    "bbox": [left, top, wide, high],
                }

    def _polygons(self, exact: list[Ring]) -> dict[str, Any]:
        simple = [simplify(ring, self._options.tolerance) for ring in exact]
        # A tolerance as large as an object would make it vanish.
        rings = [ring if _area(ring) >= _area(whole) / 2 else whole for ring, whole in zip(simple, exact, strict=True)]
        points = np.concatenate(rings).astype(np.int64)
        low, high = points.min(0), points.max(0)
        return {
            "segmentation": [ring.astype(np.int64).reshape(-1).tolist() for ring in rings],
            "area": sum(map(_area, rings)),
            "bbox": [*low.tolist(), *(high - low).tolist()],
        }


def _folder_of(sample: Sample) -> str:
    split = sample.split or "default"
    if not text_of(split) or "/" in split or "\\" in split or split in (".", ".."):
        raise DataError(f"{sample.name}: the split {split!r} cannot be part of a file name; rename it")
    return split


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _area(ring: Ring) -> float:
    """The shoelace formula."""
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def counts_of_part(part: npt.NDArray[np.bool_], left: int, top: int, height: int, width: int) -> list[int]:
    """COCO run lengths, in an image (height, width), of its part (h, w). Takes the time of the part: an image may hold
    thousands."""
    columns = np.pad(part.T.astype(np.int8), ((0, 0), (1, 1)))
    column, row = np.nonzero(np.diff(columns, axis=1))  # the begin and the end of each run in turn
    edges = (left + column) * height + top + row
    # In a part of full height a run may go on in the next column.
    same = np.flatnonzero(edges[1:] == edges[:-1])
    edges = np.delete(edges, np.concatenate([same, same + 1]))
    counts: list[int] = np.diff(edges, prepend=0, append=height * width).tolist()
    return counts if counts[-1] else counts[:-1]
