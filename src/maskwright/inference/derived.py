"""What follows from the masks of a folder of predictions, and is written again at the end of each call.

    statistics.csv   of each image the pixels, the share and the objects of each class
    confidence.csv   of each image how sure the model is of each class
    coco.json        all objects of all images; other formats of `ANNOTATIONS` likewise

Masks are read one by one, so that memory does not grow with their number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.progress import progress, say
from maskwright.base.storage import atomic_write_text, replacing
from maskwright.base.texts import listing, plural
from maskwright.core.classes import ClassTree
from maskwright.core.components import component_counts
from maskwright.core.masks import Mask, class_pixels
from maskwright.core.sample import Sample, open_image
from maskwright.data.formats import FORMATS
from maskwright.data.formats.source import WriteOptions, background_of
from maskwright.errors import ConfigError, argument

Row = Mapping[str, Any]
LARGE = ".tif"  # the ending of masks of images that were read by windows; those of others end in .png
# Of each format that `predict` writes, its name in the folder, and the file that its writer makes, if it is only one.
ANNOTATIONS: dict[str, tuple[str, str | None]] = {
    "coco": ("coco.json", "annotations/instances_default.json"),
    "labelme": ("labelme", None),
}


def mask_statistics(mask: Mask, classes: ClassTree) -> dict[str, dict[str, Any]]:
    """As `statistics`, of a mask (H, W) of leaf indices."""
    counts = class_pixels(mask, len(classes))[:-1].tolist()
    return statistics(counts, component_counts(mask, len(classes)).tolist(), mask.size, classes)


def statistics(
    pixels: Sequence[int], objects: Sequence[int], size: int, classes: ClassTree
) -> dict[str, dict[str, Any]]:
    """Of a mask of so many pixels, by the names of the classes: their `pixels`, `share` of the image (0..1), and
    `objects`, 8-connected components, which the background has none of."""
    background = background_of(classes)
    return {
        "pixels": dict(zip(classes.names, pixels, strict=True)),
        "share": {name: count / size for name, count in zip(classes.names, pixels, strict=True)},
        "objects": {
            name: count
            for index, (name, count) in enumerate(zip(classes.names, objects, strict=True))
            if index != background
        },
    }


def require_annotations(format: str | None) -> None:
    """ConfigError for a format that `predict` does not write."""
    if format is not None and format not in ANNOTATIONS:
        raise ConfigError(
            f"{argument('format')} {format}: is not written here; there are {', '.join(ANNOTATIONS)} (`convert` writes "
            "others)"
        )


def write_derived(
    folder: Path, rows: Sequence[Row], classes: ClassTree, format: str | None, probabilities: bool
) -> None:
    """Writes the files for all rows of a folder: also in a format that was asked for earlier, so that no file says less
    than there is."""
    columns = {f"{kind}/{name}": (kind, name) for kind in ("pixels", "share", "objects") for name in classes.names}
    background = background_of(classes)
    if background is not None:
        del columns[f"objects/{classes.names[background]}"]
    _table(
        folder / "statistics.csv",
        ["height", "width", *columns],
        rows,
        # Rows of an older version have only pixels.
        lambda row: [row["height"], row["width"], *(row.get(kind, {}).get(name) for kind, name in columns.values())],
    )
    if probabilities:
        names = classes.names
        _table(folder / "confidence.csv", names, rows, lambda row: [row["confidence"][name] for name in names])
    for name, (place, file) in ANNOTATIONS.items():
        if name == format or (folder / place).exists():
            _write_annotations(folder, rows, classes, name, place, file)


def _table(path: Path, names: Sequence[str], rows: Sequence[Row], values: Callable[[Row], list[Any]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "mask", *names])
    for row in rows:
        cells = (f"{value:.6f}" if isinstance(value, float) else value for value in values(row))
        table.writerow([row["image"], row["mask"], *cells])
    atomic_write_text(path, text.getvalue())


def _write_annotations(
    folder: Path, rows: Sequence[Row], classes: ClassTree, format: str, place: str, file: str | None
) -> None:
    write = FORMATS[format].write
    assert write is not None
    large: list[str] = []
    with replacing(folder / place, file) as staging:
        writer = write(staging, classes, WriteOptions(polygons=True, in_place=True))
        with progress(f"writing {place}", len(rows)) as advance:
            for done, row in enumerate(rows, 1):
                mask = folder / str(row["mask"])
                if mask.suffix == LARGE:
                    large.append(str(row["image"]))
                elif mask.is_file():  # of an image that was not given now, it may have been deleted
                    writer.add(Sample(name_of(row), Path(row["image"])), _mask(mask, classes))
                advance(done)
        writer.finish()
    if large:
        say(f"{format}: leaves out {plural(len(large), 'image')} too large to be held: {listing(large)}")
    say(f"{format}: {folder / place}")


def name_of(row: Row) -> str:
    """The name of the masks of an image."""
    return str(row["mask"]).removeprefix("masks/").removesuffix(".png").removesuffix(LARGE)


def _mask(file: Path, classes: ClassTree) -> Mask:
    with open_image(file) as image:
        return classes.to_indices(np.asarray(image), str(file))
