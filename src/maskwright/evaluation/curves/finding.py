"""Logs of the paths that a user gives: run folders, studies, folders and files of other tools."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from maskwright.base.progress import progress
from maskwright.base.storage import natural
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.curves import READERS
from maskwright.evaluation.curves.curve import OWN, Curves
from maskwright.evaluation.curves.lines import Start
from maskwright.evaluation.run_folders import find_runs
from maskwright.run import Run

# Where logs of other tools lie below a folder: in itself, below `runs` (grouped or not), in its folders.
_BELOW = ("", "runs/*/", "runs/*/*/", "*/")
# Names that say what a file is and not which training it is of.
_SAYS_NOTHING = re.compile(
    r"metrics\.jsonl|metrics\.csv|results\.csv|scalars\.json|vis_data|events\.out\.tfevents\..*"
    r"|\d{8}_\d{6}(\.log)?(\.json)?"
)

Sources = str | Path | Run | Iterable[str | Path | Run]


def read_curves(sources: Sources) -> list[Curves]:
    """The curves of one or many trainings, in the order given, each once, under names that tell them apart.

    A source is a Run or its folder, a folder that holds runs such as a study (`find_runs`), or a log of another tool
    (`READERS`): the file itself, or a folder with such files in it or one level below it. What a file is, its content
    says. Runs of a study that have not begun are left out. Raises DataError for what cannot be read, with the line, and
    ConfigError when nothing was given.
    """
    given = [sources] if isinstance(sources, (str, Path, Run)) else list(sources)
    if not given:
        raise ConfigError("no run and no log given; name at least one")
    logs: dict[Path, str] = {}
    for source in given:
        for path, tool in _logs(source.path if isinstance(source, Run) else Path(source)):
            logs.setdefault(path.resolve(), tool)
    read = []
    with progress("reading logs", len(logs), "logs") as advance:
        for path, tool in logs.items():
            read.append(READERS[tool].read(path))
            advance(len(read))
    return [replace(curves, name=name) for curves, name in zip(read, _names(list(logs)), strict=True)]


def _logs(path: Path) -> list[tuple[Path, str]]:
    """Each log at `path` with the tool that wrote it."""
    if not path.is_dir():
        start = Start.of(path)
        tool = next((name for name, reader in READERS.items() if reader.detect(start)), None)
        if tool is None:
            raise DataError(f"{path}: not a log that is known; read are {_known()}")
        return [(path, tool)]
    runs, _ = find_runs([path])
    if logs := [run for run in runs if run.info_file.is_file() and run.metrics.path.is_file()]:
        return [(run.path, OWN) for run in logs]
    for below in _BELOW:
        for tool, reader in READERS.items():
            files = sorted(
                (file for pattern in reader.files for file in path.glob(below + pattern) if file.is_file()), key=natural
            )
            if files:
                found = [file.parent for file in files] if reader.together else files
                return [(file, tool) for file in dict.fromkeys(found)]
    raise DataError(f"{path}: neither a run nor a study, or no log in it yet; read are {_known()}")


def _known() -> str:
    return "; ".join(reader.meaning.replace("`", "") for reader in READERS.values())


def _names(paths: list[Path]) -> list[str]:
    """The last part of each path that says something, with as many before it as tell equal ones apart; sessions of one
    training, which differ in nothing else, with what their files are called."""
    parts = [tuple(part for part in path.parts if not _SAYS_NOTHING.fullmatch(part)) for path in paths]
    names = {of: of[-1] for of in parts}
    for length in range(2, max(map(len, names)) + 1):
        counts = Counter(names.values())
        names = {of: name if counts[name] == 1 else "/".join(of[-length:]) for of, name in names.items()}
    sessions = ["/".join(part for part in path.parts if _SAYS_NOTHING.fullmatch(part)) for path in paths]
    return [
        re.sub(r"(\.log)?\.json$", "", names[of] if parts.count(of) == 1 else f"{names[of]}/{session}")
        for of, session in zip(parts, sessions, strict=True)
    ]
