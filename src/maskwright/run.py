"""Run: the only owner of paths inside a run folder.

    RUN/config.yaml            the resolved config: training it again gives the same model
    RUN/run.json               dataset version, splits, environment; written once
    RUN/metrics.jsonl          losses, learning rates and validation scores; the same bytes for the same run
    RUN/timing.jsonl           wall-clock facts of the same steps
    RUN/checkpoints/           best.safetensors (a model file), last.safetensors (the whole training state)
    RUN/samples/               image, mask and prediction side by side, at each evaluation
    RUN/finished.json          present once training has ended; says how
    RUN/stopped.json           present while training cannot go on because its loss was not finite; says where
    RUN/trackers/              NAME.json: what has arrived at a tracker; NAME/: what its tool keeps here
    RUN/evaluations/SPLIT-001/ predictions and scores.json, one folder per evaluation
    RUN/explanations/SPLIT-001/ what `explain` made of the newest one: a page, its JSON, overlays
    RUN/report-001.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskwright.config import RunConfig
from maskwright.core import strictyaml
from maskwright.core.storage import Journal, atomic_write_json, atomic_write_text, read_json
from maskwright.errors import DataError


@dataclass(frozen=True)
class Run:
    """One training on disk."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """An existing run. DataError when the folder is none."""
        run = cls(Path(path))
        if not run.info_file.is_file():
            raise DataError(f"{path}: not a run folder (no {run.info_file.name}); give the folder that `train` printed")
        return run

    @property
    def info_file(self) -> Path:
        """What is known before training starts."""
        return self.path / "run.json"

    @property
    def config_file(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def best(self) -> Path:
        """The model with the best validation mIoU."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """The whole training state."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def metrics(self) -> Journal:
        """Losses and scores by iteration."""
        return Journal(self.path / "metrics.jsonl")

    @property
    def timing(self) -> Journal:
        """Seconds by iteration; not reproducible, so kept apart."""
        return Journal(self.path / "timing.jsonl")

    @property
    def evaluations(self) -> Path:
        """Folder of evaluations."""
        return self.path / "evaluations"

    @property
    def explanations(self) -> Path:
        """Folder of explanations."""
        return self.path / "explanations"

    @property
    def trackers(self) -> Path:
        """Folder of deliveries to trackers."""
        return self.path / "trackers"

    def sample_file(self, iteration: int) -> Path:
        """The picture of an evaluation."""
        return self.path / "samples" / f"{iteration:06d}.png"

    @property
    def finished(self) -> dict[str, Any] | None:
        """How training ended, or None while it has not."""
        file = self.path / "finished.json"
        return read_json(file) if file.exists() else None

    def finish(self, facts: dict[str, Any]) -> None:
        """Marks training as ended."""
        atomic_write_json(self.path / "finished.json", facts)

    @property
    def stopped_file(self) -> Path:
        """Present while training cannot go on."""
        return self.path / "stopped.json"

    @property
    def stopped(self) -> dict[str, Any] | None:
        """Why training cannot go on (`message`, `fix`, `evidence`), or None where nothing keeps it from it."""
        return read_json(self.stopped_file) if self.stopped_file.exists() else None

    def info(self) -> dict[str, Any]:
        """`run.json`."""
        info: dict[str, Any] = read_json(self.info_file)
        return info

    def config(self) -> RunConfig:
        """The resolved config, whose paths are absolute. Its arguments were checked when the run began."""
        return strictyaml.validate(RunConfig, strictyaml.read(self.config_file))

    def write_config(self, config: RunConfig) -> None:
        """Writes the resolved config."""
        text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
        atomic_write_text(self.config_file, text)
