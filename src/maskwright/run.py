"""Run: the only owner of paths inside a run folder.

RUN/config.yaml            the resolved config: training it again gives the same model
RUN/run.json               format, dataset version, splits, environment; written once
RUN/images.json            the hashes of the image files that training and validation used; written once
RUN/masks.json             the same of their masks; written once
RUN/metrics.jsonl          losses, learning rates and validation scores; the same bytes for the same run
RUN/timing.jsonl           wall-clock facts of the same steps
RUN/checkpoints/           best.safetensors (a model file), last.safetensors (the whole training state)
RUN/samples/               image, mask and prediction side by side, at each evaluation
RUN/finished.json          present once training has ended; says how
RUN/stopped.json           present while training cannot go on because its loss was not finite; says where
RUN/trackers/              NAME.json: what has arrived at a tracker; NAME/: what its tool keeps here
RUN/evaluations/SPLIT-001/ predictions and scores.json, one folder per evaluation
RUN/explanations/SPLIT-001/ what `explain` made of the newest one: a page, its JSON, overlays
RUN/tunings/tuning-001/    what `tune` tried and chose
RUN/postprocessing.json    what is done with predicted masks, as the newest tuning chose; absent for nothing
RUN/exports/               model-001.onnx: what `export` wrote, model-001.json: its certificate
RUN/report-001.html
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maskwright.base import strictyaml
from maskwright.base.display import data_frame
from maskwright.base.storage import (
    Journal,
    atomic_write_json,
    atomic_write_text,
    dump_json,
    numbered,
    read_json,
    require_format,
)
from maskwright.config import RunConfig
from maskwright.core.class_facts import ClassFacts
from maskwright.core.postprocessing import PostProcessing
from maskwright.errors import DataError

if TYPE_CHECKING:
    from maskwright.evaluation.metrics import Scores
    from maskwright.evaluation.scoring.evaluation import Evaluation

# 1 had no number, and no `images.json`.
FORMAT = 2
# Settled by a measurement on the machine, or of no effect on what is learnt: they tell no two recipes apart.
MEASURED = frozenset(
    {
        "train.precision",
        "train.channels_last",
        "train.threads",
        "train.workers",
        "train.compile",
        "train.refits",
        "train.thread_changes",
        "trackers",
    }
)
# Follow from the time of a budget.
_FITTED = frozenset({"train.iterations", "train.evaluate_every"})
# Where something lies; what it holds is told by its version in `run.json`.
_PLACES = frozenset({"data.root", "data.trust.folder"})


class History(list[dict[str, Any]]):
    """The log of a training, a row an iteration; see `Run.history`."""

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> History:
        """What `metrics.jsonl` says of each iteration put together."""
        rows: dict[int, dict[str, Any]] = {}
        for record in records:
            rows.setdefault(record["iteration"], {}).update(record)
        return cls(rows.values())

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row an iteration; nan where something was not measured. SetupError without
        pandas."""
        return data_frame(self)


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
    def evaluations_folder(self) -> Path:
        """Folder of evaluations."""
        return self.path / "evaluations"

    def evaluation_folders(self, split: str | None = None) -> list[Path]:
        """The folders of all finished evaluations, or of those of a split: by split, the newest last."""
        found = sorted(numbered(self.evaluations_folder, split))
        return [folder for _, _, folder in found if (folder / "scores.json").is_file()]

    def evaluated_splits(self) -> list[str]:
        """The splits that there are evaluations of, by name."""
        return sorted({folder.name.rpartition("-")[0] for folder in self.evaluation_folders()})

    def evaluations(self, split: str | None = None) -> list[Evaluation]:
        """All finished evaluations, of a split if given; those first that say most (test, other splits, val, train),
        the newest first. DataError when one is damaged."""
        from maskwright.evaluation.scoring.evaluation import evaluations

        return evaluations(self, split)

    def scores(self, split: str = "test") -> Scores:
        """The scores of the newest evaluation of a split. DataError where there is none, or it is damaged."""
        from maskwright.evaluation.scoring.evaluation import newest

        if (found := newest(self, split)) is None:
            raise DataError(
                f"{self.path}: not evaluated on {split!r}; first `maskwright evaluate {shlex.quote(str(self.path))} "
                f"--split {shlex.quote(split)}`"
            )
        return found.scores

    def history(self) -> History:
        """The log of the training: a row for each iteration that something was written of, in their order.

        `loss` and `lr` are those of training (the loss averaged since the last row), `epoch` is a fraction; where the
        model was validated, the row has `val_loss`, `val_mIoU`, `val_iou` (a value a class, None where undefined) and
        the other scores, and `best`: whether they were the best so far. Empty before the first row."""
        return History.of(self.metrics.read())

    @property
    def explanations(self) -> Path:
        """Folder of explanations."""
        return self.path / "explanations"

    @property
    def exports(self) -> Path:
        """Folder of exported models."""
        return self.path / "exports"

    @property
    def tunings(self) -> Path:
        """Folder of what `tune` has found."""
        return self.path / "tunings"

    @property
    def postprocessing_file(self) -> Path:
        """What is done with predicted masks; absent for nothing."""
        return self.path / "postprocessing.json"

    @property
    def postprocessing(self) -> PostProcessing | None:
        """What `tune` has chosen to do with predicted masks, None for nothing. DataError when the file is damaged."""
        file = self.postprocessing_file
        return PostProcessing.from_dict(read_json(file), str(file)) if file.exists() else None

    def tuned_on(self) -> frozenset[str]:
        """The hashes of the image files that the post-processing was chosen on."""
        file = self.postprocessing_file
        return frozenset(map(str, read_json(file).get("images", ()))) if file.exists() else frozenset()

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

    @property
    def pruned_file(self) -> Path:
        """Present where a search has ended the training early, until it is resumed."""
        return self.path / "pruned.json"

    @property
    def pruned(self) -> str | None:
        """Why a search has ended the training early, None where none has."""
        return str(read_json(self.pruned_file)["message"]) if self.pruned_file.exists() else None

    def info(self) -> dict[str, Any]:
        """`run.json`. DataError when it is damaged, or of a format that this version does not read."""
        info = read_json(self.info_file)
        if not isinstance(info, dict):
            raise DataError(f"{self.info_file}: is not what `train` writes; restore it")
        require_format(self.info_file, "run", info.get("format", 1), FORMAT)
        return info

    def write_info(
        self,
        info: Mapping[str, Any],
        images: Mapping[str, Mapping[str, str]],
        masks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Writes `run.json`, `images.json`: of `train` and `val`, the hash of each sample's image file, and
        `masks.json`: the content of each one's mask (see `Dataset.mask_content`)."""
        atomic_write_json(self.path / "images.json", images)
        if masks is not None:
            atomic_write_json(self.path / "masks.json", masks)
        atomic_write_json(self.info_file, {"format": FORMAT, **info})

    def images(self) -> dict[str, dict[str, str]] | None:
        """`images.json`: of `train` and `val`, the hash of each sample's image file; None in runs of format 1."""
        return self._by_split("images.json")

    def masks(self) -> dict[str, dict[str, Any]] | None:
        """`masks.json`: of `train` and `val`, the content of each sample's mask; None in runs from before it was
        stored."""
        return self._by_split("masks.json")

    def _by_split(self, name: str) -> dict[str, dict[str, Any]] | None:
        file = self.path / name
        if not file.exists():
            return None
        found = read_json(file)
        if not (isinstance(found, dict) and all(isinstance(found.get(split), dict) for split in ("train", "val"))):
            raise DataError(f"{file}: is not what `train` writes; restore it, or delete it")
        return found

    def recipe(self) -> str:
        """A hash that is equal in runs that differ in nothing but the seed and what a machine settles for itself: by
        their configs, and by what the dataset and the maps of `data.trust` hold, wherever they lie."""
        info = self.info()
        apart = MEASURED | _PLACES | {"seed"} | (_FITTED if "budget" in info else frozenset())
        # What is None is left out: a config from before there was a key has the same meaning.
        parts = {
            key: value
            for key, value in flat(strictyaml.read(self.config_file).data).items()
            if key not in apart and value is not None
        }
        facts = [
            sorted(parts.items()),
            info.get("dataset", {}).get("version"),
            info.get("trust"),
            info.get("budget", {}).get("seconds"),
        ]
        return hashlib.sha256(dump_json(facts).encode()).hexdigest()[:16]

    def training_classes(self) -> dict[str, ClassFacts]:
        """What the training masks held of each class by its name, at the model's size; empty for a run from before this
        was stored."""
        info = self.info()
        facts = map(ClassFacts.from_dict, info.get("training_classes", []))
        return dict(zip((leaf["name"] for leaf in info["classes"]["leaves"]), facts, strict=False))

    def config(self) -> RunConfig:
        """The resolved config, whose paths are absolute. Its arguments were checked when the run began."""
        return strictyaml.validate(RunConfig, strictyaml.read(self.config_file))

    def write_config(self, config: RunConfig) -> None:
        """Writes the resolved config."""
        text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
        atomic_write_text(self.config_file, text)


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A config with dotted keys; lists are values."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[before + key] = value
    return found
