"""What `next` has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskwright.base.display import Result
from maskwright.base.storage import numbered
from maskwright.base.texts import plural, table
from maskwright.core.description import FOLDER

FILE, LIST = "next.json", "next.txt"


def newest_next(home: Path) -> Path | None:
    """The last finished `.maskwright/next-NNN` of the dataset in `home`, None where there is none."""
    found = {number: folder for _, number, folder in numbered(home / FOLDER, "next") if (folder / FILE).is_file()}
    return found[max(found)] if found else None


def mask_file(folder: Path, sample: str) -> Path:
    """The file of the mask that a result in `folder` gives to begin with, which is there where a run was asked."""
    return folder / "masks" / f"{sample}.png"


@dataclass(frozen=True)
class NextImage:
    """An image to draw: its sample and file; `reasons` in words; how many unlabelled images it `stands_for`; and, where
    a run was asked, `doubt`, its most doubtful `region` (x, y, width, height in pixels) and the file of a `mask` to
    begin with."""

    sample: str
    image: str
    reasons: list[str]
    stands_for: int
    doubt: float | None = None
    region: tuple[int, int, int, int] | None = None
    mask: str | None = None


@dataclass(frozen=True, repr=False)
class NextResult(Result):
    """The `images` to draw next, the one that is worth most first, of `unlabelled` ones in the dataset beside
    `labelled` ones; `runs` are those that were asked. The folder holds `next.txt` (names of samples), `next.json`, the
    page `index.html`, and `masks/` to begin with, as index PNGs."""

    name: str
    folder: Path
    labelled: int
    unlabelled: int
    images: Sequence[NextImage]
    runs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """See `Display`."""
        return {
            "dataset": self.name,
            "images": len(self.images),
            "of": f"{self.unlabelled} without a mask",
            "first": self.images[0].sample if self.images else None,
            "folder": str(self.folder),
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `next`."""
        return {
            **{key: value for key, value in vars(self).items() if key not in ("images", "folder")},
            "folder": str(self.folder),
            "images": [asdict(one) for one in self.images],
        }

    def human(self) -> str:
        """Text for a terminal."""
        lines = [
            f"{self.name}: {plural(len(self.images), 'image')} to draw next, of {self.unlabelled} without a mask "
            f"beside {self.labelled} with one"
        ]
        rows = [[str(i), one.sample, "; ".join(one.reasons)] for i, one in enumerate(self.images, 1)]
        lines += table([["", "sample", "why"], *rows])
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), f"list: {self.folder / LIST}"])
