"""`plan --refine`: a commented `refine.yaml` with a reason for each choice."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.display import Result
from maskwright.base.storage import atomic_write_text, require_absent
from maskwright.base.texts import plural
from maskwright.core.dataset import Dataset
from maskwright.core.edits import FOLDER, home_of
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, argument
from maskwright.labels.refining.boxes import boxes_of
from maskwright.labels.refining.combining import COMBINATIONS
from maskwright.training.plan import plan

_LOOKED_AT = 100  # masks
# From this share of a rectangle on, a region is one that was drawn as a box.
_BOXED, _MOST = 0.97, 0.6


@dataclass(frozen=True, repr=False)
class RefinePlan(Result):
    """The text of a commented `refine.yaml`, and the file it was written to, if any."""

    text: str
    file: Path | None = None

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        return {"file": self.file}

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `plan --refine`."""
        return {"file": str(self.file) if self.file else None, "text": self.text}

    def human(self) -> str:
        """The text itself, or where it was written."""
        return self.text if self.file is None else f"written: {self.file}; next: maskwright refine {self.file}"


def plan_refine(
    data: str | Path,
    *,
    out: str | Path | None = None,
    trusted: str | Path | None = None,
    trusted_masks: str | Path | None = None,
    budget: str = "5m",
    model: str | None = None,
    encoder: str | None = None,
    weights: str | None = None,
    overrides: Sequence[str] = (),
) -> RefinePlan:
    """A commented `refine.yaml` for a dataset with poor masks; written to `out` if given.

    `trusted` is the folder of the lists `baseline.txt` and `eval.txt` that `split(trusted=N)` has written; the newest
    one of the dataset when left out, and without one the plan is for masks that nobody can judge. `trusted_masks` is
    the dataset with their good masks, where these do not lie in the dataset itself. All others are those of `plan`, for
    the training of each round. Never overwrites a file. Raises ConfigError and DataError for what cannot be used.
    """
    if out is not None:
        require_absent(Path(out))
    dataset = load_dataset(data)
    folder = Path(out).resolve().parent if out is not None else Path.cwd()
    lists = Path(trusted) if trusted is not None else _newest_lists(home_of(data))
    if trusted is not None and not (Path(trusted) / "eval.txt").is_file():
        raise ConfigError(
            f"{argument('trusted')} {trusted}: holds no eval.txt; give the folder that `maskwright split` has written"
        )

    def path(place: Path) -> str:
        return json.dumps(os.path.relpath(place.resolve(), folder))

    planned = plan(
        data, budget=budget, model=model, encoder=encoder, weights=weights, overrides=overrides, folder=folder
    )
    # The rounds have datasets of their own.
    run = re.sub(r'^  root: .*\n|(?<=^data: \{)"root": "[^"]*", ', "", planned.text, flags=re.MULTILINE)
    combination, why = _combination(dataset, _names(lists))
    lines = [
        f"# Planned by maskwright for {dataset.name}: rounds that make its poor masks better.",
        f"data: {path(Path(data))}",
    ]
    if lists is None:
        lines += [
            "# No mask is trusted: nothing can judge the rounds. `maskwright split DIR --trusted 40` picks the images",
            "# to draw; with their lists here, each round is judged:",
            "# trusted: {baseline: baseline.txt, eval: eval.txt}",
            "start: [poor]",
            "rounds: 2  # nothing stops them, so few",
        ]
    else:
        masks = [f"  masks: {path(Path(trusted_masks))}"] if trusted_masks is not None else []
        lines += [
            "trusted:  # a few masks drawn well; without `masks`, those of the dataset itself are taken for that",
            f"  baseline: {path(lists / 'baseline.txt')}  # to learn from",
            f"  eval: {path(lists / 'eval.txt')}  # to judge by: no model learns from them",
            *masks,
            "start: [trusted, poor]  # both are trained, and the better one on eval is round 0",
            "rounds: 3  # at most: a round that does not help is the last",
        ]
    lines += [
        f"combine: {combination}  # {why}: {COMBINATIONS[combination].what}",
        "run:  # each training; data.root is the dataset of the round, and the last state is kept",
        textwrap.indent(run, "  "),
    ]
    text = "\n".join(lines) + "\n"
    if out is not None:
        atomic_write_text(Path(out), text)
    return RefinePlan(text, Path(out) if out is not None else None)


def _newest_lists(home: Path) -> Path | None:
    """The newest folder of `split` that names trusted samples."""
    return max(
        (file.parent for file in (home / FOLDER).glob("splits-*/eval.txt") if file.read_text().strip()), default=None
    )


def _names(lists: Path | None) -> set[str]:
    """The trusted samples."""
    files = (lists / f"{part}.txt" for part in ("baseline", "eval")) if lists else ()
    return {line.strip() for file in files for line in file.read_text("utf-8-sig").splitlines()}


def _combination(dataset: Dataset, trusted: set[str]) -> tuple[str, str]:
    """A row of the table of combinations, and why."""
    samples = [
        sample
        for sample in dataset.samples
        if sample.labelled and sample.status != "exclude" and sample.split in (None, "train")
        if sample.name not in trusted
    ]
    looked = [samples[i] for i in np.linspace(0, len(samples) - 1, min(len(samples), _LOOKED_AT)).round().astype(int)]
    boxed = [one for one in (_boxed(dataset, sample) for sample in looked) if one is not None]
    share = float(np.mean(boxed)) if boxed else 0.0
    if dataset.classes.background is not None and share >= _MOST:
        return "box", f"{100 * share:.0f} % of the regions in {plural(len(looked), 'mask')} are boxes"
    return "confident", "the regions are no boxes"


def _boxed(dataset: Dataset, sample: Sample) -> float | None:
    """The share of a sample's regions that are boxes; None where it has none."""
    if sample.drawing is not None and sample.drawing.regions:
        return float(np.mean([region.weak for region in sample.drawing.regions]))
    mask = dataset.read_mask(sample)
    found = boxes_of(sample, mask, dataset.classes, dataset.classes.background)
    if not found or (len(found) == 1 and (mask == found[0].label).all()):
        return None
    return float(np.mean([(mask[one.window] == one.label).mean() >= _BOXED for one in found]))
