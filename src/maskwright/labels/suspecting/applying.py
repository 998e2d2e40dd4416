"""Proposals applied: `suspects --apply` writes them as edits, which can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskwright.base.storage import confine
from maskwright.base.texts import plural
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Batch, add_edits, home_of, mask_edit
from maskwright.core.mask_files import INDEX, read_grey, read_mask
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample
from maskwright.data.opening import folder_of, load_dataset
from maskwright.errors import ConfigError, DataError, argument
from maskwright.labels.suspecting.stored import newest_suspects, read_stored


def apply_proposals(
    data: str | Path | Dataset, *, min_confidence: float = 0.9, folder: str | Path | None = None
) -> Batch | None:
    """Applies the proposals of at least that confidence (0..1), as one batch of edits in the journal of the dataset
    `data`; its files are not changed, and `edits --undo` undoes the batch. None when no proposal has such a confidence.

    `folder` is an output folder of `suspects`, the newest for this dataset when left out. Raises DataError when
    the dataset has changed since then.
    """
    if not 0 <= min_confidence <= 1:
        raise ConfigError(f"{argument('min_confidence')} {min_confidence}: give a number from 0 to 1")
    source = folder_of(data, "suspects")
    home = home_of(source)
    stored = read_stored(Path(folder) if folder is not None else newest_suspects(home))
    dataset = load_dataset(source)
    stored.require_version(dataset)
    chosen: dict[str, list[int]] = {}
    for one in stored.suspects:
        if one.number and one.confidence >= min_confidence:
            chosen.setdefault(one.sample, []).append(one.number)
    samples = {sample.name: sample for sample in dataset.samples}
    if strange := sorted(chosen.keys() - samples.keys()):
        raise DataError(
            f"{stored.folder}: lists the sample {strange[0]!r}, which {dataset.root} does not have; run "
            "`maskwright suspects` again"
        )
    edits = [
        mask_edit(home, samples[name], repaired(dataset, samples[name], stored.folder, numbers), dataset.classes)
        for name, numbers in chosen.items()
    ]
    if not edits:
        return None
    regions = sum(map(len, chosen.values()))
    return add_edits(
        home,
        edits,
        f"suspects --apply --min-confidence {min_confidence:g}: {plural(regions, 'region')} of "
        f"{plural(len(edits), 'mask')}, from {stored.folder.name}",
    )


def repaired(dataset: Dataset, sample: Sample, folder: Path, numbers: Sequence[int]) -> Mask:
    """The mask (H, W) of class indices of a sample with the proposals in `folder` of its suspects of these numbers."""
    mask = dataset.read_mask(sample)
    if not numbers:
        return mask
    files = [confine(folder / part, f"{sample.name}.png", str(folder)) for part in ("proposals", "changes")]
    proposal = dataset.classes.to_indices(read_mask(files[0], INDEX, dataset.classes).ids, str(files[0]))
    changes = read_grey(files[1])
    if not mask.shape == proposal.shape == changes.shape:
        raise DataError(f"{files[0]}: is not of the size of the mask of {sample.name}; run `maskwright suspects` again")
    return np.where(np.isin(changes, numbers), proposal, mask).astype(np.uint8)
