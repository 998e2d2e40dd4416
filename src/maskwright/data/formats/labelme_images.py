"""Where the images of LabelMe files are, which may have been moved; the order of the places is told in `labelme`."""

from __future__ import annotations

from pathlib import Path, PurePath, PureWindowsPath

from maskwright.core.image_files import images_below
from maskwright.core.listing import confine_found
from maskwright.core.patterns import nfc
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.by_name import found_as
from maskwright.data.formats.source import Item, Occurrences


def image_of(
    root: Path, file: Path, told: PureWindowsPath, image_root: Path | None, name: str, seen: Occurrences
) -> tuple[Path | None, bool]:
    """The image of a JSON file where it says, or by its name or that of the JSON file in the folder of images or beside
    it; and whether that is where `imagePath` leads. LabelMe 4 wrote the JSON file itself there."""
    inside = inside_of(file.parent.relative_to(root).parts, told) if told.name else None
    is_image = PurePath(told.name).suffix.lower() in IMAGE_SUFFIXES
    stated = found_as(root.joinpath(*inside)) if inside and is_image else None
    if stated is not None and stated.is_file():
        if stated.name != told.name:
            seen.setdefault("form", []).append(name)
        return confine_found(root, stated), True
    folders = [image_root, file.parent] if image_root else [file.parent]
    others = [folder / told.name for folder in folders if is_image]
    others += [
        folder / (file.stem + ending)
        for folder in folders
        for suffix in sorted(IMAGE_SUFFIXES)
        for ending in (suffix, suffix.upper())
    ]
    found = next((path for path in map(found_as, others) if path is not None and path.is_file()), None)
    return (confine_found(root, found) if found else None), not told.name


def find_elsewhere(
    root: Path,
    image_root: Path | None,
    lost: dict[str, PureWindowsPath],
    items: dict[str, Item],
    used: set[Path],
    seen: Occurrences,
) -> None:
    """Images that are neither where `imagePath` leads nor beside: those of their name, or of that of their JSON file,
    where only one that is no other file's is called so anywhere below the root, or in a folder of the same name."""
    by_name: dict[str, list[Path]] = {}
    for path in images_below(image_root or root):
        if path not in used:
            for name in {nfc(path.name), nfc(path.stem)}:
                by_name.setdefault(name, []).append(path)
    for name, told in lost.items():
        item = items[name]
        found = by_name.get(nfc(told.name)) or by_name.get(nfc(item.source.stem)) or []
        if len(found) > 1:
            parents = {told.parent.name, item.source.parent.name}
            found = [path for path in found if path.parent.name in parents]
        if len(found) == 1 and found[0] not in used:
            item.image = confine_found(root, found[0])
            used.add(item.image)
            seen.setdefault("moved", []).append(name)
        else:
            seen.setdefault("missing", []).append(name)


def inside_of(folder: tuple[str, ...], path: PureWindowsPath) -> list[str] | None:
    """The parts of `path`, relative to `folder`, without `..`; None when it leads outside."""
    if path.anchor:
        return None
    parts = list(folder)
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return None
    return parts
