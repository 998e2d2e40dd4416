"""The verb `import-edits`: masks that were corrected in another tool come back as edits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.display import Result
from maskwright.base.texts import listing, plural, table
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Batch, Edit, add_edits, home_of, mask_edit
from maskwright.core.masks import Mask
from maskwright.data.convert import class_table
from maskwright.data.formats.archives import unpacked
from maskwright.data.formats.hf_parquet import pictures_unpacked
from maskwright.data.opening import folder_of, load_dataset
from maskwright.errors import DataError, MaskwrightError

_SHOWN = 20


@dataclass(frozen=True)
class ImportedMask:
    """A mask that differs: how many of its pixels do, and of each class by name how many it has `gained` and `lost`."""

    sample: str
    pixels: int
    gained: dict[str, int]
    lost: dict[str, int]


@dataclass(frozen=True, repr=False)
class ImportResult(Result):
    """What `import-edits` found: masks that differ, worst first; how many are the same; why others were `left_out`, by
    sample; the batch of edits, None when nothing was changed."""

    source: str
    changed: list[ImportedMask]
    unchanged: int
    left_out: dict[str, str] = field(default_factory=dict)
    batch: Batch | None = None

    def classes(self) -> dict[str, tuple[int, int]]:
        """Pixels gained and lost by each class that has changed, over all masks."""
        names = dict.fromkeys(name for one in self.changed for name in (*one.gained, *one.lost))
        return {
            name: (
                sum(one.gained.get(name, 0) for one in self.changed),
                sum(one.lost.get(name, 0) for one in self.changed),
            )
            for name in names
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source,
            "changed": [asdict(one) for one in self.changed],
            "unchanged": self.unchanged,
            "left_out": self.left_out,
            "classes": {name: {"gained": gained, "lost": lost} for name, (gained, lost) in self.classes().items()},
            "batch": asdict(self.batch) if self.batch else None,
        }

    def facts(self) -> dict[str, object]:
        """See `Display`."""
        return {"changed": len(self.changed), "unchanged": self.unchanged, "left out": len(self.left_out)}

    def human(self) -> str:
        """For a terminal."""
        lines = [f"{plural(len(self.changed), 'mask')} changed, {self.unchanged:,} the same"]
        if self.changed:
            lines += table(
                [
                    ["class", "pixels gained", "pixels lost"],
                    *([n, f"{g:,}", f"{m:,}"] for n, (g, m) in self.classes().items()),
                ]
            )
            rows = [[one.sample, f"{one.pixels:,}"] for one in self.changed[:_SHOWN]]
            lines += table([["sample", "pixels changed"], *rows])
            lines += [f"  and {len(self.changed) - _SHOWN:,} more"] * (len(self.changed) > _SHOWN)
        lines += [f"left out: {name}: {why}" for name, why in [*self.left_out.items()][:_SHOWN]]
        if self.batch:
            lines.append(
                f"batch {self.batch.name}: {plural(len(self.batch.edits), 'edit')}; `maskwright edits` undoes it"
            )
        return "\n".join(lines)


def import_edits(
    file: str | Path, *, data: str | Path | Dataset, from_: str | None = None, dry_run: bool = False
) -> ImportResult:
    """Takes the masks of `file` (a folder, or a zip or parquet file, of any format) as edits of the dataset `data`, in
    one batch that `edits --undo` takes back; with `dry_run` only says what would change.

    Samples are matched by name, else by the last part of it where that is unique on both sides; classes by name. A
    sample that was marked as needing fixing and comes back changed is kept again. `from_` names the format where it
    could be several. What has no partner, another size, or cannot be read is left out and listed. Raises DataError for
    classes that `data` does not have, and when no sample matches.
    """
    source = folder_of(data, "import-edits")
    home, dataset = home_of(source), load_dataset(source)
    with unpacked(Path(file)) as outer, pictures_unpacked(outer) as folder:
        theirs = load_dataset(folder, from_ if folder == outer else None)
        found = _Import(dataset, theirs, str(file))
        found.run()
    batch = None
    if found.masks and not dry_run:
        edits = [mask_edit(home, dataset[name], mask, dataset.classes) for name, mask in found.masks.items()]
        edits += [Edit("status", name, "keep") for name in found.masks if dataset[name].status == "suspect"]
        batch = add_edits(home, edits, f"import-edits {file}")
    changed = sorted(found.changed, key=lambda one: -one.pixels)
    return ImportResult(str(file), changed, found.unchanged, found.left_out, batch)


class _Import:
    """The comparison of `theirs` with `dataset`, mask by mask."""

    def __init__(self, dataset: Dataset, theirs: Dataset, source: str) -> None:
        self.dataset, self.theirs, self.source = dataset, theirs, source
        self.masks: dict[str, Mask] = {}
        self.changed: list[ImportedMask] = []
        self.unchanged = 0
        self.left_out: dict[str, str] = {}
        self._table = class_table(theirs.classes, dataset.classes)

    def run(self) -> None:
        """Fills the rest."""
        partners = _partners([one.name for one in self.theirs], [one.name for one in self.dataset])
        if not partners:
            raise DataError(
                f"{self.source}: none of its samples ({listing(one.name for one in self.theirs)}) is one of "
                f"{self.dataset.root} ({listing(one.name for one in self.dataset)}); give the export of this dataset"
            )
        for sample in self.theirs:
            if sample.name not in partners:
                self.left_out[sample.name] = "the dataset has no sample of that name"
            elif not sample.labelled:
                self.left_out[sample.name] = "has no mask there"
            else:
                self._compare(partners[sample.name], sample.name)

    def _compare(self, name: str, theirs: str) -> None:
        ours = self.dataset[name]
        try:
            mask = self._translated(self.theirs.read_mask(self.theirs[theirs]))
            size = self.dataset.image_size(ours)
            if mask.shape != size:
                self.left_out[name] = f"is {mask.shape[1]}x{mask.shape[0]}, but its image is {size[1]}x{size[0]}"
                return
            before = self._before(name, size)
        except _UnknownClass:
            raise
        except MaskwrightError as error:
            self.left_out[name] = str(error)
            return
        differing = mask != before
        if not differing.any():
            self.unchanged += 1
            return
        self.masks[name] = mask
        names = {**dict(enumerate(self.dataset.classes.names)), IGNORE: "ignored"}
        gained, lost = ({names[i]: n for i, n in _counted(one[differing])} for one in (mask, before))
        self.changed.append(ImportedMask(name, int(differing.sum()), gained, lost))

    def _before(self, name: str, size: tuple[int, int]) -> Mask:
        """The mask as it is; all ignored where there is none, or none that can be used."""
        sample = self.dataset[name]
        try:
            mask = self.dataset.read_mask(sample) if sample.labelled else None
        except DataError:
            mask = None
        return mask if mask is not None and mask.shape == size else np.full(size, IGNORE, np.uint8)

    def _translated(self, mask: Mask) -> Mask:
        indices = self._table[mask]
        if (indices < 0).any():
            names = [self.theirs.classes.names[i] for i, _ in _counted(mask[indices < 0])]
            raise _UnknownClass(
                f"{self.source}: has the classes {listing(names)}, which {self.dataset.root} does not have; rename "
                f"them to one of {', '.join(self.dataset.classes.names)}"
            )
        return indices.astype(np.uint8)


class _UnknownClass(DataError):
    """Ends the import: half of a mask would be worse than none."""


def _counted(values: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    counts = np.bincount(values.reshape(-1), minlength=256)
    return [(int(index), int(counts[index])) for index in np.flatnonzero(counts)]


def _partners(theirs: Iterable[str], ours: Iterable[str]) -> dict[str, str]:
    """Which of `ours` each of `theirs` is."""
    theirs, ours = list(theirs), list(ours)
    same = {name: name for name in theirs if name in {*ours}}
    rest = [[name for name in names if name not in same] for names in (theirs, ours)]
    ends: list[dict[str, list[str]]] = [{}, {}]
    for names, by_end in zip(rest, ends, strict=True):
        for name in names:
            by_end.setdefault(name.rpartition("/")[2], []).append(name)
    for end, names in ends[0].items():
        if len(names) == 1 and len(ends[1].get(end, ())) == 1:
            same[names[0]] = ends[1][end][0]
    return same
