"""Opens datasets of every kind: folders of images and masks, annotation formats, and `dataset.yaml` of both."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskwright.base import strictyaml
from maskwright.base.display import Result
from maskwright.base.storage import atomic_write_bytes, atomic_write_text
from maskwright.base.texts import counted
from maskwright.core.classes import BACKGROUND_NAMES, MAX_ID, ClassTree, free_ignore_id
from maskwright.core.dataset import Dataset, build
from maskwright.core.description import FILE_NAME, FOLDER_LAYOUTS, ClassSpec, DatasetFile, ImagesSpec, MasksSpec, render
from maskwright.core.edits import with_edits
from maskwright.core.findings import Severity
from maskwright.core.listing import refuse_same_names
from maskwright.core.mask_files import Encoding, Inverted, MaskEncoding
from maskwright.core.masks import overlay, png_bytes
from maskwright.core.palette import to_hex
from maskwright.core.regions import Drawing, Region
from maskwright.core.sample import Sample
from maskwright.data import layouts
from maskwright.data.formats import FORMATS
from maskwright.data.formats.recognised import recognised
from maskwright.data.formats.source import IGNORE_NAMES, AnnotationSet, Item, Label, background_of, nested, note
from maskwright.data.layouts import NOTHING_SAID, TABLE, Answers, Detection
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument


def load_dataset(path: str | Path, format: str | None = None) -> Dataset:
    """Opens a dataset: a folder with `dataset.yaml` (or the file itself), else a folder in a known layout or format.

    `format` is a name in `FORMATS`, for folders that could be several things; beside a `dataset.yaml` it may only
    repeat what that says. The edits in the journal beside
    `dataset.yaml` are applied. Raises ConfigError for a faulty `dataset.yaml`, DataError when the folder holds
    no dataset.
    """
    path = Path(path)
    file = path if path.is_file() else path / FILE_NAME
    if not file.exists():
        found = detect(path, format=format)
        source = found.annotations if isinstance(found.annotations, AnnotationSet) else None
        dataset = _build(found.file, path, path.resolve().name, source)
        doubts = [
            note(
                "layout.unsure",
                Severity.WARNING,
                text,
                "run `maskwright init`, and correct dataset.yaml if it is wrong",
            )
            for text in (found.unsure if found.pairs else ())
        ]
        return with_edits(replace(dataset, notes=(*dataset.notes, *doubts)), path)
    description = _description(file)
    if format is not None:
        _refuse_another_format(file, description, format)
    try:
        return with_edits(_build(description, file.parent / description.root, file.resolve().parent.name), file.parent)
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from None


def folder_of(data: str | Path | Dataset, verb: str) -> Path:
    """The folder (or `dataset.yaml`) of a dataset, for a verb that trains from it and keeps its results in it.

    ConfigError for a Dataset that has no folder, and for one that is not what its folder holds.
    """
    if not isinstance(data, Dataset):
        return Path(data)
    if data.home is None:
        raise ConfigError(f"{verb}: this Dataset has no folder, and results are kept in it; give the path of a folder")
    if load_dataset(data.home) != data:
        raise ConfigError(
            f"{verb}: this Dataset is not what {data.home} holds, and trainings read that; give the path of a folder "
            "that holds what you want"
        )
    return data.home


def _refuse_another_format(file: Path, description: DatasetFile, format: str) -> None:
    """ConfigError when `dataset.yaml` says that the dataset is something else."""
    _require_known(format)
    if FORMATS[format].read is None:  # plain folders of mask files, which `layout` and `encoding` tell apart
        said = f"layout {description.layout}, with masks of the encoding {description.masks.encoding}"
        agreed = description.layout in FOLDER_LAYOUTS and (
            (format == "colour") == (description.masks.encoding == "colour")
        )
    else:
        said, agreed = f"layout {description.layout}", description.layout == format
    if not agreed:
        raise ConfigError(
            f"{file}: says {said}, but the format {format} is asked for; leave the format out, or move the file away"
        )


def _require_known(format: str) -> None:
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is not known{strictyaml.did_you_mean(format, FORMATS)}")


def _description(file: Path) -> DatasetFile:
    """`dataset.yaml`, with everything that is wrong about it in one ConfigError."""
    document = strictyaml.read(file)
    problems = []
    layout, known = document.data.get("layout"), [*FOLDER_LAYOUTS, *(name for name, row in FORMATS.items() if row.read)]
    if isinstance(layout, str) and layout not in known:
        near = strictyaml.did_you_mean(layout, known)
        problems.append(document.problem(("layout",), f"{layout!r} is not known{near}"))
    try:
        description = strictyaml.validate(DatasetFile, document)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return description


def detect(
    root: Path,
    images: str | None = None,
    masks: str | None = None,
    format: str | None = None,
    answers: Answers = NOTHING_SAID,
) -> Detection:
    """What the folder `root` is, with the reasons; see `load_dataset` and `maskwright.data.layouts.detect`."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the images and masks")
    if format is not None:
        _require_known(format)
        if FORMATS[format].read is not None:
            return _with_background(_describe(root, format, "given", images))
    elif masks is None and (named := _named_format(root, masks=True)):
        described = _describe(root, *named, images)
        if described.pairs:  # else only its folders are called so
            return _with_background(described)
    return _with_background(_folders(root, images, masks, format, answers))


def _folders(root: Path, images: str | None, masks: str | None, format: str | None, answers: Answers) -> Detection:
    """A folder of image and mask files, unless annotations of a format label more of its images."""
    found: Detection | None = None
    problem: MaskwrightError | None = None
    try:
        found = layouts.detect(root, images, masks, answers)
    except (DataError, ConfigError) as error:
        problem = error
    asked = format is not None or masks is not None
    if found and (asked or 2 * found.pairs >= found.images > 0):
        return found
    if not asked and (named := _named_format(root, masks=False)):
        described = _describe(root, *named, images)
        if found is None or found.pairs == 0 or described.pairs > found.pairs:
            return described
    if found and found.pairs:
        return found
    if not asked and (seen := recognised(root)):
        raise DataError(seen)
    if found:
        return found
    raise problem or AssertionError


def _with_background(found: Detection) -> Detection:
    """With the role of the background, which is told by a name, else by what 0 means in masks that nobody has named."""
    classes = found.file.class_tree()
    black = [leaf.id for leaf in classes.leaves if leaf.colour == (0, 0, 0)]
    if (named := background_of(classes)) is not None:
        id_, why = classes.ids[named], f"the class called {classes.names[named]}"
    elif found.file.masks.encoding == "colour" and black:
        id_, why = black[0], "the class that is black in the masks"
    elif found.file.masks.encoding == "levels" and "0" in found.file.masks.levels:
        id_, why = found.file.masks.levels["0"], "the class that is black (0) in the masks"
    else:
        id_, why = None, "no class is called background; give the id of one that stands for no object, if there is one"
    return replace(
        found, file=found.file.model_copy(update={"background": id_}), reasons=found.reasons | {"background": why}
    )


def _named_format(root: Path, masks: bool) -> tuple[str, str] | None:
    for name, row in FORMATS.items():
        if row.detect and row.masks is masks and (reason := row.detect(root)):
            return name, reason
    return None


def _read(root: Path, name: str, annotations: str | None, images: str) -> AnnotationSet:
    reader = FORMATS[name].read
    assert reader is not None
    source = reader(root, annotations, None if images == "." else images)
    if not source.items:
        raise DataError(f"{root}: no images found in its {name} annotations; is this the right folder?")
    return source


def _describe(root: Path, name: str, reason: str, images: str | None) -> Detection:
    source = _read(root, name, None, images or ".")
    classes, ignore, why = _classes(source)
    encoding = source.encoding
    ignored = (label.colour for label in source.labels if _is_ignored(label, source))
    colour = encoding.ignore_colour or next(ignored, None)
    file = DatasetFile(
        layout=name,
        images=ImagesSpec(folder=images or "."),
        classes=classes,
        ignore=ignore,
        masks=MasksSpec(
            encoding=encoding.kind,
            levels={str(k): v for k, v in encoding.levels.items()},
            ignore_colour=to_hex(colour) if colour and encoding.kind == "colour" else None,
        ),
    )
    labelled = sum(item.labelled or item.mask is not None for item in source.items)
    return Detection(
        file, {"layout": reason, "classes": why}, images=len(source.items), pairs=labelled, annotations=source
    )


def _is_ignored(label: Label, source: AnnotationSet) -> bool:
    """Whether a label is not a class but the pixels that do not count: by its name, unless masks are ids or the
    label is that of id 0, the background."""
    by_masks = any(item.mask for item in source.items)
    overruled = by_masks and (source.encoding.kind != "colour" or label.id == 0)
    return not overruled and label.name.lower() in IGNORE_NAMES


def _classes(source: AnnotationSet) -> tuple[list[ClassSpec], int, str]:
    """Class specs, the ignore id, and the reason for the ids.

    Ids of the annotations are kept where they can be mask values with 0 left for the background; else the
    classes are numbered from 1 in their order.
    """
    labels = {label.name: label for label in reversed(source.labels)}  # the first of a name counts
    labels = {label.name: labels[label.name] for label in source.labels}
    for item in source.items:
        for mark in item.marks:
            labels.setdefault(mark.label, Label(mark.label))
    by_masks = source.full or any(item.mask for item in source.items)
    background = next((label for label in labels.values() if label.name.lower() in BACKGROUND_NAMES), None)
    others = [label for label in labels.values() if label is not background and not _is_ignored(label, source)]
    ids = [label.id for label in others if label.id is not None]
    zero_free = background is None or background.id in (None, 0)
    fit = len(ids) == len(others) == len(set(ids)) and all(0 <= i <= MAX_ID for i in ids)
    if by_masks and fit:
        chosen = ([background] if background else []) + others
        numbers = [label.id if label.id is not None else 0 for label in chosen]
        why = "the ids of the annotations, which cover every pixel" if source.full else "pixel values of the masks"
    elif source.full:
        chosen = ([background] if background else []) + others
        numbers, why = list(range(len(chosen))), "numbered here from 0 in the order of the annotations"
    else:
        chosen = [background or Label("background"), *others]
        if fit and zero_free and 0 not in ids:
            numbers, why = [0, *ids], "the ids of the annotations; 0 is the background, everything without a region"
        else:
            numbers = list(range(len(chosen)))
            why = "numbered here from 1 in the order of the annotations; 0 is the background"
    ignore = source.ignore if source.ignore is not None else free_ignore_id(numbers)
    return nested([(label, number) for label, number in zip(chosen, numbers, strict=True)]), ignore, why


def _build(file: DatasetFile, root: Path, name: str, source: AnnotationSet | None = None) -> Dataset:
    """The dataset that `file` describes; `source` are its annotations where these have been read."""
    if file.layout in FOLDER_LAYOUTS:
        return build(file, root, name)
    source = source or _read(root, file.layout, file.annotations, file.images.folder)
    return _dataset(source, file, root, name)


def _dataset(source: AnnotationSet, file: DatasetFile, root: Path, name: str) -> Dataset:
    classes = file.class_tree()
    ids = {leaf.name: leaf.id for leaf in classes.leaves}
    role = background_of(classes)
    background = classes.ignore if role is None else classes.ids[role]
    roles = dict.fromkeys(IGNORE_NAMES, classes.ignore) | dict.fromkeys(BACKGROUND_NAMES, background)
    notes = list(source.notes)
    samples = []
    unknown: dict[str, int] = {}
    for item in source.items:
        regions = []
        for mark in item.marks:
            id_ = ids.get(mark.label, roles.get(mark.label.lower()))
            if id_ is None:
                unknown[mark.label] = unknown.get(mark.label, 0) + 1
            else:
                regions.append(Region(id_, mark.shape, mark.order, mark.weak))
        samples.append(_sample(item, regions, background, classes, file))
    notes += [
        note(
            "annotation.unknown_label",
            Severity.WARNING,
            counted(count, "region{ has|s have} the label")
            + f" {label!r}, which is no class, and {'is' if count == 1 else 'are'} left out",
            "add the class in dataset.yaml, or correct the label",
            count=count,
            label=label,
        )
        for label, count in unknown.items()
    ]
    refuse_same_names(samples)
    encoding = file.mask_encoding(classes) if any(s.mask for s in samples) else MaskEncoding()
    return Dataset(
        name,
        root,
        classes,
        tuple(sorted(samples, key=lambda sample: sample.name)),
        encoding,
        file.images.exif,
        notes=tuple(notes),
    )


def _sample(item: Item, regions: list[Region], background: int, classes: ClassTree, file: DatasetFile) -> Sample:
    drawing = None
    weak = bool(regions) and all(region.weak for region in regions)
    if item.mask is None and item.labelled:
        outside = classes.ignore if weak and file.boxes.outside == "ignore" else background
        drawing = Drawing(tuple(regions), outside, item.source, item.size, file.boxes)
    return Sample(
        item.name, item.image, item.mask, item.split, provenance="box" if weak and drawing else "hand", drawing=drawing
    )


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
    options are given that only repeat what it says. Then nothing is written. ConfigError too where two readings are
    possible: it names them, and the option that chooses.
    """
    folder = data.root if isinstance(data, Dataset) else Path(data)
    target = Path(out if out is not None else folder) / FILE_NAME
    if target.exists():
        description = _description(target)
        if format is not None:
            _refuse_another_format(target, description, format)
        asked = [(images, description.images.folder), (masks, description.masks.folder)]
        if (
            (format or images or masks)
            and all(option in (None, said) for option, said in asked)
            and ((target.parent / description.root).resolve() == folder.resolve())
        ):
            return InitResult(target, Detection(description, {"layout": f"{target} says so"}), written=False)
        raise ConfigError(f"{target}: already there and never overwritten; edit it, or move it away to detect again")
    answers = Answers(inverted, variable, encoding, tuple(levels))
    if any(not 0 <= level <= MAX_ID for level in levels) or len(set(levels)) < len(levels) or len(levels) == 1:
        raise ConfigError(f"{argument('levels')}: give at least two different grey values of 0 to {MAX_ID}")
    detection = detect(folder, images, masks, format, answers)
    root = "." if out is None or Path(out).resolve() == folder.resolve() else str(folder.resolve())
    atomic_write_text(target, render(detection.file, detection.reasons, root))
    if preview is not None:
        atomic_write_bytes(Path(preview), _preview(load_dataset(target.parent)))
    return InitResult(target, detection, data=folder)


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
