"""Whether a run can go on with a dataset as it is now: only what it trains on and validates with has to be the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base.texts import counted
from maskwright.config import RunConfig, rebase
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.errors import DataError
from maskwright.run import Run

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

    def as_it_was(self, dataset: Dataset, hashes: Mapping[Path, str], run: Run) -> Dataset:
        """`dataset`, another version than `run` began with, with the classes as the run knows them, so that names and
        colours that have changed since do not change its files. DataError that says what differs where it is something
        that the run uses, or where that is not known."""
        if self.reading is None or self.images is None or self.masks is None:
            what = ""
        elif found := list(self._differences(dataset, hashes)):
            what = f": {found[0]}" + (f", and {counted(len(found) - 1, 'more difference{|s}')}" if found[1:] else "")
        else:
            return replace(dataset, classes=self.classes)
        raise DataError(f"{dataset.root}: has changed since {run.path} began{what}; restore it, or train a new run")

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
