"""Which folders count as runs, for every verb that takes several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskwright.base.storage import natural
from maskwright.run import Run

# STUDY/runs/CELL/SEED
DEEPEST = 3


def find_runs(paths: Sequence[str | Path]) -> tuple[list[Run], list[Path]]:
    """The runs that are meant, and the paths without any: logs of other tools, if anything.

    They are run folders, folders with evaluations, and those below other folders, at most three levels deep; folders
    whose names begin with a dot, and what lies in a run, are passed over. Each is taken once, in the order of their
    names below a folder.
    """
    found: dict[Path, Run] = {}
    others = []
    for path in map(Path, paths):
        below = sorted(_below(path, DEEPEST), key=natural)
        for folder in below:
            found.setdefault(folder.resolve(), Run(folder))
        others += [] if below else [path]
    return list(found.values()), others


def _below(path: Path, depth: int) -> Iterator[Path]:
    run = Run(path)
    if run.info_file.is_file() or run.evaluations.is_dir():
        yield path
    elif depth and path.is_dir():
        for folder in path.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                yield from _below(folder, depth - 1)
