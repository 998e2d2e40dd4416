"""Opens datasets of every kind: folders of images and masks, annotation formats, and `dataset.yaml` of both."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from maskwright.base import strictyaml
from maskwright.base.texts import counted
from maskwright.core.classes import BACKGROUND_NAMES, MAX_ID, ClassTree, free_ignore_id
from maskwright.core.dataset import Dataset, build
from maskwright.core.description import FILE_NAME, FOLDER_LAYOUTS, ClassSpec, DatasetFile, ImagesSpec, MasksSpec
from maskwright.core.edits import with_edits
from maskwright.core.findings import Severity
from maskwright.core.listing import refuse_same_names
from maskwright.core.mask_files import MaskEncoding
from maskwright.core.palette import to_hex
from maskwright.core.regions import Drawing, Region
from maskwright.core.sample import Sample
from maskwright.data import layouts
from maskwright.data.formats import FORMATS
from maskwright.data.formats.recognised import recognised
from maskwright.data.formats.source import IGNORE_NAMES, AnnotationSet, Item, Label, background_of, nested, note
from maskwright.data.layouts import NOTHING_SAID, Answers, Detection
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument


def load_dataset(path: str | Path, format: str | None = None) -> Dataset:
    """Opens a dataset: a folder with `dataset.yaml` (or the file itself), else a folder in a known layout or format.

    `format` is a name in `FORMATS`, for folders that could be several things; beside a `dataset.yaml` it may only
    repeat what that says. The edits in the journal beside
    `dataset.yaml` are applied. Raises ConfigError for a faulty `dataset.yaml`, DataError when the folder holds
    no dataset.
    """
    return with_edits(*load_unedited(path, format))


def load_unedited(path: str | Path, format: str | None = None) -> tuple[Dataset, Path]:
    """`load_dataset` without its edits, and the folder of their journal."""
    path = Path(path)
    file = path if path.is_file() else path / FILE_NAME
    if not file.exists():
        found = detect(path, format=format)
        if found.file.follow:
            raise DataError(
                f"{path}: images or masks lead outside through a symbolic link; if the links are yours, run "
                f"`maskwright init {shlex.quote(str(path))}`, which writes that they are followed, else copy the files"
            )
        source = found.annotations if isinstance(found.annotations, AnnotationSet) else None
        dataset = build_dataset(found.file, path, path.resolve().name, source)
        doubts = [
            note(
                "layout.unsure",
                Severity.WARNING,
                text,
                "run `maskwright init`, and correct dataset.yaml if it is wrong",
            )
            for text in (found.unsure if found.pairs else ())
        ]
        return replace(dataset, notes=(*dataset.notes, *doubts)), path
    description = description_of(file)
    if format is not None:
        refuse_another_format(file, description, format)
    try:
        return build_dataset(description, file.parent / description.root, file.resolve().parent.name), file.parent
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from None


def load_dataset_of(run: Path, root: str | Path) -> Dataset:
    """`load_dataset` of the dataset that the run in the folder `run` names. DataError with the way out where it is no
    longer there."""
    if not Path(root).exists():
        raise DataError(
            f"{root}: the dataset of {run} is not there; put it back, or say where it lies now ({argument('data')})"
        )
    return load_dataset(root)


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


def refuse_another_format(file: Path, description: DatasetFile, format: str) -> None:
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


def description_of(file: Path) -> DatasetFile:
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


def build_dataset(file: DatasetFile, root: Path, name: str, source: AnnotationSet | None = None) -> Dataset:
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
        bands=file.images.bands(),
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
