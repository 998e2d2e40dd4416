"""The verb `init`: writes what a folder is into `dataset.yaml`, with the reasons."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskwright.base.display import Result
from maskwright.base.storage import atomic_write_bytes, atomic_write_text
from maskwright.core.classes import MAX_ID
from maskwright.core.dataset import Dataset
from maskwright.core.description import FILE_NAME, FOLDER_LAYOUTS, DatasetFile, ImagesSpec, render
from maskwright.core.mask_files import Encoding, Inverted
from maskwright.core.masks import overlay, png_bytes
from maskwright.data import layouts
from maskwright.data.formats.source import AnnotationSet
from maskwright.data.layouts import NOTHING_SAID, TABLE, Answers, Detection
from maskwright.data.layouts.stored_bands import bands_of
from maskwright.data.opening import build_dataset, description_of, detect, load_dataset, refuse_another_format
from maskwright.errors import ConfigError, DataError, argument

_SHOWN = 12  # classes
_PREVIEW = 1200  # pixels


@dataclass(frozen=True, repr=False)
class InitResult(Result):
    """The `dataset.yaml` that `init` wrote, or found saying the same (`written` is False then), and what was decided.

    `data` is the folder that was looked at. It can also be unpacked: `file, detection = init(folder)`.
    """

    file: Path
    detection: Detection
    written: bool = True
    data: Path = Path()

    def __iter__(self) -> Iterator[Any]:
        return iter((self.file, self.detection))

    @property
    def dataset(self) -> DatasetFile:
        """What stands in the file."""
        return self.detection.file

    @property
    def reasons(self) -> dict[str, str]:
        """Why, by the key of the file."""
        return self.detection.reasons

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        return {
            "file": self.file,
            "layout": self.dataset.layout,
            "splits": ", ".join(self.dataset.splits),
            "classes": ", ".join(self.dataset.class_tree().names),
            "written": self.written,
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `init`."""
        found = self.detection
        return {
            "file": str(self.file),
            "dataset": self.dataset.model_dump(),
            "reasons": self.reasons,
            "images": found.images,
            "pairs": found.pairs,
            "exact": found.exact,
            "shares": {str(id_): share for id_, share in found.shares.items()},
            "left_out": list(found.left_out),
            "unsure": list(found.unsure),
        }

    def human(self) -> str:
        """What was understood, in a few lines, and where it is written."""
        if not self.written:
            return f"{self.file} is already there and says the same"
        return "\n".join([*self._lines(), f"written: {self.file}"])

    def _lines(self) -> Iterator[str]:
        found, file = self.detection, self.dataset
        yield f"{self.data}: {self.reasons.get('layout', file.layout)}"
        if file.layout in FOLDER_LAYOUTS:
            images = file.images.files or ["this folder" if file.images.folder == "." else file.images.folder + "/"]
            masks = file.masks.files or [file.masks.folder + "/"] if file.masks.folder else file.masks.files
            masks = masks or ([file.table] if file.table else [])
            rows = [("images", ", ".join(images), self.reasons.get("images", ""))]
        else:
            masks = []
            rows = [("images", f"{found.images}, {found.pairs} of them labelled", "")]
        if "channels" in self.reasons:
            rows.append(("bands", str(file.images.bands()), self.reasons["channels"]))
        if masks:
            rows.append(("masks", ", ".join(masks), self.reasons.get("masks", "")))
        elif "masks" in self.reasons:
            rows.append(("masks", "none", self.reasons["masks"]))
        splits = file.lists or {split: words.replace("|", " or ") for split, words in file.splits.items()}
        if splits:
            texts = [split if split == text else f"{split}: {text}" for split, text in splits.items()]
            rows.append(("splits", ", ".join(texts), self.reasons.get("lists", self.reasons.get("splits", ""))))
        elif "splits" in self.reasons:
            rows.append(("splits", self.reasons["splits"], ""))
        if found.exact is not None:
            exact = (
                "every pixel has exactly the value of a class"
                if found.exact == 1
                else f"{found.exact:.2%} of the pixels have exactly the value of a class"
            )
            rows.append(("encoding", file.masks.encoding, "; ".join([self.reasons.get("encoding", ""), exact])))
        names = file.class_tree()
        shares = [found.shares.get(leaf.id) for leaf in names.leaves]
        listed = ", ".join(
            f"{leaf.id} {leaf.name}" + ("" if share is None else f" {share:.1%}")
            for leaf, share in [*zip(names.leaves, shares, strict=True)][:_SHOWN]
        )
        more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        rows.append(("classes", listed + more, self.reasons.get("classes", "")))
        if file.follow:
            rows.append(("links", "followed", self.reasons["links"]))
        width = max(len(role) for role, _, _ in rows)
        for role, what, why in rows:
            yield f"  {role.ljust(width)}  {what}" + (f"  ({why})" if why else "")
        for text in found.left_out:
            yield f"  not used: {text}"
        for text in found.unsure:
            yield f"  please check: {text}"


def init(
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    images: str | None = None,
    masks: str | None = None,
    format: str | None = None,
    inverted: Inverted | None = None,
    variable: str | None = None,
    encoding: Encoding | None = None,
    levels: Sequence[int] = (),
    preview: str | Path | None = None,
) -> InitResult:
    """Detects what the folder `data` is and writes `dataset.yaml` there, or into the folder `out`, which then refers to
    `data` (for data that must not be written to, or that has two sets of masks). An opened Dataset stands for the
    folder of its files, `root`, which is detected anew.

    `images` and `masks` are folders inside `data`, or words of the paths, where more than one set of files would do;
    `inverted` (`stored` or `shown`) says which values count in masks with white as 0, `variable` names the array in
    `.mat` masks, `encoding` (`index`, `objects`, `colour`) chooses where values may be several things, `levels` are the
    grey values of the classes from the first on. `preview` is a PNG to draw three images with their masks into.

    An existing `dataset.yaml` is never overwritten: ConfigError, unless
    options are given that only repeat what it says. Then nothing but the preview is written. ConfigError too where two
    readings are possible: it names them, and the option that chooses; and for an answer that nothing has asked for.
    """
    folder = data.root if isinstance(data, Dataset) else Path(data)
    target = Path(out if out is not None else folder) / FILE_NAME
    answers = Answers(inverted, variable, encoding, tuple(levels))
    if any(not 0 <= level <= MAX_ID for level in levels) or len(set(levels)) < len(levels) or len(levels) == 1:
        raise ConfigError(f"{argument('levels')}: give at least two different grey values of 0 to {MAX_ID}")
    if target.exists():
        description = description_of(target)
        if format is not None:
            refuse_another_format(target, description, format)
        asked = [(images, description.images.folder), (masks, description.masks.folder)]
        if (
            (format or images or masks)
            and all(option in (None, said) for option, said in asked)
            and answers == NOTHING_SAID
            and ((target.parent / description.root).resolve() == folder.resolve())
        ):
            if preview is not None:
                atomic_write_bytes(Path(preview), _preview(load_dataset(target.parent)))
            return InitResult(target, Detection(description, {"layout": f"{target} says so"}), written=False)
        raise ConfigError(f"{target}: already there and never overwritten; edit it, or move it away to detect again")
    detection = _with_bands(detect(folder, images, masks, format, answers), folder)
    given = next((name for name in ("inverted", "variable", "encoding", "levels") if getattr(answers, name)), None)
    if given and (detection.file.layout not in FOLDER_LAYOUTS or not detection.pairs):
        raise ConfigError(f"{argument(given)}: {folder} holds no mask files whose values it could settle; leave it out")
    # Before anything is written, since it may show that no mask can be read.
    picture = _preview(build_dataset(detection.file, folder, folder.name)) if preview is not None else b""
    root = "." if out is None or Path(out).resolve() == folder.resolve() else str(folder.resolve())
    atomic_write_text(target, render(detection.file, detection.reasons, root))
    if preview is not None:
        atomic_write_bytes(Path(preview), picture)
    return InitResult(target, detection, data=folder)


def _with_bands(detection: Detection, folder: Path) -> Detection:
    """With what the images hold, where that is not 8-bit grey or RGB."""
    source = detection.annotations if isinstance(detection.annotations, AnnotationSet) else None
    try:
        found = bands_of(build_dataset(detection.file, folder, folder.name, source).samples)
    except (ConfigError, DataError):
        return detection  # whoever opens what is written is told
    if found.doubt:
        detection = replace(detection, unsure=(*detection.unsure, found.doubt))
    if found.bands is None:
        return detection
    given = {key: getattr(detection.file.images, key) for key in ("folder", "exif", "files", "pages")}
    file = detection.file.model_copy(update={"images": ImagesSpec.with_bands(found.bands, **given)})
    return replace(detection, file=file, reasons=detection.reasons | {"channels": found.reason})


def _preview(dataset: Dataset) -> bytes:
    """A PNG of three images beside themselves with their masks, spread over the samples that have one."""
    labelled = [sample for sample in dataset.samples if sample.labelled]
    rows = []
    for place in sorted({0, len(labelled) // 2, len(labelled) - 1}) if labelled else ():
        try:
            image, mask = dataset.read(labelled[place])
        except DataError:
            continue  # the audit names it
        tinted = overlay(image, mask, dataset.classes.colours, background=dataset.classes.background)
        both = np.concatenate([image, tinted], 1)
        height = round(both.shape[0] * _PREVIEW / both.shape[1])
        rows.append(cv2.resize(both, (_PREVIEW, max(1, height)), interpolation=cv2.INTER_AREA))
    if not rows:
        raise DataError(f"{dataset.root}: no mask can be drawn with its image; run `maskwright audit` to see why")
    return png_bytes(np.concatenate(rows))


def labels_table(data: str | Path) -> Path:
    """Writes `labels.csv` into the folder `data`, to be filled in: a row for each image, with the mask where one
    belongs to it by its name. ConfigError where it is already there."""
    target = Path(data) / TABLE
    if target.exists():
        raise ConfigError(f"{target}: already there and never overwritten; edit it")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "mask", "split"])
    writer.writerows(layouts.pairs_of(Path(data)))
    atomic_write_text(target, text.getvalue())
    return target
