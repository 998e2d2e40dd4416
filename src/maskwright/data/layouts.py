"""Detects how a folder of images and masks is laid out and what its mask values mean, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base.texts import counted
from maskwright.core.classes import IGNORE_ID, free_ignore_id
from maskwright.core.description import FILE_NAME, MASK_ENDINGS, ClassSpec, DatasetFile, ImagesSpec, MasksSpec
from maskwright.core.folder_names import IMAGE_FOLDERS, MASK_FOLDERS, SPLIT_NAMES
from maskwright.core.image_files import holds_images, images_below
from maskwright.core.mask_files import refuse_ambiguous
from maskwright.core.palette import colour_of, to_hex
from maskwright.core.sample import integer_pixels, is_lossy, open_image, read_header
from maskwright.errors import ConfigError, DataError, argument

_MASKS_READ = 400
_NEAR_LEVEL = 32


@dataclass(frozen=True)
class Detection:
    """What was found, and why: `reasons` maps a key of `dataset.yaml` to one sentence. `has_masks`: mask files are
    there."""

    file: DatasetFile
    reasons: dict[str, str]
    has_masks: bool = False


def detect(root: Path, images: str | None = None, masks: str | None = None) -> Detection:
    """Detects layout, splits, mask encoding and classes of the folder `root`.

    `images` and `masks` name the folders where more than one would do. Raises DataError when no images
    are found, ConfigError when a choice has to be made by the user.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the images and masks")
    reasons: dict[str, str] = {}
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    image_folder = _choose(root, folders, images, IMAGE_FOLDERS, "images", reasons)
    if image_folder is None:
        raise DataError(
            f"{root}: no folder of images found (looked for {', '.join(IMAGE_FOLDERS)}); "
            f"name it with {argument('images')}, or give another folder"
        )
    others = [name for name in folders if name != image_folder]
    mask_folder = _choose(root, others, masks, MASK_FOLDERS, "masks", reasons)
    table = "labels.csv" if (root / "labels.csv").is_file() else None
    splits = {} if table else _splits(root / image_folder)
    if table:
        reasons["layout"] = "labels.csv pairs images with masks"
    elif splits:
        reasons["layout"] = f"{image_folder}/ holds a folder for each split: {', '.join(splits.values())}"
    else:
        place = "this folder" if image_folder == "." else f"{image_folder}/"
        reasons["layout"] = f"images directly in {place}"
    mask_files = images_below(root / mask_folder) if mask_folder else []
    encoding, classes, ignore = _encoding(root, mask_files, reasons)
    file = DatasetFile(
        layout="table" if table else "split_folders" if splits else "flat",
        images=ImagesSpec(folder=image_folder, exif=_exif(root, image_folder, mask_files, reasons)),
        masks=MasksSpec(folder=mask_folder, encoding=encoding[0], levels=encoding[1]),
        splits=splits,
        table=table,
        classes=classes,
        ignore=ignore,
    )
    return Detection(file, reasons, bool(mask_files))


def _choose(
    root: Path, folders: Sequence[str], wanted: str | None, known: Sequence[str], role: str, reasons: dict[str, str]
) -> str | None:
    if wanted is not None:
        if not (root / wanted).is_dir():
            raise ConfigError(
                f"{argument(role)} {wanted}: no such folder in {root}; it holds {', '.join(folders) or 'none'}"
            )
        reasons[role] = "given by --" + role
        return wanted
    variants = tuple(f"{name}_" for name in known)
    named = [name for name in folders if name.lower() in known or name.lower().startswith(variants)]
    found = [name for name in named if holds_images(root / name)]
    if len(found) > 1:
        raise ConfigError(f"{root}: {' and '.join(found)} could both hold the {role}; choose one with {argument(role)}")
    if found:
        reasons[role] = f"the one folder with a usual name that holds image files ({found[0]})"
        return found[0]
    if named:
        reasons[role] = f"{', '.join(named)} holds no image files" + (
            " (annotations in another format?), so there are no masks yet" if role == "masks" else ""
        )
    elif role == "masks":
        reasons[role] = f"no folder named like {', '.join(MASK_FOLDERS)}, so there are no masks yet"
    return None


def _splits(image_root: Path) -> dict[str, str]:
    found = {
        SPLIT_NAMES[path.name.lower()]: path.name
        for path in sorted(image_root.iterdir())
        if path.is_dir() and path.name.lower() in SPLIT_NAMES
    }
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _exif(root: Path, image_folder: str, masks: Sequence[Path], reasons: dict[str, str]) -> Any:
    """Whether masks were drawn on the upright image, told from the sizes of rotated images and their masks."""
    by_stem = {path.stem: path for path in masks}
    votes: Counter[str] = Counter()
    for path in images_below(root / image_folder):
        try:
            header = read_header(path)
            mask = next((by_stem[path.stem + e] for e in MASK_ENDINGS if path.stem + e in by_stem), None)
            if header.orientation >= 5 and mask is not None and header.size[0] != header.size[1]:
                votes["ignore" if read_header(mask).size == header.size else "apply"] += 1
        except DataError:
            continue  # the audit names it; detection goes on
    decided = votes.most_common(1)[0][0] if votes else "apply"
    if votes:
        reasons["exif"] = f"the masks of {votes[decided]} of {votes.total()} rotated images fit this"
    return decided


def _encoding(
    root: Path, files: Sequence[Path], reasons: dict[str, str]
) -> tuple[tuple[Any, dict[str, int]], list[ClassSpec], int]:
    """(encoding, levels), classes and the ignore id, told from the values in up to 400 masks."""
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(len(files), _MASKS_READ)).astype(int))]
    grey, colours, lossy, ids_stored, unreadable = Counter[int](), Counter[int](), 0, 0, 0
    for path in chosen:
        try:
            with open_image(path) as image:
                refuse_ambiguous(image, path, "levels")
                ids_stored += _count_values(image, path, grey, colours)
                lossy += is_lossy(image)
        except DataError:
            unreadable += 1
    seen = f"seen in {len(chosen) - unreadable} of {len(files)} masks"
    if not grey and not colours:
        reasons["classes"] = "no readable mask to tell from: edit the names and ids"
        return ("index", {}), _classes([0, 1], root, reasons), IGNORE_ID
    if colours:
        if ids_stored:
            raise ConfigError(
                f"{root}: {counted(ids_stored, 'mask{ holds|s hold}')} ids or grey values, the others colours; "
                "save all of them in one way"
            )
        # A grey mask saved as RGB was counted as grey, so these are real colours.
        for value, count in grey.items():
            colours[value << 16 | value << 8 | value] += count
        return _colour_classes(colours, seen, reasons)
    values = sorted(grey)
    levels = _levels(grey, bool(lossy))
    if levels:
        names = ["background", "foreground"] if len(levels) == 2 else [f"class_{i}" for i in range(len(levels))]
        reasons["encoding"] = (
            f"{'JPEG ' if lossy else ''}masks with grey values around {', '.join(map(str, levels))} "
            f"({seen}); each pixel goes to the nearest"
        )
        reasons["classes"] = "one class per grey level, dark to bright: give them their names"
        return (
            ("levels", {str(level): i for i, level in enumerate(levels)}),
            [ClassSpec(id=i, name=name, colour=to_hex(colour_of(i))) for i, name in enumerate(names)],
            IGNORE_ID,
        )
    if lossy:
        raise ConfigError(
            f"{root}: {counted(lossy, 'mask{ is|s are}')} JPEG with {len(values)} grey values and no clear levels; "
            f"write `encoding: levels` with your levels in {FILE_NAME}"
        )
    ignore = IGNORE_ID if IGNORE_ID in values else free_ignore_id(values)
    ids = [value for value in values if value != ignore]
    if len(ids) > 254:
        raise ConfigError(
            f"{root}: the masks hold {len(ids)} different values; if they are instance ids or grey "
            f"photographs, they are not class masks"
        )
    listed = ", ".join(map(str, ids[:12])) + ("…" if len(ids) > 12 else "")
    reasons["encoding"] = f"pixel values are class ids: {listed} ({seen})"
    if IGNORE_ID in values:
        reasons["ignore"] = f"the value {IGNORE_ID} occurs and is taken as `do not count`"
    return ("index", {}), _classes(ids, root, reasons), ignore


def _count_values(image: Image.Image, path: Path, grey: Counter[int], colours: Counter[int]) -> bool:
    """Adds the pixel values of one mask to the counts: palette masks by index, packed RGB for real colours.

    Returns whether the file has one channel and more than zeros in it.
    """
    one_channel = image.mode in ("1", "L", "P") or image.mode.startswith("I")
    if one_channel:
        pixels: npt.NDArray[Any] = integer_pixels(image, path) if image.mode.startswith("I") else np.asarray(image)
        target = grey
    else:
        rgb = np.asarray(image.convert("RGB")).astype(np.int64)
        same = (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all()
        target = grey if same else colours
        pixels = rgb[..., 0] if same else rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    values, counts = np.unique(pixels, return_counts=True)
    target.update({int(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)})
    return one_channel and bool(values.any())


def _levels(grey: Counter[int], lossy: bool) -> list[int]:
    """Grey levels when the values are not ids: 0/255, evenly spread up to 255, or blurred around 0 and 255."""
    values, total = sorted(grey), grey.total()
    if values[-1] > 255 or len(values) < 2:
        return [0, 255] if values == [255] else []
    even = np.linspace(0, 255, len(values))
    if not lossy and len(values) <= 16 and np.abs(even - values).max() <= 1:
        return values
    extremes = sum(n for v, n in grey.items() if v <= _NEAR_LEVEL or v >= 255 - _NEAR_LEVEL)
    bright = sum(n for v, n in grey.items() if v >= 255 - _NEAR_LEVEL)
    blurred = lossy or len(values) > 64
    return [0, 255] if blurred and bright and extremes >= 0.95 * total else []


def _colour_classes(
    colours: Counter[int], seen: str, reasons: dict[str, str]
) -> tuple[tuple[Any, dict[str, int]], list[ClassSpec], int]:
    total = colours.total()
    kept: list[int] = []
    for value, count in colours.most_common():
        # Compression and antialiasing make many colours, each rare and near a real one.
        near = any(max(abs((value >> s & 255) - (k >> s & 255)) for s in (0, 8, 16)) < 48 for k in kept)
        if count >= 0.0005 * total and not near and len(kept) < 254:
            kept.append(value)
    stray = total - sum(colours[value] for value in kept)
    reasons["encoding"] = (
        f"colour masks: {len(kept)} colours {seen}; {stray} of {total} pixels have another colour "
        "and are read as the nearest"
    )
    reasons["classes"] = "one class per colour, most frequent first: give them their names and check the colours"
    classes = [ClassSpec(id=i, name=f"class_{i}", colour=f"#{value:06X}") for i, value in enumerate(kept)]
    return ("colour", {}), classes, IGNORE_ID


def _classes(ids: Iterable[int], root: Path, reasons: dict[str, str]) -> list[ClassSpec]:
    ids = list(ids)
    names = {i: "background" if i == 0 else f"class_{i}" for i in ids}
    for file in ("classes.txt", "labels.txt"):
        if (root / file).is_file():
            lines = [line.strip() for line in (root / file).read_text("utf-8", "replace").splitlines() if line.strip()]
            if len(set(lines)) == len(lines) > max(ids):
                ids = sorted({*ids, *range(len(lines))})
                names = dict(enumerate(lines))
                reasons["classes"] = f"names from {file}"
    reasons.setdefault("classes", "names are placeholders: give them their own")
    return [ClassSpec(id=i, name=names[i], colour=to_hex(colour_of(k))) for k, i in enumerate(ids)]
