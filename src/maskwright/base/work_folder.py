"""WorkFolder: the one way in which work that was stopped is kept and resumed.

What takes minutes is done in a folder beside its output, which appears whole and at once in the end:

    OUT.unfinished/             what was done so far, as the verb likes to keep it
    OUT.unfinished/facts.json   what all of it depends on
    OUT.unfinished/.lock        held by the process that works

The same call takes the folder up again, after Ctrl-C as after a kill. It holds work on these facts or none: where they
differ the call is refused, or starts again with a line that says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from maskwright.base.progress import say
from maskwright.base.storage import (
    STAGING_PREFIX,
    atomic_write_json,
    disk_errors,
    exclusive_lock,
    jsonable,
    publish,
    read_json,
)
from maskwright.base.texts import listing
from maskwright.errors import ConfigError, DataError, Interrupted, argument

FACTS, LOCK = "facts.json", ".lock"
_LONGEST = 24  # characters of a value that a message shows; hashes and lists are longer


def work_folder_of(out: Path) -> Path:
    """The work folder of the output `out`."""
    return out.with_name(f"{out.name}.unfinished")


@dataclass(frozen=True)
class WorkFolder:
    """The work folder at `path`; `facts` (for JSON) are all that the work depends on."""

    path: Path
    facts: Mapping[str, Any]

    @contextmanager
    def held(self, *, restart: bool = False) -> Iterator[Self]:
        """Makes the folder or takes up what is in it, for this process alone. Ctrl-C in the block, and a training that
        is stopped in it, become one Interrupted that says how to resume; the folder stays unless the block ends it.

        ConfigError where it holds work on other facts; with `restart` that is deleted instead. DataError where it holds
        something else, LockedError while another process works in it.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(self.path):
            self._claim(restart)
            try:
                yield self
            except (KeyboardInterrupt, Interrupted):
                raise Interrupted(f"{self.path}: stopped; the same command resumes it") from None

    def publish(self, out: Path, keep: Collection[str]) -> None:
        """Ends the work: the folder becomes `out`, by one rename, and all in it but the names in `keep` is deleted.
        ConfigError where `out` exists and is not empty."""
        publish(self.path, out)
        # Only now: what is half cleared away could not be resumed.
        _clear(out, keep)

    def remove(self) -> None:
        """Ends the work: the folder is deleted."""
        shutil.rmtree(self.path)

    def _claim(self, restart: bool) -> None:
        file, facts = self.path / FACTS, jsonable(self.facts)
        if file.exists():
            differing = differing_facts(read_json(file), facts)
            if not differing:
                return
            if not restart:
                raise ConfigError(
                    f"{self.path}: holds unfinished work with other settings: {listing(differing)}; give the same "
                    f"again to resume it, choose another {argument('out')}, or delete it"
                )
            say(f"{self.path}: {listing(differing)} changed since this work was stopped; it starts again")
            _clear(self.path, {LOCK, FACTS})
        elif any(name.name != LOCK and not name.name.startswith(STAGING_PREFIX) for name in self.path.iterdir()):
            raise DataError(f"{self.path}: holds something else than unfinished work; move it away, or delete it")
        atomic_write_json(file, facts)


def differing_facts(before: Any, now: Any, name: str = "") -> list[str]:
    """What differs in two values of JSON, by dotted names, with both values where these are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            one
            for key in dict.fromkeys([*before, *now])
            for one in differing_facts(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    if before == now:
        return []
    shown = max(len(str(before)), len(str(now))) <= _LONGEST
    return [f"{name} ({before} then, {now} now)" if shown else name]


def _clear(folder: Path, keep: Collection[str]) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
