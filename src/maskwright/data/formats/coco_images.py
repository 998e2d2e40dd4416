"""Finds image files by the names that COCO files give them.

These are relative to one of several folders, or come from another machine: absolute paths, Windows separators, `..`,
URLs. All are looked up in one listing of the folder, so no name can lead to a file outside it.
"""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from maskwright.base.storage import confine
from maskwright.core.description import FILE_NAME
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.image_files import images_below
from maskwright.core.listing import confine_found
from maskwright.core.patterns import nfc
from maskwright.core.sample import IMAGE_SUFFIXES
from maskwright.data.formats.coco_values import text_of
from maskwright.data.formats.source import takeable


class ImageFiles:
    """The image files below `root`, or below its folder `images`, by their paths relative to `root`."""

    def __init__(self, root: Path, images: str | None) -> None:
        self.root = root
        self._images = PurePosixPath(images.replace("\\", "/")).as_posix() if images else None
        base = confine(root, images, FILE_NAME) if images else root
        self._paths = {path.relative_to(root).as_posix(): path for path in images_below(base)}
        # Letters beyond ASCII have two forms, and file and annotation may differ in it.
        self._forms = {nfc(place): place for place in self._paths if not place.isascii()}
        self._by_name: dict[str, list[str]] = {}
        self._by_likeness: dict[str, list[str]] = {}
        for place in self._paths:
            self._by_name.setdefault(nfc(last_of(place)), []).append(place)
            self._by_likeness.setdefault(_alike(last_of(place)), []).append(place)

    def __contains__(self, place: str) -> bool:
        """Whether there is a file at `place`, a path relative to the root."""
        return place in self._paths

    def bases(self, folder: str, word: str) -> list[str]:
        """Folders that names may be relative to, the most usual first, for an annotation file in `folder` ("" for the
        root); `word` is the split as it is written, or ""."""
        outer = [self._images] if self._images else ["images", "", folder, f"{folder}/images"]
        inner = [f"{base}/{word}" if base else word for base in outer] if word else []
        return list(dict.fromkeys(base.strip("/") for base in [*inner, *outer, ""]))

    def find(self, name: str, bases: list[str], alone: bool) -> str | None:
        """The file called `name` in the first of the `bases` that has it. With `alone` (no other entry's name ends
        alike) also the only file anywhere of that last part. None when there is none."""
        tail = tail_of(name)
        for relative in dict.fromkeys([name, tail]):
            for base in bases:
                place = f"{base}/{relative}" if base else relative
                if place in self._paths:
                    return place
                if (other := self._forms.get(nfc(place))) is not None:
                    return other
        same = self._by_name.get(nfc(last_of(tail)), [])
        return same[0] if alone and len(same) == 1 else None

    def nearest(self, name: str, beside: str = "") -> str | None:
        """The file whose path shares the most last parts with `name`, however its folders begin, where only one does:
        `/data/local-files/?d=a/b.jpg` is `images/a/b.jpg` rather than `images/c/b.jpg`. Among equals the one that
        shares the most folders with the file `beside`, which names it. Upper and lower case and the Unicode form matter
        only where they must."""
        parts, folders = path_in(name).split("/"), beside.split("/")[:-1]
        found = self._by_name.get(parts[-1], []) or self._by_likeness.get(_alike(parts[-1]), [])
        shared = {}
        for place in found:
            others = place.split("/")
            shared[place] = _shared(parts[-2::-1], others[-2::-1]), _shared(folders, others[:-1])
        best = [place for place, count in shared.items() if count == max(shared.values())]
        return best[0] if len(best) == 1 else None

    def path(self, place: str, source: Path) -> Path:
        """Where it lies, or would lie. DataError, naming `source`, when a symbolic link leads out of the root."""
        found = self._paths.get(place)
        if found is None:
            return confine(self.root, takeable(place.split("/")), str(source))
        return confine_found(self.root, found) if found.is_symlink() else found


def tail_of(name: str) -> str:
    """The part of a name that is worth looking up: all of a relative path or what is behind its last `..`, the last
    part of an absolute one and of a URL; "" when there is none."""
    text = path_in(name)
    absolute = text.startswith("/") or re.match("[A-Za-z]:/", text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    return "/".join(parts[-1:] if absolute else parts)


def path_in(name: str) -> str:
    """The path that a name is or holds, with `/`; what was served by a URL begins with one."""
    text = name.replace("\\", "/")
    if "://" in text or "/?d=" in text:  # the latter is /data/local-files/?d=folder/a.jpg
        served = text.rpartition("?d=")[2] if "/?d=" in text else re.split("[?#]", text.partition("://")[2])[0]
        text = "/" + (text_of(unquote(served)) or "")
    return text


def _alike(name: str) -> str:
    return nfc(name).casefold()


def _shared(parts: list[str], others: list[str]) -> int:
    """How many parts are the same from the first on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, others, strict=False)))


def last_of(place: str) -> str:
    """The name of a file without its folders."""
    return place.rpartition("/")[2]


def stem_below(place: str, bases: list[str]) -> str:
    """`place` without its ending and the longest of the `bases` that it lies in."""
    base = max((base for base in bases if base and place.startswith(base + "/")), key=len, default="")
    stem = PurePosixPath(place[len(base) + 1 if base else 0 :])
    return (stem.with_suffix("") if stem.suffix.lower() in IMAGE_SUFFIXES else stem).as_posix()


def known_split(word: str) -> str | None:
    """`train` for train2017; None for words that are no split."""
    return SPLIT_NAMES.get(word.lower().rstrip("0123456789"))


def split_of(file: PurePosixPath) -> tuple[str | None, str]:
    """The split that the path of an annotation file, relative to the root, names, and the word for it; "" when there
    is none. `instances_default.json` says that there is no split."""
    stem = file.name.removesuffix(".json")
    if stem.startswith("instances_") and (own := stem.removeprefix("instances_")):
        return (None if own == "default" else known_split(own) or own), own
    words = re.findall(r"[A-Za-z0-9]+", stem)
    for word in [*words[:1], *words[-1:], *reversed(file.parts[:-1])]:
        if split := known_split(word):
            return split, word
    return None, ""
