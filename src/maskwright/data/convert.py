"""The verb `convert`: writes a dataset in another format, reads back what it wrote, and states the difference."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from maskwright.base import progress as bar
from maskwright.base.progress import Advance
from maskwright.base.storage import (
    STAGING_PREFIX,
    atomic_write_json,
    atomic_write_text,
    confine,
    disk_errors,
    require_absent,
    staged_folder,
)
from maskwright.base.strictyaml import did_you_mean
from maskwright.core.classes import BACKGROUND_NAMES, BY_RULE, IGNORE, ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.description import FILE_NAME, DatasetFile, ImagesSpec, MasksSpec, render
from maskwright.core.mask_files import INDEX, MaskPixels, is_inverted
from maskwright.core.masks import png_bytes
from maskwright.core.palette import to_hex
from maskwright.core.regions import BoxRule
from maskwright.core.sample import Sample, dropped_channel, open_image
from maskwright.data.certificate import NO_MASK, Certificate, Reading, SampleRecord
from maskwright.data.formats import FORMATS
from maskwright.data.formats.archives import pack, unpacked
from maskwright.data.formats.hf_parquet import pictures_unpacked
from maskwright.data.formats.source import Mask, WriteOptions, background_of, describe, image_suffix
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, argument

CERTIFICATE = "certificate.json"
_LONGEST_NAME = 240  # bytes; file systems take 255, with the ending


def convert(
    source: str | Path | Dataset,
    out: str | Path,
    *,
    to: str,
    from_: str | None = None,
    tolerance: float = 0.0,
    polygons: bool = False,
    quality: int = 95,
    images: bool = True,
    boxes: Mapping[str, Any] | None = None,
    flagged: bool = False,
    progress: bool = True,
) -> Certificate:
    """Writes the dataset `source` (a folder, a zip or parquet file, or a Dataset) into the new folder `out` in the
    format `to`, or into a zip file when `out` ends in `.zip`. Of a Dataset the samples are written that it has, with
    its edits.

    `from_` names the format of `source` where it could be several. `tolerance` (pixels) simplifies polygons;
    `polygons` asks for outlines where exact masks are possible too; `quality` is that of JPEG masks; without
    `images` they are not copied; `boxes` (`overlap`, `shrink`, `outside`) says how boxes of the source become masks;
    with `flagged` only samples that are marked as needing fixing (status `suspect`) are written.
    What was written is read back and compared pixel by pixel: the certificate, also kept as `certificate.json`
    in a folder. It also counts what of the source had to be guessed: pixels without a value of a class, hidden pixels,
    boxes, files without a partner, channels that are dropped. Raises ConfigError for unknown names, DataError when
    nothing can be converted.
    """
    row = FORMATS.get(to)
    if row is None or row.write is None:
        known = [name for name, row in FORMATS.items() if row.write]
        raise ConfigError(f"{argument('to')} {to}: no format that can be written{did_you_mean(to, known)}")
    if not (tolerance >= 0 and 1 <= quality <= 100):
        raise ConfigError(f"{argument('tolerance')} is at least 0 pixels, and {argument('quality')} 1 to 100")
    out = Path(out)
    require_absent(out)
    packed = out.suffix.lower() == ".zip"
    with _opened(source, from_) as dataset:
        if flagged:
            dataset = _flagged(dataset)
        if boxes:
            dataset = _with_rule(dataset, boxes)
        options = WriteOptions(tolerance, polygons, quality, dataset.exif, dataset.bands)
        task = _Task(dataset, to, options, str(dataset.root if isinstance(source, Dataset) else source), str(out))
        # A zip file holds what the other tool expects and nothing else.
        with TemporaryDirectory(prefix=STAGING_PREFIX, dir=_parent(out)) if packed else staged_folder(out) as place:
            certificate = task.run(Path(place), images, progress)
            if packed:
                pack(Path(place), out)
            else:
                task.describe(Path(place))
                atomic_write_json(Path(place) / CERTIFICATE, certificate.to_dict())
    return certificate


@contextmanager
def _opened(source: str | Path | Dataset, from_: str | None) -> Iterator[Dataset]:
    """The dataset of a folder; an archive, and pictures inside other files, are unpacked for so long."""
    if isinstance(source, Dataset):
        yield source
        return
    with unpacked(Path(source)) as outer, pictures_unpacked(outer) as folder:
        yield load_dataset(folder, from_ if folder == outer else None)


def _flagged(dataset: Dataset) -> Dataset:
    """Only the samples that need fixing. DataError when there are none."""
    found = tuple(sample for sample in dataset.samples if sample.status == "suspect")
    if not found:
        raise DataError(
            f"{dataset.root}: no sample is marked as needing fixing; mark some, as `maskwright review` does"
        )
    return replace(dataset, samples=found)


def _parent(out: Path) -> Path:
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _with_rule(dataset: Dataset, given: Mapping[str, Any]) -> Dataset:
    """Drawings rendered by another rule for boxes; of what is not `given`, their own rule holds."""
    try:
        rule = BoxRule.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(
            [
                f"{argument(f'boxes.{key}', f'--{key}')}: {problem['msg']}"
                for problem in error.errors()
                for key in problem["loc"][:1]
            ]
        ) from None
    background = background_of(dataset.classes)
    ids = {
        "ignore": dataset.classes.ignore,
        "background": dataset.classes.ignore if background is None else dataset.classes.ids[background],
    }

    def changed(sample: Sample) -> Sample:
        if sample.drawing is None:
            return sample
        fill = ids[rule.outside] if sample.provenance == "box" and "outside" in given else sample.drawing.fill
        changed_rule = sample.drawing.rule.model_copy(update={key: getattr(rule, key) for key in given})
        return replace(sample, drawing=replace(sample.drawing, rule=changed_rule, fill=fill))

    return replace(dataset, samples=tuple(map(changed, dataset.samples)))


class _Task:
    """One conversion: write, read back, compare."""

    def __init__(self, dataset: Dataset, to: str, options: WriteOptions, source: str, target: str) -> None:
        self.dataset, self.to, self.options, self.source, self.target = dataset, to, options, source, target
        self.left_out: dict[str, str] = {}
        self.dropped: dict[str, list[str]] = {}
        self.places: dict[str, str] = {}
        self.back: Dataset | None = None
        encoding = dataset.encoding
        self.reading = Reading(
            ignored=encoding.others == "ignore",
            value={"levels": "grey level of a class", "colour": "class colour"}.get(encoding.kind, "class id"),
            values=encoding.inverted or "shown",
            orphans=[path.relative_to(dataset.root).as_posix() for path in dataset.orphans],
        )

    def run(self, place: Path, images: bool, progress: bool) -> Certificate:
        total = 2 * len(self.dataset.samples)
        with bar.progress(f"converting to {self.to}", total, "steps") if progress else nullcontext() as advance:
            self._write(place, advance)
            if not self.places:
                why = next(iter(self.left_out.values()), "no samples")
                raise DataError(f"{self.source}: nothing to convert: {why}")
            records, class_pixels = self._compare(place, advance)
            self.reading.absent = [name for name in self.dataset.classes.names if not class_pixels.get(name, (0,))[0]]
        if not images:
            for path in self.places:
                (place / path).unlink(missing_ok=True)
        return Certificate(
            self.source,
            self.target,
            self.to,
            records,
            self.left_out,
            list(self.dataset.notes),
            class_pixels,
            self.reading,
        )

    def describe(self, place: Path) -> None:
        """Writes `dataset.yaml`, with the ids, colours and tree that the format itself cannot hold."""
        if (place / FILE_NAME).exists():
            return
        classes, encoding = self.dataset.classes, INDEX
        if FORMATS[self.to].masks:
            # Its masks are files, so the values in them are the ids, or the colours, that count.
            assert self.back is not None
            encoding = self.back.encoding
            stored = {leaf.name: leaf for leaf in self.back.classes.leaves}
            classes = classes.stored_as(
                (
                    replace(leaf, id=stored[leaf.name].id, colour=stored[leaf.name].colour)
                    for leaf in classes.leaves
                    if leaf.name in stored
                ),
                self.back.classes.ignore,
            )
        colour = encoding.ignore_colour
        file = DatasetFile(
            layout=self.to,
            images=ImagesSpec.with_bands(self.dataset.bands, exif=self.dataset.exif),
            classes=describe(classes),
            masks=MasksSpec(encoding=encoding.kind, ignore_colour=to_hex(colour) if colour else None),
            ignore=classes.ignore,
        )
        if classes.background_id != BY_RULE:
            file = file.model_copy(update={"background": classes.background_id})
        atomic_write_text(place / FILE_NAME, render(file, {"layout": "as converted"}))

    def _write(self, place: Path, advance: Advance | None) -> None:
        write = FORMATS[self.to].write
        assert write is not None
        writer = write(place, self.dataset.classes, self.options)
        for number, sample in enumerate(self.dataset.samples, 1):
            if sample.status == "exclude" and FORMATS[self.to].read is not None:
                self.left_out[sample.name] = "excluded, which this format cannot say"
            elif not sample.labelled:
                self.left_out[sample.name] = NO_MASK
                self.reading.unlabelled.append(sample.name)
            else:
                try:
                    mask = self._fitting(sample)
                except DataError as error:
                    # Of an archive its name is told, not that of the folder it is unpacked in.
                    self.left_out[sample.name] = str(error).replace(str(self.dataset.root), self.source)
                else:
                    self._place(place, writer.image_path(sample), sample)
                    self.dropped[sample.name] = writer.add(sample, mask)
            if advance:
                advance(number)
        writer.finish()

    def _fitting(self, sample: Sample) -> Mask:
        if max(len(part.encode("utf-8", "replace")) for part in sample.name.split("/")) > _LONGEST_NAME:
            raise DataError(f"{sample.label_file}: the name {sample.name[:60]}… is too long for a file; shorten it")
        channels: list[str] = []
        inverted: list[bool] = []

        def look(image: Image.Image, _: BinaryIO) -> None:
            channels.append(f"mask {dropped_channel(image)}")
            inverted.append(is_inverted(image) and self.dataset.encoding.kind != "colour" and image.format != "PPM")

        read = self.dataset.read_mask_pixels(sample, look)
        mask = self.dataset.classes.to_indices(read.ids, f"{sample.label_file}")
        if sample.image.exists():
            if self.dataset.bands.plain:
                with open_image(sample.image, page=sample.page) as image:
                    channels.append(f"image {dropped_channel(image)}")
            size = self.dataset.image_size(sample)
            if size != mask.shape:
                raise DataError(
                    f"{sample.label_file}: is {mask.shape[1]}x{mask.shape[0]} but its image is "
                    f"{size[1]}x{size[0]}; draw it again"
                )
        self._tally(sample, read, mask, channels, any(inverted))
        return mask

    def _tally(self, sample: Sample, read: MaskPixels, mask: Mask, channels: list[str], inverted: bool) -> None:
        """What the reading of one sample took for something."""
        found = self.reading
        boxes = sum(region.weak for region in sample.drawing.regions) if sample.drawing else 0
        found.pixels += mask.size
        found.uncounted += int(np.count_nonzero(mask == IGNORE))
        found.inexact += read.inexact
        found.hidden += read.hidden
        found.boxes += boxes
        found.inverted += inverted
        kinds = {"inexact": read.inexact, "hidden": read.hidden, "boxes": boxes or sample.provenance == "box"}
        found.samples.update(kind for kind, there in kinds.items() if there)
        found.channels.update(channel for channel in channels if not channel.endswith(" "))

    def _place(self, place: Path, path: str, sample: Sample) -> None:
        if path in self.places:
            raise AssertionError(f"two samples at {path}")
        self.places[path] = sample.name
        target = confine(place, path, sample.name)
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if sample.image.exists() and image_suffix(sample) == sample.image.suffix.lower():
                shutil.copyfile(sample.image, target)
            elif sample.image.exists() and not self.dataset.bands.plain:
                raise DataError(
                    f"{sample.image}: is compressed or holds several images, and its {self.dataset.bands} would be "
                    "lost in a PNG; save each image as a file of its own"
                )
            elif sample.image.exists():  # a page of several, or a compressed file
                target.write_bytes(png_bytes(self.dataset.read_image(sample)))
            else:
                self.dropped.setdefault(sample.name, []).append("the image file, which is missing")

    def _compare(
        self, place: Path, advance: Advance | None
    ) -> tuple[list[SampleRecord], dict[str, tuple[int, int, int]]]:
        self.back = back = load_dataset(place, None if FORMATS[self.to].read is None else self.to)
        found = {sample.image.relative_to(place).as_posix(): sample for sample in back.samples}
        table = class_table(back.classes, self.dataset.classes)
        names = [*self.dataset.classes.names, "ignore"]
        sums = np.zeros((3, len(names)), np.int64)
        samples = {sample.name: sample for sample in self.dataset.samples}
        records = []
        for number, (path, name) in enumerate(self.places.items(), 1):
            before = self.dataset.read_mask(samples[name])
            after = np.full(before.shape, _NOTHING)
            dropped = list(self.dropped[name])
            try:
                if path not in found:
                    raise DataError("it is not found when read back")
                after = _cut(table[back.read_mask(found[path])], before.shape)
            except DataError as error:
                dropped.append(f"the mask: {error}")
            counts = _counts(before, after, len(names))
            sums += counts
            changed = int(np.count_nonzero(before != after))
            records.append(SampleRecord(name, changed == 0, changed, before.size, _ious(counts, names), dropped))
            if advance:
                advance(len(self.dataset.samples) + number)
        pixels = {name: (int(a), int(b), int(c)) for name, a, b, c in zip(names, *sums, strict=True) if a or b}
        return records, pixels


_NOTHING = np.int16(-1)


def class_table(classes: ClassTree, wanted: ClassTree) -> npt.NDArray[np.int16]:
    """(256,) int16: the index in `wanted` of each index of `classes`, by the name; -1 where there is none."""
    table = np.full(256, _NOTHING)
    table[IGNORE] = IGNORE
    index = {name: i for i, name in enumerate(wanted.names)}
    background = background_of(wanted)
    for i, name in enumerate(classes.names):
        table[i] = index.get(name, _NOTHING)
        if table[i] == _NOTHING and name.lower() in BACKGROUND_NAMES and background is not None:
            table[i] = background
    return table


def _cut(mask: npt.NDArray[np.int16], shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """`mask` cut off or filled up to `shape`."""
    if mask.shape == shape:
        return mask
    found = np.full(shape, _NOTHING)
    part = mask[: shape[0], : shape[1]]
    found[: part.shape[0], : part.shape[1]] = part
    return found


def _counts(before: Mask, after: npt.NDArray[np.int16], classes: int) -> npt.NDArray[np.int64]:
    """(3, K + 1): pixels of each class, then ignored ones, before, after, and both times."""

    def count(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        counts = np.bincount(values.reshape(-1), minlength=256)
        return np.append(counts[: classes - 1], counts[IGNORE])

    return np.stack([count(before), count(after[after >= 0]), count(before[before == after])])


def _ious(counts: npt.NDArray[np.int64], names: list[str]) -> dict[str, float]:
    before, after, both = counts
    union = before + after - both
    return {name: float(both[i] / union[i]) for i, name in enumerate(names) if union[i]}
