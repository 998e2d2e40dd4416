"""The output folder of `suspects`, for the verbs that need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskwright.base.storage import numbered, read_json
from maskwright.core.dataset import Dataset
from maskwright.core.edits import FOLDER
from maskwright.errors import DataError
from maskwright.labels.suspecting.planting import KINDS

FILE = "suspects.json"


@dataclass(frozen=True)
class StoredSuspect:
    """A region of a sample: the kind of error, how likely it is one (0..1), about how many pixels are wrong, its number
    among those of the sample (0 for one without a proposal), and how sure its proposal is (0..1)."""

    sample: str
    kind: str
    score: float
    error_pixels: int
    number: int = 0
    confidence: float = 0.0


@dataclass(frozen=True)
class StoredSuspects:
    """The regions in `folder`, found in the dataset of that `version`."""

    folder: Path
    version: str
    suspects: list[StoredSuspect]

    def by_sample(self, min_score: float) -> dict[str, list[StoredSuspect]]:
        """Those of at least that score; samples without one are left out."""
        found: dict[str, list[StoredSuspect]] = {}
        for one in self.suspects:
            if one.score >= min_score:
                found.setdefault(one.sample, []).append(one)
        return found

    def require_version(self, dataset: Dataset) -> None:
        """DataError when the dataset is not what it was."""
        if dataset.version() != self.version:
            raise DataError(
                f"{dataset.root}: has changed since {self.folder} was made; run `maskwright suspects` again"
            )


def newest_suspects(home: Path) -> Path:
    """The last finished `.maskwright/suspects-NNN` of the dataset in `home`. DataError when there is none."""
    found = {number: folder for _, number, folder in numbered(home / FOLDER, "suspects") if (folder / FILE).is_file()}
    if not found:
        raise DataError(
            f"{home}: its suspects are not known yet; run `maskwright suspects` first, or give their folder"
        )
    return found[max(found)]


def read_stored(folder: Path) -> StoredSuspects:
    """What `suspects` has written to `folder`. DataError when it holds something else."""
    file = folder / FILE
    stored = read_json(file)
    try:
        suspects = [
            _checked(
                StoredSuspect(
                    row["sample"],
                    row["kind"],
                    float(row["score"]),
                    int(row["evidence"]["error_pixels"]),
                    int(row["evidence"].get("number", 0)),
                    float(row["evidence"].get("confidence", 0.0)),
                )
            )
            for row in stored["findings"]
        ]
        return StoredSuspects(folder, stored["dataset"]["version"], suspects)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{file}: is no result of `suspects` ({type(error).__name__}: {error}); run `maskwright suspects` again"
        ) from None


def _checked(one: StoredSuspect) -> StoredSuspect:
    if not isinstance(one.sample, str) or one.kind not in KINDS or not 0 <= one.score <= 1 or one.error_pixels < 0:
        raise ValueError(f"not understood: {one}")
    return one
