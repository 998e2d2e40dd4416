"""The verb `tune`: which post-processing of predicted masks helps a run, if any.

RUN/tunings/tuning-001/tuning.json   what was tried and chosen: `TuneResult.to_dict`
RUN/tunings/tuning-001/tuning.txt    the same for people
RUN/postprocessing.json              what the newest tuning chose, which the verbs apply; absent for nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskwright.base.extras import require_train
from maskwright.base.progress import progress, say
from maskwright.base.storage import (
    atomic_write_json,
    atomic_write_text,
    disk_errors,
    next_free,
    require_absent,
    staged_folder,
)
from maskwright.base.texts import plural
from maskwright.core.dataset import Dataset
from maskwright.core.hashes import file_hash
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.smoothing import Smoothing
from maskwright.core.tiles import NUMPY, whole
from maskwright.errors import ConfigError, argument
from maskwright.evaluation.metrics import Interval
from maskwright.evaluation.scoring.predicted import Ready, ready_for
from maskwright.evaluation.tuning import FOLDS, SMOOTHINGS, Pair, Tuning, tuned
from maskwright.run import Run

_NUMBERS = 1 << 27  # the most probabilities of an image that are held at once, as predicted and once more smoothed


@dataclass(frozen=True, repr=False)
class TuneResult:
    """What `tune` found on the `images` of a `split`. `tuning` is None where post-processing was removed without a
    look. `postprocessing` is what the run does from now on (`kept`; with `out` the run stays as it was), None for
    nothing."""

    run: Path
    folder: Path | None
    split: str
    images: Sequence[str]
    dataset_version: str
    model: str
    tuning: Tuning | None
    kept: bool

    @property
    def postprocessing(self) -> PostProcessing | None:
        """What was chosen; None for nothing."""
        return self.tuning.rules if self.tuning and self.tuning.helps else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Differences are paired, with 95 % intervals."""
        found: dict[str, Any] = {
            "run": str(self.run),
            "folder": str(self.folder) if self.folder else None,
            "kept": self.kept,
            "postprocessing": self.postprocessing.to_dict() if self.postprocessing else None,
        }
        if (tuning := self.tuning) is None:
            return found
        return found | {
            "split": self.split,
            "images": list(self.images),
            "dataset_version": self.dataset_version,
            "model": self.model,
            "score": tuning.score,
            "none": tuning.none,
            "held_out": tuning.held_out,
            "difference": tuning.difference.to_dict(),
            "iou_differences": {name: value.to_dict() for name, value in tuning.classes.items()},
            "steps": [step.to_dict() for step in tuning.steps],
            **tuning.rules.to_dict(),
            "folds": tuning.folds,
            "tried": tuning.tried,
        }

    def human(self) -> str:
        """For a terminal."""
        if (tuning := self.tuning) is None:
            return f"post-processing: none; {self.run} labels as its model does"
        lines = [
            f"post-processing: {self.postprocessing or 'none'}",
            f"  {tuning.score} on {plural(len(self.images), 'image')} of {self.split!r}: {tuning.none:.4f} without, "
            f"{tuning.held_out:.4f} with rules chosen on other images ({tuning.folds} folds)",
            f"  difference {_signed(tuning.difference)}: {self._verdict}",
        ]
        lines += [
            f"  {step} alone {_signed(step.difference)} on the images that chose it; chosen in {step.folds} of "
            f"{tuning.folds} folds"
            for step in tuning.steps
        ]
        if tuning.steps:
            lines.append("  IoU of each class, held out:")
            lines += [f"    {name}: {_signed(value)}" for name, value in tuning.classes.items()]
        if self.folder:
            lines.append(f"tuning: {self.folder}")
        return "\n".join(lines)

    @property
    def _verdict(self) -> str:
        if self.tuning is None or not self.tuning.steps:
            return "none of the options tried helps beyond chance"
        if not self.tuning.helps:
            return "the interval does not lie above 0, so nothing is done"
        return "better beyond chance"

    def __str__(self) -> str:
        return self.human()

    def __repr__(self) -> str:
        return f"TuneResult({str(self.run)!r}: {self.postprocessing or 'none'})"


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def tune(
    run: str | Path | Run,
    *,
    data: str | Path | Dataset | None = None,
    split: str = "val",
    score: Literal["mIoU", "mDice"] = "mIoU",
    out: str | Path | None = None,
    none: bool = False,
    device: str | None = None,
) -> TuneResult:
    """Chooses what is done with the masks of a finished run: outlines that are drawn towards the edges of the image
    (`smoothing`), classes that are given only where they are probable enough (`min_probability`), small components that
    are removed (`min_pixels`), holes that are filled (`fill_holes`), classes of one object (`largest_only`), or
    nothing.

    The best checkpoint labels a split once. A grid for each class is tried, and judged by cross-validation over images;
    it is kept only where the paired 95 % interval of its difference to none lies above 0. `predict`, `evaluate`, `load`
    and `export` then do it by default. What was tried goes to the new folder `RUN/tunings/tuning-001`, the choice to
    `RUN/postprocessing.json`, in place of that of an earlier call. With `out` it goes to that new folder, and the run
    is only read. `none` removes the choice and looks at nothing. `data` is where the dataset lies now, if it was moved.

    Raises ConfigError for a run that has not finished, an unknown score, a split of fewer than 5 images, a model that
    labels each level of a class tree by itself, and a folder that exists; DataError as `evaluate` does.
    """
    require_train("tune")
    run = run if isinstance(run, Run) else Run.open(run)
    if none:
        if out is not None:
            raise ConfigError(f"{argument('none')}: only removes what was chosen; leave {argument('out')} out")
        with disk_errors(run.postprocessing_file):
            run.postprocessing_file.unlink(missing_ok=True)
        return TuneResult(run.path, None, split, (), "", "", None, True)
    if score not in ("mIoU", "mDice"):
        raise ConfigError(f"{argument('score')} {score}: is no score to tune by; choose mIoU or mDice")
    if run.finished is None:
        raise ConfigError(f"{run.path}: training has not finished, and its best model may change; resume it first")
    folder = require_absent(Path(out)) if out is not None else next_free(run.tunings, "tuning")
    ready = ready_for(run, data, split, None, device, postprocess=False, hashed=out is None)
    names = [sample.name for sample in ready.samples]
    if not ready.segmenter.coherent:
        raise ConfigError(
            f"{run.path}: its selector {ready.segmenter.selector} labels each level by itself, and post-processing "
            "changes the leaves alone; train with the selector leaf or top_down"
        )
    if len(names) < FOLDS:
        raise ConfigError(
            f"{argument('split')} {split}: has {plural(len(names), 'labelled image')}, and {FOLDS} are needed to "
            "choose on some and judge on others; label more, or give another split"
        )
    say(f"tuning: {folder}")
    pairs, smoothed = _pairs(ready)
    with progress("tuning", len(pairs)) as advance:
        tuning = tuned(pairs, ready.segmenter.classes, score, advance, smoothed)
    result = TuneResult(run.path, folder, split, names, ready.version, file_hash(ready.file), tuning, kept=out is None)
    with staged_folder(folder) as staging:
        atomic_write_json(staging / "tuning.json", result.to_dict())
        atomic_write_text(staging / "tuning.txt", result.human() + "\n")
    if out is None:
        _keep(run, folder, result.postprocessing, ready)
    return result


def _pairs(ready: Ready) -> tuple[list[Pair], dict[Smoothing, list[Pair]]]:
    """The images as they are predicted, and with smoothed probabilities, where whole images are seen."""
    found: list[Pair] = []
    held, ways = _holds_probabilities(ready), ready.segmenter.preprocessing
    smoothed: dict[Smoothing, list[Pair]] = {way: [] for way in SMOOTHINGS if held and ways.geometry.crop is None}
    classes = range(len(ready.segmenter.classes))
    with progress("predicting", len(ready.samples)) as advance:
        for done, one in enumerate(ready.predictions(held), 1):
            found.append(Pair(one.truth, one.levels[-1], len(classes), one.probabilities))
            image = ready.dataset.read_bands(one.sample) if smoothed else None
            for smoothing, pairs in smoothed.items():
                assert image is not None
                maps = smoothing.on(whole(one.probabilities), image, ways.geometry, ways.bands, NUMPY)
                values = np.stack([maps([index]) for index in classes])
                pairs.append(Pair(one.truth, values.argmax(0).astype(np.uint8), len(classes), values))
            advance(done)
    return found, smoothed


def _holds_probabilities(ready: Ready) -> bool:
    """Whether leaves are chosen by their own probabilities, and those of an image are held at once."""
    if ready.segmenter.selector != "leaf":
        return False
    sizes = [ready.dataset.image_size(sample) for sample in ready.samples]
    numbers = len(ready.segmenter.classes) * max(height * width for height, width in sizes)
    if numbers > _NUMBERS:
        size = f"{numbers * 4 / 1e9:.1f} GB"
        say(f"min_probability and smoothing are not tried: the probabilities of an image would take {size}")
    return numbers <= _NUMBERS


def _keep(run: Run, folder: Path, postprocessing: PostProcessing | None, ready: Ready) -> None:
    """What the run does from now on. Its classes are called as in the checkpoint, whatever the dataset calls
    them now."""
    file = run.postprocessing_file
    if postprocessing is None:
        with disk_errors(file):
            file.unlink(missing_ok=True)
        return
    names = [leaf["name"] for leaf in run.info()["classes"]["leaves"]]
    rules = tuple(replace(rule, name=name) for rule, name in zip(postprocessing.rules, names, strict=True))
    chose = {sample.image_hash(ready.hashes) for sample in ready.samples}
    atomic_write_json(
        file,
        {
            **replace(postprocessing, rules=rules).to_dict(),
            "tuning": folder.relative_to(run.path).as_posix(),
            "images": sorted(chose),
        },
    )
