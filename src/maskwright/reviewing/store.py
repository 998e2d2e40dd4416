"""The edit store: the dataset as it is now, and every change of it, saved at once and undone exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Batch, Edit, add_edits, journal_of, mask_edit, read_journal, take_back, with_edits
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample, Status
from maskwright.data.opening import load_unedited
from maskwright.errors import ConfigError, DataError, LockedError, MaskwrightError
from maskwright.labels.suspecting.applying import repaired
from maskwright.reviewing.history import REASON, History, answer_reason, redo_reason

T = TypeVar("T")
_PATIENCE = 3.0  # seconds that another process may hold the journal


class Conflict(MaskwrightError):
    """Somebody else, another tab or process, has changed what a change was based on."""

    exit_code = 5


class EditStore:
    """The samples of one dataset. All methods may be called from several threads; other processes may edit too.

    A change names the revision of the sample that it is based on, and is refused with Conflict when that is no longer
    the state of the sample: nothing is ever overwritten unseen.
    """

    def __init__(self, path: Path) -> None:
        self._original, self.home = load_unedited(path)
        self._original = replace(self._original, home=self.home)
        self._lock = threading.RLock()
        self._seen = -1
        self._dataset, self._history = self._original, History()
        self.now()

    def now(self) -> tuple[Dataset, History]:
        """The dataset with the edits that hold, and their history; read again only when the journal has grown."""
        with self._lock:
            if (size := journal_of(self.home).size) != self._seen:
                self._history = History.of(read_journal(self.home))
                self._dataset, self._seen = with_edits(self._original, self.home), size
            return self._dataset, self._history

    @property
    def state(self) -> int:
        """A number that changes with every edit of anybody."""
        self.now()
        return self._seen

    def sample(self, number: int) -> Sample:
        """The sample of that number, from 0, as it is now. DataError for no such number."""
        dataset, _ = self.now()
        if not 0 <= number < len(dataset):
            raise DataError(f"sample {number}: there are {len(dataset)}, from 0; reload the page")
        return dataset.samples[number]

    def revision(self, sample: Sample) -> str:
        """What a change of this sample has to name."""
        return self.now()[1].revision(sample.name)

    def mask(self, sample: Sample) -> Mask:
        """(H, W) uint8 class indices as they are now; all `IGNORE` where there is no mask yet. DataError for a mask
        that cannot be read or is not of the size of its image."""
        dataset = self.now()[0]
        size = dataset.image_size(sample)
        if not sample.labelled:
            return np.full(size, IGNORE, np.uint8)
        mask = dataset.read_mask(sample)
        if mask.shape != size:
            raise DataError(
                f"{sample.label_file}: is {mask.shape[1]}x{mask.shape[0]} but its image is {size[1]}x{size[0]}; "
                "exclude the sample or draw it again"
            )
        return mask

    def save(
        self, number: int, revision: str, *, status: Status | None = None, mask: npt.NDArray[np.uint8] | None = None
    ) -> Batch:
        """One batch with a new status, a new mask (H, W) of class indices, or both."""
        with self._lock:
            sample = self.sample(number)
            dataset = self.now()[0]
            edits = [Edit("status", sample.name, status)] if status is not None else []
            if mask is not None:
                self._require_mask(dataset, sample, mask)
                edits.append(mask_edit(self.home, sample, mask, dataset.classes))
            return self._add(sample, revision, edits, REASON)

    def accept(self, number: int, revision: str, folder: Path, proposal: int) -> Batch:
        """The mask with the proposal of that number in `folder` (of `suspects`) in it, as one batch."""
        with self._lock:
            sample = self.sample(number)
            dataset = self.now()[0]
            edit = mask_edit(self.home, sample, repaired(dataset, sample, folder, [proposal]), dataset.classes)
            return self._add(sample, revision, [edit], answer_reason("accepted", folder.name, proposal))

    def refuse(self, number: int, revision: str, folder: Path, proposal: int) -> Batch:
        """Says that the label is right where the proposal would change it: a batch that leaves the status as it is."""
        with self._lock:
            sample = self.sample(number)
            edit = Edit("status", sample.name, sample.status)
            return self._add(sample, revision, [edit], answer_reason("refused", folder.name, proposal))

    def undo(self, expected: str | None) -> Batch:
        """Takes back the last batch of the page. Conflict when that is not the `expected` one."""

        def check() -> None:
            last = self.now()[1].last
            if last is None or last.name != expected:
                raise Conflict("undo: something else was changed since; look at it first")

        with self._lock:
            return self._patient(lambda: take_back(self.home, expected, check))

    def redo(self, expected: str | None) -> Batch:
        """Brings back what was undone last. Conflict when that is not the `expected` batch."""

        def check() -> None:
            found = self.now()[1].next
            if found is None or found.name != expected:
                raise Conflict("redo: something else was changed since; there is nothing to redo")

        with self._lock:
            check()
            batch = self.now()[1].undone[-1]
            return self._patient(lambda: add_edits(self.home, batch.edits, redo_reason(batch), check))

    def _add(self, sample: Sample, revision: str, edits: Sequence[Edit], reason: str) -> Batch:
        if not edits:
            raise ConfigError("edit: neither a status nor a mask is given")

        def check() -> None:
            if self.revision(sample) != revision:
                raise Conflict(f"{sample.name}: was changed elsewhere since it was read; reload it or keep yours")

        check()  # before waiting for another process
        return self._patient(lambda: add_edits(self.home, edits, reason, check))

    def _require_mask(self, dataset: Dataset, sample: Sample, mask: npt.NDArray[np.uint8]) -> None:
        size = dataset.image_size(sample)
        if mask.shape != size:
            raise DataError(f"{sample.name}: a mask of {mask.shape} for an image of {size}; reload the page")
        if ((mask >= len(dataset.classes)) & (mask != IGNORE)).any():
            raise DataError(f"{sample.name}: the mask holds what is no class; reload the page")

    @staticmethod
    def _patient(change: Callable[[], T]) -> T:
        """Waits a moment for another process that is at the journal."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return change()
            except LockedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
