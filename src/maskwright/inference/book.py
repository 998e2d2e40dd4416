"""What was predicted into a folder, and whether it still belongs to its images.

    predictions.jsonl   a row for each image whose files are whole and on the disk
    skipped.jsonl       a row for each image that could not be read, and why

An image is known by its content: a row holds the hash of the file that its masks were made of. `source` and `state`
(see `core.hashes`) spare reading a file that was not touched since.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Self

from maskwright.base.storage import Journal, flush
from maskwright.core.hashes import file_hash, file_state, settled_state
from maskwright.errors import DataError
from maskwright.inference.derived import LARGE, name_of
from maskwright.inference.inputs import ROWS, ImageFile

# Images, and seconds, after which what was written is brought to the disk and into the journal: what a kill costs at
# most. Public, so that tests can make them small.
DURABLE, DURABLE_SECONDS = 64, 10.0
Row = dict[str, Any]


def identity(image: ImageFile) -> Row:
    """What a row says of an image so that it is known again; taken before its pixels are read, so that no change goes
    unseen."""
    return {
        "image": str(image.file),
        "source": image.source,
        "state": settled_state(image.file),
        "hash": _hash(image.file),
    }


def files_of(row: Row) -> list[str]:
    """The files of a row, in its folder."""
    probabilities = [row["probabilities"]] if "probabilities" in row else []
    return [row["mask"], row["overlay"], *row.get("levels", ()), *probabilities]


class Book:
    """Both journals of a folder. Leaving its block brings to the disk what is still waiting, also when work was
    stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._done, self._skips = Journal(folder / ROWS), Journal(folder / "skipped.jsonl")
        self._rows = {name_of(row): row for row in self._done.read()}
        self._skipped = {row.get("source", row["image"]): row for row in self._skips.read()}
        self._waiting: list[Row] = []
        self._since = time.monotonic()

    def todo(self, named: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
        """Those of the images, by the names of their masks, that have no prediction, or one of another content, or were
        skipped and have changed. What is stale in the folder is removed."""
        todo, changed = {}, False
        for name, image in named.items():
            known = self._rows.get(name) or self._skipped.get(image.source)
            if known is None or not self._is_whole(known) or not _same(image, known):
                todo[name] = image
                continue
            now: Row = {"image": str(image.file), "source": image.source}
            now["state"] = settled_state(image.file) or known.get("state")
            changed |= known != known | now
            known.update(now)
        stale = [self._rows.pop(name) for name in todo if name in self._rows]
        again = [self._skipped.pop(source) for source in [*self._skipped] if not os.path.lexists(source)]
        again += [self._skipped.pop(image.source) for image in todo.values() if image.source in self._skipped]
        # First the rows: whatever has a row has all its files.
        if stale or changed:
            self._done.replace(self._rows.values())
        if again or changed:
            self._skips.replace(self._skipped.values())
        for row in stale:
            for file in files_of(row):
                (self.folder / file).unlink(missing_ok=True)
        return todo

    def named(self, images: Iterable[ImageFile]) -> dict[str, ImageFile]:
        """Each image with the name of its masks. One that was predicted before keeps the name it had; where several
        would have the same, each gets its ending into it, or folders above it (`ImageFile.names`).

        The names do not depend on which of the images were predicted before a stop. Names that differ in upper and
        lower case only are the same, as they are for some file systems.
        """
        images = list(images)
        sources = {image.source for image in images}
        before: dict[str, set[str]] = {}
        for name, row in self._rows.items():
            before.setdefault(row.get("source", row["image"]), set()).add(name)
        kept: dict[str, ImageFile] = {}
        taken = set()
        new = []
        for image in images:
            tried = set()
            for name in image.names() if self._rows else ():
                tried.add(_key(name))
                if name in before.get(image.source, ()) or (name not in kept and self._is_of(name, image, sources)):
                    kept[name] = image
                    taken |= tried
                    break
            else:
                new.append(image)
        taken |= {_key(name) for name in self._rows if name not in kept}
        names = {image: image.names() for image in new}
        chosen = {image: next(names[image]) for image in new}
        # A mask may not stand where another needs a folder.
        files, fixed = _outputs(self._rows), _folders(self._rows)
        while True:
            counts = Counter(map(_key, chosen.values()))
            folders = fixed | _folders(chosen.values())
            clash = [
                image
                for image, name in chosen.items()
                if counts[_key(name)] > 1
                or _key(name) in taken
                or not folders.isdisjoint(_outputs([name]))
                or not files.isdisjoint(_folders([name]))
            ]
            if not clash:
                break
            # Given up by all that wanted it, so that it does not matter which of them come first.
            taken |= {_key(chosen[image]) for image in clash}
            chosen |= {image: next(names[image]) for image in clash}
        given = {image: name for name, image in kept.items()} | chosen
        return {given[image]: image for image in images}

    def _is_of(self, name: str, image: ImageFile, sources: set[str]) -> bool:
        """Whether the row of this name belongs to the image, though its path was another one."""
        row = self._rows.get(name)
        if row is None or (source := row.get("source", row["image"])) in sources:
            return False
        try:
            if image.file.samefile(source):
                return True
        except OSError:
            pass
        return _same(image, row)

    def _is_whole(self, row: Row) -> bool:
        return "mask" not in row or all((self.folder / file).is_file() for file in files_of(row))

    def add(self, row: Row) -> None:
        """One image, which was skipped if the row has a reason."""
        if "reason" in row:
            self._skips.append(row)
            self._skipped[row["source"]] = row
        else:
            self._waiting.append(row)

    def settle_if_due(self) -> None:
        """Now and then brings what is waiting to the disk."""
        if len(self._waiting) >= DURABLE or time.monotonic() - self._since > DURABLE_SECONDS:
            self._settle()

    def _settle(self) -> None:
        rows = self._waiting
        flush([self.folder / file for row in rows for file in files_of(row)], self.folder)
        self._done.append(*rows)
        self._rows |= {name_of(row): row for row in rows}
        self._waiting, self._since = [], time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._settle()

    @property
    def rows(self) -> list[Row]:
        """Of all images of the folder that have a prediction."""
        return [*self._rows.values()]

    @property
    def skipped(self) -> list[dict[str, str]]:
        """`image` and `reason` of those that could not be read."""
        return [{"image": row["image"], "reason": row["reason"]} for row in self._skipped.values()]


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _outputs(names: Iterable[str]) -> set[str]:
    return {_key(name + ending) for name in names for ending in (".png", LARGE, ".jpg", ".npz")}


def _folders(names: Iterable[str]) -> set[str]:
    return {_key(folder) for folder in {str(folder) for name in names for folder in PurePosixPath(name).parents}}


def _same(image: ImageFile, row: Mapping[str, Any]) -> bool:
    """Whether the file has the content that the row was made of."""
    state = file_state(image.file)
    if state is not None and row.get("source") == image.source and row.get("state") == state:
        return True
    return row.get("hash") is not None and row["hash"] == _hash(image.file)


def _hash(path: Path) -> str | None:
    try:
        return file_hash(path)
    except DataError:
        return None  # whoever reads it says why
