"""What is to be predicted: the images that files, folders and globs mean, and what is left out of them and why.

Output is never taken as input: neither what lies in the output folder, nor folders of predictions and runs that lie in
a folder of images.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path

from maskwright.base.texts import listing
from maskwright.core.image_files import sorted_out
from maskwright.errors import ConfigError, one_line
from maskwright.run import Run

# What a folder of predictions holds as soon as it holds one.
ROWS = "predictions.jsonl"


@dataclass(frozen=True)
class ImageFile:
    """One image: the `file` as it was given, the `source`, which is the same for every spelling of its folder, and the
    `name` that its masks get, unless another image has it."""

    file: Path
    source: str
    name: str

    def names(self) -> Iterator[str]:
        """The names that tell it from other images, the best first: its own, with its ending, with more and more of
        the folders above it."""
        source = Path(self.source)
        above = source.parent.parts[1 : len(source.parts) - len(Path(self.name).parts)]
        for more in range(len(above) + 1):
            name = "/".join([*above[len(above) - more :], self.name])
            yield name
            yield name + source.suffix
        yield f"{self.name}-{blake2b(self.source.encode(), digest_size=8).hexdigest()}"


@dataclass
class Inputs:
    """The `images`, each once, and what was `left_out` of what was given: `file` and `reason`."""

    images: list[ImageFile] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was left out, for a terminal: a line for each reason."""
        counts = Counter(row["reason"] for row in self.left_out)
        return [
            f"left out {count:,}: {listing(row['file'] for row in self.left_out if row['reason'] == reason)}: {reason}"
            for reason, count in counts.items()
        ]


class _Output:
    """Tells what is output of predictions and runs, by what it is and however its path is written."""

    def __init__(self, out: Path) -> None:
        self.place = os.path.realpath(out)
        # Thousands of files share a folder.
        self._real = lru_cache(1024)(os.path.realpath)
        self.closed = lru_cache(1024)(self._closed)

    def source(self, path: Path) -> str:
        """The path in its real folder; a link to a file is an image of its own."""
        return os.path.join(self._real(path.parent), path.name)

    def holds(self, source: str) -> bool:
        """Whether it lies in the output folder, or is it."""
        return Path(source).is_relative_to(self.place)

    def _closed(self, folder: Path) -> str:
        if self.holds(self._real(folder)):
            return "is the output folder"
        if (folder / ROWS).is_file():
            return "is a folder of predictions"
        return "is a run" if Run(folder).info_file.is_file() else ""


def find_images(inputs: str | Path | Sequence[str | Path], out: Path) -> Inputs:
    """The images of files, folders (searched below) and globs, whose predictions go to the folder `out`.

    A file is named by its name, one of a folder by its path in it, both without the ending. Raises ConfigError where
    one of the inputs has no image.
    """
    output = _Output(out)
    images: dict[str, ImageFile] = {}
    left_out: list[dict[str, str]] = []
    for item in map(str, [inputs] if isinstance(inputs, (str, Path)) else inputs):
        files, passed = _look(item, output)
        named = {}
        for name, path in files:
            source = output.source(path)
            if output.holds(source):
                passed.append((path, "lies in the output folder"))
            elif not _is_text(source):
                passed.append((path, "its name is not UTF-8; rename it"))
            else:
                named[source] = ImageFile(path, source, name.with_suffix("").as_posix())
        here = [{"file": one_line(str(path)), "reason": reason} for path, reason in passed]
        if not named:
            why = "; ".join(Inputs(left_out=here).lines())
            raise ConfigError(
                f"{item}: no image found there{f' ({why})' if why else ''}; give a file, a folder or a glob in quotes"
            )
        images |= {source: image for source, image in named.items() if source not in images}
        left_out += here
    return Inputs([*images.values()], left_out)


def _look(item: str, output: _Output) -> tuple[list[tuple[Path, Path]], list[tuple[Path, str]]]:
    """Of one input the files, each with its path as a name, and what is no file to predict, with the reason."""
    root = Path(item)
    if root.is_dir():
        if output.holds(os.path.realpath(root)):
            return [], [(root, "is the output folder")]
        found, passed = sorted_out(root, output.closed)
        return [(path.relative_to(root), path) for path in found], passed
    if root.exists():
        return [(Path(root.name), root)], []
    files, passed = [], []
    # Above the first part with a wildcard the user has chosen the folder.
    fixed = len([*takewhile(lambda part: not glob.has_magic(part), root.parts)])
    for path in map(Path, sorted(glob.glob(item, recursive=True))):
        folders = [*path.parents][: -fixed or None]
        if path.is_dir():
            passed.append((path, output.closed(path) or "is a folder; name it to have what is in it"))
        elif reason := next((reason for folder in folders if (reason := output.closed(folder))), ""):
            passed.append((path, f"its folder {reason}"))
        else:
            files.append((Path(path.name), path))
    return files, passed


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
