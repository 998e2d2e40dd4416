"""Copies of a dataset that have other masks and none of its files: a description of the same files, with edits."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from maskwright.base import strictyaml
from maskwright.base.storage import atomic_write_text, confine, dump_json, staged_folder
from maskwright.core.description import FILE_NAME
from maskwright.core.edits import FOLDER, add_edits, home_of, journal_of, mask_edit, read_batches
from maskwright.core.masks import Mask
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError


def planted_copy(
    source: Path, folder: Path, masks: Mapping[str, Mask] | Iterable[tuple[str, Mask]], reason: str
) -> Path:
    """Makes `folder` a dataset of the files of `source` (a folder, or its `dataset.yaml`) in which the samples named in
    `masks` have these: (H, W) uint8 of class indices with `IGNORE`, of the size of the image. Edits of `source` hold in
    it too. Nothing is written to `source`, and `folder`, which is returned, appears when it is whole. Pairs of an
    iterator are stored as they come, so that many masks need no memory.

    Raises DataError for names that `source` has no sample of, ConfigError when `folder` is there already.
    """
    dataset = load_dataset(source)
    samples = {sample.name: sample for sample in dataset.samples}
    with staged_folder(folder) as staging:
        _describe(source, staging)
        _copy_edits(home_of(source), staging)
        edits = []
        for name, mask in masks.items() if isinstance(masks, Mapping) else masks:
            if name not in samples:
                raise DataError(f"{source}: has no sample {name!r}; give names of its samples")
            edits.append(mask_edit(staging, samples[name], mask, dataset.classes))
        add_edits(staging, edits, reason)
    return folder


def _describe(source: Path, folder: Path) -> None:
    file = source if source.is_file() else source / FILE_NAME
    if not file.exists():
        init(source, out=folder)
        return
    described = strictyaml.read(file).data
    root = (file.parent / described.get("root", ".")).resolve()
    # JSON is YAML whose texts are all in quotes, so that none of them can be taken for a number.
    atomic_write_text(folder / FILE_NAME, dump_json(described | {"root": str(root)}, indent=2) + "\n")


def _copy_edits(home: Path, folder: Path) -> None:
    for batch in read_batches(home):
        for edit in batch.edits:
            if edit.kind == "mask":
                target = folder / FOLDER / edit.value
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(confine(home / FOLDER, edit.value, str(journal_of(home).path)), target)
        add_edits(folder, batch.edits, batch.reason)
