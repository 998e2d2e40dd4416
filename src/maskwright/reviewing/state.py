"""What the routes share: the dataset with its edits, its queue, pictures, and what is worked out beside the page."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi.responses import Response

from maskwright.base.storage import read_json
from maskwright.base.texts import plural
from maskwright.core.description import FOLDER
from maskwright.core.edits import Batch
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample
from maskwright.errors import DataError, MaskwrightError
from maskwright.labels.choosing.results import mask_file
from maskwright.reporting.overlays import safe_colours
from maskwright.reviewing import pictures, runs
from maskwright.reviewing.bodies import json_response
from maskwright.reviewing.history import History
from maskwright.reviewing.queue import TO_DRAW, Queue
from maskwright.reviewing.store import EditStore
from maskwright.run import Run

_WALK = 5  # seconds for which a list of runs is used again
# Seconds that the page has for its first pictures, and after them, before anything is done beside it.
_FIRST, _THEN = 3.0, 0.5
_PAUSE = 0.005  # seconds after each sample that is looked at beside the page, which comes first


class Server:
    """Everything that the routes need, for one dataset."""

    def __init__(self, data: Path) -> None:
        self.store = EditStore(data)
        dataset, _ = self.store.now()
        self.colours = safe_colours(dataset.classes)
        home = self.store.home
        self.queue = Queue(home, data, self.run_folders)
        self.thumbnails = pictures.Thumbnails(home / FOLDER / "review" / "thumbnails", self.colours)
        self.recent = pictures.Recent()
        self.features = pictures.Recent(2)  # larger
        self.present: dict[tuple[str, str], list[int]] = {}
        # In addresses, for another dataset may be served at the same port later.
        self.session = secrets.token_hex(4)
        self.shown = threading.Event()  # once a picture was asked for
        self._stop = threading.Event()

    def run_folders(self) -> list[Path]:
        """The runs in the folder of the dataset, beside it, in `runs/` beside it, and those of the studies."""
        home = self.store.home.resolve()
        beside = [file.parent for file in home.parent.glob("*/run.json")]
        places = [home, home.parent / "runs", *beside, *self.study_folders()]
        return runs.find_runs([place for place in places if place.is_dir()])

    def study_folders(self) -> list[Path]:
        """The studies and searches in the folder of the dataset, beside it, and where they are made beside it."""
        home = self.store.home.resolve()
        beside = [file.parent for verb in ("study", "search") for file in home.parent.glob(f"*/{verb}.yaml")]
        places = [home, home.parent / "studies", home.parent / "searches", *beside]
        return runs.find_studies([place for place in places if place.is_dir()])

    def start(self) -> None:
        """Begins what is done beside the routes."""
        threading.Thread(target=self._beside, daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()
        self.queue.stop()

    def _beside(self) -> None:
        self.shown.wait(_FIRST)
        if self._stop.wait(_THEN):
            return
        self.queue.audit(self.store.now()[0])
        for sample in self.store.now()[0]:
            if self._stop.is_set():
                return
            self.look(sample)
            time.sleep(_PAUSE)
        self.queue.count += 1

    def look(self, sample: Sample) -> None:
        """Notes which classes the mask of a sample holds, for the filter."""
        key = sample.name, self.store.revision(sample)
        if key not in self.present and sample.labelled and sample.status != "exclude":
            try:
                found = pictures.present(self.store.mask(sample), len(self.store.now()[0].classes))
            except MaskwrightError:
                found = []
            self.present[key] = found

    def rows(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Samples in the list of all."""
        dataset, history = self.store.now()
        return [self._row(number, dataset.samples[number], history) for number in numbers]

    def _row(self, number: int, sample: Sample, history: History) -> dict[str, Any]:
        answers, revision = history.answers.get(sample.name, {}), history.revision(sample.name)
        return {
            "id": number,
            "name": sample.name,
            "split": sample.split,
            "status": sample.status,
            "edited": sample.edited,
            "labelled": sample.labelled,
            "judged": sample.name in history.judged,
            "revision": revision,
            "classes": self.present.get((sample.name, revision)),
            "findings": [
                lead.to_dict() | {"answer": answers.get((lead.source, lead.number)) if lead.number else None}
                for lead in self.queue.of(sample.name)
                if not (sample.labelled and lead.finding.code == TO_DRAW)
            ],
        }

    def state(self) -> dict[str, Any]:
        """What changes while the page is open."""
        self.queue.look()
        _, history = self.store.now()

        def told(batch: Batch | None) -> dict[str, Any] | None:
            if batch is None:
                return None
            return {"batch": batch.name, "what": _what(batch), "samples": [edit.sample for edit in batch.edits]}

        return {
            "state": f"{self.store.state}.{self.queue.count}",
            "audit": self.queue.audit_state,
            "undo": told(history.last),
            "redo": told(history.next),
        }

    def after(self, batch: Batch) -> Response:
        """The answer to a change: the samples that it was about, and the new state."""
        names = {edit.sample for edit in batch.edits}
        dataset, _ = self.store.now()
        changed = [number for number, sample in enumerate(dataset.samples) if sample.name in names]
        for number in changed:
            self.look(dataset.samples[number])
        return json_response({"rows": self.rows(changed), **self.state()})

    def probabilities(self, sample: Sample) -> pictures.Floats:
        """(K, h, w) float32 of the models of `suspects`, which have not seen the image, at their size. DataError where
        there are none."""
        if self.queue.folder is None:
            raise DataError(f"{sample.name}: no model has predicted it yet; `maskwright suspects` lets models do so")
        keep_ratio = bool(read_json(self.queue.folder / "suspects.json").get("keep_ratio", False))
        return pictures.small_probabilities(self.store.now()[0], sample, self.queue.folder, keep_ratio)

    def prediction(self, sample: Sample) -> Mask:
        """(H, W) class indices: of the models of `suspects`, else of the newest run that was evaluated on it, else what
        `next` gives to begin with. DataError where there is none."""
        try:
            return pictures.labels_at(self.probabilities(sample), self.store.now()[0].image_size(sample))
        except DataError:
            # The folders are not walked for each image that is leafed through.
            for run in self.recent.get(("runs", time.monotonic() // _WALK), self.run_folders):
                for folder in reversed(Run(run).evaluation_folders(sample.split)):
                    if (file := folder / "predictions" / f"{sample.name}.png").is_file():
                        return pictures.evaluated(self.store.now()[0], sample, file)
            chosen = self.queue.next_folder
            if chosen and (file := mask_file(chosen, sample.name)).is_file():
                return pictures.evaluated(self.store.now()[0], sample, file)
            raise


def _what(batch: Batch) -> str:
    kinds = sorted({edit.kind for edit in batch.edits})
    return (
        f"{' and '.join(kinds)} of {batch.edits[0].sample}"
        if len(batch.edits) < 3
        else plural(len(batch.edits), "edit")
    )
