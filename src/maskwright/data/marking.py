"""Samples marked by hand: to be kept, left out, or looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from maskwright.base.strictyaml import did_you_mean
from maskwright.base.texts import plural
from maskwright.core.dataset import Dataset
from maskwright.core.edits import Batch, Edit, add_edits, home_of
from maskwright.core.sample import Status
from maskwright.data.opening import folder_of, load_dataset
from maskwright.errors import ConfigError, DataError, argument


def set_status(data: str | Path | Dataset, status: Status, samples: Iterable[str | Path]) -> Batch:
    """Gives samples the status `keep`, `exclude` (left out of training and scores) or `suspect` (needs fixing), as one
    batch of edits in the journal of the dataset `data`.

    Each of `samples` is the name of one, or a file with a name in each line. Raises ConfigError for a name that the
    dataset does not have, for an unknown status and for no names at all.
    """
    if status not in get_args(Status):
        known = ", ".join(get_args(Status))
        raise ConfigError(f"{argument('status')} {status}: is not a status; known: {known}")
    dataset = load_dataset(folder_of(data, "edits"))
    known_names = {sample.name for sample in dataset.samples}
    names = [name for given in samples for name in _names(given, known_names)]
    if not names:
        raise ConfigError(f"{argument('samples')}: names no sample; give names, or a file with a name in each line")
    if strange := [name for name in dict.fromkeys(names) if name not in known_names]:
        raise ConfigError(
            f"{argument('samples')} {name}: is no sample of {dataset.name}{did_you_mean(name, known_names)}"
            for name in strange
        )
    edits = [Edit("status", name, status) for name in dict.fromkeys(names)]
    return add_edits(home_of(data), edits, f"status {status} for {plural(len(edits), 'sample')}")


def _names(given: str | Path, known: set[str]) -> list[str]:
    path = Path(given)
    if str(given) in known or not path.is_file():
        return [str(given)]
    try:
        return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of names ({error})") from None
