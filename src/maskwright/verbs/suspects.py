"""The verb `suspects`: which masks are likely wrong, how, and what the repair would be. No file of the data changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright import __version__
from maskwright.base.extras import require_train
from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_json, atomic_write_text, next_free, require_absent
from maskwright.base.systems import require_posix
from maskwright.base.texts import plural
from maskwright.base.work_folder import WorkFolder, work_folder_of
from maskwright.config import RunConfig, seconds_argument
from maskwright.core.dataset import Dataset
from maskwright.core.edits import FOLDER, home_of
from maskwright.data.opening import folder_of, load_dataset
from maskwright.errors import ConfigError
from maskwright.labels.suspecting.detector import learn
from maskwright.labels.suspecting.evidence import evidence_reader
from maskwright.labels.suspecting.folds import OutOfFold, predict_out_of_fold
from maskwright.labels.suspecting.judging import Judged, judge
from maskwright.labels.suspecting.labelsets import compare_labels, require_same
from maskwright.labels.suspecting.results import SuspectsResult
from maskwright.labels.suspecting.selftest import self_test as test_itself
from maskwright.labels.suspecting.stored import FILE
from maskwright.labels.suspecting.trainings import refuse_run
from maskwright.reporting.page import PAGE
from maskwright.reporting.suspects_report import write_sheet
from maskwright.training.plan import plan

# Pixels of an image at the models' size: on a CPU small images are seen often enough in minutes, and an error that is
# smaller than a pixel of these is no matter of labels.
_PIXELS = 18_000
_MULTIPLE = 32
_FEW = 40
# What the finished folder holds.
RANKED = "ranked.txt"  # all samples that were searched, the most likely wrong first
KEPT = {FILE, RANKED, PAGE, "probabilities", "proposals", "changes", "trust"}


@dataclass(frozen=True)
class Settings:
    """What a search depends on, besides the data."""

    config: RunConfig
    folds: int
    seed: int
    background: int | None


def suspects(
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    budget: str = "10m",
    folds: int = 4,
    seed: int = 0,
    weights: str | None = None,
    background: str | None = None,
    others: Sequence[str | Path | Dataset] = (),
    self_test: bool = False,
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> SuspectsResult:
    """Ranks the labelled samples and regions of a dataset by how likely their label is wrong.

    Small models are trained on `folds` parts of the data in turn, within the wall time `budget`, and say what they see
    in the images that they have not seen. A detector learns from errors planted in these labels what wrong ones look
    like compared with that. `weights` and `overrides` (such as `train.iterations=300`) are those of `plan`.
    `background` is the class that stands for "no object": the background of the dataset when left out, "none" where
    every class is an object. `others` are further datasets with the same samples and other labels, which are compared.
    `data` is a folder, its `dataset.yaml`, or a Dataset that was loaded from one, whose folder is used.
    With `self_test` half of the budget is spent on a copy of the data with known errors, to measure how
    well it works here. `device` is where the models compute, as for `train`.

    The result lies in the folder `out`, by default `.maskwright/suspects-NNN` of the dataset, whose files do not
    change, with the page `index.html`. The same call resumes what was stopped, from `out.unfinished`. Raises
    ConfigError and DataError for what cannot be used.
    """
    require_train("suspects")
    require_posix("suspects")
    from maskwright.modeling.models.devices import preferring

    source = folder_of(data, "suspects")
    home = home_of(source)
    folder = Path(out) if out is not None else next_free(home / FOLDER, "suspects")
    require_absent(folder)
    seconds = seconds_argument("budget", budget)
    dataset = load_dataset(source)
    dataset.require_contrast()
    sets = [
        (other, str(other.root)) if isinstance(other, Dataset) else (load_dataset(other), str(other))
        for other in others
    ]
    for labels, name in sets:
        require_same(dataset, labels, name)
    config = small_config(source, budget, weights, overrides, device)
    settings = Settings(config, folds, seed, dataset.classes.background_of(background))
    share = seconds / (2 if self_test else 1) if config.train.budget else None
    version = dataset.version()
    facts = {
        "maskwright": __version__,
        "version": version,
        "config": config.to_dict(),
        "folds": folds,
        "seed": seed,
        "background": settings.background,
        "self_test": self_test,
        "seconds": seconds,
    }
    say(f"suspects folder: {folder}")
    with preferring(device), WorkFolder(work_folder_of(folder), facts).held() as held:
        work = held.path
        tested = (
            test_itself(
                source,
                dataset,
                settings.background,
                seed,
                work / "self-test",
                lambda copy, place: search(copy, settings, place, share),
            )
            if self_test
            else None
        )
        predicted, found = search(dataset, settings, work, share)
        result = SuspectsResult(
            dataset.name,
            source,
            folder,
            dataset.classes,
            version,
            found.suspects,
            found.samples,
            predicted.facts,
            _notes(predicted, found),
            tested,
            [compare_labels(predicted, labels, name) for labels, name in sets],
            predicted.geometry.keep_ratio,
            found.outlines,
            found.redrawing,
        )
        atomic_write_text(work / RANKED, "".join(f"{row.sample}\n" for row in result.samples))
        atomic_write_json(work / FILE, result.to_dict())
        # Before the folder is final: what is killed while it is drawn resumes by the same call, like everything else.
        write_sheet(result, dataset, work, work / PAGE, replace=True)
        held.publish(folder, KEPT)
    return result


def search(dataset: Dataset, settings: Settings, work: Path, seconds: float | None) -> tuple[OutOfFold, Judged]:
    """Trains, learns and judges, in the folder `work`."""
    predicted = predict_out_of_fold(
        dataset, settings.config, work, folds=settings.folds, seed=settings.seed, seconds=seconds
    )
    detector = learn(predicted.samples, evidence_reader(predicted), settings.background, settings.seed)
    return predicted, judge(predicted, detector, settings.background, work)


def small_config(
    data: str | Path, budget: str, weights: str | None, overrides: Sequence[str], device: str | None = None
) -> RunConfig:
    """What `plan` plans, at a smaller size unless `overrides` name one, and with whole images: how far label and
    prediction agree is judged over an image. ConfigError where `overrides` ask for windows of them."""
    config = refuse_run(plan(data, budget=budget, weights=weights, overrides=overrides, device=device).config)
    if config.data.crop and any(override.startswith("data.crop") for override in overrides):
        raise ConfigError("data.crop: labels are judged over whole images here; leave it out, or raise data.image_size")
    height, width = config.data.image_size
    scale = math.sqrt(_PIXELS / (height * width))
    changed: dict[str, Any] = {"trust": None, "crop": None}
    if scale < 1 and not any(override.startswith("data.image_size=") for override in overrides):
        changed["image_size"] = [
            max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (height, width)
        ]
    return config.model_copy(update={"data": config.data.model_copy(update=changed), "trackers": []})


def _notes(predicted: OutOfFold, found: Judged) -> list[str]:
    notes = [sentence for outline in found.outlines for sentence in outline.sentences()] + predicted.left_out
    if len(predicted.samples) < _FEW:
        notes.append(
            f"only {plural(len(predicted.samples), 'sample')}: the models have learnt from few images, so check "
            "yourself what they report"
        )
    notes.append(found.redrawing.sentence())
    notes.append(
        "proposals follow the edges of the images: measured on this dataset, this makes them better"
        if found.snapped
        else "proposals do not follow the edges of the images: measured on this dataset, this makes them no better"
    )
    notes.append(
        "the detector has learnt from planted errors; those of other kinds rank by how little label and prediction "
        "agree, which finds fewer of them"
    )
    return notes
