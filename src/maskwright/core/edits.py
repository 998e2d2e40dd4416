"""Edits: changes to a dataset that are kept beside it and can be undone; its own files are never touched.

The journal `.maskwright/edits.jsonl` lies beside `dataset.yaml`. Each line is a batch of edits of samples' splits,
statuses or masks. A later edit of the same thing replaces an earlier one; undoing is a line too, so nothing is ever
lost. New masks lie under `.maskwright/masks/` as index PNGs named by their content.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from maskwright.base.display import Result
from maskwright.base.storage import Journal, atomic_write_bytes, confine, disk_errors, exclusive_lock
from maskwright.base.texts import plural
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.description import FOLDER as FOLDER
from maskwright.core.masks import mask_png
from maskwright.core.sample import Sample, Status
from maskwright.errors import ConfigError, DataError, argument

Kind = Literal["split", "status", "mask"]


@dataclass(frozen=True)
class Edit:
    """One change of a sample: `value` is the new split ("" for none), the new status, or the file of the new mask
    below `.maskwright/`."""

    kind: Kind
    sample: str
    value: str


@dataclass(frozen=True)
class Batch:
    """Edits that were made together, by whom or what (`reason`), and when (UTC). They are undone together."""

    name: str
    reason: str
    time: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, repr=False)
class EditsResult(Result):
    """The batches that hold, the last one last, and the one that was undone just now, if any."""

    batches: tuple[Batch, ...]
    undone: Batch | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "batches": [asdict(batch) for batch in self.batches],
            "undone": asdict(self.undone) if self.undone else None,
        }

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        return {
            "batches": len(self.batches),
            "edits": sum(len(batch.edits) for batch in self.batches),
            "last": self.batches[-1].reason if self.batches else None,
            "undone": self.undone.name if self.undone else None,
        }

    def human(self) -> str:
        """For a terminal."""
        lines = [
            f"{batch.name}: {plural(len(batch.edits), 'edit')}, {batch.time}, {batch.reason}" for batch in self.batches
        ]
        if self.undone is None:
            return "\n".join(lines) or "no edits"
        left = sum(len(batch.edits) for batch in self.batches)
        return "\n".join(
            [
                f"undone: {plural(len(self.undone.edits), 'edit')}; "
                + (f"{plural(left, 'edit')} left" if left else "none left"),
                f"  it was batch {self.undone.name}: {self.undone.time}, {self.undone.reason}",
                *(["left:"] * bool(lines)),
                *(f"  {line}" for line in lines),
            ]
        )


def home_of(data: str | Path | Dataset) -> Path:
    """The folder of the edits of a dataset: of an opened one its `home`, else the folder itself, or that of the
    `dataset.yaml`. ConfigError for a Dataset without a home."""
    if isinstance(data, Dataset):
        if data.home is None:
            raise ConfigError(f"{data.name}: edits are kept beside dataset.yaml; give the folder of the dataset")
        return data.home
    path = Path(data)
    return path.parent if path.is_file() else path


def edits(data: str | Path | Dataset, *, undo: bool = False, batch: str | None = None) -> EditsResult:
    """The verb `edits`: the batches that hold, and with `undo` the one that is taken back: the last one, or the one
    called `batch`. An opened Dataset stands for the folder it was opened from, and is itself not changed: open it
    again to see what was undone. ConfigError when there is nothing to undo, DataError for a folder that is not there.
    """
    home = home_of(data)
    if not home.is_dir():
        raise DataError(f"{home}: no such folder; give the folder of the dataset")
    if batch is not None and not undo:
        raise ConfigError(f"{argument('batch')} {batch}: names the batch to undo; give {argument('undo')} with it")
    undone = take_back(home, batch) if undo else None
    return EditsResult(tuple(read_batches(home)), undone)


def journal_of(home: Path) -> Journal:
    """The journal of the dataset whose `dataset.yaml` lies, or would lie, in `home`."""
    return Journal(home / FOLDER / "edits.jsonl")


def read_journal(home: Path) -> list[Batch | str]:
    """All that ever happened, in its order: a batch was made, or the batch of that name was undone. DataError for a
    journal that is not ours."""
    journal = journal_of(home)
    events: list[Batch | str] = []
    for number, record in enumerate(journal.read(), 1):
        try:
            if "undo" in record:
                events.append(str(record["undo"]))
            else:
                events.append(
                    Batch(
                        str(record["batch"]),
                        str(record["reason"]),
                        str(record["time"]),
                        tuple(_checked(Edit(**edit)) for edit in record["edits"]),
                    )
                )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{journal.path}:{number}: is no edit ({error}); restore the file from a copy") from None
    return events


def read_batches(home: Path) -> list[Batch]:
    """The batches that hold, in the order in which they were made. DataError for a journal that is not ours."""
    held: dict[str, Batch] = {}
    for event in read_journal(home):
        if isinstance(event, Batch):
            held[event.name] = event
        else:
            held.pop(event, None)
    return [*held.values()]


def _checked(edit: Edit) -> Edit:
    if edit.kind not in get_args(Kind) or not isinstance(edit.sample, str) or not isinstance(edit.value, str):
        raise ValueError(f"of kind {edit.kind!r}")
    if edit.kind == "status" and edit.value not in get_args(Status):
        raise ValueError(f"status {edit.value!r} is not known")
    return edit


def add_edits(home: Path, edits: Sequence[Edit], reason: str, check: Callable[[], None] | None = None) -> Batch:
    """Appends `edits` as one batch: all of them hold, or none. LockedError when another process is at it.

    `check` raises where the journal no longer holds what the edits are based on; nobody changes it in between."""
    journal = journal_of(home)
    with _locked(home):
        if check:
            check()
        # Numbered by all that were ever made, so that a name is never used twice.
        name = str(1 + sum("batch" in record for record in journal.read()))
        batch = Batch(name, reason, _now(), tuple(edits))
        journal.append({"batch": name, "reason": reason, "time": batch.time, "edits": [asdict(e) for e in edits]})
    return batch


def take_back(home: Path, name: str | None = None, check: Callable[[], None] | None = None) -> Batch:
    """Takes back the batch of that name, or the last one that holds. ConfigError when there is none. For `check` see
    `add_edits`."""
    with _locked(home):
        if check:
            check()
        held = {batch.name: batch for batch in read_batches(home)}
        chosen = name if name is not None else next(reversed(held), None)
        if chosen is None or chosen not in held:
            raise ConfigError(
                f"{journal_of(home).path}: "
                + (
                    f"no batch {name!r} holds; those that do: {', '.join(held) or 'none'}"
                    if name is not None
                    else "there is no edit to undo"
                )
            )
        journal_of(home).append({"undo": chosen, "time": _now()})
    return held[chosen]


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    folder = home / FOLDER
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder):
        yield


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def mask_edit(home: Path, sample: Sample, mask: npt.NDArray[np.uint8], classes: ClassTree) -> Edit:
    """Stores `mask` (H, W) uint8 of class indices below `.maskwright/` and returns the edit that uses it."""
    data = mask_png(mask, classes)
    name = f"masks/{hashlib.blake2b(data, digest_size=16).hexdigest()}.png"
    file = home / FOLDER / name
    if not file.exists():
        atomic_write_bytes(file, data)
    return Edit("mask", sample.name, name)


def with_edits(dataset: Dataset, home: Path) -> Dataset:
    """`dataset`, at home in `home`, with the edits in the journal there. Edits of samples that are no longer there
    have no effect."""
    changes: dict[str, dict[str, Any]] = {}
    for batch in read_batches(home):
        for edit in batch.edits:
            change = changes.setdefault(edit.sample, {})
            if edit.kind == "split":
                change["split"] = edit.value or None
            elif edit.kind == "status":
                change["status"] = edit.value
            else:
                file = confine(home / FOLDER, edit.value, str(journal_of(home).path))
                change |= {"mask": file, "edited": True, "drawing": None, "parts": ()}
    if not changes:
        return replace(dataset, home=home)
    samples = (
        replace(sample, **changes[sample.name]) if sample.name in changes else sample for sample in dataset.samples
    )
    return replace(dataset, home=home, samples=tuple(samples))
