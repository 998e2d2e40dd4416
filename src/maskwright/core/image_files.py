"""The one finder of image files: what counts as one, in which order they come, and what is passed over.

An image file is told by its ending. Hidden files and folders (a name that begins with a dot), and the shadow files of
macOS in `__MACOSX`, are left out. Links to files count as files; links to folders are not entered, or where it is asked
for only those that lead elsewhere. Names are in natural order: `2.png` comes before `10.png`. `sorted_out` says what
was passed over, and why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from maskwright.base.storage import natural, natural_text
from maskwright.core.mask_files import ARRAY_SUFFIXES
from maskwright.core.sample import IMAGE_SUFFIXES, PACKED


def images_below(folder: Path, links: list[Path] | None = None, follow: bool = False) -> list[Path]:
    """The image files in `folder` and in the folders below it; links to folders that are not entered are added to
    `links`. With `follow` those that lead out of `folder` are entered, each target once."""
    found = [path for path, name in _files(folder, links, follow) if _is_name(name) and os.path.isfile(path)]
    return [Path(path) for path in sorted(found, key=lambda path: natural_text(path.replace(os.sep, "/")))]


def sorted_out(
    folder: Path, closed: Callable[[Path], str] = lambda folder: ""
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """As `images_below`, with every file and folder that is passed over, and the reason. `closed` gives the reason why
    a folder is not entered, if there is one."""
    images: list[Path] = []
    passed: list[tuple[Path, str]] = []
    failed: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=failed.append):
        for name in [*folders]:
            path = Path(place, name)
            hidden = "is hidden" if _is_hidden(name) else ""
            linked = "is a link to a folder; name it to have what is in it" if path.is_symlink() else ""
            if reason := hidden or linked or closed(path):
                folders.remove(name)
                passed.append((path, reason))
        for name in files:
            path = Path(place, name)
            if reason := _why_no_image(path):
                passed.append((path, reason))
            else:
                images.append(path)
    passed += [(Path(os.fsdecode(error.filename)), "cannot be listed") for error in failed]
    return sorted(images, key=natural), sorted(passed, key=lambda found: natural(found[0]))


def _why_no_image(path: Path) -> str:
    if _is_name(path.name):
        return "" if path.is_file() else "is not a file"
    if _is_hidden(path.name):
        return "is hidden"
    return f"{path.suffix} is no ending of an image that is read" if path.suffix else "has no ending of an image"


def paths_below(folder: Path, links: list[Path] | None = None, follow: bool = False) -> list[str]:
    """As `images_below`, as paths inside `folder` with `/`, and with arrays (`.npy`, `.mat`), which may be masks, and
    compressed images (`.gz`)."""
    start = len(os.path.join(folder, ""))
    found = [
        path[start:] for path, name in _files(folder, links, follow) if _may_be_mask(name) and os.path.isfile(path)
    ]
    return sorted((path.replace(os.sep, "/") for path in found), key=natural_text)


def images_in(folder: Path) -> list[Path]:
    """The image files in `folder` itself; none when it is no folder."""
    return [path for path in listed_in(folder) if is_image(path)]


def listed_in(folder: Path) -> list[Path]:
    """All that is in `folder` and not hidden, in natural order; nothing when it is no folder that can be listed."""
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural)
    except OSError:
        return []


def holds_images(folder: Path, most: int | None = None) -> bool:
    """Whether an image file lies in `folder` or below it; with `most`, only so many files are looked at."""
    return any(_is_name(name) and os.path.isfile(path) for path, name in islice(_files(folder, None), most))


def is_image(path: Path) -> bool:
    """Whether this is an image file that is there and not hidden."""
    return _is_name(path.name) and path.is_file()


def _may_be_mask(name: str) -> bool:
    stem, ending = os.path.splitext(name)
    return _is_name(stem if ending.lower() == PACKED else name) or ending.lower() in ARRAY_SUFFIXES


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def links_outside(folder: Path) -> list[Path]:
    """The links to folders and to image files below `folder` that lead out of it to something that is there."""
    home, found = os.path.realpath(folder), []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in (*folders, *filter(_may_be_mask, files)):
            path = os.path.join(place, name)
            if os.path.islink(path) and os.path.exists(path) and not _within(home, os.path.realpath(path)):
                found.append(Path(path))
    return found


def _files(folder: Path, links: list[Path] | None, follow: bool = False) -> Iterator[tuple[str, str]]:
    entered = [os.path.realpath(folder)]
    for place, folders, files in os.walk(folder, followlinks=follow):
        kept = []
        for name in folders:
            if _is_hidden(name):
                continue
            path = os.path.join(place, name)
            if os.path.islink(path):
                real = os.path.realpath(path)
                # What holds a folder that was entered, or lies in one, would be listed twice or without end.
                if not follow or any(_within(one, real) or _within(real, one) for one in entered):
                    if links is not None:
                        links.append(Path(path))
                    continue
                entered.append(real)
            kept.append(name)
        folders[:] = kept
        yield from ((os.path.join(place, name), name) for name in files)


def _within(folder: str, path: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))
