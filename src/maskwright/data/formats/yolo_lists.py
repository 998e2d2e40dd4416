"""Where the parts of a YOLO set lie: the files that list images and class names, and the text file of each image.

What the paths in lists mean, and which folders are known, is told in `yolo`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any

from maskwright.base import strictyaml
from maskwright.core.folder_names import IMAGE_FOLDERS, SPLIT_NAMES
from maskwright.core.image_files import images_below
from maskwright.core.listing import confine_found
from maskwright.data.formats.by_name import found_as
from maskwright.data.formats.source import Occurrences, takeable
from maskwright.errors import ConfigError, DataError

YAML = (".yaml", ".yml")
UNSPLIT = "unsplit"  # our own key, for images without a split in a set that has splits
HEAD = 4 << 10
_LABEL_FOLDERS = ("labels", "label", "annotations", "annotation", "txt")
_NAME_FILES = ("obj.names", "classes.txt", "labels.txt", "_darknet.labels", "class_names.txt")
_MAX_TEXT, _MAX_LINES = 64 << 20, 1_000_000
_MAX_PARTS = 32


@dataclass
class Listing:
    """What a YAML or `.data` file says: names by class number (None: nothing), images with their splits (None: not
    listed), and how many numbers for keypoints end a line."""

    names: dict[int, str] | None = None
    images: list[tuple[str | None, Path]] | None = None
    keypoints: int = 0


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text without what is blank around them. DataError for what is no text, and for files of
    more than 64 MiB or a million lines."""
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise DataError(f"{path}: larger than {_MAX_TEXT >> 20} MiB; is this the right file?")
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); export it again") from None
    if text.count("\n") > _MAX_LINES:
        raise DataError(f"{path}: more than {_MAX_LINES} lines; is this the right file?")
    return [line.strip() for line in text.splitlines()]


def head(path: Path, size: int = HEAD) -> bytes:
    """The first bytes; none of a file that cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError:
        return b""


def yaml_of(root: Path) -> Path | None:
    """`data.yaml`, or another YAML file in `root` that names classes as Ultralytics does."""
    files = sorted(
        (path for path in root.iterdir() if path.suffix.lower() in YAML and path.is_file()),
        key=lambda path: (path.stem != "data", path.name),
    )
    return next((path for path in files[:20] if says(path, "names|nc")), None)


def says(file: Path, keys: str) -> bool:
    """Whether a YAML file has one of `keys` (`a|b`) at its top level; a look, so that broken files may be asked."""
    return re.search(rf"(?m)^['\"]?({keys})['\"]?\s*:".encode(), head(file, 4 << 20)) is not None


def darknet_of(root: Path) -> Path | None:
    """`obj.data`, or another file of its kind in `root`."""
    files = sorted(path for path in root.iterdir() if path.suffix.lower() == ".data" and path.is_file())
    return next((path for path in files if re.search(rb"(?m)^\s*(train|valid|names)\s*=", head(path))), None)


def from_yaml(root: Path, image_root: Path, file: Path, seen: Occurrences) -> Listing:
    """Reads the YAML of Ultralytics. DataError for one that is broken."""
    try:
        data = strictyaml.read(confine_found(root, file)).data
    except ConfigError as error:
        raise DataError(error.problems[0]) from None
    wanted = str(data.get("path") or ".")
    base = _located(root, [file.parent], wanted, seen)
    if base is None:
        seen.setdefault("moved", []).append(wanted[:100])
    bases = [base if base and base.is_dir() else file.parent, file.parent, image_root, root]
    images: list[tuple[str | None, Path]] = []
    for key, value in data.items():
        split = SPLIT_NAMES.get(key.lower(), None if key == UNSPLIT else key)
        # Splits of other names are our own.
        if not value or not (key.lower() in SPLIT_NAMES or key == UNSPLIT or str(value).startswith("images/")):
            continue
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                raise DataError(f"{file}: {key}: {text!r} is no path; name a folder, a list of images, or several")
            images += [(split, path) for path in _images(root, bases, text, key, seen)]
    return Listing(_yaml_names(file, data, seen), images or None, _keypoints(data.get("kpt_shape")))


def _yaml_names(file: Path, data: dict[str, Any], seen: Occurrences) -> dict[int, str] | None:
    given, count = data.get("names"), data.get("nc")
    if given is None:
        return None
    pairs = list(given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ())
    right = all(re.fullmatch(r"\d{1,6}", str(key)) and isinstance(name, str | int | float) for key, name in pairs)
    if not right or (given and not pairs):
        raise DataError(f"{file}: names: expected a list of names, or numbers with their names; correct it")
    if isinstance(count, int) and count != len(pairs):
        seen.setdefault("nc", []).append(file.name)
    return {int(key): str(name) for key, name in pairs}


def _keypoints(shape: Any) -> int:
    """How many numbers a line has for them: `[17, 3]` are 17 points of x, y and visibility."""
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and 0 < n < 10**6 for n in shape):
        return int(shape[0] * shape[1])
    return 0


def from_darknet(root: Path, image_root: Path, file: Path, seen: Occurrences) -> Listing:
    """Reads `obj.data`: `key = value` lines."""
    pairs = (line.partition("=") for line in read_lines(confine_found(root, file)))
    values = {key.strip().lower(): value.strip() for key, _, value in pairs}
    bases = [file.parent, image_root, root]
    images: list[tuple[str | None, Path]] = [
        (split, path)
        for key, split in SPLIT_NAMES.items()
        if values.get(key)
        for path in _images(root, bases, values[key], key, seen)
    ]
    names = _located(root, bases, values["names"], seen) if values.get("names") else None
    return Listing(names_in(names) if names is not None and names.is_file() else None, images or None)


def _images(root: Path, bases: list[Path], text: str, key: str, seen: Occurrences) -> list[Path]:
    """The images of a split: those in a folder, or listed in a text file, where some may not be there."""
    found = _located(root, bases, text, seen)
    if found is not None and found.is_dir():
        return [confine_found(root, path) for path in images_below(found)]
    if found is None or found.suffix.lower() != ".txt":
        seen.setdefault("folder", []).append(f"{key}: {text[:100]}")
        return []
    listed = []
    for line in filter(None, read_lines(found)):
        near = [found.parent, *bases]
        parts = _parts(line)[0]
        path = _located(root, near, line, seen) or bases[0] / takeable(parts)
        if parts and not os.path.isdir(path):
            listed.append(path)
        else:
            seen.setdefault("folder", []).append(f"{key}: {line[:100]}")
    return listed


def _located(root: Path, bases: Iterable[Path], text: str, seen: Occurrences) -> Path | None:
    """The path `text` below one of `bases`, or the longest end of it that is there."""
    parts, whole = _parts(text)
    for start in range(max(len(parts), 1)):
        for base in dict.fromkeys(bases):
            path = base.joinpath(*parts[start:])
            found = found_as(path)
            if found is not None:
                if start or not whole:
                    seen.setdefault("moved", []).append(text[:100])
                if found != path:
                    seen.setdefault("form", []).append(text[:100])
                return confine_found(root, found)
    return None


def _parts(text: str) -> tuple[tuple[str, ...], bool]:
    """The parts of a path behind its drive and its last `..`, and whether that is all of it."""
    pure = PureWindowsPath(text.replace("\0", "_"))
    parts = pure.parts[bool(pure.anchor) :]
    inside = parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts
    inside = inside[-_MAX_PARTS:]
    return inside, inside == pure.parts


def names_near(root: Path, texts: Iterable[Path]) -> dict[int, str] | None:
    """The class names of a file in `root`, or beside text files."""
    for folder in islice(dict.fromkeys([root, *(text.parent for text in texts)]), 20):
        others = sorted(path.name for path in folder.glob("*.names"))
        for name in (*_NAME_FILES, *others):
            if (folder / name).is_file():
                return names_in(confine_found(root, folder / name))
    return None


def names_in(path: Path) -> dict[int, str]:
    """One name a line; an empty line keeps its number."""
    lines = read_lines(path)
    while lines and not lines[-1]:
        lines.pop()
    return {number: line or f"class_{number}" for number, line in enumerate(lines)}


class Texts:
    """Finds the text file of an image, which need not be there: in the folder of labels for the last folder of images
    in its path, then for the one before, then beside the image."""

    def __init__(self, root: Path, image_root: Path, label_root: Path | None) -> None:
        self.root, self.image_root, self.label_root = root, image_root, label_root
        self._siblings: dict[Path, list[Path]] = {}

    def of(self, image: Path) -> Path | None:
        """None when there is none."""
        found = map(found_as, self._places(image))
        return next((confine_found(self.root, path) for path in found if path is not None and path.is_file()), None)

    def _places(self, image: Path) -> Iterator[Path]:
        text = image.with_suffix(".txt")
        if self.label_root is not None:
            if image.is_relative_to(self.image_root):
                yield self.label_root / text.relative_to(self.image_root)
            yield self.label_root / text.name
            return
        parts = text.relative_to(self.root).parts
        for i in reversed(range(len(parts) - 1)):
            if parts[i].lower() in IMAGE_FOLDERS:
                above = self.root.joinpath(*parts[:i])
                yield from (folder.joinpath(*parts[i + 1 :]) for folder in self._labels_in(above))
        yield text
        yield from (folder / text.name for folder in self._labels_in(text.parent))

    def _labels_in(self, folder: Path) -> list[Path]:
        if folder not in self._siblings:
            below = sorted(folder.iterdir()) if os.path.isdir(folder) else []
            found = {path.name.lower(): path for path in below if path.is_dir()}
            self._siblings[folder] = [found[name] for name in _LABEL_FOLDERS if name in found]
        return self._siblings[folder]

    def walk(self) -> list[tuple[str | None, Path, Path | None]]:
        """Split, path and text file of the images in a folder of images or with a text file; else of all images."""
        found = [
            (_split_of(self.root, path), confine_found(self.root, path), self.of(path))
            for path in images_below(self.image_root)
        ]
        return [
            entry
            for entry in found
            if entry[2] is not None or self.image_root != self.root or in_image_folder(self.root, entry[1])
        ] or found

    def others(self, used: Iterable[Path | None]) -> list[Path]:
        """Text files that belong to none of the images."""
        known = set(used)
        return [
            confine_found(self.root, path)
            for path in sorted((self.label_root or self.root).rglob("*.txt"))
            if path not in known and path.is_file()
        ]


def in_image_folder(root: Path, image: Path) -> bool:
    """Whether one of the folders around an image is called as those of images are."""
    return any(part.lower() in IMAGE_FOLDERS for part in image.relative_to(root).parts[:-1])


def _split_of(root: Path, image: Path) -> str | None:
    """A folder called train, valid, …: the first one, or the one around or in the folder of images."""
    folders = [part.lower() for part in image.relative_to(root).parts[:-1]]
    usual = next((i for i, part in enumerate(folders) if part in IMAGE_FOLDERS), 0)
    places = [i for i in (0, usual - 1, usual + 1) if 0 <= i < len(folders)]
    return next((SPLIT_NAMES[folders[i]] for i in places if folders[i] in SPLIT_NAMES), None)


def name_of(root: Path, image: Path, split: str | None) -> str:
    """The path without its first folder of images and without the folder of its split, which comes first."""
    folders = list(image.relative_to(root).parts[:-1])
    usual = next(
        (
            i
            for i, part in enumerate(folders)
            if part.lower() in IMAGE_FOLDERS or re.fullmatch(r"obj_(\w+_)?data", part.lower())
        ),
        None,
    )
    if usual is not None:
        del folders[usual]
    if split is not None:
        own = next((i for i, part in enumerate(folders) if split in (part, SPLIT_NAMES.get(part.lower()))), None)
        if own is not None:
            del folders[own]
        folders.insert(0, split)
    return "/".join([*folders, image.stem])
