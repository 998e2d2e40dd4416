"""RunsFolder: the only owner of paths inside the folder of runs that belong together, and Study, which is one.

FOLDER/runs/NAME/              the runs, as `train` and `evaluate` leave them
FOLDER/jobs/NAME/config.yaml   what the run is trained with
FOLDER/jobs/NAME/worker.log    what its processes have said
FOLDER/jobs/NAME/failed.json   present while the run has failed; says why
FOLDER/decoded/                images that all runs share (see `training.decoded`); gone when all have finished
STUDY/study.yaml               the study with absolute paths: `maskwright study STUDY` resumes it
"""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from maskwright.base import strictyaml
from maskwright.base.storage import STAGING_PREFIX, atomic_write_json, atomic_write_text, read_json, staged_folder
from maskwright.config import RunConfig
from maskwright.errors import ConfigError, DataError, argument
from maskwright.run import Run
from maskwright.studies.matrix import Matrix, StudyConfig, combinations
from maskwright.studies.naming import NAME


@dataclass(frozen=True)
class RunsFolder(ABC):
    """Runs that belong together, on disk: what the verb `verb` makes, by default in `home` beside the file that it was
    given."""

    path: Path
    verb: ClassVar[str]
    home: ClassVar[str]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing one. DataError when the folder is none."""
        found = cls(Path(path))
        if not found.begun:
            raise DataError(f"{path}: not a {cls.verb}'s folder; give the one that `{cls.verb}` printed")
        return found

    @classmethod
    def places(cls, file: Path, out: str | Path | None) -> tuple[Path, Path]:
        """The file to read and the folder to work in, of a file or of the folder of one that is resumed."""
        if not file.is_dir():
            return file, Path(out) if out else file.parent / cls.home / file.stem
        if out is not None and Path(out).resolve() != file.resolve():
            raise ConfigError(
                f"{file}: is the folder of a {cls.verb}, which is resumed in place; leave {argument('out')} out"
            )
        return cls.open(file).file, file

    @property
    def file(self) -> Path:
        """What it is."""
        return self.path / f"{self.verb}.yaml"

    @property
    def begun(self) -> bool:
        """Whether it is there; the file alone may be what a user has written."""
        return self.file.is_file() and self.jobs.is_dir()

    @property
    def prepared(self) -> list[str]:
        """The names of the runs whose config is there."""
        return sorted(file.parent.name for file in self.jobs.glob("*/config.yaml"))

    @property
    @abstractmethod
    def evaluate(self) -> Sequence[str]:
        """The splits that each run is scored on when it is trained."""

    @property
    def decoded(self) -> Path:
        """Folder of the images that all runs share."""
        return self.path / "decoded"

    def run(self, name: str) -> Run:
        """A run, which need not be there yet."""
        return Run(self.path / "runs" / name)

    @property
    def jobs(self) -> Path:
        """Folder of what belongs to runs and is no part of them."""
        return self.path / "jobs"

    def job(self, name: str) -> Path:
        """The folder of what belongs to a run and is no part of it. A process that works on the run holds its lock."""
        return self.jobs / name

    def config_file(self, name: str) -> Path:
        """The config of a run."""
        return self.job(name) / "config.yaml"

    def log(self, name: str) -> Path:
        """What the processes of a run have said."""
        return self.job(name) / "worker.log"

    def run_config(self, name: str) -> RunConfig:
        """What a run is trained with. It was checked when the study began."""
        return strictyaml.validate(RunConfig, strictyaml.read(self.config_file(name)))

    def failure(self, name: str) -> dict[str, Any] | None:
        """Why a run has failed (`code`, `message`), or None."""
        file = self.job(name) / "failed.json"
        return read_json(file) if file.exists() else None

    def fail(self, name: str, code: int, message: str) -> None:
        """Notes that a run has failed, with the exit code of the error."""
        atomic_write_json(self.job(name) / "failed.json", {"code": code, "message": message})

    def forgive(self, name: str) -> None:
        """Forgets why a run has failed."""
        (self.job(name) / "failed.json").unlink(missing_ok=True)

    def tidy(self, name: str) -> None:
        """Removes what a process of this run has left half made when it was killed; the caller holds the job's lock."""
        run = self.run(name).path
        for parent, stem in ((run.parent, re.escape(name)), (run / "evaluations", ".*")):
            for path in parent.iterdir() if parent.is_dir() else ():
                if re.fullmatch(rf"{re.escape(STAGING_PREFIX)}\d+-{stem}", path.name):
                    shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class Study(RunsFolder):
    """The runs of a matrix, on disk."""

    verb: ClassVar[str] = "study"
    home: ClassVar[str] = "studies"

    @property
    def evaluate(self) -> Sequence[str]:
        """Those of `study.yaml`."""
        return self.config.evaluate or ()

    @property
    def config(self) -> StudyConfig:
        """What the study is. ConfigError when names in it would lead out of its folder."""
        config = strictyaml.validate(StudyConfig, strictyaml.read(self.file))
        if not all(NAME.fullmatch(str(name)) for values in config.varied.values() for name in values):
            raise ConfigError(
                f"{self.file}: the matrix has values without a name of letters, digits and . + - _; restore the file"
            )
        return config

    def runs(self) -> list[dict[str, str]]:
        """The names of the values of each run, in the order of the matrix."""
        config = self.config
        return [*combinations(config.varied, config.exclude)]

    def begin(self, matrix: Matrix) -> None:
        """Makes the folder, by one rename. Raises ConfigError when another one is in its place."""
        with staged_folder(self.path) as staging:
            Study(staging)._write(matrix)

    def extend(self, matrix: Matrix) -> None:
        """Adds the runs that are new in `matrix`; the caller holds the study's lock. Raises ConfigError when the study
        has runs that are not in it, or differ there."""
        wanted = {entry.name: entry.config for entry in matrix.entries}
        if other := [name for name in self.prepared if self.run_config(name) != wanted.get(name)]:
            shown = ", ".join(other[:3]) + ", …" * (len(other) > 3)
            raise ConfigError(
                f"{self.path}: was begun with other settings for {shown}; runs may be added to a study "
                f"and not changed: give a new folder with {argument('out')}"
            )
        self._write(matrix)

    def _write(self, matrix: Matrix) -> None:
        for entry in matrix.entries:
            if not self.config_file(entry.name).exists():
                write_yaml(self.config_file(entry.name), entry.config.to_dict())
        if not self.file.exists() or self.config != matrix.config:
            write_yaml(self.file, matrix.config.model_dump())


def write_yaml(file: Path, data: dict[str, Any]) -> None:
    """Data as YAML that our reader takes."""
    atomic_write_text(file, yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Writes values that are the same object twice, since our reader knows no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True
