"""Whether a run can go on with a dataset as it is now, and where it does: only what it trains on and validates with
has to be the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base.progress import say
from maskwright.base.texts import counted
from maskwright.config import RunConfig, rebase
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset_of
from maskwright.errors import DataError
from maskwright.modeling.models.devices import device_of, is_there
from maskwright.run import Run
from maskwright.training.distributed.agreement import require_shareable
from maskwright.training.distributed.processes import Processes

By = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Used:
    """What a run has stored of the data it uses: how files were read, its images and masks by split and sample (None in
    runs from before this was stored), and the classes as it knows them."""

    reading: Mapping[str, Any] | None
    images: By | None
    masks: By | None
    classes: ClassTree

    @classmethod
    def by(cls, run: Run) -> Used:
        """That of a run."""
        info = run.info()
        return cls(info.get("reading"), run.images(), run.masks(), ClassTree.from_dict(info["classes"]))

    def as_it_was(
        self, dataset: Dataset, hashes: Mapping[Path, str], run: Run, otherwise: str = "train a new run"
    ) -> Dataset:
        """`dataset`, another version than `run` began with, with the classes as the run knows them, so that names and
        colours that have changed since do not change its files. DataError that says what differs where it is something
        that the run uses, or where that is not known, and what can be done `otherwise`."""
        if self.reading is None or self.images is None or self.masks is None:
            what = ""
        elif found := list(self._differences(dataset, hashes)):
            what = f": {found[0]}" + (f", and {counted(len(found) - 1, 'more difference{|s}')}" if found[1:] else "")
        else:
            return replace(dataset, classes=self.classes)
        raise DataError(f"{dataset.root}: has changed since {run.path} began{what}; restore it, or {otherwise}")

    def _differences(self, dataset: Dataset, hashes: Mapping[Path, str]) -> Iterator[str]:
        assert self.reading is not None and self.images is not None and self.masks is not None
        now = dataset.reading()
        # Of plain images, nothing is said of bands.
        for key, value in ({"image bands": None} | dict(self.reading)).items():
            if now.get(key) != value:
                yield f"the {key} {'differ' if key.endswith('s') else 'differs'} (was {value}, is {now.get(key)})"
        samples = {sample.name: sample for sample in dataset.samples}
        for split, images in self.images.items():
            for name, image in images.items():
                sample = samples.get(name)
                if sample is None or not sample.labelled:
                    yield f"{name!r} {'is gone' if sample is None else 'has no mask any more'}"
                elif sample.status == "exclude":
                    yield f"{name!r} is excluded now"
                elif sample.image_hash(hashes) != image:
                    yield f"the image of {name!r} differs"
                elif dataset.mask_content(sample, hashes) != self.masks[split].get(name):
                    yield f"the mask of {name!r} differs"


def moved_to(config: RunConfig, data: Path) -> RunConfig:
    """The config of a run whose dataset lies in `data` now."""
    return rebase(config.model_copy(update={"data": config.data.model_copy(update={"root": str(data)})}), Path.cwd())


def known(
    run: Run, processes: Processes, data: Path | None
) -> tuple[RunConfig, dict[str, Any], Dataset, Mapping[Path, str], str]:
    """The config and `run.json` of a run, and its dataset with the hashes of its files and its version: as it was in
    all that the run uses, wherever it lies now."""
    found = None
    with processes.together():
        if processes.first:
            found = run.config(), run.info(), Used.by(run)
            if data is not None:
                found = moved_to(found[0], data), *found[1:]
    found = processes.share(found)
    assert found
    config, info, used = found
    with processes.together():
        require_shareable(config, processes)
        dataset = load_dataset_of(run.path, config.data.root)
        hashes = dataset.file_hashes(run.path)
        version = dataset.version(hashes)
        if version != info["dataset"]["version"]:
            dataset = used.as_it_was(dataset, hashes, run)
            if processes.first:
                say(f"{config.data.root}: has changed since {run.path} began, but nothing that it trains on")
    return config, info, dataset, hashes, version


def device_for(run: Run, before: str, asked: str | None) -> str:
    """Where a run that began on the device `before` goes on: there, unless another is asked for or it is gone."""
    chosen = before if asked in (None, "auto") and is_there(before) else device_of(asked)
    if chosen.partition(":")[0] != before.partition(":")[0]:
        say(f"{run.path}: began on {before} and continues on {chosen}: the same training, but not the same bytes")
    return chosen
