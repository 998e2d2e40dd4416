"""Search: the folder of a search. Beside what every folder of runs has (see `studies.folder`):

SEARCH/search.yaml     the search with absolute paths: `maskwright search SEARCH` resumes it
SEARCH/trials.db       the trials, or trials.journal; neither where a database has them
SEARCH/leaders/ID/     of each process that leads the search now, which holds its lock
SEARCH/best.yaml       the config of the best trial, for `train`
SEARCH/search.json     what the search has found, for `report`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from maskwright.base.storage import atomic_write_json, staged_folder
from maskwright.config import RunConfig
from maskwright.errors import ConfigError, argument
from maskwright.studies.folder import RunsFolder, write_yaml
from maskwright.studies.searching.space import SearchConfig, Space, load_search

# What may change between two calls of one search: how long it goes on, and by what it chooses.
_FREE = {"trials", "time", "sampler", "pruner"}


@dataclass(frozen=True)
class Search(RunsFolder):
    """The trials of a search, on disk."""

    verb: ClassVar[str] = "search"
    home: ClassVar[str] = "searches"

    @property
    def best_file(self) -> Path:
        """The config of the best trial."""
        return self.path / "best.yaml"

    @property
    def result_file(self) -> Path:
        """What the search has found."""
        return self.path / "search.json"

    @property
    def leaders(self) -> Path:
        """A folder for each process that leads the search."""
        return self.path / "leaders"

    @property
    def evaluate(self) -> Sequence[str]:
        """Only what chooses: the test split is for the trial that is chosen."""
        return ["val"]

    def begin(self, config: SearchConfig) -> Space:
        """The search as it is on disk: made by one rename where it is new, else with the length, sampler and pruner of
        `config`. Raises ConfigError where it was begun with other settings."""
        found = load_search(self.file) if self.begun else None
        name = found.config.name if found else self.path.resolve().name  # which the folder may lose later
        config = config.model_copy(update={"name": config.name or name})
        if found is None:
            try:
                with staged_folder(self.path) as staging:
                    write_yaml(Search(staging).file, config.model_dump(by_alias=True))
                    Search(staging).leaders.mkdir()
                    Search(staging).jobs.mkdir()
                return load_search(self.file)
            except ConfigError:
                if not self.begun:
                    raise
                return self.begin(config)  # another process was faster
        before = found.config.model_dump()
        changed = [key for key, value in config.model_dump().items() if key not in _FREE and before[key] != value]
        if changed:
            raise ConfigError(
                f"{self.path}: was begun with another {changed[0]}; only {', '.join(sorted(_FREE))} may change: give a "
                f"new folder with {argument('out')}"
            )
        if found.config == config:
            return found
        write_yaml(self.file, config.model_dump(by_alias=True))
        return load_search(self.file)

    def prepare(self, name: str, config: RunConfig) -> None:
        """Writes what a trial is trained with, where that is not there yet."""
        if not self.config_file(name).exists():
            write_yaml(self.config_file(name), config.to_dict())

    def prune(self, name: str, message: str) -> None:
        """Notes in a run why it was ended early."""
        atomic_write_json(self.run(name).pruned_file, {"message": message})
